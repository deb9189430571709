"""When to ask the recogniser about an utterance, and about which stretch of its audio."""

from __future__ import annotations

from dataclasses import replace

from alfred_voice.models.engine import SAMPLE_RATE
from alfred_voice.results import Transcript
from alfred_voice.session.cut import CutSearch, quiet_moments
from alfred_voice.session.detector import SAMPLES_PER_MS
from alfred_voice.session.economy import Economy
from alfred_voice.session.hypothesis import starts_with
from alfred_voice.session.intake import Intake
from alfred_voice.session.options import SttOptions
from alfred_voice.session.requests import TranscribeRequest, Urgency
from alfred_voice.session.settings import SessionSettings
from alfred_voice.session.utterance import Utterance


CUT_FROM = 0.5
CUT_TO = 0.92
"""A cut is looked for in this part of the window, 6 to 11 s of 12: far enough from both ends to leave context."""

CUT_AGAIN_SAMPLES = SAMPLE_RATE
"""1 s: how long the speaker goes on before a search that came to nothing is repeated."""


class Recognition:
    """The questions of one session to the recogniser; the state is the utterance's."""

    def __init__(self, options: SttOptions, settings: SessionSettings) -> None:
        self._options = options
        self.language = settings.language or options.language
        self._partials = settings.partials and options.partial_interval_ms > 0
        self.partial_interval_ms = options.partial_interval_ms if self._partials else 0
        self.speculate_ms: int | None = options.speculate_ms
        """Silence after which the final is decoded ahead of the endpoint; None for not before it."""
        self.engine = settings.engine or options.engine
        self._asked_engine = "" if self.engine == options.engine else self.engine

    def economise(self, economy: Economy) -> None:
        """Ask for partials less often than configured, or not at all, and for finals ahead of the endpoint or not."""
        factor = economy.partial_factor if self._partials else 0
        self.partial_interval_ms = round(self._options.partial_interval_ms * factor)
        self.speculate_ms = self._options.speculate_ms if economy.speculates else None

    def next_partial(self, utterance: Utterance, end: int, intake: Intake, now: float) -> TranscribeRequest | None:
        """A question about all speech up to ``end``, when enough has come since the last one."""
        interval = self.partial_interval_ms * SAMPLES_PER_MS
        has_enough = utterance.voiced_ms >= self._options.min_partial_ms or utterance.settled_text
        if interval == 0 or not utterance.has_partials or end - utterance.last_partial_end < interval or not has_enough:
            return None
        utterance.last_partial_end = end
        return self._request(Urgency.PARTIAL, utterance, end, intake, now, forced=True)

    def final(self, utterance: Utterance, speech_end: int, intake: Intake, now: float) -> TranscribeRequest:
        """The question whose answer is the final text, if no more speech comes.

        Nothing is forced on the recogniser, so that a final depends on the audio alone.
        """
        end = min(speech_end + self._options.tail_ms * SAMPLES_PER_MS, intake.end)
        return self._request(Urgency.FINAL, utterance, end, intake, now)

    def forced_final(self, request: TranscribeRequest, utterance: Utterance, now: float) -> TranscribeRequest:
        """The same question again, with the committed words forced: its free answer contradicted them."""
        return replace(request, prefix=utterance.hypothesis.prefix, asked_at=now)

    def next_cut(self, utterance: Utterance, end: int, intake: Intake, now: float) -> TranscribeRequest | None:
        """The first question of a cut, when the part that is not settled has grown too long."""
        length = self._options.max_window_ms * SAMPLES_PER_MS
        is_due = end - utterance.segment_start >= length and end >= utterance.next_cut_end
        if utterance.cut or utterance.final_request or not is_due:
            return None
        request = self._request(Urgency.CUT, utterance, end, intake, now, forced=True)
        moments = quiet_moments(request.samples, int(length * CUT_FROM), int(length * CUT_TO))
        if not moments:
            # A long gap has taken the place of the audio.
            self._give_up(utterance)
            return None
        utterance.cut = CutSearch([request.start_sample + moment for moment in moments], request)
        return request

    def receive_cut(
        self, utterance: Utterance, request: TranscribeRequest, transcript: Transcript, intake: Intake, now: float
    ) -> TranscribeRequest | None:
        """Take an answer of the search for a cut; cut, or ask on."""
        search = utterance.cut
        if search is None or search.request is not request:
            return None
        if utterance.final_request is not None:
            # A pause: the final is on its way for all of it. If speech goes on, the search begins anew.
            utterance.cut = None
            return None
        if search.whole is None:
            search.receive_whole(transcript)
        elif search.receive_head(transcript):
            self._apply(utterance, search)
            return None
        candidate = search.next_candidate()
        if candidate is None:
            self._give_up(utterance)
            return None
        following = self._request(Urgency.CUT, utterance, candidate, intake, now)
        if following.start_sample > request.start_sample:
            # Answers came so late that the beginning of the audio had to give way: what is left cannot be compared.
            self._give_up(utterance)
            return None
        search.request = following
        return following

    def receive_failed_cut(self, utterance: Utterance, request: TranscribeRequest) -> None:
        """Take note that a question of the search for a cut has no answer."""
        if utterance.cut is not None and utterance.cut.request is request:
            self._give_up(utterance)

    def _give_up(self, utterance: Utterance) -> None:
        utterance.cut = None
        utterance.next_cut_end = utterance.followed_end + CUT_AGAIN_SAMPLES

    def _apply(self, utterance: Utterance, search: CutSearch) -> None:
        if search.best is None or search.whole is None:
            raise AssertionError("a search without an answer is not over")
        _, sample, head = search.best
        pieces = search.whole[: len(head.pieces)]
        hypothesis = utterance.hypothesis
        if search.whole and not pieces:
            # Nothing is heard before any of the candidates, yet there are words: they must not get lost.
            self._give_up(utterance)
        elif starts_with(pieces, hypothesis.stable[: len(pieces)]):
            utterance.settle(sample, hypothesis.spelled(pieces), head)
        else:
            # Words have been committed since the whole was asked for: search anew with them.
            utterance.cut = None

    def _request(
        self, urgency: Urgency, utterance: Utterance, end: int, intake: Intake, now: float, *, forced: bool = False
    ) -> TranscribeRequest:
        samples = intake.read(utterance.segment_start, end)
        return TranscribeRequest(
            urgency=urgency,
            utterance=utterance.number,
            epoch=utterance.epoch,
            samples=samples,
            # Later than the segment's own start only where its beginning had to give way.
            start_sample=end - len(samples),
            prefix=utterance.hypothesis.prefix if forced else (),
            language=self.language,
            voiced_ms=utterance.voiced_ms,
            asked_at=now,
            draft=utterance.hypothesis.tokens,
            engine=self._asked_engine,
            wants_words=self._options.words and urgency is not Urgency.PARTIAL,
        )

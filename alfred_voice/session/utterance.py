"""One utterance from its first sound to its final text: what is known of it, and what to ask next."""

from __future__ import annotations

from dataclasses import dataclass

from alfred_voice.errors import AlfredVoiceError
from alfred_voice.events import PartialTranscription, TurnReason
from alfred_voice.models.engine import SAMPLE_RATE, WINDOW_SAMPLES
from alfred_voice.results import Piece, Transcript, Word
from alfred_voice.session.barge_in import WINDOW_MS
from alfred_voice.session.cut import CutSearch
from alfred_voice.session.hypothesis import AgreementOptions, Hypothesis, joined, text_of
from alfred_voice.session.requests import TranscribeRequest


SAMPLES_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class Ending:
    """Why and where an utterance ended."""

    reason: TurnReason
    at_sample: int
    """One past the last speech sample."""
    silence_ms: float
    probability: float
    """The turn model's last word; 0 when it was not asked."""


class Utterance:
    """The state of one utterance. Samples are on the session's clock.

    ``epoch`` counts changes of mind: an answer to a question of an older epoch is stale.
    """

    def __init__(self, number: int, start_sample: int, agreement: AgreementOptions) -> None:
        self.number = number
        self.start_sample = start_sample
        self.segment_start = start_sample
        """First sample whose text is not settled yet."""
        self.settled_text = ""
        """Text of the parts that were cut off because they grew too long."""
        self.hypothesis = Hypothesis(agreement)
        self.epoch = 0
        self.voiced_windows = 0
        self.last_speech_arrival = 0.0
        self.last_partial_end = start_sample
        self.has_partials = True
        """Whether partials may be asked for: not when the recogniser cannot bear the utterance."""
        self.followed_end = start_sample
        """One past the last sample that has been judged while this utterance was open."""
        self.cut: CutSearch | None = None
        self.next_cut_end = start_sample
        """Before this sample no new cut is looked for: the last search came to nothing."""
        self.final_request: TranscribeRequest | None = None
        """The question whose answer is the final, unless speech goes on."""
        self.final: Transcript | None = None
        self.was_retried = False
        self.failure: AlfredVoiceError | None = None
        """Why ``final`` had to do without the recogniser."""
        self.complete_probability: float | None = None
        """Set when the turn model has called the present pause the end."""
        self.last_probability = 0.0
        self.next_judge_ms = 0.0
        self.judge_is_out = False
        self.judge_asked_at = 0.0
        """When the turn model was asked last, clock seconds."""
        self.ending: Ending | None = None
        self._told = ("", "")
        self._settled_words: tuple[Word, ...] = ()
        self._settled_confidences: list[float] = []
        self._settled_processing_ms = 0.0

    @property
    def voiced_ms(self) -> float:
        """How much speech the detector found in the part that is not settled."""
        return self.voiced_windows * WINDOW_MS

    def resume(self, first_judge_ms: float) -> None:
        """Speech goes on: whatever the pause has led to is void.

        The search for a cut goes on too: its questions are about audio that stays as it is.
        """
        self.epoch += 1
        self.final_request = self.final = self.complete_probability = None
        self.was_retried, self.failure = False, None
        self.next_judge_ms = first_judge_ms

    def settle(self, cut_sample: int, pieces: tuple[Piece, ...], head: Transcript) -> None:
        """Make the text up to ``cut_sample`` final and go on behind it; the cut is between two words."""
        offset_ms = self.segment_start / SAMPLES_PER_MS
        self._settled_words += tuple(_moved(word, offset_ms) for word in head.words)
        self._settled_confidences.append(head.confidence)
        self._settled_processing_ms += head.processing_ms
        self.settled_text = joined(self.settled_text, text_of(pieces))
        self.hypothesis = self.hypothesis.rest_after(len(pieces))
        self.segment_start = self.last_partial_end = cut_sample
        # What lies behind a cut is mostly speech: it is looked for while the speaker goes on.
        self.voiced_windows = (self.followed_end - cut_sample) // WINDOW_SAMPLES
        self.epoch += 1
        self.cut = None

    def partial(self, end_sample: int) -> PartialTranscription | None:
        """What there is to show now; None when it has been shown already or there is nothing."""
        text = joined(self.settled_text, text_of(self.hypothesis.pieces))
        stable = joined(self.settled_text, text_of(self.hypothesis.stable))
        if not text or (text, stable) == self._told:
            return None
        self._told = (text, stable)
        start_ms = self.start_sample / SAMPLES_PER_MS
        return PartialTranscription(self.number, text, stable, start_ms, end_sample / SAMPLES_PER_MS)

    def whole(self, final: Transcript) -> Transcript:
        """The transcript of the whole utterance: the settled parts, then ``final``; words on the session's clock."""
        offset_ms = self.segment_start / SAMPLES_PER_MS
        confidences = [*self._settled_confidences, *([final.confidence] if final.text else [])]
        return Transcript(
            text=joined(self.settled_text, final.text),
            words=self._settled_words + tuple(_moved(word, offset_ms) for word in final.words),
            confidence=sum(confidences) / len(confidences) if confidences else 0.0,
            language=final.language,
            processing_ms=self._settled_processing_ms + final.processing_ms,
            engine=final.engine,
        )


def _moved(word: Word, offset_ms: float) -> Word:
    return Word(word.word, word.start_ms + offset_ms, word.end_ms + offset_ms, word.probability)

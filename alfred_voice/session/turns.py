"""Whether a pause is the end of the turn: when to ask the model, and what its answers and the silence decide."""

from __future__ import annotations

from alfred_voice.events import TurnPending, TurnReason
from alfred_voice.results import TurnJudgement
from alfred_voice.session.barge_in import WINDOW_MS
from alfred_voice.session.detector import SAMPLES_PER_MS
from alfred_voice.session.economy import Economy
from alfred_voice.session.intake import Intake
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.requests import JudgeRequest
from alfred_voice.session.settings import SessionSettings
from alfred_voice.session.utterance import Ending, Utterance


TURN_SAMPLES = 8_000 * SAMPLES_PER_MS
"""What the turn model hears: the last 8 s."""


class Turns:
    """The questions of one session to the turn model; the state is the utterance's."""

    def __init__(self, options: SessionOptions, settings: SessionSettings) -> None:
        self._options = options.turn
        self._endpoint_ms = options.vad.endpoint_ms
        self._has_model = settings.turns
        self._recheck_ms = float(options.turn.recheck_ms)

    def economise(self, economy: Economy) -> None:
        """Ask about a pause that goes on less often than configured."""
        self._recheck_ms = self._options.recheck_ms * economy.recheck_factor

    @property
    def first_judge_ms(self) -> float:
        """Silence at which a pause is judged first."""
        return self._options.silence_ms

    def next_question(
        self, utterance: Utterance, end: int, silence_ms: float, intake: Intake, now: float
    ) -> JudgeRequest | None:
        """A question about the pause that has lasted ``silence_ms`` at sample ``end``, when one is due."""
        # At the window that ends nearest to the time: 200 ms are six windows of 32 ms, not seven.
        is_due = utterance.next_judge_ms - WINDOW_MS / 2 <= silence_ms < self._options.max_silence_ms
        is_open = utterance.complete_probability is None and not utterance.judge_is_out
        if not (self._has_model and is_due and is_open):
            return None
        samples = intake.read(max(utterance.start_sample, end - TURN_SAMPLES), end)
        utterance.judge_is_out, utterance.judge_asked_at = True, now
        return JudgeRequest(utterance.number, utterance.epoch, samples, silence_ms, now)

    def receive(self, utterance: Utterance, request: JudgeRequest, judgement: TurnJudgement) -> TurnPending | None:
        """Take the answer about a pause, unless the speaker has gone on; says so when the turn is not complete."""
        utterance.judge_is_out = False
        if request.epoch != utterance.epoch:
            return None
        utterance.last_probability = judgement.probability
        if judgement.probability >= self._options.threshold:
            utterance.complete_probability = judgement.probability
            return None
        utterance.next_judge_ms = request.silence_ms + self._recheck_ms
        return TurnPending(judgement.probability, request.silence_ms)

    def receive_failure(self, utterance: Utterance, request: JudgeRequest) -> None:
        """Take note that a question has no answer: the pause is judged again later, or ends by its length."""
        utterance.judge_is_out = False
        if request.epoch == utterance.epoch:
            utterance.next_judge_ms = request.silence_ms + self._recheck_ms

    def ending(self, utterance: Utterance, at_sample: int, silence_ms: float) -> Ending | None:
        """The utterance's end at ``at_sample``, when ``silence_ms`` after it this is decided."""
        reason: TurnReason
        if self._has_model and utterance.complete_probability is not None:
            reason = "model"
        elif silence_ms >= (self._options.max_silence_ms if self._has_model else self._endpoint_ms):
            reason = "silence"
        else:
            return None
        return Ending(reason, at_sample, silence_ms, utterance.last_probability)

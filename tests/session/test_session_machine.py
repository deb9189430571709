"""Whatever happens in whatever order, a session keeps the promises of the protocol."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alfred_voice.errors import EngineDown, EngineFailure
from alfred_voice.events import (
    EVENT_TYPES,
    ErrorRaised,
    Event,
    FinalTranscription,
    FrameProcessed,
    PartialTranscription,
    SessionFinished,
    SpeechEnded,
    SpeechStarted,
    TurnCompleted,
)
from alfred_voice.results import Piece, Transcript, TurnJudgement
from alfred_voice.session.economy import Economy
from alfred_voice.session.options import SessionOptions, SttOptions, TurnOptions, VadOptions
from alfred_voice.session.playout import Playout
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request, TranscribeRequest
from alfred_voice.session.session import Session
from alfred_voice.session.settings import SessionSettings


SPEECH, SILENCE, UNCLEAR = 0.9, 0.0, 0.4
WORD_SAMPLES = 1_600
"""A word each 100 ms, so that little speech has many."""
OPTIONS = SessionOptions(
    vad=VadOptions(reset_after_ms=1000),
    stt=SttOptions(max_window_ms=5000, partial_interval_ms=64, min_partial_ms=64),
    turn=TurnOptions(max_silence_ms=700),
)


def sample_at(index: Any) -> Any:
    return (index * 7919) % 2001 - 1000


def pieces(words: list[str]) -> tuple[Piece, ...]:
    return tuple(Piece(" " + word, tuple(map(ord, word.casefold()))) for word in words)


class SessionMachine(RuleBasedStateMachine):
    """A speaker, engines that answer late, in any order or not at all, and a client who may do what it likes."""

    @initialize(turns=st.booleans(), partials=st.booleans(), seed=st.integers(0, 2**32 - 1))
    def open(self, turns: bool, partials: bool, seed: int) -> None:
        chosen = SessionSettings("s", turns=turns, partials=partials, events=frozenset(EVENT_TYPES.values()))
        self.playout = Playout(200)
        self.session = Session(chosen, OPTIONS, self.playout)
        self.now = 0.0
        self.stream = np.zeros(16_000 * 400, np.int16)
        self.end = 0
        self.script = random.Random(seed)
        self.levels: dict[int, float] = {}
        self.level = SILENCE
        self.detects: list[DetectRequest] = []
        self.asked: list[Request] = []
        self.events: list[Event] = []
        self.real_frames: list[int] = []
        self.received = 0
        self.stopping = False
        self.deaf = False

    # What the world does

    @rule(level=st.sampled_from([SPEECH, SPEECH, SILENCE, SILENCE, UNCLEAR]), frames=st.integers(1, 60))
    def speak(self, level: float, frames: int) -> None:
        if self.stopping or self.session.is_over:
            return
        for _ in range(frames):
            self.hear_frame(level)

    @rule(speech=st.integers(5, 400), pause=st.integers(0, 60), answers=st.sampled_from([0.05, 0.3, 1.0]))
    def speak_and_be_answered(self, speech: int, pause: int, answers: float) -> None:
        """A phrase in real time, while each engine answers a frame with this probability."""
        for number in range(speech + pause):
            if self.stopping or self.session.is_over:
                return
            dips = self.script.random() < 0.02
            self.hear_frame(SPEECH if number < speech and not dips else SILENCE)
            self.detector_answers(0.0, 4)
            if self.asked and self.script.random() < answers:
                self.answer(self.asked.pop(0), self.script.choice([0, 0, 0, 0, 1, 2, 3, 5, -2]), self.script.random())

    def hear_frame(self, level: float) -> None:
        start, self.end = self.end, self.end + 320
        frame = sample_at(np.arange(start, self.end, dtype=np.int64)).astype(np.int16)
        self.stream[start : self.end] = frame
        self.levels.update(dict.fromkeys(range(start // 512, self.end // 512 + 1), level))
        self.real_frames.append(self.received)
        self.received += 1
        self.now += 0.02
        self.session.receive_frame(frame, self.now)
        if self.session.has_appetite:
            self.pump()

    @rule(frames=st.integers(1, 20))
    def lose_frames(self, frames: int) -> None:
        if self.stopping or self.session.is_over:
            return
        self.end += frames * 320
        self.received += frames
        self.session.receive_gap(frames, self.now)
        self.pump()

    @rule(wait=st.floats(0, 1), count=st.integers(1, 4))
    def detector_answers(self, wait: float, count: int) -> None:
        self.now += wait
        for _ in range(count):
            if not self.detects:
                return
            request = self.detects.pop()
            numbers = range(request.first_window, request.first_window + len(request.windows))
            self.session.receive_detection(request, [self.levels.get(n, SILENCE) for n in numbers], self.now)
            self.pump()

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), wait=st.floats(0, 1), garble=st.integers(0, 5))
    def engine_answers(self, data: st.DataObject, wait: float, garble: int) -> None:
        self.now += wait
        request = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        self.answer(request, garble, data.draw(st.sampled_from([0.1, 0.9])))

    def answer(self, request: Request, garble: int, probability: float) -> None:
        if isinstance(request, JudgeRequest):
            self.session.receive_judgement(request, TurnJudgement(probability), self.now)
        elif isinstance(request, TranscribeRequest):
            self.session.receive_transcript(request, self.recognise(request, garble), self.now)
        self.pump()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def engine_fails(self, data: st.DataObject) -> None:
        request = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        error = data.draw(st.sampled_from([EngineFailure("it broke"), EngineDown("gone")]))
        self.session.receive_failure(request, error, self.now)
        self.pump()

    @rule()
    def flush(self) -> None:
        self.session.receive_flush()
        self.pump()

    @rule(factor=st.sampled_from([0, 1, 3]), recheck=st.sampled_from([1, 2]), speculates=st.booleans())
    def economise(self, factor: int, recheck: int, speculates: bool) -> None:
        self.session.economise(Economy(factor, recheck, speculates))

    @rule(speech_id=st.integers(0, 9), ms=st.integers(0, 3000))
    def play(self, speech_id: int, ms: int) -> None:
        self.playout.begin(speech_id)
        self.playout.sent(ms, self.now)

    @precondition(lambda self: len(self.events) > 12)
    @rule()
    def stop(self) -> None:
        self.stopping = True
        self.session.receive_stop("stop", self.now)
        self.pump()

    @precondition(lambda self: self.detects and len(self.events) > 30)
    @rule()
    def detector_fails(self) -> None:
        self.deaf = not self.session.is_over
        self.session.receive_failure(self.detects.pop(), EngineFailure("deaf"), self.now)
        self.pump()

    def recognise(self, request: TranscribeRequest, garble: int) -> Transcript:
        """A word for each place in the clip; the garbled one changes, but for a prefix, which is honoured."""
        first, last = -(-request.start_sample // WORD_SAMPLES), (request.end_sample - 1) // WORD_SAMPLES
        words = [f"w{number}" for number in range(first, last + 1)]
        if garble and len(words) > abs(garble):
            words[-garble] = words[-garble].upper() if garble % 2 else "x"
        heard = pieces(words)
        kept: list[str] = []
        tokens = list(request.prefix)
        text = "".join(map(chr, tokens))
        while text:
            end = min((at for mark in "wx" if (at := text.find(mark, 1)) > 0), default=len(text))
            kept, text = [*kept, text[:end]], text[end:]
        whole = pieces(kept) + heard[len(kept) :]
        return Transcript("".join(piece.text for piece in whole).strip(), whole)

    def pump(self) -> None:
        while True:
            requests = self.session.take_requests(self.now)
            news = self.session.take_events()
            self.events += news
            if self.session.take_interruption():
                assert sum(EVENT_TYPES[type(event)] == "interruption" for event in news) == 1
                self.playout.end()
            for request in requests:
                self.check_request(request)
                (self.detects if isinstance(request, DetectRequest) else self.asked).append(request)  # type: ignore[arg-type]
            if not requests:
                return

    # What holds always

    def check_request(self, request: Request) -> None:
        padded, known = self.stream, self.end + 511
        match request:
            case DetectRequest(windows, first):
                np.testing.assert_array_equal(windows.ravel(), padded[first * 512 :][: windows.size])
                assert len(request.arrivals) == len(windows) >= 1
            case TranscribeRequest():
                assert 0 <= request.start_sample < request.end_sample <= known
                np.testing.assert_array_equal(request.samples, padded[request.start_sample : request.end_sample])
            case JudgeRequest():
                assert 0 < len(request.samples) <= 8 * 16_000
                ends = np.flatnonzero(padded[:known] == request.samples[-1]) + 1
                tail = request.samples[-64:]
                assert any(np.array_equal(padded[max(0, end - 64) : end], tail) for end in ends)

    @invariant()
    def at_most_one_question_is_before_the_detector(self) -> None:
        assert len(self.detects) <= 1

    @invariant()
    def events_come_in_the_order_of_the_protocol(self) -> None:
        speaking = False
        finals: list[int] = []
        turns: list[int] = []
        ends = 0.0
        for event in self.events:
            match event:
                case SpeechStarted():
                    assert not speaking
                    assert event.at_ms >= ends
                    speaking = True
                case SpeechEnded():
                    assert speaking
                    assert event.duration_ms > 0
                    speaking, ends = False, event.at_ms
                case PartialTranscription():
                    assert speaking
                    assert event.utterance not in finals
                    assert event.text.startswith(event.stable_text)
                case FinalTranscription():
                    assert event.start_ms < event.end_ms
                    finals.append(event.utterance)
                case TurnCompleted():
                    assert event.utterance == finals[-1]
                    assert event.silence_ms >= 0
                    turns.append(event.utterance)
                case SessionFinished():
                    assert event is self.events[-1]
                case _:
                    pass
        assert finals == list(range(len(finals)))
        assert turns == (finals if self.session.settings.turns else [])
        assert not (self.session.is_over and speaking)

    @invariant()
    def what_is_stable_never_changes(self) -> None:
        told = [event for event in self.events if isinstance(event, PartialTranscription | FinalTranscription)]
        for _, group in itertools.groupby(sorted(told, key=lambda e: e.utterance), key=lambda e: e.utterance):
            stable = ""
            for event in group:
                new = event.stable_text if isinstance(event, PartialTranscription) else event.text
                assert new.startswith(stable), (stable, new)
                stable = new

    @invariant()
    def each_frame_is_told_once_and_in_order(self) -> None:
        told = [event.frame for event in self.events if isinstance(event, FrameProcessed)]
        assert told == self.real_frames[: len(told)]
        assert self.session.frames_processed == len(told)

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        self.stop()
        for _ in range(10_000):
            if self.session.is_over:
                break
            if self.detects:
                self.detector_answers(0.0, 1)
                continue
            self.answer(self.asked.pop(0), 0, 0.1)
        assert isinstance(self.events[-1], SessionFinished)
        stats = self.events[-1].stats
        assert stats.frames_received == stats.frames_processed + stats.frames_dropped == self.received
        finals = [event for event in self.events if isinstance(event, FinalTranscription)]
        fatal = [event for event in self.events if isinstance(event, ErrorRaised) and event.fatal]
        assert len(fatal) == self.deaf
        assert len(finals) == stats.utterances
        if not self.deaf:
            assert stats.frames_processed == len(self.real_frames)
        self.events_come_in_the_order_of_the_protocol()
        self.what_is_stable_never_changes()
        self.each_frame_is_told_once_and_in_order()


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

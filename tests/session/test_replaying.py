"""A session that notes what goes in and out of it, lived through again from what it has noted."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from alfred_voice.errors import EngineDown, EngineFailure, RecordingUnreadable, RowFailure
from alfred_voice.events import EVENT_TYPES, BackpressureTriggered, WarningRaised
from alfred_voice.results import Piece, Transcript, TurnJudgement, Word
from alfred_voice.session.economy import Economy
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.recorded import Heading, RecordedPlayout, RecordedSession
from alfred_voice.session.replaying import Recording, Replay
from alfred_voice.session.requests import DetectRequest, JudgeRequest, Request
from alfred_voice.session.settings import SessionSettings


EVERYTHING = frozenset(EVENT_TYPES.values())


class Wild:
    """A recorded session that lives through all that can happen to one, by chance."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.noise = np.random.default_rng(seed)
        self.entries: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.settings = SessionSettings("s", events=EVERYTHING)
        self.options = SessionOptions()
        self.playout = RecordedPlayout(200, self.note)
        self.session = RecordedSession(self.settings, self.options, self.playout, self.note)
        self.now = 1234.5678
        self.out: list[Request] = []
        self.loud = False

    def note(self, entry: dict[str, Any], audio: bytes | None) -> None:
        self.entries.append(entry)
        if audio is not None:
            self.frames.append(audio)

    def live(self, frames: int) -> Recording:
        """So many frames, and what happens between them."""
        for _ in range(frames):
            self.now += 0.02 * self.dice.random() * 2
            if self.dice.random() < 0.02:
                self.loud = not self.loud
            level = 9000 if self.loud else 30
            noise = self.noise.integers(-level, level, 320, np.int16)
            self.session.receive_frame(noise, self.now)
            self.happen(self.dice.random())
            self.pump()
        self.session.receive_stop("stop", self.now)
        for _ in range(200):
            self.pump(hurry=True)
        self.session.end("shutdown", self.now)
        self.session.take_events()
        return self.recording()

    def happen(self, chance: float) -> None:
        session = self.session
        if chance < 0.01:
            session.receive_flush()
        elif chance < 0.02:
            session.receive_gap(self.dice.randint(1, 30), self.now)
        elif chance < 0.03:
            session.economise(Economy(self.dice.choice([0.0, 1.0, 2.0]), 2.0, speculates=self.dice.random() < 0.5))
        elif chance < 0.05:
            self.playout.begin(self.dice.randint(0, 9))
            self.playout.sent(800.0, self.now)
        elif chance < 0.06:
            self.playout.end()
        elif chance < 0.07:
            session.tell(WarningRaised("audio_dropped", "some", 1.5, 2.5))
            session.tell(BackpressureTriggered("drop_frames", 0.9, 20.0, 4))

    def pump(self, *, hurry: bool = False) -> None:
        question = self.session.next_detection() if self.dice.random() < 0.5 else None
        self.out += [question] if question else self.session.take_requests(self.now)
        for request in [*self.out]:
            if hurry or isinstance(request, DetectRequest) or self.dice.random() < 0.3:
                self.out.remove(request)
                self.now += 0.003
                self.answer(request)
        self.session.take_events()
        self.session.take_interruption()

    def answer(self, request: Request) -> None:
        chance = self.dice.random()
        if isinstance(request, DetectRequest):
            loud = [float(np.abs(window).max() > 1000) * 0.9 for window in request.windows]
            self.session.receive_detection(request, loud, self.now)
        elif chance < 0.1:
            error = self.dice.choice([EngineDown, EngineFailure])
            self.session.receive_failure(request, error("by chance"), self.now)
        elif isinstance(request, JudgeRequest):
            self.session.receive_judgement(request, TurnJudgement(self.dice.random()), self.now)
        else:
            words = ["one", "two", "three", "four"][: self.dice.randint(0, 4)]
            pieces = tuple(Piece(f" {word}", (len(word),), 0.9) for word in words)
            said = tuple(Word(word, 1.0, 2.0, 0.5) for word in words)
            answer = Transcript(" ".join(words), pieces, said, 0.7, processing_ms=12.3, engine="x")
            self.session.receive_transcript(request, answer, self.now)

    def recording(self) -> Recording:
        """As it comes from the disk."""
        heading = Heading("s", self.settings, self.options, 200, {}, 0.0, "0", "s.wav")
        read = msgspec.convert(msgspec.json.decode(msgspec.json.encode(heading)), Heading)
        entries = msgspec.json.decode(msgspec.json.encode(self.entries))
        return Recording(read, entries, np.frombuffer(b"".join(self.frames), "<i2").reshape(-1, 320))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_to_a_session_happens_again_in_its_replay(seed: int) -> None:
    recording = Wild(seed).live(900)

    assert Replay(recording).with_recorded_answers() == recording.told()
    assert {"speechStart", "finalTranscription", "sessionEnded"} <= {event["type"] for event in recording.told()}


def test_the_lives_above_have_seen_all_that_is_noted() -> None:
    seen = {entry["op"] for seed in range(4) for entry in Wild(seed).live(900).entries}

    assert seen >= {
        "frame", "gap", "flush", "stop", "detection", "transcript", "judgement", "failure", "tell", "economise", "ask",
        "next", "told", "interrupted", "playout_begin", "playout_sent", "playout_end", "end",
    }  # fmt: skip


def test_a_session_that_fails_or_loses_its_queue_fails_again() -> None:
    wild = Wild(1)
    for _ in range(100):
        wild.session.receive_frame(np.full(320, 9000, np.int16), wild.now)
        wild.pump(hurry=True)
    wild.session.receive_loss(7)
    wild.session.fail(RowFailure("the engine cannot bear it"), wild.now)
    wild.session.take_events()
    recording = wild.recording()

    told = Replay(recording).with_recorded_answers()

    assert told == recording.told()
    assert told[-1]["stats"]["frames_dropped"] >= 7
    assert [event["code"] for event in told if event["type"] == "error"] == ["row_failure"]


def test_a_session_that_decides_otherwise_tells_other_events() -> None:
    recording = Wild(3).live(900)
    entries = [
        {**entry, "p": [0.0] * len(entry["p"])} if entry["op"] == "detection" else entry for entry in recording.entries
    ]
    other = Recording(recording.heading, entries, recording.frames)

    assert Replay(other).with_recorded_answers() != recording.told()


def test_answers_given_at_once_lead_to_a_whole_session() -> None:
    recording = Wild(5).live(900)

    def answer(request: Request, now: float) -> Any:
        if isinstance(request, DetectRequest):
            return [float(np.abs(window).max() > 1000) * 0.9 for window in request.windows]
        return TurnJudgement(1.0) if isinstance(request, JudgeRequest) else Transcript("yes", (Piece(" yes", (1,)),))

    told = Replay(recording).with_answers_of(answer)

    assert told[-1]["type"] == "sessionEnded"
    assert "yes" in {event.get("text") for event in told}


def hears(request: Request, now: float) -> Any:
    """What models say of loud frames: speech, always of the same word, which ends no turn."""
    if isinstance(request, DetectRequest):
        return [float(np.abs(window).max() > 1000) * 0.9 for window in request.windows]
    return TurnJudgement(0.0) if isinstance(request, JudgeRequest) else Transcript("yes", (Piece(" yes", (1,)),))


def cut_off(end: Callable[[RecordedSession, float], None]) -> tuple[Recording, list[dict[str, Any]]]:
    """A session that is over in the middle of what is said, and what it has told; its answers came at once."""
    wild = Wild(0)
    told: list[Any] = []
    session, now = wild.session, 1.0
    for number in range(100):
        now += 0.02
        loud = 9000 if number > 20 else 30
        session.receive_frame(wild.noise.integers(-loud, loud, 320, np.int16), now)
        while requests := session.take_requests(now):
            for request in requests:
                answer = hears(request, now)
                if isinstance(request, DetectRequest):
                    session.receive_detection(request, answer, now)
                elif isinstance(request, JudgeRequest):
                    session.receive_judgement(request, answer, now)
                else:
                    session.receive_transcript(request, answer, now)
        told += session.take_events()
    end(session, now)
    told += session.take_events()
    return wild.recording(), [{"type": EVENT_TYPES[type(event)]} for event in told]


def test_a_session_whose_connection_was_lost_has_its_end_with_other_answers_too() -> None:
    recording, told = cut_off(lambda session, now: session.end("error", now))
    types = [event["type"] for event in Replay(recording).with_answers_of(hears)]
    assert types == [event["type"] for event in told]
    assert types[-4:] == ["speechEnd", "finalTranscription", "turnComplete", "sessionEnded"]


def test_a_session_that_a_fault_ended_has_an_end_with_engines_that_have_none() -> None:
    recording, _ = cut_off(lambda session, now: session.fail(RowFailure("the row"), now))
    types = [event["type"] for event in Replay(recording).with_answers_of(hears)]
    assert types[-4:] == ["speechEnd", "finalTranscription", "turnComplete", "sessionEnded"]
    assert "error" not in types


@pytest.mark.parametrize(
    "wrong",
    [{"op": "nonesuch"}, {"op": "ask"}, {"op": "gap", "frames": "x", "t": 1.0}, {"op": "frame", "t": 1.0}],
)
def test_an_entry_that_cannot_be_is_named(wrong: dict[str, Any]) -> None:
    recording = Wild(1).live(10)
    entries = [*recording.entries[:5], wrong]
    frames = recording.frames[: sum(entry["op"] == "frame" for entry in entries[:5])]

    with pytest.raises(RecordingUnreadable, match="entry 6 cannot be replayed"):
        Replay(Recording(recording.heading, entries, frames)).with_recorded_answers()

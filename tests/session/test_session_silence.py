"""The short way of a window through silence comes to the same as the long one, whatever went before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alfred_voice.errors import EngineFailure
from alfred_voice.events import EVENT_TYPES, FrameProcessed
from alfred_voice.session.requests import JudgeRequest, Urgency


MakeSpeaker = Callable[..., Any]
Action = tuple[str, Any]
ALL = frozenset(EVENT_TYPES.values())
OPTIONS: dict[str, Any] = {
    "vad": {"reset_after_ms": 500},
    "stt": {"max_window_ms": 5000, "min_partial_ms": 64},
    "turn": {"max_silence_ms": 700},
}

sounds = st.lists(
    st.tuples(st.sampled_from("##  ~"), st.integers(1, 12)).map(lambda run: run[0] * run[1]), min_size=1, max_size=4
).map("".join)
actions = st.one_of(
    st.tuples(st.sampled_from(["say", "say", "burst"]), sounds),
    st.tuples(st.just("say"), st.just(" " * 40)),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("gap"), st.integers(1, 60)),
    st.tuples(st.just("play"), st.sampled_from([300, 60_000])),
    st.tuples(st.just("answer"), st.sampled_from(["", "one two", "one two three four five"])),
    st.tuples(st.just("judge"), st.sampled_from([0.1, 0.9])),
)
endings = st.sampled_from([("stop", None), ("fail", "it broke"), ("end", "shutdown")])


def burst(one: Any, sound: str) -> None:
    """The sound comes faster than the detector answers."""
    said = len(one.detects)
    one.holds_detections = True
    one.say(sound)
    one.holds_detections = False
    for request in one.detects[said:]:
        one.detect(request)
    one.pump()


def lose(one: Any, frames: int) -> None:
    one.session.receive_gap(frames, one.now)
    one.pump()


def play(one: Any, ms: int) -> None:
    one.playout.begin(one.frames)
    one.playout.sent(ms, one.now)


def answer(one: Any, text: str) -> None:
    """Answer the oldest question of each urgency."""
    for urgency in Urgency:
        if one.questions(urgency):
            one.answer(urgency, text)


def judge(one: Any, probability: float) -> None:
    if one.judgements:
        one.judge(probability)


def fail(one: Any, reason: str) -> None:
    one.session.fail(EngineFailure(reason), one.now)
    one.pump()


def end(one: Any, reason: Any) -> None:
    one.session.end(reason, one.now)
    one.pump()


DEEDS: dict[str, Callable[[Any, Any], None]] = {
    "say": lambda one, sound: one.say(sound),
    "burst": burst,
    "flush": lambda one, _: one.flush(),
    "gap": lose,
    "play": play,
    "answer": answer,
    "judge": judge,
    "stop": lambda one, _: one.stop(),
    "fail": fail,
    "end": end,
}


def do(one: Any, action: Action) -> None:
    deed, what = action
    DEEDS[deed](one, what)
    if one.session.take_interruption():
        one.playout.end()


def asked(one: Any) -> list[Any]:
    """All questions that nobody has answered, but for their samples."""
    return [
        (r.epoch, len(r.samples), r.silence_ms, r.asked_at)
        if isinstance(r, JudgeRequest)
        else (r.urgency, r.epoch, r.start_sample, r.end_sample, r.prefix, r.draft, r.voiced_ms, r.asked_at)
        for r in one.asked
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(actions, min_size=1, max_size=16), ending=endings)
@example(script=[("play", 60_000), ("say", "##"), ("flush", None), ("say", "     #    ")], ending=("stop", None)).via(
    "speech that a flush has ended does not add up with a noise behind it"
)
def test_who_asks_for_each_frame_is_told_the_same_otherwise(
    speaker: MakeSpeaker, script: list[Action], ending: Action
) -> None:
    # With each frame to be told, no window goes the short way.
    short, long = (speaker(events=events, **OPTIONS) for events in (ALL - {"frameProcessed"}, ALL))
    for action in [*script, ending]:
        for one in (short, long):
            do(one, action)
        assert short.events == [event for event in long.events if not isinstance(event, FrameProcessed)]
        assert asked(short) == asked(long)
    assert [(d.first_window, d.arrivals, d.fresh) for d in short.detects] == [
        (d.first_window, d.arrivals, d.fresh) for d in long.detects
    ]
    assert short.session.stats == long.session.stats
    assert short.session.nbytes == long.session.nbytes

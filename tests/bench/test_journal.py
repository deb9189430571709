"""What a client's notes amount to: delays from the moments at which audio was due, and the account of finals."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from alfred_voice.bench.journal import Figures, Journal, Timeline, completing_frame, figures_of, merged
from alfred_voice.bench.script import Spoken


TIMELINE = Timeline(starts_s=100.0, frames=500, counted_from_s=100.0)


def journal(*events: tuple[float, dict[str, Any]]) -> Journal:
    """Notes of events and their arrivals."""
    notes = Journal()
    for at, event in events:
        notes.receive(json.dumps({"session_id": "s", "seq": 0, **event}).encode(), at)
    return notes


def final(utterance: int, end_ms: float) -> dict[str, Any]:
    return {"type": "finalTranscription", "utterance": utterance, "end_ms": end_ms, "text": "yes", "words": []}


def complete(utterance: int, at_ms: float, reason: str = "model") -> dict[str, Any]:
    return {"type": "turnComplete", "utterance": utterance, "at_ms": at_ms, "reason": reason}


def ended(**stats: float) -> dict[str, Any]:
    return {"type": "sessionEnded", "reason": "stop", "stats": stats}


def figures(*events: tuple[float, dict[str, Any]], spoken: tuple[Spoken, ...] = ()) -> Figures:
    return figures_of(journal(*events), TIMELINE, spoken)


# When audio is due


@pytest.mark.parametrize(
    ("end_sample", "due_s"),
    [
        pytest.param(0, 100.0, id="nothing is due with the first frame"),
        pytest.param(1, 100.0, id="the first sample"),
        pytest.param(320, 100.0, id="the last one of the first frame"),
        pytest.param(321, 100.02, id="the first one of the second"),
        pytest.param(500 * 320, 109.98, id="the last one of all"),
        pytest.param(500 * 320 + 512, 109.98, id="the padding behind it"),
    ],
)
def test_a_sample_is_due_with_its_frame(end_sample: int, due_s: float) -> None:
    assert TIMELINE.due_s(end_sample) == pytest.approx(due_s)
    assert TIMELINE.due_at_ms_s(end_sample / 16) == pytest.approx(due_s)


def test_a_frame_waits_for_the_one_that_fills_its_window() -> None:
    """By brute force: the first frame whose last sample is at or behind the end of the window."""
    for frame in range(40):
        end = next(end for end in range(512, 10**6, 512) if end >= (frame + 1) * 320)
        expected = next(later for later in range(100) if (later + 1) * 320 >= end)
        assert completing_frame(frame) == expected


def test_frame_age_counts_from_the_frame_that_fills_the_window() -> None:
    found = figures((100.030, {"type": "frameProcessed", "frame": 0}))

    assert found.frame_age_ms == pytest.approx([10.0])
    assert found.frame_wait_ms == pytest.approx([30.0])


def test_frames_of_the_warm_up_and_of_the_padded_end_have_no_age() -> None:
    notes = journal(
        (100.03, {"type": "frameProcessed", "frame": 0}),
        (101.05, {"type": "frameProcessed", "frame": 50}),
        (119.99, {"type": "frameProcessed", "frame": 499}),
    )

    found = figures_of(notes, Timeline(100.0, 500, counted_from_s=101.0), ())
    assert len(found.frame_age_ms) == 1


# Speech


def test_partials_lag_behind_their_last_sample() -> None:
    assert figures(
        (102.10, {"type": "partialTranscription", "utterance": 0, "end_ms": 2000.0, "text": "a"})
    ).partial_lag_ms == pytest.approx([120.0])


def test_finals_and_turns_are_late_by_the_silence_and_the_work() -> None:
    found = figures((102.30, final(0, 2000.0)), (102.31, complete(0, 2000.0)))

    assert found.final_ms == pytest.approx([320.0])
    assert found.final_prompt_ms == pytest.approx([320.0])
    assert found.turn_ms == pytest.approx([330.0])


def test_a_final_that_the_turn_model_held_back_is_not_prompt() -> None:
    pending = {"type": "turnPending", "probability": 0.1, "silence_ms": 200.0}
    held = figures((102.2, pending), (104.0, final(0, 2000.0)), (104.0, complete(0, 2000.0, "silence")))
    earlier = figures((101.5, pending), (102.3, final(0, 2000.0)), (102.3, complete(0, 2000.0)))

    assert held.final_ms == pytest.approx([2020.0])
    assert held.final_prompt_ms == []
    assert earlier.final_prompt_ms == pytest.approx([320.0])  # a pause within the utterance


def test_what_the_end_of_the_session_cut_off_is_delivered_but_not_timed() -> None:
    found = figures((110.0, final(0, 9990.0)), (110.0, complete(0, 9990.0, "flush")), (110.1, ended(utterances=1)))

    assert (found.final_ms, found.turn_ms) == ([], [])
    assert (found.finals, found.finals_lost) == (1, 0)


def test_speech_of_the_warm_up_is_not_timed() -> None:
    notes = journal((102.3, final(0, 2000.0)), (104.3, final(1, 4000.0)))

    found = figures_of(notes, Timeline(100.0, 500, counted_from_s=103.0), ())
    assert found.final_ms == pytest.approx([320.0])
    assert found.finals == 2


# Turns and interruptions


def spoken(first_s: float, end_s: float, *, interrupts: bool = False) -> Spoken:
    return Spoken(round(first_s * 16_000), round(end_s * 16_000), interrupts)


def test_a_turn_is_heard_when_speech_begins_with_it() -> None:
    turns = (spoken(1.0, 2.0), spoken(4.0, 5.0), spoken(7.0, 8.0))
    found = figures(
        (100.9, {"type": "speechStart", "at_ms": 700.0, "probability": 0.9}),
        (107.9, {"type": "speechStart", "at_ms": 7900.0, "probability": 0.9}),
        spoken=turns,
    )

    assert (found.turns_spoken, found.turns_unheard) == (3, 1)


def test_what_the_end_leaves_of_a_turn_need_not_be_heard() -> None:
    found = figures(spoken=(spoken(9.0, 9.4, interrupts=True), spoken(9.0, 9.6)))

    assert (found.turns_spoken, found.turns_unheard, found.interruptions_due) == (1, 1, 0)


def test_an_interruption_counts_from_the_first_sample_of_the_turn() -> None:
    found = figures(
        (101.12, {"type": "interruption", "at_ms": 1000.0, "speech_id": 1}),
        spoken=(spoken(1.0, 2.0, interrupts=True), spoken(4.0, 5.0)),
    )

    assert found.interruption_ms == pytest.approx([120.0])
    assert found.interruptions_due == 1


def test_an_interruption_that_never_came_is_due_all_the_same() -> None:
    found = figures(
        (100.5, {"type": "interruption", "at_ms": 0.0, "speech_id": 0}),
        (109.0, {"type": "interruption", "at_ms": 0.0, "speech_id": 1}),
        spoken=(spoken(1.0, 2.0, interrupts=True),),
    )

    assert (found.interruption_ms, found.interruptions_due) == ([], 1)


# The account


def test_every_utterance_that_the_daemon_counted_is_due_a_final() -> None:
    found = figures((102.3, final(0, 2000.0)), (105.3, final(2, 5000.0)), (110.0, ended(utterances=4)))

    assert (found.finals_due, found.finals, found.finals_lost) == (4, 2, 2)


def test_finals_that_came_twice_make_up_for_none_that_is_lost() -> None:
    found = figures((102.3, final(0, 2000.0)), (102.4, final(0, 2000.0)), (110.0, ended(utterances=2)))

    assert (found.finals, found.finals_lost, found.finals_twice) == (1, 1, 1)


def test_without_an_end_speech_that_began_after_the_last_final_is_lost() -> None:
    found = figures(
        (101.0, {"type": "speechStart", "at_ms": 700.0}),
        (102.3, final(0, 2000.0)),
        (104.0, {"type": "speechStart", "at_ms": 3700.0}),
    )

    assert (found.finals_due, found.finals_lost, found.unended) == (2, 1, 1)


def test_frames_are_processed_or_dropped_or_missing() -> None:
    found = figures((110.0, ended(frames_received=480, frames_processed=470, frames_dropped=10)))

    assert (found.frames_sent, found.frames_processed, found.frames_dropped) == (500, 470, 10)
    assert found.frames_unaccounted == 20


def test_warnings_errors_and_steps_are_counted_by_their_codes() -> None:
    found = figures(
        (101.0, {"type": "warning", "code": "audio_dropped", "message": ""}),
        (101.1, {"type": "warning", "code": "audio_dropped", "message": ""}),
        (101.2, {"type": "error", "code": "engine_failure", "message": "", "fatal": False}),
        (101.3, {"type": "backpressureTriggered", "step": "drop_frames", "load": 0.9}),
        (101.4, {"type": "backpressureRecovered", "step": "none", "load": 0.1}),
        (101.5, {"type": "pipelineHealth", "pipelineState": {"health": "healthy"}}),
    )

    assert found.warnings == Counter(audio_dropped=2)
    assert found.errors == Counter(engine_failure=1)
    assert found.steps == Counter(drop_frames=1)


def test_a_broken_connection_is_told_by_its_reason() -> None:
    notes = journal((101.0, {"type": "sessionStarted"}))
    notes.lost = "closed with 1013"

    found = figures_of(notes, TIMELINE, ())
    assert found.losses == Counter({"closed with 1013": 1})
    assert found.unended == 1
    assert notes.is_started


def test_figures_of_several_sessions_add_up() -> None:
    first = figures((102.3, final(0, 2000.0)), (110.0, ended(utterances=1, frames_processed=500)))
    second = figures((102.4, final(0, 2000.0)), (110.0, ended(utterances=2, frames_processed=490)))
    whole = merged([first, second])

    assert whole.sessions == 2
    assert whole.final_ms == pytest.approx([320.0, 420.0])
    assert (whole.finals_due, whole.finals_lost, whole.frames_processed) == (3, 1, 990)
    assert first.final_ms == pytest.approx([320.0])  # and are left as they were
    assert merged([]) == Figures()

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.session.intake import FRAME_SAMPLES, Intake


Int16 = NDArray[np.int16]


def frame(number: int) -> Int16:
    """A frame that can be told from all others."""
    return (np.arange(FRAME_SAMPLES) + number * 7).astype(np.int16)


def judge_all(intake: Intake, most: int = 16) -> tuple[list[tuple[int, Int16]], list[int], list[int]]:
    """Judge what is there: (first sample, window) of those asked, starts of gap windows, frames processed."""
    asked: list[tuple[int, Int16]] = []
    gaps: list[int] = []
    frames: list[int] = []
    while True:
        if intake.next_is_gap:
            start, _ = intake.take_gap_window()
            gaps.append(start)
            frames += [number for number, _, _ in intake.mark_judged(start)]
            continue
        request = intake.take_windows(most, fresh=False)
        if request is None:
            return asked, gaps, frames
        assert len(request.windows) == len(request.arrivals) <= most
        for index, window in enumerate(request.windows):
            start = (request.first_window + index) * 512
            asked.append((start, window.copy()))
            frames += [number for number, _, _ in intake.mark_judged(start)]
        intake.discard(intake.judged_samples)


@pytest.mark.parametrize(("frames", "windows", "processed"), [(0, 0, 0), (1, 0, 0), (2, 1, 1), (8, 5, 8), (9, 5, 8)])
def test_a_frame_is_processed_with_the_window_that_covers_its_end(frames: int, windows: int, processed: int) -> None:
    intake = Intake(16_000)
    for number in range(frames):
        intake.receive_frame(frame(number), 0.0)

    assert intake.waiting_windows == windows
    asked, _, done = judge_all(intake)
    assert len(asked) == windows
    assert done == list(range(processed))
    assert (intake.received, intake.processed, intake.dropped) == (frames, processed, 0)


def test_a_window_arrives_with_the_frame_that_completes_it() -> None:
    intake = Intake(16_000)
    for number in range(5):
        intake.receive_frame(frame(number), float(number))

    request = intake.take_windows(16, fresh=True)

    assert request is not None
    assert request.arrivals == (1.0, 3.0, 4.0)
    assert request.fresh
    assert request.first_window == 0
    np.testing.assert_array_equal(request.windows[0], np.concatenate([frame(0), frame(1)[:192]]))


def test_no_more_windows_are_handed_out_than_asked_for() -> None:
    intake = Intake(16_000)
    for number in range(16):
        intake.receive_frame(frame(number), 0.0)

    first, second, third = (intake.take_windows(4, fresh=False) for _ in range(3))

    assert first is not None
    assert second is not None
    assert third is not None
    assert [len(r.windows) for r in (first, second, third)] == [4, 4, 2]
    assert [r.first_window for r in (first, second, third)] == [0, 4, 8]
    assert intake.take_windows(4, fresh=False) is None


def test_the_tail_is_completed_with_silence() -> None:
    intake = Intake(16_000)
    intake.receive_frame(np.full(320, 5, np.int16), 0.0)
    intake.pad_tail(1.0)
    intake.pad_tail(2.0)

    asked, _, done = judge_all(intake)

    assert [(start, window.tolist()) for start, window in asked] == [(0, [5] * 320 + [0] * 192)]
    assert done == [0]
    assert intake.end == 512


def test_what_has_not_been_judged_when_it_is_closed_counts_as_dropped() -> None:
    intake = Intake(16_000)
    for number in range(4):
        intake.receive_frame(frame(number), 0.0)
    intake.receive_gap(3, 0.0)
    intake.receive_loss(2)
    intake.take_windows(1, fresh=False)
    list(intake.mark_judged(0))

    intake.close()

    assert (intake.received, intake.processed, intake.dropped) == (9, 1, 8)
    assert intake.waiting_windows == 0
    assert intake.take_windows(9, fresh=False) is None
    assert intake.nbytes <= 32_000


def test_audio_is_read_as_far_as_it_is_there() -> None:
    intake = Intake(16_000)
    for number in range(4):
        intake.receive_frame(frame(number), 0.0)
    judge_all(intake)

    assert len(intake.read(0, 2000)) == 1280 - 1024
    np.testing.assert_array_equal(intake.read(0, 2000), frame(3)[64:])


def test_audio_that_nobody_has_taken_is_not_forgotten() -> None:
    intake = Intake(16_000)
    for number in range(4):
        intake.receive_frame(frame(number), 0.0)
    intake.discard(1280)

    request = intake.take_windows(1, fresh=False)

    assert request is not None
    np.testing.assert_array_equal(request.windows[0, :320], frame(0))


def test_a_gap_longer_than_what_is_held_leaves_silence_before_it() -> None:
    intake = Intake(6_400)
    intake.receive_frame(frame(1), 0.0)
    intake.receive_gap(100, 1.0)

    asked, gaps, done = judge_all(intake)

    assert [start for start, _ in asked] == [0]
    assert not asked[0][1].any()
    assert gaps == [512 * n for n in range(1, 101 * 320 // 512)]
    assert done == [0]
    assert intake.received == 101 == intake.processed + intake.dropped


@given(
    st.lists(
        st.one_of(
            st.just(("frame", 1)),
            st.tuples(st.just("gap"), st.integers(1, 12)),
            st.tuples(st.just("judge"), st.integers(1, 8)),
            st.tuples(st.just("loss"), st.integers(1, 3)),
        ),
        max_size=80,
    )
)
def test_any_mix_of_frames_and_gaps_is_judged_once_and_accounted_for(steps: list[tuple[str, int]]) -> None:
    intake = Intake(16_000 * 30)
    stream: list[Int16] = []
    asked: list[tuple[int, Int16]] = []
    gaps: list[int] = []
    done: list[int] = []
    real: list[int] = []
    lost = 0
    for now, (kind, amount) in enumerate([*steps, ("pad", 0), ("judge", 16)]):
        if kind == "frame":
            real.append(intake.received)
            stream.append(frame(intake.received))
            intake.receive_frame(stream[-1], float(now))
        elif kind == "gap":
            stream.append(np.zeros(amount * FRAME_SAMPLES, np.int16))
            intake.receive_gap(amount, float(now))
        elif kind == "loss":
            lost += amount
            intake.receive_loss(amount)
        elif kind == "pad":
            intake.pad_tail(float(now))
        else:
            more_asked, more_gaps, more_done = judge_all(intake, amount)
            asked, gaps, done = asked + more_asked, gaps + more_gaps, done + more_done

    whole = np.concatenate([*stream, np.zeros(-sum(map(len, stream)) % 512, np.int16)])
    starts = sorted([start for start, _ in asked] + gaps)
    assert starts == list(range(0, len(whole), 512))
    for start, window in asked:
        np.testing.assert_array_equal(window, whole[start : start + 512])
    for start in gaps:
        assert not whole[start : start + 512].any()
    assert done == real
    assert intake.processed == len(real)
    assert intake.received == intake.processed + intake.dropped == sum(map(len, stream)) // 320 + lost

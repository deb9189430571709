from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.audio.framer import Framer
from alfred_voice.audio.pcm import Int16


def ramp(n: int, first: int = 0) -> Int16:
    return np.arange(first, first + n).astype(np.int16)


def test_exactly_one_size_is_exactly_one_piece_and_no_copy() -> None:
    framer = Framer(512)
    samples = ramp(512)

    pieces = framer.feed(samples)

    assert len(pieces) == 1
    assert np.shares_memory(pieces[0], samples)
    assert framer.pending == 0


@pytest.mark.parametrize(
    ("n", "pieces", "pending"), [(0, 0, 0), (1, 0, 1), (511, 0, 511), (513, 1, 1), (1024, 2, 0), (1025, 2, 1)]
)
def test_sizes_around_the_piece_are_cut_right(n: int, pieces: int, pending: int) -> None:
    framer = Framer(512)

    assert len(framer.feed(ramp(n))) == pieces
    assert framer.pending == pending


def test_frames_become_windows_across_their_seams() -> None:
    framer = Framer(512)

    windows = [window for at in range(0, 320 * 8, 320) for window in framer.feed(ramp(320, at))]

    assert [len(window) for window in windows] == [512] * 5
    np.testing.assert_array_equal(np.concatenate(windows), ramp(2560))
    assert framer.pending == 0


def test_completed_pieces_do_not_change_when_more_is_fed() -> None:
    framer = Framer(4)
    framer.feed(ramp(3))
    (first,) = framer.feed(ramp(1, 3))
    framer.feed(ramp(3, 100))

    assert first.tolist() == [0, 1, 2, 3]


def test_pending_samples_do_not_depend_on_what_was_fed_staying_unchanged() -> None:
    framer = Framer(4)
    samples = ramp(3)
    framer.feed(samples)
    samples[:] = -1

    assert framer.feed(ramp(1, 3))[0].tolist() == [0, 1, 2, 3]


def test_flush_fills_up_with_zeros_once() -> None:
    framer = Framer(4)
    framer.feed(ramp(6, 1))

    rest = framer.flush()

    assert rest is not None
    assert rest.tolist() == [5, 6, 0, 0]
    assert framer.pending == 0
    assert framer.flush() is None


def test_flush_of_nothing_is_nothing() -> None:
    framer = Framer(4)
    framer.feed(ramp(4))

    assert framer.flush() is None


def test_the_rest_can_be_taken_as_it_is() -> None:
    framer = Framer(4)
    framer.feed(ramp(6, 1))

    assert framer.take_rest().tolist() == [5, 6]
    assert framer.take_rest().tolist() == []


def test_a_stream_can_go_on_after_a_flush() -> None:
    framer = Framer(4)
    framer.feed(ramp(3))
    framer.flush()

    assert [piece.tolist() for piece in framer.feed(ramp(5, 50))] == [[50, 51, 52, 53]]


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"got {size}"):
        Framer(size)


@given(st.integers(1, 50), st.lists(st.integers(0, 130), max_size=20))
def test_joined_together_the_pieces_are_the_stream_whatever_the_chunking(size: int, chunks: list[int]) -> None:
    framer = Framer(size)
    stream = ramp(sum(chunks))
    pieces: list[Int16] = []
    for start, n in zip(np.cumsum([0, *chunks]), chunks, strict=False):
        pieces += framer.feed(stream[start : start + n])
        assert framer.pending < size

    assert all(piece.shape == (size,) and piece.dtype == np.int16 for piece in pieces)
    assert framer.pending == len(stream) % size
    np.testing.assert_array_equal(np.concatenate([*pieces, framer.take_rest()]), stream)

"""What a decoder is fed when several rows read together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.models.decoder_batch import DecoderBatch, Heard


HEADS, WIDTH, LAYERS = 2, 3, 2


def heard(states: int, padded: int | None = None, value: float = 1.0) -> Heard:
    size = (1, HEADS, padded or states, WIDTH)
    return Heard(states, tuple(np.full(size, value + at, np.float32) for at in range(2 * LAYERS)))


def batch(*states: int) -> DecoderBatch:
    rows = [heard(count, value=10 * at) for at, count in enumerate(states)]
    return DecoderBatch(rows, 2 * LAYERS, HEADS * WIDTH)


class TestHeard:
    def test_shorter_ones_are_filled_up_with_nothing_that_the_mask_hides(self) -> None:
        found = batch(2, 5, 3)
        assert found.mask.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
        assert found.mask.dtype == np.int32
        for layer, values in enumerate(found.cross):
            assert values.shape == (3, HEADS, 5, WIDTH)
            for row, length in enumerate((2, 5, 3)):
                assert (values[row, :, :length] == 10 * row + layer).all()
                assert (values[row, :, length:] == 0).all()

    def test_padding_of_its_own_is_hidden_too(self) -> None:
        found = DecoderBatch([heard(3, 8)], 2, 6)
        assert found.mask.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0]]

    def test_one_alone_is_not_copied(self) -> None:
        one = heard(4)
        assert all(a is b for a, b in zip(DecoderBatch([one], 2, 6).cross, one.cross, strict=True))


class TestFeeds:
    def test_each_row_reads_at_its_own_place(self) -> None:
        feeds = batch(4, 4).feeds([[7, 8, 9], [5]], [0, 40], 3, 99)
        assert feeds["tokens"].tolist() == [[7, 8, 9], [5, 99, 99]]
        assert feeds["positions"].tolist() == [[0, 1, 2], [40, 41, 42]]
        assert feeds["places"].tolist() == [[[0, 0], [0, 1], [0, 2]], [[1, 40], [1, 41], [1, 42]]]

    def test_a_token_looks_at_itself_and_what_is_before_it(self) -> None:
        found = batch(4, 4)
        bias = found.feeds([[7, 8], [5, 6]], [0, 30], 2, 99)["bias"]
        assert bias.shape == (2, 1, 2, 32)
        seen = (bias[:, 0] == 0).sum(axis=-1)
        assert seen.tolist() == [[1, 2], [31, 32]]
        assert (bias[bias != 0] <= -1e8).all()

    @given(starts=st.lists(st.integers(0, 200), min_size=1, max_size=4), wide=st.integers(1, 40))
    def test_the_cache_has_room_for_what_is_read_and_keeps_what_was(self, starts: list[int], wide: int) -> None:
        found = batch(*[3] * len(starts))
        found.feeds([[1]] * len(starts), [0] * len(starts), 1, 0)
        for values in found.past:
            values += 1
        before = found.past[0].shape[1]
        feeds = found.feeds([[1] * wide] * len(starts), starts, wide, 0)
        capacity = found.past[0].shape[1]
        assert capacity % 32 == 0
        assert capacity >= max(before, max(starts) + wide)
        assert feeds["bias"].shape == (len(starts), 1, wide, capacity)
        for values in found.past:
            assert values.shape == (len(starts), capacity, HEADS * WIDTH)
            assert (values[:, :before] == 1).all()
            assert (values[:, before:] == 0).all()


@pytest.mark.parametrize("kept", [[0], [2], [0, 1], [1, 2, 3], [0, 2], [0, 1, 3]])
def test_those_that_stay_keep_what_is_theirs(kept: list[int]) -> None:
    found = batch(2, 5, 3, 4)
    found.feeds([[1]] * 4, [0] * 4, 1, 0)
    found.past = [values + np.arange(4, dtype=np.float32)[:, None, None] for values in found.past]
    found.keep(kept)
    assert found.mask.sum(axis=1).tolist() == [(2, 5, 3, 4)[row] for row in kept]
    assert all(values[:, 0, 0, 0].tolist() == [10 * row + at for row in kept] for at, values in enumerate(found.cross))
    assert all(values[:, 0, 0].tolist() == kept for values in found.past)

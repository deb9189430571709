"""The encoder whole, and going on with a clip that grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.models import moonshine_encoder
from alfred_voice.models.decoder_batch import Heard
from alfred_voice.models.moonshine_encoder import MIN_SAMPLES, ClipEncoder, Hearing, count_states
from alfred_voice.models.moonshine_graphs import write_encoder
from alfred_voice.models.moonshine_layers import Arithmetic
from alfred_voice.models.moonshine_weights import read_decoder, read_encoder
from alfred_voice.models.onnx import open_session
from alfred_voice.models.store import Store


Float32 = NDArray[np.float32]
RATE = 16_000


@pytest.fixture(scope="module")
def encoder(models: Store, tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    """In numbers, not in 8 bits: so that what is equal can be seen to be equal."""
    folder = models.path("moonshine-tiny-en", "encoder_model.ort").parent
    path: Path = tmp_path_factory.mktemp("numbers") / "encoder.onnx"
    weights = read_encoder(folder / "encoder_model.ort"), read_decoder(folder / "decoder_model_merged.ort")
    write_encoder(*weights, path, Arithmetic.FLOAT)
    return ClipEncoder(open_session(path))


@pytest.fixture(scope="module")
def speech(two_cities: NDArray[np.int16]) -> Float32:
    return (two_cities[: 5 * RATE] / np.float32(32_768)).astype(np.float32)


def distance(one: Heard, other: Heard) -> float:
    """How far apart two are, as a part of their size."""
    assert one.states == other.states
    parts = [
        np.sqrt(np.mean(np.square(a[:, :, : one.states] - b[:, :, : one.states])) / np.mean(np.square(b)))
        for a, b in zip(one.cross, other.cross, strict=True)
    ]
    return float(max(parts))


@pytest.mark.models
class TestWhole:
    @pytest.mark.parametrize("samples", [MIN_SAMPLES, MIN_SAMPLES + 383, MIN_SAMPLES + 384, 16_000, 50_001])
    def test_there_are_as_many_states_as_counted(self, encoder: ClipEncoder, speech: Float32, samples: int) -> None:
        heard = encoder.encode(speech[:samples])
        assert heard.states == count_states(samples)

    def test_padding_is_to_whole_vectors_and_empty(self, encoder: ClipEncoder, speech: Float32) -> None:
        heard = encoder.encode(speech[: 2 * RATE])
        assert heard.padded == 128
        assert all(not values[:, :, heard.states :].any() for values in heard.cross)
        assert {values.shape for values in heard.cross} == {(1, 8, 128, 36)}

    def test_the_shortest_clip_has_one_state(self) -> None:
        assert count_states(MIN_SAMPLES) == 1
        assert count_states(MIN_SAMPLES - 1) == 0


@pytest.mark.models
class TestGrowing:
    def test_a_clip_shorter_than_what_is_made_anew_is_heard_as_if_whole(
        self, encoder: ClipEncoder, speech: Float32
    ) -> None:
        """All states are made anew: only the convolutions go on where they were, and that is exact."""
        hearing = Hearing()
        for end in (8_000, 11_200, 13_001, 17_777, 22_000, 23_900):
            grown = encoder.follow(speech[:end], hearing)
            assert distance(grown, encoder.encode(speech[:end])) < 1e-4

    def test_with_all_made_anew_a_long_clip_is_exact_too(
        self, encoder: ClipEncoder, speech: Float32, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(moonshine_encoder, "_RECENT_STATES", 10_000)
        hearing = Hearing()
        for end in range(8_000, len(speech), 5_123):
            grown = encoder.follow(speech[:end], hearing)
        assert distance(grown, encoder.encode(speech[:end])) < 1e-4

    def test_old_states_stay_and_new_ones_are_near(self, encoder: ClipEncoder, speech: Float32) -> None:
        hearing = Hearing()
        encoder.follow(speech[: 4 * RATE], hearing)
        kept = hearing.first
        before = [values[:, :, :kept].copy() for values in hearing.cross]
        grown = encoder.follow(speech[: 4 * RATE + 3_200], hearing)
        for old, new in zip(before, grown.cross, strict=True):
            np.testing.assert_array_equal(old, new[:, :, :kept])
        assert distance(grown, encoder.encode(speech[: 4 * RATE + 3_200])) < 0.5

    def test_states_with_two_seconds_behind_them_stay(self, encoder: ClipEncoder, speech: Float32) -> None:
        hearing = Hearing()
        states = encoder.follow(speech, hearing).states
        assert (states - hearing.first) * 0.024 == pytest.approx(2.0, abs=0.02)

    @pytest.mark.parametrize("case", ["another", "shorter", "hardly longer", "the same"])
    def test_what_does_not_go_on_is_heard_anew(self, encoder: ClipEncoder, speech: Float32, case: str) -> None:
        hearing = Hearing()
        encoder.follow(speech[: 3 * RATE], hearing)
        clip = {
            "another": speech[RATE : 5 * RATE],
            "shorter": speech[: 2 * RATE],
            "hardly longer": speech[: 3 * RATE + 500],
            "the same": speech[: 3 * RATE],
        }[case]
        assert distance(encoder.follow(clip, hearing), encoder.encode(clip)) < 1e-4

    def test_it_does_not_change_the_clip_and_keeps_no_view_of_it(self, encoder: ClipEncoder, speech: Float32) -> None:
        hearing, samples = Hearing(), speech[: 2 * RATE].copy()
        encoder.follow(samples, hearing)
        np.testing.assert_array_equal(samples, speech[: 2 * RATE])
        assert not np.shares_memory(samples, hearing.samples)

    def test_what_it_keeps_is_bounded_by_the_clip(self, encoder: ClipEncoder, speech: Float32) -> None:
        hearing = Hearing()
        assert hearing.nbytes < 1_000
        for end in range(8_000, len(speech), 3_200):
            encoder.follow(speech[:end], hearing)
        assert hearing.nbytes < 1_500_000 * end / RATE

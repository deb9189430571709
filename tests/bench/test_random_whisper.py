"""Weights that nobody trained: of every size, the same from the same seed, and not deaf to what they hear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alfred_voice.bench.random_whisper import SIZES, random_checkpoint
from alfred_voice.models.whisper_checkpoint import Dimensions
from alfred_voice.models.whisper_reference import Reference


SMALL = Dimensions(80, 1500, 48, 4, 2, 51865, 448, 48, 3, 3)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_whisper(name: str) -> None:
    sizes = SIZES[name]
    assert (sizes.n_mels, sizes.n_audio_ctx, sizes.n_text_ctx) == (80, 1500, 448)
    assert sizes.n_audio_state // sizes.n_audio_head == sizes.n_text_state // sizes.n_text_head == 64
    assert sizes.is_multilingual is not name.endswith(".en")
    assert sizes.languages == 99


def test_tensors_have_the_names_and_shapes_of_a_checkpoint() -> None:
    weights = random_checkpoint(SMALL, 0).weights
    # Per layer of the encoder 15 tensors, of the decoder 24; beside them those of the ends.
    assert len(weights) == 15 * 2 + 24 * 3 + 4 + 1 + 2 + 2 + 2
    assert weights["encoder.conv1.weight"].shape == (48, 80, 3)
    assert weights["encoder.conv2.weight"].shape == (48, 48, 3)
    assert weights["encoder.blocks.1.mlp.0.weight"].shape == (192, 48)
    assert weights["decoder.blocks.2.cross_attn.key.weight"].shape == (48, 48)
    assert "decoder.blocks.2.cross_attn.key.bias" not in weights
    assert weights["decoder.token_embedding.weight"].shape == (51865, 48)
    assert all(one.dtype == np.float32 and np.isfinite(one).all() for one in weights.values())


def test_places_are_waves_of_growing_length() -> None:
    places = random_checkpoint(SMALL, 0).weights["encoder.positional_embedding"]
    assert places.shape == (1500, 48)
    assert places[0].tolist() == [0.0] * 24 + [1.0] * 24
    np.testing.assert_allclose(places[:, 0], np.sin(np.arange(1500)), atol=1e-4)
    np.testing.assert_allclose(places[:, 47], np.cos(np.arange(1500) / 10_000), atol=1e-6)


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    first, again, other = (random_checkpoint(SMALL, seed).weights for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["encoder.conv1.weight"], other["encoder.conv1.weight"])


def test_what_is_said_depends_on_what_is_heard_and_on_what_was_said() -> None:
    reference = Reference(random_checkpoint(replace(SMALL, n_text_layer=2), 1))
    mels = np.random.default_rng(0).normal(0, 0.4, (2, 80, 64)).astype(np.float32)
    states = [reference.encode(mel) for mel in mels]
    logits = [
        reference.logits([50258, 50259, word, 7], one)[-1]
        for one, word in zip((*states, states[0]), (5, 5, 6), strict=True)
    ]
    spread = logits[0].std()
    assert np.abs(logits[1] - logits[0]).max() > 0.3 * spread
    assert np.abs(logits[2] - logits[0]).max() > 0.3 * spread

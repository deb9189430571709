"""Whispers of any size that have learnt nothing: for measurements and comparisons, which do not ask what is said."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.whisper_checkpoint import Checkpoint, Dimensions


Float32 = NDArray[np.float32]

SIZES: Mapping[str, Dimensions] = {
    name: Dimensions(80, 1500, width, heads, layers, vocabulary, 448, width, heads, layers)
    for name, width, heads, layers, vocabulary in (
        ("tiny.en", 384, 6, 4, 51864),
        ("tiny", 384, 6, 4, 51865),
        ("base", 512, 8, 6, 51865),
        ("small", 768, 12, 12, 51865),
        ("medium", 1024, 16, 24, 51865),
    )
}
"""Of those that are published, by name (openai/whisper, model card)."""


def random_checkpoint(sizes: Dimensions, seed: int) -> Checkpoint:
    """Weights drawn so that a text wanders through the vocabulary instead of staying at one token.

    Layers answer about as strongly as they are asked, and the tokens' own vectors are weak beside what the layers add:
    a network that is deaf to its layers would hide their faults.
    """
    random = np.random.default_rng(seed)
    weights: dict[str, Float32] = {}

    def linear(name: str, width_in: int, width_out: int, *, has_bias: bool = True, gain: float = 1.0) -> None:
        deviation = gain / np.sqrt(width_in)
        weights[f"{name}.weight"] = random.normal(0, deviation, (width_out, width_in)).astype(np.float32)
        if has_bias:
            weights[f"{name}.bias"] = random.normal(0, 0.02, width_out).astype(np.float32)

    def norm(name: str, width: int) -> None:
        weights[f"{name}.weight"] = random.normal(1, 0.1, width).astype(np.float32)
        weights[f"{name}.bias"] = random.normal(0, 0.1, width).astype(np.float32)

    def block(name: str, width: int, *attentions: str) -> None:
        for attention in attentions:
            norm(f"{name}.{attention}_ln", width)
            for part in ("query", "key", "value", "out"):
                gain = 2.0 if part in ("query", "key") else 1.0
                linear(f"{name}.{attention}.{part}", width, width, has_bias=part != "key", gain=gain)
        norm(f"{name}.mlp_ln", width)
        linear(f"{name}.mlp.0", width, 4 * width)
        linear(f"{name}.mlp.2", 4 * width, width)

    heard, read = sizes.n_audio_state, sizes.n_text_state
    for number, width in ((1, sizes.n_mels), (2, heard)):
        deviation = 1 / np.sqrt(3 * width)
        weights[f"encoder.conv{number}.weight"] = random.normal(0, deviation, (heard, width, 3)).astype(np.float32)
        weights[f"encoder.conv{number}.bias"] = random.normal(0, 0.02, heard).astype(np.float32)
    weights["encoder.positional_embedding"] = _waves(sizes.n_audio_ctx, heard)
    for number in range(sizes.n_audio_layer):
        block(f"encoder.blocks.{number}", heard, "attn")
    norm("encoder.ln_post", heard)
    weights["decoder.token_embedding.weight"] = random.normal(0, 0.05, (sizes.n_vocab, read)).astype(np.float32)
    weights["decoder.positional_embedding"] = random.normal(0, 0.3, (sizes.n_text_ctx, read)).astype(np.float32)
    for number in range(sizes.n_text_layer):
        block(f"decoder.blocks.{number}", read, "attn", "cross_attn")
    norm("decoder.ln", read)
    return Checkpoint(sizes, weights)


def _waves(length: int, width: int) -> Float32:
    """Places as sines and cosines of growing length (openai/whisper, model.py, sinusoids)."""
    slowing = np.log(10_000) / (width // 2 - 1)
    angles = np.arange(length)[:, np.newaxis] * np.exp(-slowing * np.arange(width // 2))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)

"""Whisper in plain NumPy, written from its description and for nothing but to be compared with.

Radford et al. 2022 (arXiv 2212.04356) and the weights' names tell all that is needed. A graph that was built
wrongly, or whose weights were hurt when they were made small, answers otherwise than this.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from alfred_voice.models.whisper_checkpoint import Checkpoint


Float32 = NDArray[np.float32]

_EPSILON = 1e-5


class Reference:
    """The arithmetic of one checkpoint, for a clip at a time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    def encode(self, mel: Float32) -> Float32:
        """What is heard; float32, shape (frames / 2, width), of features of shape (mels, frames)."""
        sizes = self._checkpoint.dimensions
        x = _gelu(self._convolved("encoder.conv1", mel, 1))
        x = _gelu(self._convolved("encoder.conv2", x, 2)).T
        x = x + self._checkpoint["encoder.positional_embedding"][: len(x)]
        for number in range(sizes.n_audio_layer):
            block = f"encoder.blocks.{number}."
            normal = self._norm(f"{block}attn_ln", x)
            x = x + self._attend(f"{block}attn", normal, normal, sizes.n_audio_head)
            x = x + self._feed(block, x)
        return self._norm("encoder.ln_post", x)

    def logits(self, tokens: Sequence[int], states: Float32) -> Float32:
        """What follows each token; float32, shape (tokens, vocabulary)."""
        sizes = self._checkpoint.dimensions
        table = self._checkpoint["decoder.token_embedding.weight"]
        x = table[list(tokens)] + self._checkpoint["decoder.positional_embedding"][: len(tokens)]
        later = np.triu(np.full((len(tokens), len(tokens)), -np.inf, np.float32), 1)
        for number in range(sizes.n_text_layer):
            block = f"decoder.blocks.{number}."
            normal = self._norm(f"{block}attn_ln", x)
            x = x + self._attend(f"{block}attn", normal, normal, sizes.n_text_head, later)
            normal = self._norm(f"{block}cross_attn_ln", x)
            x = x + self._attend(f"{block}cross_attn", normal, states, sizes.n_text_head)
            x = x + self._feed(block, x)
        logits: Float32 = self._norm("decoder.ln", x) @ table.T
        return logits

    def _linear(self, name: str, x: Float32) -> Float32:
        y: Float32 = x @ self._checkpoint[f"{name}.weight"].T
        bias = self._checkpoint.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, name: str, x: Float32) -> Float32:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(_EPSILON))
        normal: Float32 = centred / deviation * self._checkpoint[f"{name}.weight"] + self._checkpoint[f"{name}.bias"]
        return normal

    def _feed(self, block: str, x: Float32) -> Float32:
        raised = self._linear(f"{block}mlp.0", self._norm(f"{block}mlp_ln", x))
        return self._linear(f"{block}mlp.2", _gelu(raised))

    def _attend(self, name: str, x: Float32, others: Float32, heads: int, mask: Float32 | None = None) -> Float32:
        query, key, value = (
            np.stack(np.split(self._linear(f"{name}.{part}", source), heads, axis=-1))
            for part, source in (("query", x), ("key", others), ("value", others))
        )
        fit = query @ key.transpose(0, 2, 1) / np.float32(sqrt(query.shape[-1]))
        if mask is not None:
            fit = fit + mask
        weights = np.exp(fit - fit.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return self._linear(f"{name}.out", np.concatenate(list(weights @ value), axis=-1))

    def _convolved(self, name: str, x: Float32, stride: int) -> Float32:
        """Three neighbours at a time, zeros beyond the ends."""
        weight = self._checkpoint[f"{name}.weight"]
        padded = np.pad(x, ((0, 0), (1, 1)))
        last = x.shape[1]
        parts = [weight[:, :, at] @ padded[:, at : at + last : stride] for at in range(3)]
        convolved: Float32 = sum(parts) + self._checkpoint[f"{name}.bias"][:, np.newaxis]
        return convolved


_ERF = np.frompyfunc(erf, 1, 1)


def _gelu(x: Float32) -> Float32:
    bent: Float32 = (x * 0.5 * (1.0 + _ERF(x / sqrt(2.0)).astype(np.float32))).astype(np.float32)
    return bent

"""From a checkpoint to graphs in the model store, checked against the checkpoint's own arithmetic."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import ModelCorrupt
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.progress import Progress
from alfred_voice.models.whisper_catalog import PREFIX
from alfred_voice.models.whisper_checkpoint import Checkpoint
from alfred_voice.models.whisper_files import (
    VOCABULARY_NAME,
    WhisperFiles,
    decoder_name,
    encoder_name,
    whisper_folder,
)
from alfred_voice.models.whisper_graphs import Head, write_decoder, write_encoder
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_reference import Reference
from alfred_voice.models.whisper_vocabulary import Vocabulary


Float32 = NDArray[np.float32]

ALLOWED: Mapping[Precision, float] = {Precision.FLOAT32: 1e-3, Precision.FLOAT16: 0.02, Precision.INT8: 0.25}
"""How far states and logits may be from the reference's, as a share of their own spread. Graphs of tiny, base and
small with random weights came to 1e-6, 0.001 and 0.02; a layer that is wired wrongly comes to 1 and more."""
_PROBE_STATES = 32
_PROBE_TOKENS = (440, 393, 1085, 284)


def export_whisper(
    checkpoint: Checkpoint,
    source: str,
    root: Path,
    name: str,
    vocabularies: Path,
    precisions: Sequence[Precision],
    progress: Progress,
    heads: Sequence[Head] = (),
    path: str = "",
) -> WhisperFiles:
    """Make the graphs of a checkpoint; what was there under its name gives way when they are complete.

    Args:
        checkpoint: sizes and weights.
        source: SHA-256 of its file.
        root: the model store.
        name: what it is to be called, without ``whisper-``.
        vocabularies: the folder with ``gpt2.tiktoken`` and ``multilingual.tiktoken``.
        precisions: which graphs are made.
        progress: hears of each step.
        heads: those that follow the speaker; all of the upper half of the layers when none is given.
        path: where the checkpoint is, if it is to be named by its path when the graphs are made again.

    Raises:
        ModelMissing: there is no vocabulary.
        ModelCorrupt: it does not go with the checkpoint, or the graphs answer otherwise than the weights do.
    """
    sizes = checkpoint.dimensions
    spelling = vocabularies / ("multilingual.tiktoken" if sizes.is_multilingual else "gpt2.tiktoken")
    vocabulary = Vocabulary.load(spelling, sizes.languages)
    if len(vocabulary) != sizes.n_vocab:
        raise ModelCorrupt(f"The checkpoint has {sizes.n_vocab} tokens, the vocabulary {len(vocabulary)}")
    folder = whisper_folder(root, name)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{PREFIX}", dir=root) as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        shutil.copyfile(spelling, made / VOCABULARY_NAME)
        parity = {}
        for precision in precisions:
            progress.note(f"Writing the graphs of {folder.name} in {precision.value}")
            parity[precision.value] = _write(checkpoint, made, precision, heads or _upper_heads(checkpoint), vocabulary)
        files = WhisperFiles(
            folder=made,
            name=folder.name.removeprefix(PREFIX),
            dimensions=sizes,
            unspoken=tuple(vocabulary.unspoken()),
            blank=tuple(vocabulary.encode(" ")),
            source=source,
            files={path.name: (path.stat().st_size, _digest(path)) for path in sorted(made.iterdir())},
            parity=parity,
            checkpoint=path,
        )
        files.write_record()
        _replace(made, folder)
    return replace(files, folder=folder)


def _write(
    checkpoint: Checkpoint, folder: Path, precision: Precision, heads: Sequence[Head], vocabulary: Vocabulary
) -> dict[str, float]:
    """Both graphs, and how far they are from the reference."""
    encoder, decoder = folder / encoder_name(precision), folder / decoder_name(precision)
    write_encoder(checkpoint, encoder, precision)
    write_decoder(checkpoint, decoder, precision, heads)
    found = _compare(checkpoint, open_session(encoder), open_session(decoder), vocabulary)
    for what, distance in found.items():
        if not distance <= ALLOWED[precision]:
            raise ModelCorrupt(
                f"The {what} of the {precision.value} graphs are {distance:.3g} of their spread away from what the "
                f"weights say, at most {ALLOWED[precision]} is allowed. These weights cannot be used in that precision."
            )
    return found


def _compare(checkpoint: Checkpoint, encoder: Session, decoder: Session, vocabulary: Vocabulary) -> dict[str, float]:
    """How far the graphs' answers to a short clip and a few tokens are from the reference's."""
    sizes = checkpoint.dimensions
    reference = Reference(checkpoint)
    mel = _probe(sizes.n_mels, 2 * min(_PROBE_STATES, sizes.n_audio_ctx))
    heard = dict(zip(encoder.output_names, encoder.run({"mel": mel[np.newaxis]}), strict=True))
    states = reference.encode(mel)
    tokens = [*vocabulary.opening("en" if sizes.is_multilingual else None), *_PROBE_TOKENS]
    logits = _read(decoder, heard, tokens, sizes.n_text_layer, sizes.n_text_state)
    return {
        "states": _distance(heard["states"][0], states),
        "logits": _distance(logits, reference.logits(tokens, states)),
    }


def _probe(mels: int, frames: int) -> Float32:
    """Something with the loudness and the smoothness of features of speech; always the same."""
    noise = np.random.default_rng(0).normal(0.0, 1.0, (mels, frames + 4))
    smooth = (noise[:, :-4] + noise[:, 1:-3] + noise[:, 2:-2]) / 3
    probe: Float32 = (0.4 * smooth[:, :frames]).astype(np.float32)
    return probe


def _read(decoder: Session, heard: Mapping[str, Float32], tokens: Sequence[int], layers: int, width: int) -> Float32:
    """The logits behind all ``tokens``."""
    count = len(tokens)
    positions = np.arange(count)
    known = positions[np.newaxis, :] <= positions[:, np.newaxis]
    feeds: dict[str, NDArray[np.generic]] = {
        "tokens": np.array([tokens], np.int64),
        "positions": positions[np.newaxis],
        "places": np.stack([np.zeros(count, np.int64), positions], axis=-1)[np.newaxis],
        "bias": np.where(known, np.float32(0), np.float32(-1e9))[np.newaxis, np.newaxis],
        "mask": np.ones((1, heard["states"].shape[1]), np.int32),
        "wanted": positions,
    }
    for layer in range(layers):
        for part in ("key", "value"):
            feeds[f"{part}_{layer}"] = heard[f"{part}_{layer}"]
            feeds[f"past_{part}_{layer}"] = np.zeros((1, count, width), np.float32)
    (logits,) = decoder.run(feeds, ["logits"])
    return logits


def _distance(found: Float32, expected: Float32) -> float:
    """The root of the mean square of the difference, as a share of the spread of what was expected."""
    return float(np.sqrt(np.mean((found - expected) ** 2)) / max(float(expected.std()), 1e-12))


def _upper_heads(checkpoint: Checkpoint) -> list[Head]:
    """All heads of the upper half of the layers: what openai/whisper (model.py) takes where nobody has looked."""
    sizes = checkpoint.dimensions
    layers = range(sizes.n_text_layer // 2, sizes.n_text_layer)
    return [(layer, head) for layer in layers for head in range(sizes.n_text_head)]


def _replace(made: Path, folder: Path) -> None:
    """Put the new folder in the old one's place."""
    old = made.with_name(f"{made.name}.old")
    if folder.exists():
        folder.replace(old)
    made.replace(folder)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

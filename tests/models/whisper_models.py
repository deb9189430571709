"""Whispers small enough for tests, whose tokens spell words that nobody ever said."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.bench.random_whisper import random_checkpoint
from alfred_voice.models.onnx import Session
from alfred_voice.models.whisper_checkpoint import Checkpoint, Dimensions


Float32 = NDArray[np.float32]

MULTILINGUAL = Dimensions(80, 1500, 64, 2, 2, 51865, 448, 64, 2, 2)
ENGLISH = Dimensions(80, 1500, 64, 2, 2, 51864, 448, 64, 2, 2)


def checkpoint_of(sizes: Dimensions, seed: int = 1) -> Checkpoint:
    """Weights with which a text is made of words and ends after a dozen of them, more or less."""
    checkpoint = random_checkpoint(sizes, seed)
    table = checkpoint.weights["decoder.token_embedding.weight"]
    end = 50_257 if sizes.is_multilingual else 50_256
    table[end] *= 3
    table[end + 1 :] *= 0.2
    return checkpoint


def spellings(count: int) -> list[bytes]:
    """Every byte, then words of two letters and more: two of three with a space in front."""
    found = [bytes([value]) for value in range(256)]
    for length in (2, 3, 4):
        for letters in product(ascii_lowercase, repeat=length):
            if len(found) == count:
                return found
            found.append(("".join(letters) if len(found) % 3 == 0 else " " + "".join(letters)).encode())
    raise AssertionError("there should be enough words")


def write_vocabulary(path: Path, words: Sequence[bytes]) -> None:
    """In the form of openai-whisper's files."""
    lines = [base64.b64encode(word) + b" " + str(at).encode() for at, word in enumerate(words)]
    path.write_bytes(b"\n".join(lines) + b"\n")


def write_vocabularies(folder: Path) -> Path:
    """Both of them, as long as the real ones; the last token of the one for many languages spells nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    words = spellings(50_256)
    write_vocabulary(folder / "gpt2.tiktoken", words)
    write_vocabulary(folder / "multilingual.tiktoken", words)
    with (folder / "multilingual.tiktoken").open("ab") as file:
        file.write(b"= 50256\n")
    return folder


class SpySession:
    """A session that remembers what it was fed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.input_names = session.input_names
        self.output_names = session.output_names
        self.fed: list[Mapping[str, NDArray[Any]]] = []

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        self.fed.append(dict(feeds))
        return self._session.run(feeds, outputs)

"""What benchmarks listen to: recordings whose texts are known, and how well a text was heard.

By default those that lie beside the recogniser's model. A folder of one's own has a ``manifest.json``:

    {"files": [{"file": "lamp.wav", "text": "turn on the lamp",
                "words": [{"word": "turn", "start": 0.31, "end": 0.52}, ...]}, ...]}

``text`` may be missing where it is not known and is empty where nobody speaks; ``words``, with times in seconds,
are optional.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from alfred_voice.audio.decode import decode_blocks
from alfred_voice.bench.words import word_errors
from alfred_voice.errors import AudioError, ConfigError
from alfred_voice.models.engine import SAMPLE_RATE, Int16
from alfred_voice.models.store import Store


__all__ = ["Recording", "SpokenWord", "load_recordings", "word_errors"]

MANIFEST = "manifest.json"

_MODEL = "moonshine-tiny-en"
_TWO_CITIES = (
    # Charles Dickens, A Tale of Two Cities, 1859: the first sentence, in the public domain.
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
    "before us, we were all going direct to Heaven, we were all going direct the other way - in short, the period was "
    "so far like the present period, that some of its noisiest authorities insisted on its being received, for good "
    "or for evil, in the superlative degree of comparison only."
)


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word and where it is in its recording."""

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A recording, and what is known of it."""

    name: str
    samples: Int16
    """int16, shape (n,), 16 kHz."""
    text: str | None
    """What is said in it; None when that is not known, empty when nobody speaks."""
    words: tuple[SpokenWord, ...] = ()
    """Where its words are, when somebody has measured that."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / SAMPLE_RATE


class _WordEntry(msgspec.Struct):
    word: str
    start: float
    end: float


class _FileEntry(msgspec.Struct):
    file: str
    text: str | None = None
    words: tuple[_WordEntry, ...] = ()


class _Manifest(msgspec.Struct):
    files: tuple[_FileEntry, ...]


def load_recordings(store: Store, folder: Path | None = None) -> list[Recording]:
    """The recordings of a folder, or those that come with the recogniser's model.

    Raises:
        ModelMissing: they are not in the store.
        ConfigError: the folder has no usable manifest, or a file of it cannot be used.
    """
    if folder is None:
        texts = {"two_cities.wav": _TWO_CITIES, "beckett.wav": None}
        return [Recording(name, _samples(store.path(_MODEL, name)), text) for name, text in texts.items()]
    return [
        Recording(
            entry.file,
            _samples(folder / entry.file),
            entry.text,
            tuple(SpokenWord(word.word, word.start, word.end) for word in entry.words),
        )
        for entry in _manifest(folder).files
    ]


def _manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except OSError as error:
        raise ConfigError(f"expected recordings with a {MANIFEST} in {folder}: {error.strerror or error}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path}: {error}") from error


def _samples(path: Path) -> Int16:
    try:
        return np.concatenate(list(decode_blocks(path)))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except AudioError as error:
        raise ConfigError(f"{path}: {error}") from error

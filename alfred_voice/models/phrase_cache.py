"""Phrases that were spoken lately, so that they need not be made again."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np

from alfred_voice.models.engine import Int16, TtsEngine, VariantVoices
from alfred_voice.results import Voice


_Key = tuple[str, str, float]


class PhraseCache:
    """A synthesiser that remembers what another one said; the longest unused is forgotten first.

    May be called from any thread. What is remembered is delivered as it was made, in 100 ms pieces.

    Attributes:
        hits: phrases that were delivered from memory.
        misses: phrases that had to be made.
    """

    def __init__(self, engine: TtsEngine, max_bytes: int) -> None:
        """Remember phrases of ``engine`` in at most ``max_bytes``, text included; 0 for none."""
        if max_bytes < 0:
            raise ValueError(f"Expected at least 0 bytes, but got {max_bytes}")
        self.engine = engine
        self.name = engine.name
        self.sample_rate = engine.sample_rate
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._phrases: OrderedDict[_Key, Int16] = OrderedDict()
        self._bytes = 0

    def over(self, engine: TtsEngine) -> PhraseCache:
        """One for another engine that speaks in the same way, which begins without phrases."""
        return PhraseCache(engine, self.max_bytes)

    def resize(self, max_bytes: int) -> None:
        """Remember at most so much from now on."""
        with self._lock:
            self.max_bytes = max_bytes
            self._forget()

    @property
    def bytes_used(self) -> int:
        """What the remembered phrases take."""
        return self._bytes

    def __len__(self) -> int:
        """How many phrases are remembered."""
        return len(self._phrases)

    def voices(self) -> list[Voice]:
        """All voices there are, sorted by name."""
        return self.engine.voices()

    def variants(self) -> list[Voice]:
        """The variants of voices, where the engine has some."""
        return self.engine.variants() if isinstance(self.engine, VariantVoices) else []

    def check(self, voice: str, speed: float) -> None:
        """Raise :exc:`~alfred_voice.errors.SpeechError` unless this voice and speed can be had."""
        self.engine.check(voice, speed)

    def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
        """Speak ``text``, from memory where it can; see :meth:`TtsEngine.synthesise`.

        What ``sink`` gets may be a view of what is remembered, and cannot be written to then.
        """
        key = (text, voice, speed)
        remembered = self._recall(key)
        if remembered is None:
            recorder = _Recorder(sink, self.max_bytes - _text_bytes(key))
            self.engine.synthesise(text, voice, speed, recorder)
            if recorder.is_whole:
                self._remember(key, recorder.samples())
            return
        for piece in _pieces(remembered, self.sample_rate // 10):
            if not sink(piece):
                return

    def clear(self) -> int:
        """Forget everything; returns how many bytes that freed."""
        with self._lock:
            freed = self._bytes
            self._phrases.clear()
            self._bytes = 0
        return freed

    def _recall(self, key: _Key) -> Int16 | None:
        with self._lock:
            samples = self._phrases.get(key)
            if samples is None:
                self.misses += 1
            else:
                self.hits += 1
                self._phrases.move_to_end(key)
        return samples

    def _remember(self, key: _Key, samples: Int16) -> None:
        with self._lock:
            replaced = self._phrases.pop(key, None)  # another thread may have made the same phrase meanwhile
            if replaced is not None:
                self._bytes -= _cost(key, replaced)
            self._phrases[key] = samples
            self._bytes += _cost(key, samples)
            self._forget()

    def _forget(self) -> None:
        while self._bytes > self.max_bytes:
            self._bytes -= _cost(*self._phrases.popitem(last=False))


class _Recorder:
    """A sink that passes on and keeps a copy, until the copy gets too large or the sink behind refuses."""

    def __init__(self, sink: Callable[[Int16], bool], room_bytes: int) -> None:
        self._sink = sink
        self._room_bytes = room_bytes
        self._pieces: list[Int16] = []
        self._stopped = False

    @property
    def is_whole(self) -> bool:
        """Whether all of the phrase was taken and kept."""
        return not self._stopped and self._room_bytes >= 0

    def __call__(self, piece: Int16) -> bool:
        self._room_bytes -= piece.nbytes
        if self._room_bytes >= 0:
            self._pieces.append(piece.copy())  # what the sink does with its own is its own affair
        else:
            self._pieces.clear()
        goes_on = self._sink(piece)
        self._stopped = self._stopped or not goes_on
        return goes_on

    def samples(self) -> Int16:
        """All that was kept: int16, shape (n,), read-only."""
        whole: Int16 = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        whole.flags.writeable = False
        return whole


def _pieces(samples: Int16, size: int) -> Iterator[Int16]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def _text_bytes(key: _Key) -> int:
    return sys.getsizeof(key[0]) + sys.getsizeof(key[1])


def _cost(key: _Key, samples: Int16) -> int:
    return _text_bytes(key) + samples.nbytes

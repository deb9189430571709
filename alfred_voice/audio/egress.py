"""Synthesised speech, made the kind of audio that a client asked for."""

from __future__ import annotations

import numpy as np

from alfred_voice.audio import pcm
from alfred_voice.audio.framer import Framer
from alfred_voice.audio.pcm import FRAME_MS, AudioFormat, Int16
from alfred_voice.audio.resample import Resampler


class Egress:
    """Resamples, cuts into 20 ms, doubles channels and encodes; one per speech, not thread-safe."""

    def __init__(self, source_hz: int, format: AudioFormat) -> None:  # noqa: A002  as in Ingest
        self.format = format
        self._resampler = Resampler(source_hz, format.sample_rate)
        # A rate that 50 does not divide has pieces a fraction of a sample short of 20 ms.
        self._framer = Framer(format.sample_rate * FRAME_MS // 1000)

    def feed(self, samples: Int16, last: bool = False) -> list[bytes]:
        """The pieces that ``samples`` makes full; ``last`` brings the rest, which may be shorter.

        Args:
            samples: int16, shape (n,), mono, at ``source_hz``; any n, also 0.
            last: True when the speech ends with these samples.
        """
        pieces = self._framer.feed(self._resampler.feed(samples, last))
        if last and self._framer.pending:
            pieces.append(self._framer.take_rest())
        return [self._encoded(piece) for piece in pieces]

    def _encoded(self, mono: Int16) -> bytes:
        samples = mono if self.format.channels == 1 else np.repeat(mono, self.format.channels)
        return pcm.encode(samples, self.format.encoding)

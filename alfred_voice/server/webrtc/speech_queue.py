"""The daemon's speech on its way to one peer: pieces of 20 ms, taken one by one at the pace of playing."""

from __future__ import annotations

from collections import deque

from alfred_voice.pipeline.outbox import SpeechAudio


MOST_PIECES = 512
"""More than the largest lead (`tts.lead_ms`): what waits here is never more, unless nobody takes it."""


class SpeechQueue:
    """Pieces that have not been played."""

    def __init__(self, bytes_per_ms: float) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._pieces: deque[SpeechAudio] = deque(maxlen=MOST_PIECES)
        self._newest: int | None = None
        """The speech whose piece has been taken last."""
        self._is_dry = False
        self.underruns = 0
        """How often a speech had to wait for its own next piece."""

    def __len__(self) -> int:
        return len(self._pieces)

    def put(self, piece: SpeechAudio) -> None:
        """Take the next piece."""
        if self._is_dry and piece.speech_id == self._newest:
            self.underruns += 1
        self._is_dry = False
        self._pieces.append(piece)

    def take(self) -> bytes | None:
        """The next piece to be played; None where there is none, and silence is played."""
        if not self._pieces:
            self._is_dry = True
            return None
        piece = self._pieces.popleft()
        self._newest = piece.speech_id
        return piece.data

    def drop(self, speech_id: int) -> float:
        """Throw away what waits of a speech; returns its milliseconds."""
        dropped = [piece for piece in self._pieces if piece.speech_id == speech_id]
        if dropped:
            kept = [piece for piece in self._pieces if piece.speech_id != speech_id]
            self._pieces.clear()
            self._pieces.extend(kept)
        return sum(len(piece.data) for piece in dropped) / self._bytes_per_ms

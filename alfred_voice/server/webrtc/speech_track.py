"""The daemon's voice towards one peer: an audio track with a piece every 20 ms, silence where nothing is said."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from alfred_voice.audio.opus import PIECE_SAMPLES, SAMPLE_RATE, OpusEncoder, packet_of
from alfred_voice.audio.pcm import Int16
from alfred_voice.pipeline.outbox import SpeechAudio
from alfred_voice.server.webrtc.speech_queue import SpeechQueue


PIECE_S = PIECE_SAMPLES / SAMPLE_RATE
MOST_LATE_S = 0.5
"""What a loop that was held up is behind with is sent at once, as the peer has gone on; more is left out."""
TAIL_PIECES = 6
"""So many pieces of silence are encoded after speech until the encoder has forgotten it, and gives the same again."""
_BYTES_PER_MS = SAMPLE_RATE * 2 / 1000


class SpeechTrack(MediaStreamTrack):
    """Plays what is put in. Encoded here, on the loop: the library would hand each piece to another thread."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.queue = SpeechQueue(_BYTES_PER_MS)
        self._encoder = OpusEncoder()
        self._silence = _silence()
        self._tail = 0
        self._position = 0
        self._due: float | None = None

    def put(self, piece: SpeechAudio) -> None:
        """Play a piece after what waits: int16 at 48 kHz, mono, at most 20 ms."""
        self.queue.put(piece)

    async def recv(self) -> Any:
        """The next piece, when its time has come; called by the sender."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._keep_time()
        packet = packet_of(self._next_payload(), self._position)
        self._position += PIECE_SAMPLES
        return packet

    async def _keep_time(self) -> None:
        now = asyncio.get_running_loop().time()
        due = now if self._due is None else self._due
        if due > now:
            await asyncio.sleep(due - now)
        elif now - due > MOST_LATE_S:
            missed = int((now - due) / PIECE_S)
            self._position += missed * PIECE_SAMPLES
            due += missed * PIECE_S
        self._due = due + PIECE_S

    def _next_payload(self) -> bytes:
        data = self.queue.take()
        if data is not None:
            self._tail = TAIL_PIECES
            return self._encoder.encode(_whole(data))
        if self._tail:
            self._tail -= 1
            return self._encoder.encode(np.zeros(PIECE_SAMPLES, np.int16))
        return self._silence


def _whole(data: bytes) -> Int16:
    """A piece of 20 ms, the last one of a speech filled up."""
    samples = np.frombuffer(data, np.dtype("<i2"))
    if len(samples) == PIECE_SAMPLES:
        return samples
    return np.concatenate([samples, np.zeros(PIECE_SAMPLES, np.int16)])[:PIECE_SAMPLES]


def _silence() -> bytes:
    """What an encoder makes of silence after silence: it is the same again and again, so it is made once."""
    encoder = OpusEncoder()
    for _ in range(TAIL_PIECES):
        payload = encoder.encode(np.zeros(PIECE_SAMPLES, np.int16))
    return payload

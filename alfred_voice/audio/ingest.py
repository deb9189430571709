"""A client's bytes, made the one kind of audio that the house knows."""

from __future__ import annotations

import numpy as np

from alfred_voice.audio import pcm
from alfred_voice.audio.framer import Framer
from alfred_voice.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE, AudioFormat, Buffer, Int16
from alfred_voice.audio.resample import Resampler
from alfred_voice.errors import MalformedAudio


HOUSE_DTYPE = np.dtype("<i2")
_HOUSE_FORMAT = AudioFormat()
_FRAME_BYTES = FRAME_SAMPLES * 2


class Ingest:
    """Decodes, mixes down, resamples and frames one client's audio; one per stream, not thread-safe."""

    __slots__ = ("_block_align", "_framer", "_is_house_format", "_resampler", "format")

    def __init__(self, format: AudioFormat) -> None:  # noqa: A002  the field's word, here and on the wire
        self.format = format
        self._block_align = format.block_align
        self._is_house_format = format == _HOUSE_FORMAT
        self._resampler = Resampler(format.sample_rate, SAMPLE_RATE)
        self._framer = Framer(FRAME_SAMPLES)

    @property
    def pending(self) -> int:
        """Samples at 16 kHz that wait for their frame to be full, those inside the resampler not counted."""
        return self._framer.pending

    def usual_frame(self, data: Buffer) -> Int16 | None:
        """The frame that ``data`` is: of the usual client, who sends one at a time in our own format; None of others.

        Nothing is computed, copied or noted: the data may as well be fed afterwards, instead.
        """
        if self._is_house_format and len(data) == _FRAME_BYTES and not self._framer.pending:
            return np.frombuffer(data, HOUSE_DTYPE)
        return None

    def feed(self, data: Buffer) -> list[Int16]:
        """The frames that ``data`` makes full: int16, shape (320,), 16 kHz mono.

        Frames may be read-only views of ``data``, which therefore must not change any more.

        Raises:
            MalformedAudio: the message is refused as a whole, and the stream goes on as if it had not come.
        """
        frame = self.usual_frame(data)
        if frame is not None:
            return [frame]
        self.check_whole(data)
        mono = mix_down(pcm.decode(data, self.format.encoding), self.format.channels)
        return self._framer.feed(self._resampler.feed(mono))

    def flush(self) -> list[Int16]:
        """What is still inside, the last frame filled up with zeros; the next feed begins anew."""
        frames = self._framer.feed(self._resampler.feed(np.empty(0, dtype=np.int16), last=True))
        rest = self._framer.flush()
        return frames if rest is None else [*frames, rest]

    def check_whole(self, data: Buffer) -> None:
        """Raise MalformedAudio unless ``data`` is a whole number of samples of every channel."""
        if len(data) % self._block_align:
            channels = "1 channel" if self.format.channels == 1 else f"{self.format.channels} channels"
            raise MalformedAudio(
                f"expected a multiple of {self._block_align} bytes ({self.format.encoding}, {channels}), "
                f"got {len(data)} bytes"
            )


def mix_down(interleaved: Int16, channels: int) -> Int16:
    """The mean of all channels.

    Args:
        interleaved: int16, shape (n * channels,).
        channels: how many take turns in it.

    Returns:
        int16, shape (n,); ``interleaved`` itself when there is one channel.
    """
    if channels == 1:
        return interleaved
    total = interleaved[0::channels].astype(np.int32)
    for channel in range(1, channels):
        total += interleaved[channel::channels]
    return (total // channels).astype(np.int16)

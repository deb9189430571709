"""Sound files of many kinds, made by PyAV where they are needed."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from alfred_voice.audio.pcm import Int16


ToneOf = Callable[..., Int16]
FileOf = Callable[..., bytes]


@pytest.fixture(scope="session")
def tone() -> ToneOf:
    """A sine as int16: ``tone(seconds, rate, hz=440, peak=8000)``."""

    def make(seconds: float, rate: int, hz: float = 440.0, peak: float = 8000.0) -> Int16:
        at = np.arange(round(seconds * rate)) / rate
        return np.rint(peak * np.sin(2 * np.pi * hz * at)).astype(np.int16)

    return make


@pytest.fixture(scope="session")
def sound_file() -> FileOf:
    """The bytes of a file: ``sound_file(mono_samples, rate, container, codec, layout="mono")``."""

    def make(samples: Int16, rate: int, container: str, codec: str, layout: str = "mono") -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(codec, rate=rate)
            assert isinstance(stream, AudioStream)
            stream.layout = layout
            context = stream.codec_context
            channels = len(context.layout.channels)
            whole = av.AudioFrame.from_ndarray(np.repeat(samples, channels)[np.newaxis, :], format="s16", layout=layout)
            whole.sample_rate = rate
            cutter = AudioResampler(context.format, layout, rate, frame_size=context.frame_size or 1024)
            for frame in [*cutter.resample(whole), *cutter.resample(None)]:
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return file.getvalue()

    return make

"""The machine's microphone and loudspeaker, through the package ``sounddevice`` (extra ``mic``)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from alfred_voice.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE
from alfred_voice.client.errors import SoundDeviceMissing


_SAMPLE_BYTES = 2
_WAITING_FRAMES = 500
"""How much of the microphone may wait for a slow connection (10 s) before the oldest is lost."""


def sound_package() -> ModuleType:
    """The package ``sounddevice``.

    Raises:
        SoundDeviceMissing: it, or the PortAudio library under it, is not installed.
    """
    try:
        import sounddevice
    except ImportError as exc:
        raise SoundDeviceMissing(
            "sound needs the package sounddevice; install it with: .venv/bin/pip install -e '.[mic]'"
        ) from exc
    except OSError as exc:
        raise SoundDeviceMissing(
            f"sound needs the PortAudio library ({exc}); on Debian and Ubuntu: apt install libportaudio2"
        ) from exc
    module: ModuleType = sounddevice
    return module


def describe_devices() -> str:
    """A table of the machine's sound devices, for people."""
    return str(sound_package().query_devices())


@contextlib.asynccontextmanager
async def microphone(device: str | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
    """Frames of 20 ms from a microphone, as it hears them: ``pcm_s16le``, mono, 16 kHz.

    Args:
        device: its number, or a part of its name; None for the usual one.
    """
    sounddevice = sound_package()
    loop = asyncio.get_running_loop()
    heard: deque[bytes] = deque(maxlen=_WAITING_FRAMES)
    arrived = asyncio.Event()

    def keep(frame: bytes) -> None:
        heard.append(frame)
        arrived.set()

    def receive(data: Any, _frames: int, _time: Any, _status: Any) -> None:
        # In PortAudio's thread.
        loop.call_soon_threadsafe(keep, bytes(data))

    async def frames() -> AsyncIterator[bytes]:
        while True:
            await arrived.wait()
            arrived.clear()
            while heard:
                yield heard.popleft()

    with _translated(sounddevice, "microphone", device):
        stream = sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE,
            blocksize=FRAME_SAMPLES,
            device=_number_or_name(device),
            channels=1,
            dtype="int16",
            callback=receive,
        )
    with stream:
        yield frames()


class Loudspeaker:
    """Plays mono ``pcm_s16le`` as it comes. A context manager; PortAudio's thread takes what :meth:`put` leaves."""

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        sounddevice = sound_package()
        self._waiting = bytearray()
        with _translated(sounddevice, "loudspeaker", None):
            self._stream = sounddevice.RawOutputStream(
                samplerate=sample_rate, channels=1, dtype="int16", callback=self._fill
            )

    def __enter__(self) -> Loudspeaker:
        self._stream.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stream.close()

    def put(self, audio: bytes) -> None:
        """Play this after what waits already."""
        self._waiting += audio

    def hush(self) -> None:
        """Forget what waits: the speaker has been interrupted."""
        self._waiting = bytearray()

    def _fill(self, out: Any, frames: int, _time: Any, _status: Any) -> None:
        """Give PortAudio what it asks for, and silence where there is nothing."""
        wanted = frames * _SAMPLE_BYTES
        waiting = self._waiting
        audio = bytes(waiting[:wanted])
        del waiting[:wanted]
        out[:] = audio.ljust(wanted, b"\0")


@contextlib.contextmanager
def _translated(sounddevice: ModuleType, what: str, device: str | None) -> Iterator[None]:
    """Failures of the package as this package's own."""
    try:
        yield
    except (ValueError, sounddevice.PortAudioError) as exc:
        name = f" {device!r}" if device else ""
        raise SoundDeviceMissing(
            f"the {what}{name} cannot be opened ({exc}); list them with: alfred-voice talk --devices"
        ) from exc


def _number_or_name(device: str | None) -> int | str | None:
    """A device as the package wants it named."""
    return int(device) if device is not None and device.isdecimal() else device

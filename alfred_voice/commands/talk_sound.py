"""Where ``alfred-voice talk`` gets its audio from, and where the daemon's speech goes."""

from __future__ import annotations

import contextlib
import wave
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Protocol

from alfred_voice.audio.framer import Framer
from alfred_voice.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE
from alfred_voice.client import ClientEvent
from alfred_voice.client.sound import Loudspeaker


async def file_frames(path: Path) -> AsyncGenerator[bytes, None]:
    """The audio of a file of any format in frames of 20 ms: ``pcm_s16le``, mono, 16 kHz.

    Raises:
        AudioError: the file cannot be read as audio.
    """
    # The decoders are loaded only by those who have a file.
    from alfred_voice.audio.decode import decode_blocks

    framer = Framer(FRAME_SAMPLES)
    # A block is at most a second of audio, which takes about a millisecond to decode: not worth a thread.
    for block in decode_blocks(path):
        for frame in framer.feed(block):
            yield frame.tobytes()
    rest = framer.flush()
    if rest is not None:
        yield rest.tobytes()


class SpeechSink(Protocol):
    """Takes the daemon's speech."""

    def receive(self, event: ClientEvent) -> None:
        """One event of the session, of whatever type."""
        ...


class SpeechFiles:
    """Writes speech to WAV files: all of it to one, or each speech to its own in a folder."""

    def __init__(self, target: Path) -> None:
        self.written: list[Path] = []
        """The files so far, in order."""
        self._target = target
        self._file: wave.Wave_write | None = None

    def receive(self, event: ClientEvent) -> None:
        """Open a file when a speech begins, and keep what is said."""
        match event["type"]:
            case "ttsStart":
                self._begin(int(event["speech_id"]), int(event["sample_rate"]))
            case "ttsAudio" if self._file is not None:
                self._file.writeframes(event["audio"])
            case "ttsEnd" if self._target.is_dir():
                self.close()

    def close(self) -> None:
        """Finish the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, speech_id: int, sample_rate: int) -> None:
        if self._file is not None:
            return
        path = self._target / f"speech-{speech_id}.wav" if self._target.is_dir() else self._target
        self._file = wave.open(str(path), "wb")  # noqa: SIM115 (open for as long as the session speaks)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(sample_rate)
        self.written.append(path)


class SpeechPlayer:
    """Plays speech as it comes, and falls silent when it is cancelled."""

    def __init__(self, loudspeaker: Loudspeaker) -> None:
        self._loudspeaker = loudspeaker

    def receive(self, event: ClientEvent) -> None:
        """Play audio; hush on a cancelled end."""
        if event["type"] == "ttsAudio":
            self._loudspeaker.put(event["audio"])
        elif event["type"] == "ttsEnd" and event["cancelled"]:
            self._loudspeaker.hush()


@contextlib.contextmanager
def saved_to(target: Path) -> Iterator[SpeechFiles]:
    """Speech goes to ``target``, which is a folder when it exists as one or is written with a slash at its end."""
    files = SpeechFiles(target)
    try:
        yield files
    finally:
        files.close()


@contextlib.contextmanager
def played() -> Iterator[SpeechPlayer]:
    """Speech goes to the loudspeaker.

    Raises:
        SoundDeviceMissing: there is none.
    """
    with Loudspeaker(SAMPLE_RATE) as loudspeaker:
        yield SpeechPlayer(loudspeaker)

"""What each client of a load says and when: room noise, and turns of recorded speech in it.

All clients share the frames' bytes; a script only refers to them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.pcm import FRAME_SAMPLES, to_float
from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.loudness import HOP_SAMPLES, levels_db, loud_span, speech_level_db
from alfred_voice.bench.recordings import Recording
from alfred_voice.bench.websocket_frames import BINARY, TEXT, client_frame
from alfred_voice.models.engine import SAMPLE_RATE, Int16, TurnEngine
from alfred_voice.session.turns import TURN_SAMPLES


NOISE_LEVEL = 60.0
"""Standard deviation of the room's noise, of 32768: -55 dBFS, a quiet room."""
NOISE_FRAMES = 250
"""5 s of it, over and over."""
LONGEST_WHOLE_S = 12.0
"""Longer recordings are cut at their pauses: nobody talks for a minute and then is silent for two."""
PAUSE_S = 0.5
"""Shortest silence at which a recording is cut."""
SHORTEST_TURN_S = 2.0
"""Shorter pieces go together with the next one."""
LEAD_S, TAIL_S = 0.2, 0.2
"""What is kept around a piece's speech."""
TALK_PAUSE_S = 1.0
"""Between two turns of someone who talks all the time."""
SPEAK_LEAD_S = 1.0
"""How long before a turn the daemon is told to speak, so that the turn interrupts it."""
SPEAK_TEXT = (
    "This is a long sentence that the daemon says only so that somebody can talk over it, "
    "and it goes on for a good while, because nobody wants it to come to its end before that has happened."
)
JUDGED_AFTER_S = (0.2, 0.25, 0.3)
"""Silences after which the daemon may ask its turn model."""
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, fall evenly between those before: starts that are spread without being random."""


class Mix(StrEnum):
    """What the clients do."""

    LISTEN = "listen"
    """Nobody says anything."""
    TALK = "talk"
    """One recording after the other, with a pause of a second."""
    MIXED = "mixed"
    """Recordings and silence; a given share of the time is speech."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Speech that a client says without giving up the floor."""

    name: str
    samples: Int16
    """int16, shape (n,), 16 kHz."""
    first_speech: int
    """First sample of the speech, by its loudness."""
    end_of_speech: int
    """One past the last one."""

    @property
    def frames(self) -> int:
        """How many 20 ms frames it fills, the last one perhaps in part."""
        return -(-len(self.samples) // FRAME_SAMPLES)


@dataclass(frozen=True, slots=True)
class Spoken:
    """Where a turn lies in a script; samples are on the session's clock."""

    first_speech: int
    end_of_speech: int
    interrupts: bool
    """Whether the daemon is told to speak before it."""


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """All that one client sends."""

    messages: tuple[bytes, ...]
    """One for each frame: the frame's own bytes, perhaps behind those of a control message."""
    spoken: tuple[Spoken, ...]
    speech_frames: int
    """How many of the frames belong to turns."""


@dataclass(frozen=True, slots=True)
class ScriptOptions:
    """What scripts are made of."""

    mix: Mix
    frames: int
    """Length of a script."""
    duty: float = 0.4
    """Share of the time that is speech, for ``mixed``."""
    speaks: bool = False
    """Whether the daemon speaks when a turn begins."""

    def __post_init__(self) -> None:
        if not 0 < self.duty <= 1:
            raise BenchmarkFailed(f"--duty: expected a share above 0 and up to 1, got {self.duty}")

    def pause_frames(self, turn: Turn) -> int:
        """How long a client is silent with this turn, before or after it."""
        if self.mix is Mix.TALK:
            return round(TALK_PAUSE_S * SAMPLE_RATE / FRAME_SAMPLES)
        return round(turn.frames * (1 - self.duty) / self.duty)


def turns_of(recordings: Iterable[Recording]) -> list[Turn]:
    """The turns in recordings, in their order; what nobody speaks in has none."""
    return [turn for recording in recordings for turn in _turns_of(recording)]


def _turns_of(recording: Recording) -> list[Turn]:
    level = speech_level_db(recording.samples)
    if level is None or recording.text == "":
        return []
    found = []
    for start, end in _pieces(recording, level):
        span = loud_span(recording.samples[start:end], level)
        if span is not None:
            found.append(Turn(f"{recording.name}@{start / SAMPLE_RATE:.2f}", recording.samples[start:end], *span))
    return found


def _pieces(recording: Recording, level_db: float) -> list[tuple[int, int]]:
    """Where to cut: first sample and one past the last of each piece."""
    if recording.seconds <= LONGEST_WHOLE_S:
        span = loud_span(recording.samples, level_db)
        return [] if span is None else [_around(*span, len(recording.samples))]
    loud = np.flatnonzero(levels_db(recording.samples) >= level_db) * HOP_SAMPLES
    pieces: list[tuple[int, int]] = []
    start = int(loud[0])
    for before, after in zip(loud, [*loud[1:], None], strict=True):
        end = int(before) + HOP_SAMPLES
        is_pause = after is None or int(after) - end >= PAUSE_S * SAMPLE_RATE
        is_long = end - start >= SHORTEST_TURN_S * SAMPLE_RATE
        if is_pause and (is_long or after is None):
            # What is left at the end and too short to stand alone belongs to the piece before.
            start = start if is_long or not pieces else pieces.pop()[0]
            pieces.append((start, end))
            start = end if after is None else int(after)
    return [_around(*piece, len(recording.samples)) for piece in pieces]


def _around(start: int, end: int, length: int) -> tuple[int, int]:
    return max(0, start - round(LEAD_S * SAMPLE_RATE)), min(length, end + round(TAIL_S * SAMPLE_RATE))


def complete_turns(turns: Sequence[Turn], engine: TurnEngine, threshold: float) -> list[Turn]:
    """Those after which the turn model takes the speaker for done, whichever of several silences it hears."""
    random = np.random.default_rng(0)

    def is_complete(turn: Turn) -> bool:
        heard = []
        for silence_s in JUDGED_AFTER_S:
            speech = turn.samples[: turn.end_of_speech]
            room = random.normal(0, NOISE_LEVEL, len(speech) + round(silence_s * SAMPLE_RATE))
            room[: len(speech)] += speech
            heard.append(to_float(_as_int16(room[-TURN_SAMPLES:])))
        return all(judgement.probability >= threshold for judgement in engine.judge(heard))

    return [turn for turn in turns if is_complete(turn)]


class ScriptWriter:
    """Writes the scripts of all clients from the same frames."""

    def __init__(self, turns: Sequence[Turn], options: ScriptOptions) -> None:
        if options.mix is not Mix.LISTEN and not turns:
            raise BenchmarkFailed("there is no speech in these recordings")
        self._options = options
        self._turns = turns if options.mix is not Mix.LISTEN else ()
        # Whatever varies between runs should be the daemon: the noise is the same every time.
        self._random = np.random.default_rng(0)
        self._mask = os.urandom(4)
        self._noise = self._framed(np.zeros(NOISE_FRAMES * FRAME_SAMPLES, np.int16))
        self._voiced = [self._framed(turn.samples) for turn in self._turns]
        self._speak = client_frame(TEXT, msgspec.json.encode({"type": "speak", "text": SPEAK_TEXT}), self._mask)

    def write(self, client: int) -> Script:
        """The script of one client; each begins elsewhere in the noise, in the pauses and among the turns."""
        frames = self._options.frames
        messages = [self._noise[(at + client * 7) % NOISE_FRAMES] for at in range(frames)]
        spoken: list[Spoken] = []
        speech_frames, number, at = 0, client, 0
        while self._turns and at < frames:
            turn, voiced = self._turns[number % len(self._turns)], self._voiced[number % len(self._turns)]
            pause = self._options.pause_frames(turn)
            at += round(pause * (client * GOLDEN % 1)) if number == client else pause
            said = voiced[: max(0, frames - at)]
            messages[at : at + len(said)] = said
            speech_frames += len(said)
            if at * FRAME_SAMPLES + turn.first_speech < frames * FRAME_SAMPLES:
                spoken.append(self._spoken(messages, turn, at, pause))
            at, number = at + len(voiced), number + 1
        return Script(tuple(messages), tuple(spoken), speech_frames)

    def _spoken(self, messages: list[bytes], turn: Turn, at: int, pause: int) -> Spoken:
        """Where a turn lies that begins with frame ``at``; the daemon is told to speak before it, if it should."""
        lead = min(round(SPEAK_LEAD_S * SAMPLE_RATE / FRAME_SAMPLES), pause // 2)
        speaks = self._options.speaks and at >= lead > 0
        if speaks:
            messages[at - lead] = self._speak + messages[at - lead]
        start = at * FRAME_SAMPLES
        end = min(start + turn.end_of_speech, len(messages) * FRAME_SAMPLES)
        return Spoken(start + turn.first_speech, end, speaks)

    def _framed(self, samples: Int16) -> list[bytes]:
        """Samples in the room's noise as messages of 20 ms each."""
        count = -(-len(samples) // FRAME_SAMPLES)
        noise = self._random.normal(0, NOISE_LEVEL, count * FRAME_SAMPLES)
        noise[: len(samples)] += samples
        pcm = _as_int16(noise).astype("<i2").reshape(count, FRAME_SAMPLES)
        return [client_frame(BINARY, frame.tobytes(), self._mask) for frame in pcm]


def _as_int16(samples: NDArray[np.float64]) -> Int16:
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)

"""Turns cut from recordings, and what each client of a load says when."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.bench.errors import BenchmarkFailed
from alfred_voice.bench.recordings import Recording
from alfred_voice.bench.script import (
    NOISE_FRAMES,
    SPEAK_LEAD_S,
    Mix,
    Script,
    ScriptOptions,
    ScriptWriter,
    Turn,
    complete_turns,
    turns_of,
)
from alfred_voice.results import TurnJudgement


Int16 = NDArray[np.int16]
RATE = 16_000
HEADER_BYTES = 8
"""Of a masked frame of 640 bytes: two, two of its length, four of its mask."""


def tone(seconds: float) -> Int16:
    at = np.arange(round(seconds * RATE))
    return np.round(8000 * np.sin(2 * np.pi * 220 * at / RATE)).astype(np.int16)


def quiet(seconds: float) -> Int16:
    return np.zeros(round(seconds * RATE), np.int16)


def recording(*parts: Int16, text: str | None = None) -> Recording:
    return Recording("a.wav", np.concatenate(parts), text)


def turn(seconds: float, name: str = "a") -> Turn:
    samples = tone(seconds)
    return Turn(name, samples, 0, len(samples))


def read(message: bytes) -> tuple[list[dict[str, str]], Int16]:
    """A message's control objects and its 20 ms of audio, by the letter of RFC 6455, section 5."""
    controls, audio = [], np.zeros(0, np.int16)
    while message:
        opcode, length, at = message[0] & 0x0F, message[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(message[2:4], "big"), 4
        mask = message[at : at + 4]
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(message[at + 4 : at + 4 + length]))
        message = message[at + 4 + length :]
        if opcode == 1:
            controls.append(json.loads(payload))
        else:
            audio = np.frombuffer(payload, "<i2").astype(np.int16)
    return controls, audio


def is_loud(script: Script) -> list[bool]:
    """Of each frame, whether it is the tone rather than the room."""
    return [bool(np.abs(read(message)[1].astype(np.int32)).mean() > 1000) for message in script.messages]


# Turns


def test_a_short_recording_is_one_turn_without_the_silence_around_it() -> None:
    (found,) = turns_of([recording(quiet(1), tone(2), quiet(0.6), tone(1), quiet(1))])

    assert len(found.samples) / RATE == pytest.approx(4.0, abs=0.05)  # 3.6 s and 0.2 s on either side
    assert found.first_speech / RATE == pytest.approx(0.2, abs=0.02)
    assert found.end_of_speech / RATE == pytest.approx(3.8, abs=0.02)


def test_a_long_recording_is_cut_at_its_pauses() -> None:
    parts = [quiet(0.5), tone(5), quiet(0.8), tone(4), quiet(0.3), tone(3), quiet(0.6), tone(2.5), quiet(0.5)]
    found = turns_of([recording(*parts)])

    # The pause of 0.3 s is none.
    assert [piece.name for piece in found] == ["a.wav@0.30", "a.wav@6.10", "a.wav@14.00"]
    assert [len(piece.samples) / RATE for piece in found] == pytest.approx([5.4, 7.7, 2.9], abs=0.05)


def test_a_piece_too_short_to_stand_alone_goes_with_the_next_and_the_last_one_with_the_one_before() -> None:
    found = turns_of([recording(tone(1), quiet(1), tone(9), quiet(1), tone(0.5), quiet(1))])

    assert [len(piece.samples) / RATE for piece in found] == pytest.approx([12.7], abs=0.05)


def test_a_recording_in_which_nobody_speaks_has_no_turn() -> None:
    noise = np.random.default_rng(1).normal(0, 500, 3 * RATE).astype(np.int16)

    assert turns_of([recording(noise), recording(quiet(2)), recording(tone(1), quiet(1), text="")]) == []


class Judge:
    """Takes the speaker for done when the silence at the end is as long as it likes."""

    name = "judge"

    def __init__(self, silence_s: float) -> None:
        self._silence = round(silence_s * RATE)

    def judge(self, windows: Sequence[NDArray[np.float32]]) -> list[TurnJudgement]:
        assert all(len(window) <= 8 * RATE for window in windows)
        loud = (np.abs(window[-self._silence :]).max() > 0.1 for window in windows)
        return [TurnJudgement(0.1 if is_loud else 0.9) for is_loud in loud]


def test_a_turn_is_complete_when_the_model_says_so_after_every_silence() -> None:
    turns = [turn(1.0), turn(9.0)]

    assert complete_turns(turns, Judge(0.19), 0.5) == turns
    assert complete_turns(turns, Judge(0.22), 0.5) == []
    assert complete_turns(turns, Judge(0.19), 0.95) == []


# Scripts


def test_listeners_hear_nothing_but_the_room() -> None:
    script = ScriptWriter([turn(1)], ScriptOptions(Mix.LISTEN, 600)).write(3)

    assert len(script.messages) == 600
    assert not any(is_loud(script))
    assert (script.spoken, script.speech_frames) == ((), 0)


def test_clients_share_the_bytes_of_their_frames() -> None:
    writer = ScriptWriter([], ScriptOptions(Mix.LISTEN, 1000))

    messages = [message for client in range(10) for message in writer.write(client).messages]
    assert len({id(message) for message in messages}) == NOISE_FRAMES


def test_clients_begin_elsewhere() -> None:
    writer = ScriptWriter([turn(1, "a"), turn(2, "b")], ScriptOptions(Mix.MIXED, 600))
    first, second = writer.write(0), writer.write(1)

    assert first.messages[0] is not second.messages[0]
    assert first.spoken[0].first_speech != second.spoken[0].first_speech
    lengths = [script.spoken[0].end_of_speech - script.spoken[0].first_speech for script in (first, second)]
    assert lengths == [RATE, 2 * RATE]


def test_the_same_client_says_the_same_every_time() -> None:
    options = ScriptOptions(Mix.MIXED, 300)
    first, second = (ScriptWriter([turn(1)], options).write(5) for _ in range(2))

    assert [read(message)[1].tolist() for message in first.messages] == [
        read(message)[1].tolist() for message in second.messages
    ]


@pytest.mark.parametrize("duty", [0.1, 0.4, 0.75, 1.0])
def test_the_share_of_speech_is_the_duty(duty: float) -> None:
    writer = ScriptWriter([turn(2), turn(3)], ScriptOptions(Mix.MIXED, 15_000, duty))
    scripts = [writer.write(client) for client in range(4)]

    share = sum(script.speech_frames for script in scripts) / (4 * 15_000)
    assert share == pytest.approx(duty, rel=0.1)
    assert sum(is_loud(scripts[0])) == pytest.approx(scripts[0].speech_frames, rel=0.02)


def test_talkers_pause_for_a_second() -> None:
    script = ScriptWriter([turn(2)], ScriptOptions(Mix.TALK, 1000)).write(0)

    starts = [spoken.first_speech / RATE for spoken in script.spoken]
    assert np.diff(starts) == pytest.approx([3.0] * (len(starts) - 1))


def test_a_script_says_where_its_speech_is() -> None:
    script = ScriptWriter([turn(1), turn(0.5)], ScriptOptions(Mix.MIXED, 400)).write(2)

    loud = is_loud(script)
    told = [
        any(spoken.first_speech < (frame + 1) * 320 and frame * 320 < spoken.end_of_speech for spoken in script.spoken)
        for frame in range(400)
    ]
    assert loud == told


def test_a_turn_that_the_end_cuts_off_ends_there() -> None:
    script = ScriptWriter([turn(10)], ScriptOptions(Mix.TALK, 100)).write(0)

    assert script.spoken[-1].end_of_speech == 100 * 320
    assert len(script.messages) == 100


def test_audio_is_clipped_not_wrapped() -> None:
    square = np.full(RATE, 32_767, np.int16)
    script = ScriptWriter([Turn("a", square, 0, RATE)], ScriptOptions(Mix.TALK, 100)).write(0)

    assert min(read(message)[1].min() for message in script.messages) > -400


def test_the_daemon_is_told_to_speak_before_each_turn() -> None:
    script = ScriptWriter([turn(2)], ScriptOptions(Mix.MIXED, 1000, 0.4, speaks=True)).write(1)

    told = [at for at, message in enumerate(script.messages) if read(message)[0]]
    due = [spoken.first_speech // 320 - round(SPEAK_LEAD_S * 50) for spoken in script.spoken if spoken.interrupts]
    assert told == due
    assert len(told) >= 3
    assert read(script.messages[told[0]])[0][0]["type"] == "speak"
    assert len(read(script.messages[told[0]])[1]) == 320


def test_a_turn_at_the_very_beginning_interrupts_nothing() -> None:
    script = ScriptWriter([turn(2)], ScriptOptions(Mix.MIXED, 300, 0.4, speaks=True)).write(0)

    assert script.spoken[0].first_speech == 0
    assert not script.spoken[0].interrupts


def test_nobody_can_talk_without_recordings() -> None:
    with pytest.raises(BenchmarkFailed, match="no speech"):
        ScriptWriter([], ScriptOptions(Mix.TALK, 10))


@pytest.mark.parametrize("duty", [0.0, -1.0, 1.1])
def test_an_impossible_duty_is_refused(duty: float) -> None:
    with pytest.raises(BenchmarkFailed, match="duty"):
        ScriptOptions(Mix.MIXED, 10, duty)

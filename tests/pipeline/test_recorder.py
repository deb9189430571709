"""Sessions that are recorded: what is written, how much, for whom; and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import errno
import json
import stat
import threading
import wave
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import ConfigError
from alfred_voice.events import EVENT_TYPES, FinalTranscription, SessionFinished, SessionStarted
from alfred_voice.files.tape import read_tape
from alfred_voice.pipeline.options import CoordinatorOptions, RecordingOptions
from alfred_voice.pipeline.recorder import Recorder
from alfred_voice.pipeline.recording_folder import OpenRecording, RecordingFolder, name_of
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.recorded import Heading
from alfred_voice.session.replaying import Replay
from alfred_voice.session.settings import SessionSettings


# Files of a few kilobytes, in a test that has nothing else to do.
# ruff: noqa: ASYNC240

Frames = list[NDArray[np.int16]]
Spoken = Callable[..., Frames]
ALL = frozenset(EVENT_TYPES.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def recording(options: CoordinatorOptions, folder: Path) -> CoordinatorOptions:
    return replace(options, recording=RecordingOptions(enabled=True, folder=str(folder)))


async def converse(house: Any, heard: Any, frames: Frames, session_id: str = "", events: Any = ALL) -> Any:
    """One session, with a flush in it, speech of the daemon's and all it tells."""
    stream = house.open(session_id, events=frozenset(events))
    stream.speak("hello to you")
    for number, frame in enumerate(frames):
        await stream.room()
        stream.put(frame)
        if number == len(frames) // 2:
            stream.flush()
        if number % 10 == 0:
            await asyncio.sleep(0)
    stream.stop()
    return await heard(stream).to_the_end()


async def test_a_recorded_conversation_replays_to_the_same_events(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path
) -> None:
    house = await make_house(recording)
    frames = spoken(200, 1500, 900, 700, 2500)

    told = await converse(house, heard, frames, "a.b:c")
    await house.coordinator.close()

    assert told.one(SessionStarted).recorded is True
    (entries,) = folder.glob("*.jsonl")
    assert entries.name.endswith("-a_b_c.jsonl")
    recorded = read_tape(entries)
    assert np.array_equal(recorded.frames, np.array(frames))
    assert [event["type"] for event in recorded.told()] == [kind for kind in told.types if kind != "audio"]
    assert any(event["type"] == "ttsStart" for event in recorded.told())
    assert Replay(recorded).with_recorded_answers() == recorded.told()


async def test_a_recording_is_for_nobody_else_and_its_audio_is_a_wav_file(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path
) -> None:
    house = await make_house(recording)
    frames = spoken(200, 500, 2500)
    await converse(house, heard, frames)
    await house.coordinator.close()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600, 0o600]
    (audio,) = folder.glob("*.wav")
    with wave.open(str(audio)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(file.getnframes()) == np.concatenate(frames).astype("<i2").tobytes()


async def test_nothing_is_stored_unless_that_is_asked_for(
    make_house: Callable[..., Awaitable[Any]], options: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path
) -> None:
    house = await make_house(replace(options, recording=RecordingOptions(folder=str(folder))))
    told = await converse(house, heard, spoken(200, 500, 2500))
    await house.coordinator.close()

    assert told.one(SessionStarted).recorded is None
    assert not folder.exists()


async def test_recording_begins_with_the_sessions_that_are_opened_after_it_was_asked_for(
    house: Any, recording: CoordinatorOptions, heard: Any, folder: Path, options: CoordinatorOptions
) -> None:
    before = house.open()
    house.coordinator._assembly._recorder = Recorder(recording.recording)
    house.coordinator.reconfigure(recording)
    after = house.open()
    for stream in (before, after):
        stream.stop()
        await heard(stream).to_the_end()
    await house.coordinator.close()
    assert len(list(folder.glob("*.jsonl"))) == 1


@pytest.mark.parametrize("when", ["opening", "writing"])
async def test_a_disk_that_is_full_costs_the_recording_and_not_the_session(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, when: str, folder: Path,
) -> None:  # fmt: skip
    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((RecordingFolder, "open", refuse) if when == "opening" else (OpenRecording, "write", refuse)))
    house = await make_house(recording)

    told = await converse(house, heard, spoken(200, 1500, 3000))
    await house.coordinator.close()

    assert told.one(SessionFinished).reason == "stop"
    assert told.of(FinalTranscription)
    stopped = [record for record in caplog.records if record.message == "recording_stopped"]
    assert [vars(record)["reason"] for record in stopped] == [f"recording.folder {folder}: No space left on device"]


async def test_a_disk_that_is_slow_never_holds_up_the_loop(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(RecordingOptions(enabled=True, folder=str(folder)))
    recorder._run = lambda: None  # type: ignore[method-assign]  # nobody takes anything out
    tape = recorder.new_tape("s", 0.0, RecordingOptions())

    for _ in range(1_000_000):
        tape.note({"op": "ask", "t": 1.0}, None)
        if not tape.is_on:
            break

    assert not tape.is_on
    assert [vars(record)["reason"] for record in caplog.records] == ["the disk is too slow"]


async def test_what_waits_when_a_session_ends_is_written_all_the_same(folder: Path) -> None:
    recorder = Recorder(RecordingOptions(enabled=True, folder=str(folder)))
    work, may_go = recorder._write, threading.Event()

    def write_late(chunk: Any) -> None:
        assert may_go.wait(5)
        work(chunk)

    recorder._write = write_late  # type: ignore[method-assign]
    tape = recorder.new_tape("s", 0.0, RecordingOptions())
    tape.begin(Heading("s", SessionSettings("s"), SessionOptions(), 200, {}, 0.0, "0", f"{tape.name}.wav"))
    for _ in range(1000):
        tape.note({"op": "ask", "t": 1.0}, None)
    tape.close()
    may_go.set()
    await recorder.close()

    assert len(read_tape(folder / f"{tape.name}.jsonl").entries) == 1000


async def test_a_recording_ends_after_as_much_audio_as_is_allowed_and_says_so(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path
) -> None:
    short = replace(recording, recording=replace(recording.recording, max_session_s=1))
    house = await make_house(short)
    told = await converse(house, heard, spoken(200, 1500, 3000))
    await house.coordinator.close()

    assert told.of(FinalTranscription)
    recorded = read_tape(next(folder.glob("*.jsonl")))
    assert len(recorded.frames) == 50
    assert not recorded.is_whole
    assert Replay(recorded).with_recorded_answers() == recorded.told()


async def test_the_oldest_recordings_give_way_and_those_of_earlier_runs_first(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path
) -> None:
    folder.mkdir(mode=0o700)
    others = folder / "mine.jsonl"
    others.write_bytes(b"not a recording")
    old = [folder / f"2020010{day}-000000-1-1-s{suffix}" for day in (1, 2) for suffix in (".jsonl", ".wav")]
    for path in old:
        path.write_bytes(bytes(400_000))
    house = await make_house(replace(recording, recording=replace(recording.recording, max_mb=1)))

    await converse(house, heard, spoken(200, 1500, 3000))
    await house.coordinator.close()

    assert [path.exists() for path in old] == [False, False, True, True]
    assert others.read_bytes() == b"not a recording"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 1024 * 1024
    assert len(list(folder.glob("*.jsonl"))) == 3


async def test_a_folder_that_others_may_open_is_not_used(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder.mkdir(mode=0o755)
    house = await make_house(recording)
    told = await converse(house, heard, spoken(200, 500, 2500))
    await house.coordinator.close()

    assert told.one(SessionFinished).reason == "stop"
    assert not list(folder.iterdir())
    assert any("chmod 700" in vars(record).get("reason", "") for record in caplog.records)


async def test_when_only_open_recordings_are_left_the_one_that_grows_is_ended(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    house = await make_house(replace(recording, recording=replace(recording.recording, max_mb=1)))
    told = await converse(house, heard, spoken(38_000), events=frozenset({"sessionEnded"}))
    await house.coordinator.close()

    assert told.one(SessionFinished).reason == "stop"
    assert any("recording.max_mb" in vars(record).get("reason", "") for record in caplog.records)


def test_a_name_keeps_nothing_of_the_clients_but_letters_and_digits() -> None:
    assert name_of("../x:y.z", 0.0, 3).endswith("-3-___x_y_z")
    assert name_of("a", 0.0, 1).startswith("19700101-000000-")
    assert len(name_of("a" * 128, 0.0, 1)) < 110


async def test_what_is_noted_reads_as_lines_of_json(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path
) -> None:
    house = await make_house(recording)
    await converse(house, heard, spoken(200, 1500, 2500))
    await house.coordinator.close()

    lines = [json.loads(line) for line in next(folder.glob("*.jsonl")).read_text().splitlines()]
    assert lines[0]["format"] == "alfred-voice-recording"
    assert lines[0]["options"]["vad"]["threshold"] == 0.5
    kinds = {line["op"] for line in lines[1:]}
    assert {"frame", "flush", "stop", "detection", "transcript", "judgement", "told", "closed"} <= kinds
    (flush,) = [line for line in lines[1:] if line["op"] == "flush"]
    assert 0 < flush["at"] <= 16 * 4200


async def test_a_folder_that_is_opened_to_others_later_is_not_used_from_then_on(
    make_house: Callable[..., Awaitable[Any]], recording: CoordinatorOptions, heard: Any, spoken: Spoken, folder: Path,
) -> None:  # fmt: skip
    house = await make_house(recording)
    await converse(house, heard, spoken(200, 500, 2500), "first")
    folder.chmod(0o755)
    await converse(house, heard, spoken(200, 500, 2500), "second")
    await house.coordinator.close()
    assert [path.stem.rpartition("-")[2] for path in folder.glob("*.jsonl")] == ["first"]


def test_a_folder_that_cannot_be_used_is_told_beforehand_with_what_to_do(tmp_path: Path) -> None:
    RecordingFolder(str(tmp_path / "new" / "folder")).check()
    assert stat.S_IMODE((tmp_path / "new" / "folder").stat().st_mode) == 0o700
    assert not list((tmp_path / "new" / "folder").iterdir())

    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match=rf"recording.folder: {file}/x cannot be used: Not a directory; name a"):
        RecordingFolder(f"{file}/x").check()
    (tmp_path / "new").chmod(0o755)
    with pytest.raises(ConfigError, match=rf"open to others: chmod 700 {tmp_path}/new;"):
        RecordingFolder(str(tmp_path / "new")).check()

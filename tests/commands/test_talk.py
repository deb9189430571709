"""``alfred-voice talk`` against a small server that follows a script; the real daemon is in the end-to-end tests."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import sys
import types
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from alfred_voice.client import ConversationLost, ConversationRefused
from alfred_voice.commands import talk
from alfred_voice.commands.talk_sound import SpeechFiles, SpeechPlayer, file_frames, saved_to
from alfred_voice.errors import AudioError
from tests.lost_lines import Line, lost_after_started, serving


STARTED = {"type": "sessionStarted", "session_id": "s", "seq": 0, "sample_rate": 16000, "encoding": "pcm_s16le"}
STATS = {"frames_received": 1, "frames_processed": 1, "frames_dropped": 0, "utterances": 0, "speech_ms": 0.0}


class Daemon:
    """Answers as a daemon would, hears nothing, and keeps what came."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Any] = []
        self.protocol: str | None = None
        self.on_speak: list[dict[str, Any] | bytes] = []
        self.on_start: list[dict[str, Any]] = []
        self.end_reason = "stop"
        self.close_code = 1000
        self.heard = asyncio.Event()

    @property
    def audio(self) -> bytes:
        return b"".join(piece for piece in self.got if isinstance(piece, bytes))

    @property
    def controls(self) -> list[dict[str, Any]]:
        return [piece for piece in self.got if isinstance(piece, dict)]

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=("alfred.v1.json",))
        await ws.prepare(request)
        self.protocol = ws.ws_protocol
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                self.got.append(message.data)
                self.heard.set()
                continue
            control = json.loads(message.data)
            self.got.append(control)
            if control["type"] == "speak":
                self.heard.set()
            match control["type"]:
                case "start":
                    await self._send(ws, [STARTED, *self.on_start])
                case "speak":
                    await self._send(ws, self.on_speak)
                case "stop":
                    break
        await ws.send_json({"type": "sessionEnded", "seq": 9, "reason": self.end_reason, "stats": STATS})
        await ws.close(code=self.close_code)
        return ws

    @staticmethod
    async def _send(ws: web.WebSocketResponse, messages: list[Any]) -> None:
        for message in messages:
            await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_json(message))


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    one = Daemon()
    application = web.Application()
    application.router.add_get("/ws", one.serve)
    server = TestServer(application)
    await server.start_server()
    one.url = f"ws://127.0.0.1:{server.port}/ws"
    yield one
    await server.close()


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    talk.add_parser(parser.add_subparsers())
    return parser.parse_args(["talk", *arguments])


def write_wav(path: Path, samples: np.ndarray[Any, Any], rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Half a second and a bit, so that the last frame is not full."""
    return write_wav(tmp_path / "recording.wav", np.arange(8_100) % 3_000)


async def test_a_file_is_sent_whole_in_frames_and_the_session_stopped(
    daemon: Daemon, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await talk.talk(parsed(str(recording), "--url", daemon.url, "--pace", "0"))

    assert code == 0
    sent = np.frombuffer(daemon.audio, "<i2")
    assert np.array_equal(sent[:8_100], np.arange(8_100) % 3_000)
    assert not sent[8_100:].any()
    assert len(sent) % 320 == 0
    assert {len(piece) for piece in daemon.got if isinstance(piece, bytes)} == {640}
    assert [control["type"] for control in daemon.controls] == ["start", "stop"]
    assert "session over (stop): 1 frames, 0 dropped" in capsys.readouterr().out


async def test_raw_events_are_printed_one_per_line(
    daemon: Daemon, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await talk.talk(parsed(str(recording), "--url", daemon.url, "--pace", "0", "--json"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == STARTED
    assert [line["type"] for line in lines] == ["sessionStarted", "sessionEnded"]


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ([], {"resumable": True}),
        (["--no-resume"], {}),
        (["--events", "all", "--no-resume"], {"events": ["*"]}),
        (["--events", "turnPending, pong", "--no-resume"], {"events": ["turnPending", "pong"]}),
        (["--language", "de"], {"language": "de", "resumable": True}),
    ],
    ids=["default", "once", "all", "some", "language"],
)
async def test_the_start_message_says_what_the_options_ask(
    daemon: Daemon, recording: Path, arguments: list[str], start: dict[str, Any]
) -> None:
    await talk.talk(parsed(str(recording), "--url", daemon.url, "--pace", "0", *arguments))
    assert daemon.controls[0] == {"type": "start", **start}


async def test_say_waits_for_the_speech_and_saves_it(daemon: Daemon, tmp_path: Path) -> None:
    speech = {"speech_id": 1, "text": "Hello.", "sample_rate": 16_000, "encoding": "pcm_s16le", "voice": "en-gb"}
    audio = np.arange(640, dtype="<i2").tobytes()
    daemon.on_speak = [
        {"type": "ttsStart", **speech},
        audio[:640],
        audio[640:],
        {"type": "ttsEnd", "speech_id": 1, "duration_ms": 40.0, "cancelled": False},
    ]
    out = tmp_path / "out.wav"
    code = await talk.talk(parsed("--say", "Hello.", "--voice", "en-gb", "--save-audio", str(out), "--url", daemon.url))

    assert code == 0
    assert daemon.controls[1:] == [
        {"type": "speak", "text": "Hello.", "voice": "en-gb", "speech_id": 0},
        {"type": "stop"},
    ]
    with wave.open(str(out)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(10_000) == audio


async def test_an_error_of_the_daemon_is_exit_code_1_and_ends_the_wait_for_speech(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.on_speak = [{"type": "error", "code": "voice_unknown", "message": "no voice 'x'", "fatal": False}]
    code = await talk.talk(parsed("--say", "Hello.", "--save-audio", str(tmp_path / "out.wav"), "--url", daemon.url))
    assert code == 1
    assert "no voice 'x'" in capsys.readouterr().out


async def test_a_session_that_ends_with_an_error_is_exit_code_1(daemon: Daemon, recording: Path) -> None:
    daemon.end_reason = "error"
    assert await talk.talk(parsed(str(recording), "--url", daemon.url, "--pace", "0")) == 1


async def test_a_session_that_the_daemon_ends_while_audio_goes_out_is_shown_to_its_end(
    daemon: Daemon, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.end_reason = "max_duration"

    async def cut(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=("alfred.v1.json",))
        await ws.prepare(request)
        await ws.send_json(STARTED)
        await ws.receive()
        await ws.send_json({"type": "sessionEnded", "reason": "max_duration", "stats": STATS})
        await ws.close()
        return ws

    application = web.Application()
    application.router.add_get("/ws", cut)
    server = TestServer(application)
    await server.start_server()
    try:
        url = f"ws://127.0.0.1:{server.port}/ws"
        assert await talk.talk(parsed(str(recording), "--url", url, "--pace", "0.5")) == 0
    finally:
        await server.close()
    assert "session over (max_duration)" in capsys.readouterr().out


async def lost_and_back(first: Line) -> None:
    await first.open()
    await first.hear(10)
    first.lose()


async def back(second: Line) -> None:
    await second.hear()
    await second.tell("sessionResumed", 1, audio_bytes=5 * 640)
    await second.hear(26 - 5 + 1)
    await second.end(2)


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "json"])
async def test_a_connection_that_is_lost_is_told_and_come_back_from_and_the_file_arrives_whole(
    recording: Path, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    async with serving() as server:
        server.scripts = [lost_and_back, back]
        code = await talk.talk(parsed(str(recording), "--url", server.url, "--pace", "4", *form))

    assert code == 0
    first, second = ([piece for piece in line.got if isinstance(piece, bytes)] for line in server.lines)
    sent = np.frombuffer(b"".join([*first[:5], *second]), "<i2")
    assert np.array_equal(sent[:8_100], np.arange(8_100) % 3_000)
    shown = capsys.readouterr()
    remarks = shown.err if form else shown.out
    assert "connection lost; coming back…\n" in remarks
    assert re.search(r"back after \d\.\d s, nothing lost\n", remarks)
    assert "secret" not in shown.out + shown.err


async def test_who_does_not_want_to_come_back_ends_with_the_connection(recording: Path) -> None:
    async with serving() as server:
        server.scripts = [lost_after_started]
        with pytest.raises(ConversationLost):
            await talk.talk(parsed(str(recording), "--url", server.url, "--no-resume"))
    assert len(server.lines) == 1


async def test_ctrl_c_stops_the_session_and_shows_its_end(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = write_wav(tmp_path / "long.wav", np.zeros(16_000 * 60))
    running = asyncio.ensure_future(talk.talk(parsed(str(long), "--url", daemon.url)))
    await daemon.heard.wait()
    os.kill(os.getpid(), signal.SIGINT)

    assert await running == 0
    assert daemon.controls[-1] == {"type": "stop"}
    assert len(daemon.audio) < 16_000 * 2 * 30
    assert "session over (stop)" in capsys.readouterr().out


async def test_ctrl_c_does_not_wait_for_the_speech(daemon: Daemon, tmp_path: Path) -> None:
    arguments = parsed("--say", "Hello.", "--save-audio", str(tmp_path / "out.wav"), "--url", daemon.url)
    running = asyncio.ensure_future(talk.talk(arguments))
    await daemon.heard.wait()
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 0


def test_nothing_at_the_address_is_exit_code_2_with_a_hint(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args = parsed(str(recording), "--url", f"ws://127.0.0.1:{port}/ws")
    assert args.run(args) == 2
    assert "alfred-voice serve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "nothing to send"),
        (["missing.wav"], "no such file: missing.wav"),
        (["a.wav", "--mic"], "not both"),
        (["--mic", "--save-audio", "x.wav"], "--save-audio needs --say"),
        (["--say", "x", "--url", "nowhere"], "expected an address like"),
    ],
    ids=["nothing", "missing", "both", "save", "address"],
)
def test_wrong_usage_is_exit_code_2_and_says_why(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = parsed(*arguments)
    assert args.run(args) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("pace", ["-1", "nan", "1e9", "fast"])
def test_a_pace_that_is_none_is_refused_by_the_parser(pace: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parsed("x.wav", f"--pace={pace}")
    assert raised.value.code == 2
    assert "--pace" in capsys.readouterr().err


async def test_a_file_that_is_no_audio_is_an_audio_error(daemon: Daemon, tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("this is no sound" * 100)
    with pytest.raises(AudioError):
        await talk.talk(parsed(str(text), "--url", daemon.url, "--pace", "0"))


def test_a_microphone_without_the_package_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    args = parsed("--mic")
    assert args.run(args) == 2
    assert "pip install -e '.[mic]'" in capsys.readouterr().err


async def test_speech_without_a_loudspeaker_is_shown_with_a_remark(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    daemon.on_speak = [{"type": "ttsEnd", "speech_id": 1, "duration_ms": 0.0, "cancelled": False}]
    assert await talk.talk(parsed("--say", "Hello.", "--url", daemon.url)) == 0
    assert "speech is not played" in capsys.readouterr().out


def test_devices_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    package = types.ModuleType("sounddevice")
    package.query_devices = lambda: "  0 Some microphone"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", package)
    args = parsed("--devices")
    assert args.run(args) == 0
    assert capsys.readouterr().out == "  0 Some microphone\n"


async def test_a_file_of_another_rate_becomes_frames_of_20_ms(tmp_path: Path) -> None:
    tone = np.sin(np.arange(44_100) * 2 * np.pi * 440 / 44_100) * 10_000
    frames = [frame async for frame in file_frames(write_wav(tmp_path / "tone.wav", tone, 44_100))]
    samples = np.frombuffer(b"".join(frames), "<i2").astype(float)

    assert {len(frame) for frame in frames} == {640}
    assert 15_900 <= np.flatnonzero(samples)[-1] <= 16_000
    spectrum = np.abs(np.fft.rfft(samples[:16_000]))
    assert int(spectrum.argmax()) == 440


class TestSpeechFiles:
    """Where saved speech goes."""

    @staticmethod
    def speech(speech_id: int, audio: bytes, *, cancelled: bool = False) -> list[dict[str, Any]]:
        return [
            {"type": "ttsStart", "speech_id": speech_id, "sample_rate": 16_000},
            {"type": "ttsAudio", "speech_id": speech_id, "audio": audio},
            {"type": "ttsEnd", "speech_id": speech_id, "duration_ms": 1.0, "cancelled": cancelled},
        ]

    @staticmethod
    def read(path: Path) -> bytes:
        with wave.open(str(path)) as file:
            return bytes(file.readframes(100_000))

    def test_one_file_takes_all_speeches(self, tmp_path: Path) -> None:
        with saved_to(tmp_path / "all.wav") as files:
            for event in [*self.speech(0, b"\1\0"), *self.speech(1, b"\2\0", cancelled=True)]:
                files.receive(event)
        assert self.read(tmp_path / "all.wav") == b"\1\0\2\0"
        assert files.written == [tmp_path / "all.wav"]

    def test_a_folder_takes_a_file_for_each(self, tmp_path: Path) -> None:
        with saved_to(tmp_path) as files:
            for event in [*self.speech(0, b"\1\0"), *self.speech(7, b"\2\0")]:
                files.receive(event)
        assert self.read(tmp_path / "speech-0.wav") == b"\1\0"
        assert self.read(tmp_path / "speech-7.wav") == b"\2\0"
        assert files.written == [tmp_path / "speech-0.wav", tmp_path / "speech-7.wav"]

    def test_nothing_spoken_writes_no_file(self, tmp_path: Path) -> None:
        with saved_to(tmp_path / "all.wav"):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_audio_before_a_speech_is_left(self, tmp_path: Path) -> None:
        files = SpeechFiles(tmp_path / "all.wav")
        files.receive({"type": "ttsAudio", "speech_id": 0, "audio": b"\0\0"})
        files.close()
        assert files.written == []

    def test_a_folder_that_does_not_exist_yet_is_made(self, daemon: Daemon, tmp_path: Path) -> None:
        """The command makes it when it is written with a slash."""
        args = parsed("--say", "x", "--save-audio", f"{tmp_path}/new/folder/", "--url", "nowhere")
        assert args.run(args) == 2
        assert (tmp_path / "new" / "folder").is_dir()


def test_the_player_falls_silent_when_its_speech_is_cancelled() -> None:
    class Loudspeaker:
        def __init__(self) -> None:
            self.did: list[Any] = []

        def put(self, audio: bytes) -> None:
            self.did.append(audio)

        def hush(self) -> None:
            self.did.append("hush")

    loudspeaker = Loudspeaker()
    player = SpeechPlayer(loudspeaker)  # type: ignore[arg-type]
    for event in [*TestSpeechFiles.speech(0, b"\1\0"), *TestSpeechFiles.speech(1, b"\2\0", cancelled=True)]:
        player.receive(event)
    assert loudspeaker.did == [b"\1\0", b"\2\0", "hush"]


async def test_a_refusal_is_a_daemon_error(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"code": "draining", "detail": "shutting down"}, status=503)

    application = web.Application()
    application.router.add_get("/ws", refuse)
    server = TestServer(application)
    await server.start_server()
    try:
        args = parsed(str(recording), "--url", f"http://127.0.0.1:{server.port}")
        assert await asyncio.to_thread(args.run, args) == 1
    finally:
        await server.close()
    assert "503: shutting down" in capsys.readouterr().err


async def test_after_a_start_that_was_refused_nothing_is_sent_that_would_be_refused_as_well(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[str] = []

    async def refuse(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=("alfred.v1.json",))
        await ws.prepare(request)
        async for message in ws:
            kind = "audio" if message.type is WSMsgType.BINARY else json.loads(message.data)["type"]
            got.append(kind)
            if kind == "stop":
                break
            await ws.send_json({"type": "error", "code": "settings_invalid", "message": f"no {kind}", "fatal": False})
        await ws.close()
        return ws

    application = web.Application()
    application.router.add_get("/ws", refuse)
    server = TestServer(application)
    await server.start_server()
    try:
        arguments = (str(recording), "--say", "Hello.", "--daemon", f"http://127.0.0.1:{server.port}")
        assert await talk.talk(parsed(*arguments)) == 1
    finally:
        await server.close()
    assert got == ["start", "stop"]
    assert capsys.readouterr().out.count("no start") == 1


def test_a_variable_that_is_named_for_the_key_and_not_set_is_told(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_HERE", raising=False)
    args = parsed(str(recording), "--key-env", "NOT_HERE")
    assert args.run(args) == 2
    assert "the environment variable NOT_HERE is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "advice"),
    [("key_needed", "set ALFRED_API_KEY to a key"), ("key_refused", "ALFRED_API_KEY holds another key"), ("x", "no")],
)
def test_a_refusal_for_the_keys_sake_says_which_variable_holds_it(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: str, advice: str
) -> None:
    async def refused(_args: argparse.Namespace) -> int:
        raise ConversationRefused("no", 401, code)

    monkeypatch.setattr(talk, "talk", refused)
    args = parsed(str(recording))
    assert args.run(args) == 1
    shown = capsys.readouterr().err
    assert advice in shown
    assert ("ALFRED_API_KEY" in shown) is (code != "x")


def test_who_reads_the_output_may_leave_without_a_word(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(_args: argparse.Namespace) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(talk, "talk", cut)
    args = parsed(str(recording))
    with pytest.raises(BrokenPipeError):  # which the console script takes for what it is
        args.run(args)
    assert capsys.readouterr().err == ""

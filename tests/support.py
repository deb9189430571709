"""What tests share that talk to a real daemon: starting one, streaming to it, and judging what it heard.

The streaming client here is written from the protocol's page with the standard library and the
reference packages, and shares nothing with the package under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiohttp
import msgpack
import numpy as np
from numpy.typing import NDArray


Int16 = NDArray[np.int16]
Event = dict[str, Any]
Mode = Literal["json", "msgpack"]

SAMPLE_RATE = 16_000
FRAME_S = 0.02
READY_WITHIN_S = 60.0
EXIT_WITHIN_S = 25.0
CALM_WITHIN_S = 30.0


# --- a daemon -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_tail(self, characters: int = 3_000) -> str:
        return self.log.read_text(errors="replace")[-characters:]

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(EXIT_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no exit within {EXIT_WITHIN_S} s of SIGTERM:\n{self.log_tail()}") from None


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without settings of the daemon, apart from where its models are."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("ALFRED_") or name == "ALFRED_MODELS"
    }
    return {**kept, **extra}


@contextlib.contextmanager
def running_daemon(
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = ("-m", "alfred_voice", "serve"),
    port: int | None = None,
) -> Iterator[Daemon]:
    """The real daemon on a free port, ready; SIGTERM at the end must make it leave with exit code 0.

    Args:
        folder: where it runs and writes its log.
        arguments: further ones of ``serve``.
        env: further environment variables.
        command: what the interpreter runs; takes ``--port`` and ``arguments``.
        port: where it listens; None for any that is free.
    """
    port = free_port() if port is None else port
    log = folder / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(port), *arguments],
            stdout=output,
            stderr=output,
            cwd=folder,
            env=clean_environment(**(env or {})),
            start_new_session=True,
        )
    daemon = Daemon(port, process, log)
    try:
        wait_until_ready(daemon)
        yield daemon
        code = daemon.terminate()
        assert code == 0, f"exit code {code}:\n{daemon.log_tail()}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_until_ready(daemon: Daemon) -> None:
    """Return once ``/readyz`` says 200."""
    deadline = time.monotonic() + READY_WITHIN_S
    while status_of(f"{daemon.base}/readyz") != 200:
        assert daemon.process.poll() is None, f"the daemon left with {daemon.process.poll()}:\n{daemon.log_tail()}"
        assert time.monotonic() < deadline, f"not ready within {READY_WITHIN_S} s:\n{daemon.log_tail()}"
        time.sleep(0.05)


def metrics_of(daemon: Daemon) -> dict[str, Any]:
    """What ``/metrics`` answers in JSON."""
    with urllib.request.urlopen(f"{daemon.base}/metrics", timeout=5) as response:  # noqa: S310 - our own http address
        answer: dict[str, Any] = json.load(response)
        return answer


def wait_until_calm(daemon: Daemon) -> None:
    """Return once the daemon degrades nothing any more: it takes its time to be sure that a load has passed."""
    deadline = time.monotonic() + CALM_WITHIN_S
    while (step := _degradation_step(daemon)) != "none":
        assert time.monotonic() < deadline, f"still at {step} after {CALM_WITHIN_S} s"
        time.sleep(0.1)


def _degradation_step(daemon: Daemon) -> str:
    with urllib.request.urlopen(f"{daemon.base}/pipeline/status", timeout=5) as response:  # noqa: S310 - as above
        return str(json.load(response)["pipelineState"]["degradationStep"])


def status_of(url: str) -> int | None:
    """The HTTP status of a GET; None when nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - always our own http address
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code
    except OSError:
        return None


# --- a stream -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Heard:
    """What came back from one session."""

    arrivals: list[tuple[float, Event]] = field(default_factory=list)
    """Seconds since the first frame was due, and the event; synthesised audio is a ``ttsAudio`` event."""
    frames_sent: int = 0
    close_code: int | None = None

    @property
    def events(self) -> list[Event]:
        """Everything but synthesised audio."""
        return [event for _, event in self.arrivals if event["type"] != "ttsAudio"]

    @property
    def types(self) -> list[str]:
        return [event["type"] for _, event in self.arrivals]

    def of(self, *types: str) -> list[Event]:
        return [event for _, event in self.arrivals if event["type"] in types]

    def one(self, event_type: str) -> Event:
        events = self.of(event_type)
        assert len(events) == 1, f"expected one {event_type}, got {len(events)}: {self.types}"
        return events[0]

    @property
    def finals(self) -> list[Event]:
        return self.of("finalTranscription")

    @property
    def text(self) -> str:
        return " ".join(event["text"] for event in self.finals if event["text"])

    @property
    def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = self.one("sessionEnded")["stats"]
        return stats

    def audio_of(self, speech_id: int) -> bytes:
        return b"".join(event["audio"] for event in self.of("ttsAudio") if event["speech_id"] == speech_id)


@dataclass(frozen=True, slots=True)
class At:
    """A control message at a moment of the stream."""

    seconds: float
    message: Event | bytes | str
    """``bytes`` and ``str`` go out as they are, in a frame of their kind."""


async def stream(
    url: str,
    audio: Int16 | bytes,
    *,
    mode: Mode = "json",
    start: Mapping[str, Any] | None = None,
    controls: Sequence[At] = (),
    pace: float = 1.0,
    tail_s: float = 0.0,
    frame_bytes: int = 640,
    stop: bool = True,
    within_s: float = 30.0,
) -> Heard:
    """Send audio in frames of 20 ms at ``pace`` times real time, each at its moment; collect events until the close.

    Args:
        audio: int16 at 16 kHz, or bytes in the format that ``start`` declares.
        controls: messages at moments of the stream; after its end, real time goes on for those still due.
        tail_s: zeros after the audio; only for formats in which zero bytes are silence.
        stop: send ``stop`` after everything; without it the daemon has to end the session itself.
        within_s: how long after the last message the session may take to end.
    """
    data = audio if isinstance(audio, bytes) else audio.astype("<i2").tobytes()
    data += bytes(round(tail_s / FRAME_S) * frame_bytes)
    heard = Heard()
    clock = asyncio.get_running_loop().time
    async with aiohttp.ClientSession() as session:
        protocols = (f"alfred.v1.{mode}",)
        async with session.ws_connect(url, protocols=protocols, max_msg_size=0) as ws:
            assert ws.protocol == protocols[0]
            socket = ws.get_extra_info("socket")
            await _send(ws, mode, {"type": "start", **(start or {})})
            begin = clock()
            reader = asyncio.ensure_future(_collect(ws, mode, begin, heard))
            try:
                await _send_paced(ws, mode, _schedule(data, frame_bytes, controls), begin, pace, heard, reader)
                if stop and not ws.closed:
                    await _send(ws, mode, {"type": "stop"})
                await asyncio.wait_for(reader, within_s)
            finally:
                reader.cancel()
            heard.close_code = ws.close_code
    # The transport is closed in a later turn of the loop, which must not be closed before.
    async with asyncio.timeout(10):
        while socket.fileno() >= 0:  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0.005)
    return heard


async def staggered(sessions: Sequence[Coroutine[Any, Any, Heard]], gap_s: float = 0.15) -> list[Heard]:
    """Several sessions at once, each a little after the one before: people do not speak in unison."""

    async def after(delay_s: float, session: Coroutine[Any, Any, Heard]) -> Heard:
        await asyncio.sleep(delay_s)
        return await session

    return list(await asyncio.gather(*[after(n * gap_s, session) for n, session in enumerate(sessions)]))


def _schedule(data: bytes, frame_bytes: int, controls: Sequence[At]) -> list[tuple[float, bool, Any]]:
    """What is to be sent when: (seconds, is it audio?, what), in order."""
    frames = [data[i : i + frame_bytes] for i in range(0, len(data), frame_bytes)]
    moments = [(n * FRAME_S, True, frame) for n, frame in enumerate(frames)]
    return sorted(moments + [(at.seconds, False, at.message) for at in controls], key=lambda moment: moment[0])


async def _send_paced(
    ws: aiohttp.ClientWebSocketResponse,
    mode: Mode,
    schedule: list[tuple[float, bool, Any]],
    begin: float,
    pace: float,
    heard: Heard,
    reader: asyncio.Future[None],
) -> None:
    clock = asyncio.get_running_loop().time
    for seconds, is_audio, what in schedule:
        early = begin + seconds / pace - clock()
        if early > 0:
            await asyncio.sleep(early)
        if reader.done():
            return
        try:
            if is_audio:
                await ws.send_bytes(what if mode == "json" else msgpack.packb({"type": "audio", "audio": what}))
                heard.frames_sent += 1
            else:
                await _send(ws, mode, what)
        except ConnectionError:
            # The daemon has ended the session; the reader has its last words.
            return


async def _send(ws: aiohttp.ClientWebSocketResponse, mode: Mode, message: Event | bytes | str) -> None:
    if isinstance(message, bytes):
        await ws.send_bytes(message)
    elif isinstance(message, str):
        await ws.send_str(message)
    elif mode == "json":
        await ws.send_str(json.dumps(message))
    else:
        await ws.send_bytes(msgpack.packb(message))


async def _collect(ws: aiohttp.ClientWebSocketResponse, mode: Mode, begin: float, heard: Heard) -> None:
    clock = asyncio.get_running_loop().time
    speech_id: int | None = None
    async for message in ws:
        event = read_message(message, mode, speech_id)
        if event["type"] == "ttsStart":
            speech_id = event["speech_id"]
        heard.arrivals.append((clock() - begin, event))


def read_message(message: aiohttp.WSMessage, mode: Mode = "json", speech_id: int | None = None) -> Event:
    """One event; bare audio is a ``ttsAudio`` of the speech that ``speech_id`` names."""
    if mode == "msgpack":
        assert message.type is aiohttp.WSMsgType.BINARY, f"expected a binary frame, got {message}"
        event = msgpack.unpackb(message.data)
    elif message.type is aiohttp.WSMsgType.BINARY:
        assert speech_id is not None, "audio came before any ttsStart"
        event = {"type": "ttsAudio", "speech_id": speech_id, "audio": message.data}
    else:
        assert message.type is aiohttp.WSMsgType.TEXT, f"expected a text frame, got {message}"
        event = json.loads(message.data)
    assert isinstance(event, dict)
    return event


# --- judging ------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Words in lower case without punctuation."""
    return re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()


def word_errors(reference: str, text: str) -> int:
    """Insertions, deletions and substitutions between two texts (edit distance in words)."""
    wanted, got = words(reference), words(text)
    row = list(range(len(got) + 1))
    for i, one in enumerate(wanted, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (one != other))
    return row[-1]


def word_error_rate(reference: str, text: str) -> float:
    """Word errors per word of the reference."""
    return word_errors(reference, text) / len(words(reference))


def repeated_runs(text: str, length: int) -> set[tuple[str, ...]]:
    """Runs of ``length`` words that stand more than once in ``text``."""
    spoken = words(text)
    runs = [tuple(spoken[i : i + length]) for i in range(len(spoken) - length + 1)]
    return {run for run in runs if runs.count(run) > 1}


def check_session(heard: Heard, *, reason: str = "stop", turns: bool = True, dropped: bool = False) -> None:
    """What holds for every session: numbering, accounting, and the order of events within each utterance."""
    events = heard.events
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert len({event["session_id"] for event in events}) == 1
    assert events[0]["type"] == "sessionStarted"
    assert events[-1]["type"] == "sessionEnded"
    assert heard.one("sessionEnded")["reason"] == reason
    stats = heard.stats
    assert stats["frames_received"] == stats["frames_processed"] + stats["frames_dropped"]
    if not dropped:
        assert stats["frames_dropped"] == 0
    finals = [event["utterance"] for event in heard.finals]
    assert len(finals) == len(set(finals)), f"an utterance has two finals: {finals}"
    assert stats["utterances"] == len(finals)
    completed = [event["utterance"] for event in heard.of("turnComplete")]
    assert completed == (finals if turns else [])
    check_order(events, turns=turns)
    check_stability(heard)


def check_order(events: Sequence[Event], *, turns: bool = True) -> None:
    """Within each utterance: first speechStart < its partials < last speechEnd < final < turnComplete."""
    for final_at, final in enumerate(events):
        if final["type"] != "finalTranscription":
            continue
        utterance = final["utterance"]
        starts = _places(events, "speechStart", lambda e, f=final: f["start_ms"] - 1 <= e["at_ms"] <= f["end_ms"])
        ends = _places(events, "speechEnd", lambda e, f=final: f["start_ms"] <= e["at_ms"] <= f["end_ms"] + 1)
        partials = _places(events, "partialTranscription", lambda e, u=utterance: e["utterance"] == u)
        assert starts, f"utterance {utterance} has no speechStart in it: {final}"
        assert ends, f"utterance {utterance} has no speechEnd in it: {final}"
        turn = _places(events, "turnComplete", lambda e, u=utterance: e["utterance"] == u)
        order = [starts[0], *partials, ends[-1], final_at, *turn]
        assert order == sorted(order), f"utterance {utterance}: {[events[i]['type'] for i in order]} at {order}"
        assert len(turn) == (1 if turns else 0)


def _places(events: Sequence[Event], event_type: str, belongs: Any) -> list[int]:
    return [i for i, event in enumerate(events) if event["type"] == event_type and belongs(event)]


def check_stability(heard: Heard) -> None:
    """``stable_text`` is a prefix of its own text, of every later stable text, partial and the final."""
    by_utterance = itertools.groupby(
        sorted(heard.of("partialTranscription", "finalTranscription"), key=lambda event: event["utterance"]),
        key=lambda event: event["utterance"],
    )
    for utterance, events in by_utterance:
        stable = ""
        for event in events:
            assert event["text"].startswith(stable), f"utterance {utterance}: {stable!r} changed to {event['text']!r}"
            if event["type"] == "partialTranscription":
                assert event["text"].startswith(event["stable_text"])
                assert event["stable_text"].startswith(stable)
                stable = event["stable_text"]

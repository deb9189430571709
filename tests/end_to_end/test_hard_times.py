"""A daemon that is used hard: opened and closed again and again, cut off, not read, without descriptors, killed.

The engines are scripted: it is the daemon around them that is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest

from alfred_voice.client import Conversation, NotResumed
from tests.footprint import Footprint, footprint_of, settled
from tests.raw_socket import BINARY, TEXT, UPGRADE, frame
from tests.raw_socket import Wire as RawWire
from tests.resuming import Wire, wire_to
from tests.support import (
    Daemon,
    Heard,
    check_session,
    clean_environment,
    metrics_of,
    running_daemon,
    status_of,
    stream,
    wait_until_ready,
)


ROOT = Path(__file__).parents[2]
TONE = (8_000 * np.sin(2 * np.pi * 300 / 16_000 * np.arange(16_000))).astype(np.int16)
"""A second of what the scripted detector takes for speech."""
SPEECH = TONE.astype("<i2").tobytes()
SILENCE = bytes(32_000)

Start = Callable[..., AbstractContextManager[Daemon]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a daemon with scripted engines."""
    command = (str(ROOT / "tests" / "scripted_daemon.py"),)
    return lambda *arguments: running_daemon(tmp_path, *arguments, env={"PYTHONPATH": str(ROOT)}, command=command)


def check_log(daemon: Daemon) -> None:
    """Nothing went wrong that nobody had thought of."""
    log = daemon.log.read_text(errors="replace")
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 1000) :][:4000]


async def brief_session(http: aiohttp.ClientSession, daemon: Daemon, number: int) -> int:
    """A session with a little speech; the number of its finals."""
    async with http.ws_connect(f"{daemon.ws}?session_id=brief-{number}") as ws:
        await ws.send_bytes(SPEECH[:16_000])
        await ws.send_bytes(SILENCE)
        await ws.send_json({"type": "stop"})
        return sum([message.json()["type"] == "finalTranscription" async for message in ws])


async def brief_sessions(daemon: Daemon, count: int, at_once: int = 20) -> None:
    numbers = itertools.count()

    async def in_turn(http: aiohttp.ClientSession) -> None:
        while (number := next(numbers)) < count:
            assert await brief_session(http, daemon, number) == 1

    async with aiohttp.ClientSession() as http, asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(in_turn(http))
    await asyncio.sleep(0.1)


def check_same(before: Footprint, after: Footprint, growth: float) -> None:
    assert after.sessions == 0
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads
    assert after.memory_mb <= growth * before.memory_mb


@pytest.mark.slow
async def test_a_thousand_sessions_leave_nothing_behind(start: Start) -> None:
    with start() as daemon:
        await brief_sessions(daemon, 500)
        before = settled(daemon, footprint_of(daemon), within_s=3)
        await brief_sessions(daemon, 500)
        after = settled(daemon, before)
        check_log(daemon)
    print(before, after)  # noqa: T201 - shown by -s
    check_same(before, after, growth=1.15)


async def cut_sessions(daemon: Daemon, count: int, seed: int) -> None:
    """So many sessions, each cut in the middle of something else: a frame, an utterance, the daemon's own speech."""
    async with wire_to(daemon.base) as wire, aiohttp.ClientSession() as http:
        sockets = await asyncio.gather(*(http.ws_connect(f"ws://127.0.0.1:{wire.port}/ws") for _ in range(count)))
        for number, ws in enumerate(sockets):
            match (number + seed) % 3:
                case 0:
                    await ws.send_bytes(SPEECH)
                case 1:
                    await ws.send_json({"type": "speak", "text": "a long story " * 20})
                    await ws.receive()
                case _:
                    await ws.send_bytes(SPEECH[:320])
        await asyncio.sleep(0.2)
        await cut_in_a_frame(wire, sockets)
        for ws in sockets:
            await ws.close()
    await asyncio.sleep(0.1)


async def cut_in_a_frame(wire: Wire, sockets: list[aiohttp.ClientWebSocketResponse]) -> None:
    wire.cut_in_the_next_message()
    with contextlib.suppress(ConnectionError):
        await sockets[0].send_bytes(SPEECH[:640])
    await asyncio.sleep(0.05)
    wire.cut()


async def test_connections_that_are_cut_by_the_dozen_free_their_sessions(start: Start) -> None:
    with start() as daemon:
        await cut_sessions(daemon, 24, 0)
        before = settled(daemon, footprint_of(daemon), within_s=5)
        for seed in range(4):
            await cut_sessions(daemon, 24, seed)
        after = settled(daemon, before)
        assert metrics_of(daemon)["pipelineState"]["sessionsActive"] == 0
        check_log(daemon)
    print(before, after)  # noqa: T201 - shown by -s
    check_same(before, after, growth=1.15)


@pytest.mark.slow
async def test_who_does_not_read_is_closed_and_nobody_else_notices(start: Start) -> None:
    """Each asks for more than it reads; a neighbour is timed beside them and alone."""
    with start("--set", "pipeline.outbox_events=64") as daemon:
        alone = await neighbour(daemon)
        before = footprint_of(daemon)
        async with contextlib.AsyncExitStack() as stack:
            deaf = [await stack.enter_async_context(deaf_client(daemon)) for _ in range(8)]
            beside = asyncio.create_task(neighbour(daemon))
            async with asyncio.timeout(90):
                while footprint_of(daemon).sessions > 1:  # noqa: ASYNC110  what is waited for knows of no event
                    await asyncio.sleep(0.1)
            during = footprint_of(daemon)
            together = await beside
            # The reason comes behind what they have not read; where there was no room for it, a reset does.
            assert {await last_code(wire) for wire in deaf} <= {1013, None}
        check_log(daemon)
    check_session(together)
    print(alone.finals, together.finals, before, during)  # noqa: T201 - shown by -s
    assert together.finals[0]["latency_ms"] <= alone.finals[0]["latency_ms"] + 1000
    assert during.memory_mb <= before.memory_mb * 1.5


async def neighbour(daemon: Daemon) -> Heard:
    """Somebody who speaks for a second."""
    return await stream(daemon.ws, SPEECH, tail_s=1.0)


@contextlib.asynccontextmanager
async def deaf_client(daemon: Daemon) -> AsyncIterator[RawWire]:
    """Asks to be told of each frame, sends a lot of them, and reads nothing: its window is as small as can be."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", daemon.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    writer.write(UPGRADE + b"\r\n" + frame(TEXT, b'{"type":"start","events":["*"]}'))
    sending = asyncio.create_task(send_on(writer))
    try:
        yield RawWire(reader, writer)
    finally:
        sending.cancel()
        writer.close()


async def send_on(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(frame(BINARY, SILENCE))
            await writer.drain()
            await asyncio.sleep(0.01)


async def last_code(wire: RawWire) -> int | None:
    """The code of the close, behind the handshake's answer and all events before it; None for a reset."""
    try:
        await wire.head()
        return await wire.close_code()
    except (ConnectionError, asyncio.IncompleteReadError):
        return None


def cpu_s(daemon: Daemon) -> float:
    """Seconds that it has computed."""
    times = psutil.Process(daemon.pid).cpu_times()
    return float(times.user + times.system)


async def test_without_descriptors_the_daemon_waits_and_serves_again_when_there_are_some(start: Start) -> None:
    with start() as daemon:
        talking = asyncio.create_task(stream(daemon.ws, SPEECH * 3, tail_s=3.0))
        await asyncio.sleep(0.5)
        free = footprint_of(daemon).descriptors + 6
        # What it has open it keeps; nothing can be opened beyond.
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (free, limits[1]))
        crowd = [socket.create_connection(("127.0.0.1", daemon.port), timeout=5) for _ in range(60)]
        await asyncio.sleep(0.3)
        before = cpu_s(daemon)
        await asyncio.sleep(2.0)
        busy = (cpu_s(daemon) - before) / 2.0
        heard = await talking
        for one in crowd:
            one.close()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        again = await stream(daemon.ws, SPEECH, tail_s=1.0)
        check_log(daemon)
    print(f"{busy:.2f} cores while nobody could be let in")  # noqa: T201 - shown by -s
    for session in (heard, again):
        check_session(session)
        assert session.text
    assert busy < 0.5, "it asked again and again for a descriptor"


async def test_a_shutdown_under_load_owes_nobody_a_final(start: Start) -> None:
    with start() as daemon:
        running = [asyncio.create_task(stream(daemon.ws, SPEECH * 20, stop=False)) for _ in range(40)]
        await asyncio.sleep(2.5)
        daemon.process.send_signal(signal.SIGTERM)
        sessions = await asyncio.gather(*running)
        assert await asyncio.to_thread(daemon.wait) == 0
        check_log(daemon)
    for heard in sessions:
        check_session(heard, reason="shutdown")
        assert heard.of("speechStart")
        assert len(heard.finals) == 1
        assert heard.text


def successor_of(daemon: Daemon, folder: Path) -> Daemon:
    """Another daemon on the same port, not yet ready."""
    log = folder / "successor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "scripted_daemon.py"), "--port", str(daemon.port)],
            stdout=output,
            stderr=output,
            cwd=folder,
            env=clean_environment(PYTHONPATH=str(ROOT)),
        )
    return Daemon(daemon.port, process, log)


async def test_after_being_killed_under_load_another_takes_its_port(start: Start, tmp_path: Path) -> None:
    with start() as daemon:
        running = [asyncio.create_task(stream(daemon.ws, SPEECH * 20, stop=False)) for _ in range(20)]
        await asyncio.sleep(1.0)
        daemon.process.kill()
        await asyncio.gather(*running, return_exceptions=True)
        daemon.process.wait()
        successor = successor_of(daemon, tmp_path)
        daemon.process.returncode = 0  # it was meant to die
        try:
            await asyncio.to_thread(wait_until_ready, successor)
            heard = await stream(successor.ws, SPEECH, tail_s=1.0)
        finally:
            code = await asyncio.to_thread(successor.terminate)
    assert code == 0
    check_session(heard)
    assert heard.text


async def test_who_comes_back_to_another_daemon_learns_that_the_session_is_gone(start: Start, tmp_path: Path) -> None:
    with start() as daemon:
        async with Conversation.connect(daemon.ws, resumable=True) as talk, asyncio.timeout(25):
            await talk.send_audio(SPEECH)
            while (await anext(talk))["type"] != "audioAcknowledged":
                pass
            daemon.process.kill()
            daemon.process.wait()
            successor = successor_of(daemon, tmp_path)
            daemon.process.returncode = 0  # it was meant to die
            try:
                with pytest.raises(NotResumed, match="resume_refused"):
                    _ = [event async for event in talk]
            finally:
                code = await asyncio.to_thread(successor.terminate)
    assert code == 0


async def test_a_full_disk_costs_the_log_and_nothing_else(start: Start, tmp_path: Path) -> None:
    own = tmp_path / "own.log"
    with start("--set", f"log.file={own}") as daemon:
        await stream(daemon.ws, SPEECH, tail_s=1.0)
        size = own.stat().st_size
        # No file of its may grow any further, the one behind its standard error included.
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        full = [await stream(daemon.ws, SPEECH, tail_s=1.0) for _ in range(2)]
        assert own.stat().st_size == size
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, limits)
        await stream(daemon.ws, SPEECH, tail_s=1.0)
        assert status_of(f"{daemon.base}/readyz") == 200
    assert own.stat().st_size > size, "it writes again when it can"
    for heard in full:
        check_session(heard)
        assert heard.text

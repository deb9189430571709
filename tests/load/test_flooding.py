"""One client that floods the daemon beside others that speak in real time: it degrades alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from alfred_voice.models.store import Store
from tests.sounds import Int16, joined, silence
from tests.support import Daemon, Heard, running_daemon, staggered, stream, word_error_rate


pytestmark = [pytest.mark.load, pytest.mark.models, pytest.mark.end_to_end, pytest.mark.timeout(300)]

HONEST = 4
FLOOD_S = 600
"""Speech that is sent as fast as it goes: more than any engine here hears while the others speak."""


async def flood(daemon: Daemon, reading: Int16, until: asyncio.Event) -> int:
    """Send speech without a pause for breath; how many seconds of it the daemon has taken."""
    data = joined(reading, silence(0.5)).astype("<i2").tobytes()
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < FLOOD_S * 32_000:
            for start in range(0, len(data), 6_400):
                # It waits here for as long as the daemon does not read: that is what holds a flood back.
                await ws.send_bytes(data[start : start + 6_400])
                sent += 6_400

    async def read() -> None:
        async for _ in ws:
            pass

    async with aiohttp.ClientSession() as http, await _entered(http, daemon) as ws:
        tasks = [asyncio.create_task(send()), asyncio.create_task(read())]
        await until.wait()
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
    return sent // 32_000


async def _entered(http: aiohttp.ClientSession, daemon: Daemon) -> aiohttp.ClientWebSocketResponse:
    """A connection, as soon as the daemon has time for one more."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await http.ws_connect(daemon.ws, max_msg_size=0)
            except aiohttp.WSServerHandshakeError as refusal:
                if refusal.status != 503 or refusal.headers is None:
                    raise
                await asyncio.sleep(int(refusal.headers["Retry-After"]))


async def honest(daemon: Daemon, reading: Int16) -> list[Heard]:
    """Some speakers in real time."""
    return await staggered([stream(daemon.ws, reading, tail_s=1.0) for _ in range(HONEST)])


async def test_who_floods_degrades_alone(models: Store, tmp_path: Path, reading: Int16, reading_text: str) -> None:
    assert models.root.is_dir()
    with running_daemon(tmp_path) as daemon:
        alone = await honest(daemon, reading)
        done = asyncio.Event()
        speaking = asyncio.create_task(honest(daemon, reading))
        await asyncio.sleep(1.0)
        flooding = asyncio.create_task(flood(daemon, reading, done))
        beside = await speaking
        done.set()
        taken_s = await flooding
        assert daemon.process.poll() is None
    for heard in (*alone, *beside):
        assert word_error_rate(reading_text, heard.text) <= 0.1, heard.text
        assert heard.stats["frames_dropped"] == 0
        assert not [event for event in heard.of("warning") if event["code"] == "audio_dropped"]
    assert not [event for heard in beside for event in heard.of("backpressureTriggered") if event["rung"] >= 4]
    assert taken_s < FLOOD_S, "the flood was held back"

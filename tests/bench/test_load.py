"""The generator's clients against a daemon of aiohttp's: handshake, frames, events, the end, and refusals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from alfred_voice.bench.caller import Caller, CallRefused
from alfred_voice.bench.load import Crowd, LoadPlan, OwnLoad, loads, plans_for
from alfred_voice.bench.pacing import FRAME_S
from alfred_voice.bench.script import Mix, ScriptOptions
from alfred_voice.clock import SystemClock


LISTEN = ScriptOptions(Mix.LISTEN, 20)
SOON_S = 0.05


@dataclass
class Heard:
    """One connection as the daemon saw it."""

    controls: list[dict[str, Any]] = field(default_factory=list)
    audio: list[bytes] = field(default_factory=list)
    close_code: int | None = None


@dataclass
class Stand:
    """A daemon that knows just enough of the protocol."""

    port: int = 0
    heard: list[Heard] = field(default_factory=list)
    most: int = 1000
    """Connections; more are refused."""
    leaves: Callable[[Heard], bool] = lambda _heard: False
    """When it closes the connection by itself."""
    keeps_silent: bool = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if len(self.heard) >= self.most:
            raise web.HTTPServiceUnavailable(text="too many sessions")
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        heard = Heard()
        self.heard.append(heard)
        with contextlib.suppress(ConnectionError):
            await self._converse(socket, heard)
        heard.close_code = socket.close_code
        return socket

    async def _converse(self, socket: web.WebSocketResponse, heard: Heard) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                heard.audio.append(message.data)
            else:
                heard.controls.append(message.json())
                await self._answer(socket, heard)
            if self.leaves(heard):
                await socket.close(code=1013, message=b"not read")

    async def _answer(self, socket: web.WebSocketResponse, heard: Heard) -> None:
        kind = heard.controls[-1]["type"]
        if kind == "start" and not self.keeps_silent:
            await socket.ping(b"there?")
            await socket.send_json({"type": "sessionStarted", "session_id": "s", "seq": 0})
        elif kind == "stop":
            count = len(heard.audio)
            stats = {"frames_received": count, "frames_processed": count, "frames_dropped": 0, "utterances": 0}
            await socket.send_json({"type": "sessionEnded", "reason": "stop", "stats": stats})
            await socket.close()


@contextlib.asynccontextmanager
async def standing(stand: Stand) -> AsyncIterator[Stand]:
    """The stand-in, listening."""
    application = web.Application()
    application.add_routes([web.get("/ws", stand.serve)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand.port = runner.addresses[0][1]
    try:
        yield stand
    finally:
        await runner.cleanup()


def plan(stand: Stand, sessions: int, sampled: int = 0) -> LoadPlan:
    (only,) = plans_for(("127.0.0.1", stand.port), Crowd(sessions, sampled=sampled, warm_up_s=0.0), LISTEN)
    return only


async def test_all_frames_arrive_whole_and_all_sessions_end() -> None:
    async with standing(Stand()) as stand:
        load = OwnLoad(plan(stand, sessions=5))
        await load.open()
        found = await load.run(SystemClock().now() + SOON_S)

    assert [len(heard.audio) for heard in stand.heard] == [20] * 5
    assert {len(frame) for heard in stand.heard for frame in heard.audio} == {640}
    assert [[control["type"] for control in heard.controls] for heard in stand.heard] == [["start", "stop"]] * 5
    assert [heard.close_code for heard in stand.heard] == [1000] * 5
    figures = found.figures
    assert (figures.sessions, figures.frames_sent, figures.frames_processed) == (5, 100, 100)
    assert (figures.unended, figures.losses.total()) == (0, 0)
    assert found.lateness.frames == 27 * 5
    assert found.cpu_s > 0


async def test_only_sampled_sessions_ask_for_frames() -> None:
    async with standing(Stand()) as stand:
        load = OwnLoad(plan(stand, sessions=3, sampled=2))
        await load.open()
        await load.run(SystemClock().now())

    asked = sorted(str(heard.controls[0].get("events")) for heard in stand.heard)
    assert asked == ["None", "['frameProcessed']", "['frameProcessed']"]


async def test_frames_are_paced() -> None:
    clock = SystemClock()
    async with standing(Stand()) as stand:
        load = OwnLoad(plan(stand, sessions=1))
        await load.open()
        begin = clock.now()
        await load.run(begin)

    assert clock.now() - begin >= 19 * FRAME_S


async def test_a_daemon_that_takes_fewer_sessions_is_an_error_that_quotes_it() -> None:
    async with standing(Stand(most=2)) as stand:
        with pytest.raises(CallRefused, match="503"):
            await OwnLoad(plan(stand, sessions=4)).open()

        # Those that had been let in have left.
        assert [heard.controls[-1]["type"] for heard in stand.heard] == ["stop", "stop"]


async def test_nothing_listening_is_an_error() -> None:
    async with standing(Stand()) as stand:
        port = stand.port

    with pytest.raises(CallRefused, match="takes no connection"):
        await Caller.open(SystemClock(), "127.0.0.1", port, within_s=5.0)


async def test_a_session_that_does_not_start_in_time_is_an_error() -> None:
    async with standing(Stand(keeps_silent=True)) as stand:
        with pytest.raises(CallRefused, match=r"within 0\.2 s"):
            await Caller.open(SystemClock(), "127.0.0.1", stand.port, within_s=0.2)


async def test_a_connection_that_the_daemon_closes_is_a_loss() -> None:
    async with standing(Stand(leaves=lambda heard: len(heard.audio) == 5)) as stand:
        load = OwnLoad(plan(stand, sessions=2))
        await load.open()
        found = (await load.run(SystemClock().now())).figures

    assert found.losses == {"closed with 1013 not read": 2}
    assert found.unended == 2
    assert found.frames_unaccounted == 40


async def test_unreadable_events_end_the_call_with_the_reason() -> None:
    async with standing(Stand()) as stand:
        caller = await Caller.open(SystemClock(), "127.0.0.1", stand.port, within_s=5.0)
        caller.data_received(b"\x81\x03abc")
        await asyncio.wait_for(caller.over, 5.0)

    assert "JSON" in caller.journal.lost
    caller.write(b"after the end")  # is let go


async def test_several_processes_share_the_clients() -> None:
    async with standing(Stand()) as stand:
        plans = plans_for(("127.0.0.1", stand.port), Crowd(5, processes=2, sampled=3, warm_up_s=0.0), LISTEN)
        with loads(plans) as parts:
            await asyncio.gather(*(part.open() for part in parts))
            begin = SystemClock().now() + SOON_S
            found = await asyncio.gather(*(part.run(begin) for part in parts))

    assert sorted(part.figures.sessions for part in found) == [2, 3]
    assert sum(part.figures.frames_processed for part in found) == 100
    assert sum("events" in heard.controls[0] for heard in stand.heard) == 3


async def test_a_refusal_in_another_process_is_the_same_error() -> None:
    async with standing(Stand(most=1)) as stand:
        plans = plans_for(("127.0.0.1", stand.port), Crowd(4, processes=2), LISTEN)
        with loads(plans) as parts, pytest.raises(CallRefused, match="503"):
            await asyncio.gather(*(part.open() for part in parts))


def test_clients_are_dealt_out_like_cards() -> None:
    plans = plans_for(("h", 1), Crowd(7, processes=3), LISTEN)

    assert [plan.numbers for plan in plans] == [(0, 3, 6), (1, 4), (2, 5)]
    assert [plan.shift for plan in plans] == pytest.approx([0, 1 / 3, 2 / 3])


def test_there_are_no_processes_without_clients() -> None:
    assert len(plans_for(("h", 1), Crowd(2, processes=5), LISTEN)) == 2

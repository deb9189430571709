"""How tests talk over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientWebSocketResponse


Sound = Callable[[int], bytes]
ReadAll = Callable[[ClientWebSocketResponse], Awaitable[list[dict[str, Any]]]]
MSGPACK = "alfred.v1.msgpack"
FRAME_BYTES = 640


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def send(socket: ClientWebSocketResponse, **message: Any) -> None:
    await socket.send_str(json.dumps(message))


async def next_event(socket: ClientWebSocketResponse) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await socket.receive_str(timeout=5))
        if event["type"] != "pipelineHealth":
            return event


async def send_frames(socket: ClientWebSocketResponse, audio: bytes) -> None:
    for start in range(0, len(audio), FRAME_BYTES):
        await socket.send_bytes(audio[start : start + FRAME_BYTES])
        await asyncio.sleep(0.001)

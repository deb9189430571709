"""A door with keys or without, and how tests knock at it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp


ADMIN, ALICE, BOB, SCRAPER = "admin-key-of-16-and-more", "alice-key-of-16-and-more", "bobs-key-of-16-and-more", "s" * 16
WRONG = "wrong-key-of-16-and-more"
KEYS = f"""
[keys.admin]
key = "{ADMIN}"
admin = true
[keys.alice]
key = "{ALICE}"
max_sessions = 2
[keys.bob]
key = "{BOB}"
requests_per_minute = 30
[keys.scraper]
key = "{SCRAPER}"
max_sessions = 0
"""
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
Guard = Callable[..., Awaitable[Any]]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def code(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and problem of an answer."""
    problem = await answer.json(content_type=None)
    return answer.status, problem.get("code", "")


async def ask(door: Any, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with door.client.request(method, path, allow_redirects=False, **options) as answer:
        if answer.content_type == "application/problem+json":
            return await code(answer)
        return answer.status, ""


async def refused(door: Any, reason: str) -> float:
    """How often requests have been refused for this reason."""
    value = door.coordinator.metrics.registry.get_sample_value("alfred_requests_refused_total", {"reason": reason})
    return value or 0.0


async def started(door: Any, key: str, query: str = "") -> aiohttp.ClientWebSocketResponse:
    socket: aiohttp.ClientWebSocketResponse = await door.client.ws_connect(f"/ws{query}", headers=bearer(key))
    await socket.send_str('{"type":"start"}')
    assert (await socket.receive_json(timeout=5))["type"] == "sessionStarted"
    return socket

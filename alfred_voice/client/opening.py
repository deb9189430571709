"""How a connection to the daemon is opened, and what its refusals mean."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from alfred_voice.client.errors import ConversationRefused, DaemonUnreachable
from alfred_voice.client.link import Link, Timeouts
from alfred_voice.client.unreachable import unreachable


DEFAULT_URL = "ws://127.0.0.1:8015/ws"
"""Where a daemon listens that was told nothing else."""


@dataclass(frozen=True, slots=True, eq=False)
class Door:
    """All that opening a connection takes, the first one and later ones."""

    http: aiohttp.ClientSession
    """One that was made with :func:`raise_for_refusal`."""
    address: URL
    subprotocol: str
    headers: Mapping[str, str]
    timeouts: Timeouts

    async def open(self, session_id: str | None = None) -> Link:
        """A connection in the sub-protocol that was asked for.

        Args:
            session_id: the session to come back to; its name lets a client in where new sessions are refused.

        Raises:
            DaemonUnreachable: nothing answers there, or not in time.
            ConversationRefused: what answers does not let us in.
        """
        address = self.address if session_id is None else self.address.update_query(session_id=session_id)
        try:
            async with asyncio.timeout(self.timeouts.connect_s):
                socket = await self.http.ws_connect(
                    address,
                    protocols=(self.subprotocol,),
                    headers=self.headers,
                    max_msg_size=0,
                    heartbeat=self.timeouts.heartbeat_s,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self.timeouts.close_s),
                )
        except TimeoutError as exc:
            raise DaemonUnreachable(f"no answer from {address} within {self.timeouts.connect_s} s") from exc
        except aiohttp.WSServerHandshakeError as exc:
            raise ConversationRefused(f"{address} does not speak WebSocket: {exc.message}", exc.status) from exc
        except (OSError, aiohttp.ClientError) as exc:
            raise unreachable(address, exc) from exc
        if socket.protocol != self.subprotocol:
            await socket.close()
            raise ConversationRefused(f"{address} does not offer {self.subprotocol}, only {socket.protocol}", 101)
        return Link(socket)


def address_of(url: str) -> URL:
    """The WebSocket address that ``url`` means; the path is ``/ws`` when it has none.

    Raises:
        DaemonUnreachable: it is no address at all.
    """
    try:
        address = URL(url)
        scheme = {"http": "ws", "https": "wss"}.get(address.scheme, address.scheme)
        if scheme not in ("ws", "wss") or not address.host:
            raise DaemonUnreachable(f"expected an address like {DEFAULT_URL}, got {url!r}")
        address = address.with_scheme(scheme)
    except ValueError as exc:
        raise DaemonUnreachable(f"expected an address like {DEFAULT_URL}, got {url!r}: {exc}") from exc
    return address if address.path != "/" else address.with_path("/ws").with_query(address.query)


async def raise_for_refusal(response: aiohttp.ClientResponse) -> None:
    """Turn an HTTP error, and the problem document (RFC 9457) that explains it, into an exception.

    Reading the answer inside the HTTP session's own check is the one place where a refused upgrade still has a body.
    """
    if response.status < 400:
        return
    problem: Any = None
    # What a stranger's server says is not ours to read; the status stands on its own.
    with contextlib.suppress(ValueError, aiohttp.ClientError):
        problem = await response.json(content_type=None)
    if not isinstance(problem, dict):
        problem = {}
    explanation = problem.get("detail") or problem.get("title") or response.reason
    retry_after = response.headers.get("Retry-After", "")
    raise ConversationRefused(
        f"{response.url} answers {response.status}: {explanation}",
        response.status,
        str(problem.get("code", "")),
        float(retry_after) if retry_after.isdecimal() else None,
    )

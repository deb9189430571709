"""A daemon's settings, read and changed over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from yarl import URL

from alfred_voice.client.errors import DaemonUnreachable, SettingsRefused, UnreadableMessage
from alfred_voice.client.unreachable import unreachable


TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.5
_EXAMPLE = "http://127.0.0.1:8015"


def base_of(url: str) -> URL:
    """The daemon's address over HTTP; that of its WebSocket is taken for it.

    Raises:
        DaemonUnreachable: ``url`` is no address at all.
    """
    try:
        address = URL(url)
        scheme = {"ws": "http", "wss": "https"}.get(address.scheme, address.scheme)
        if scheme not in ("http", "https") or not address.host:
            raise DaemonUnreachable(f"expected an address like {_EXAMPLE}, got {url!r}")
        path = address.path.rstrip("/").removesuffix("/ws")
        return address.with_scheme(scheme).with_path(path or "/").with_query(None)
    except ValueError as exc:
        raise DaemonUnreachable(f"expected an address like {_EXAMPLE}, got {url!r}: {exc}") from exc


class Settings:
    """The settings of one daemon; made by :meth:`connect`."""

    def __init__(self, session: aiohttp.ClientSession, base: URL) -> None:
        self._session = session
        self._base = base

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, url: str, key: str | None = None) -> AsyncIterator[Settings]:
        """Talk to the daemon at ``http://host:port``, with an administrator's key where it wants one.

        Raises:
            DaemonUnreachable: ``url`` is no address.
        """
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            yield cls(session, base_of(url))

    async def read(self) -> dict[str, Any]:
        """What ``GET /config`` tells: ``keys`` and ``swap``.

        Raises:
            DaemonUnreachable: nothing answers there.
            SettingsRefused: the daemon answers, and does not tell.
            UnreadableMessage: what answers is no such daemon.
        """
        return await self._ask("GET")

    async def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change ``room.key`` -> value; where that needs a model, wait until it is there.

        Raises:
            SettingsRefused: nothing was changed; the message says why.
            DaemonUnreachable, UnreadableMessage: as for :meth:`read`.
        """
        answer = await self._ask("PATCH", changes)
        while answer.get("state") == "loading":
            await asyncio.sleep(LOOK_EVERY_S)
            swap = (await self.read()).get("swap") or {}
            if swap.get("state") == "failed":
                raise SettingsRefused(str(swap.get("error", "the model could not be loaded")), 200, "swap_failed")
            if swap.get("state") != "loading":
                answer = {**answer, "state": "done"}
        return answer

    async def _ask(self, method: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with self._session.request(method, self._base / "config", json=body) as answer:
                told = await answer.json(content_type=None)
                status = answer.status
        except TimeoutError as error:
            raise DaemonUnreachable(f"no answer from {self._base} within {TIMEOUT_S:g} s") from error
        except (OSError, aiohttp.ClientError) as error:
            raise unreachable(self._base, error) from error
        except ValueError as error:
            raise UnreadableMessage(f"{self._base} answers with something that is no JSON") from error
        if not isinstance(told, dict):
            raise UnreadableMessage(f"{self._base} answers with something that is no JSON object")
        if status >= 400:
            raise SettingsRefused(str(told.get("detail", status)), status, str(told.get("code", "")))
        return told

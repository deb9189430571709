"""Reads server-sent events as a browser does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Events:
    """An open stream."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def next(self, name: str | None = None) -> tuple[str, Any]:
        """The next event, or the next of that name; its name and its data."""
        async with asyncio.timeout(10):
            while True:
                kind, data = await self._read()
                if name is None or kind == name:
                    return kind, data

    async def data(self, name: str) -> Any:
        """The data of the next event of that name."""
        return (await self.next(name))[1]

    async def _read(self) -> tuple[str, Any]:
        kind, data = "", None
        while line := await self._content.readline():
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                data = json.loads(value)
            elif not field and kind:
                return kind, data
        raise EOFError("the stream has ended")


@asynccontextmanager
async def events_of(client: Any, path: str, **options: Any) -> AsyncIterator[Events]:
    """An open stream of the daemon's."""
    async with client.get(path, **options) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        yield Events(answer.content)

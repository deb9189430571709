"""Those who watch something live: each gets the same bytes, and whoever does not read is cut off."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass

from aiohttp import hdrs, web

from alfred_voice.errors import Overloaded


_log = logging.getLogger(__name__)

MOST_WAITING = 6
"""A viewer that is so many messages behind is usually dropped: it would see the past."""
RETRY_MS = 1000
"""When a browser tries again after a stream has broken."""


@dataclass(eq=False, slots=True)
class Viewer:
    """One open stream."""

    waiting: asyncio.Queue[bytes | None]
    transport: asyncio.Transport
    is_dropped: bool = False


class Audience:
    """The viewers of one thing.

    Args:
        most: how many there may be.
        what: they look at, for people.
        behind: by how many messages a viewer may be behind.
    """

    def __init__(self, most: int, what: str, behind: int = MOST_WAITING) -> None:
        self._most = most
        self._what = what
        self._behind = behind
        self._viewers: set[Viewer] = set()
        self._is_closed = False
        self.has_viewers = asyncio.Event()
        """Set while somebody looks."""

    def __len__(self) -> int:
        return len(self._viewers)

    @contextmanager
    def watching(self, transport: asyncio.Transport) -> Iterator[Viewer]:
        """A viewer's place.

        Raises:
            Overloaded: too many look already, or there is nothing to be seen any more.
        """
        if self._is_closed or len(self._viewers) >= self._most:
            raise Overloaded(f"expected at most {self._most} viewers of {self._what}")
        viewer = Viewer(asyncio.Queue(self._behind), transport)
        self._viewers.add(viewer)
        self.has_viewers.set()
        try:
            yield viewer
        finally:
            self._leave(viewer)

    def show(self, message: bytes) -> None:
        """Hand a message to all; must not wait."""
        for viewer in list(self._viewers):
            try:
                viewer.waiting.put_nowait(message)
            except asyncio.QueueFull:
                self._drop(viewer)

    def close(self) -> None:
        """Let every viewer's stream end."""
        self._is_closed = True
        for viewer in list(self._viewers):
            if viewer.waiting.full():
                viewer.waiting.get_nowait()
            viewer.waiting.put_nowait(None)

    def _drop(self, viewer: Viewer) -> None:
        """Cut a viewer off that does not read; what it has not read is lost."""
        _log.info("viewer_dropped", extra={"behind": viewer.waiting.qsize(), "of": self._what})
        self._leave(viewer)
        viewer.is_dropped = True
        viewer.transport.abort()

    def _leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers:
            self.has_viewers.clear()


def transport_of(request: web.Request) -> asyncio.Transport:
    """The viewer's end.

    Raises:
        ConnectionResetError: the viewer has gone.
    """
    if request.transport is None:
        raise ConnectionResetError("the viewer has gone")
    return request.transport


async def stream_to(
    viewer: Viewer,
    request: web.Request,
    first: bytes,
    may_stay: Callable[[], bool],
    counted: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> web.StreamResponse:
    """Write ``first``, and then what comes for a viewer, as server-sent events, to the end or until it leaves.

    Args:
        viewer: whose messages they are.
        request: the viewer's.
        first: what it is told before them.
        may_stay: whether it may be told more; asked before each message.
        counted: what each message's writing is done inside of.
    """
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: "text/event-stream",
            hdrs.CACHE_CONTROL: "no-store",
            "X-Accel-Buffering": "no",
        }
    )
    # A viewer may leave at any time, and one that is dropped is cut off.
    with suppress(ConnectionError):
        await response.prepare(request)
        await response.write(f"retry: {RETRY_MS}\n\n".encode() + first)
        while (message := await viewer.waiting.get()) is not None and not viewer.is_dropped and may_stay():
            with counted():
                await response.write(message)
    return response


def event(name: str, data: bytes) -> bytes:
    """A server-sent event; ``data`` is JSON in one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)

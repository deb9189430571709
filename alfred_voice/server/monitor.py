"""The page that shows the daemon at work, and the feed that it draws.

The feed is server-sent events: it goes one way only, passes through every proxy as plain HTTP, can be read with
``curl -N``, and browsers reconnect it by themselves. One producer takes a snapshot for all viewers.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import mimetypes
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from aiohttp import hdrs, web

from alfred_voice import __version__
from alfred_voice.errors import Overloaded
from alfred_voice.pipeline.coordinator import Coordinator


_log = logging.getLogger(__name__)

STATIC = Path(__file__).resolve().parent.parent / "static"

INTERVAL_S = 0.5
"""Between two snapshots."""
WAITING_SNAPSHOTS = 4
"""A viewer that is this many behind is dropped: it would see the past."""
MOST_VIEWERS = 64
MOST_SESSIONS = 200
"""The most that a snapshot lists; it counts them all."""
RETRY_MS = 1000
"""When a browser tries again after the feed has broken."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
}


@dataclass(eq=False, slots=True)
class Viewer:
    """One open feed."""

    waiting: asyncio.Queue[bytes | None]
    transport: asyncio.Transport
    is_dropped: bool = False


class Feed:
    """Takes snapshots while somebody looks, and hands each to all viewers."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._viewers: set[Viewer] = set()
        self._is_watched = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._viewers)

    async def run(self) -> None:
        """Produce until cancelled; a snapshot that fails is logged and left out, and viewers see that it is missing."""
        while True:
            await self._is_watched.wait()
            try:
                self._publish(msgspec.json.encode(self.snapshot()))
            except Exception:  # noqa: BLE001  one bad snapshot must not end the feed
                _log.exception("snapshot_failed")
            await asyncio.sleep(INTERVAL_S)

    def snapshot(self) -> dict[str, Any]:
        """The daemon now: its status, and its sessions, the newest first."""
        streams = self._coordinator.roster.all()
        newest = streams[::-1][:MOST_SESSIONS]
        is_ready, checks = self._coordinator.readiness()
        return {
            "version": __version__,
            "ready": is_ready,
            "checks": checks,
            "status": self._coordinator.status(),
            "sessions_total": len(streams),
            "sessions": [stream.status() for stream in newest],
        }

    def _publish(self, snapshot: bytes) -> None:
        for viewer in list(self._viewers):
            try:
                viewer.waiting.put_nowait(snapshot)
            except asyncio.QueueFull:
                self._drop(viewer)

    def _drop(self, viewer: Viewer) -> None:
        """Cut a viewer off that does not read; what it has not read is lost."""
        _log.info("viewer_dropped", extra={"behind": viewer.waiting.qsize()})
        self._leave(viewer)
        viewer.is_dropped = True
        viewer.transport.abort()

    def _leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers:
            self._is_watched.clear()

    @contextmanager
    def watching(self, transport: asyncio.Transport) -> Iterator[Viewer]:
        """A viewer's place.

        Raises:
            Overloaded: too many look already, or the daemon goes.
        """
        if self._is_closed or len(self._viewers) >= MOST_VIEWERS:
            raise Overloaded(f"expected at most {MOST_VIEWERS} viewers of the monitor's feed")
        viewer = Viewer(asyncio.Queue(WAITING_SNAPSHOTS), transport)
        self._viewers.add(viewer)
        self._is_watched.set()
        try:
            yield viewer
        finally:
            self._leave(viewer)

    def close(self) -> None:
        """Let every viewer's feed end."""
        self._is_closed = True
        for viewer in list(self._viewers):
            if viewer.waiting.full():
                viewer.waiting.get_nowait()
            viewer.waiting.put_nowait(None)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the pages, in memory."""

    body: bytes
    content_type: str
    tag: str


def load_assets(folder: Path = STATIC) -> dict[str, Asset]:
    """The files that pages load, by name; a name that is not among them is not served, so no path can lead astray."""
    assets = {}
    for path in sorted(folder.iterdir()):
        content_type = mimetypes.types_map.get(path.suffix)
        if content_type is None or path.suffix == ".html":
            continue  # templates are no assets
        body = path.read_bytes()
        assets[path.name] = Asset(body, content_type, hashlib.sha256(body).hexdigest()[:32])
    return assets


class MonitorRoutes:
    """The page, its files and its feed."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._assets = load_assets()
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=True)
        self._page = templates.get_template("monitor.html")

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [
            web.get("/monitor", self.page),
            web.get("/monitor/feed", self.feed, allow_head=False),
            web.get("/static/{name}", self.asset),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """The dashboard."""
        text = self._page.render(version=__version__, interval_ms=round(INTERVAL_S * 1000))
        return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)

    async def asset(self, request: web.Request) -> web.Response:
        """One of the page's files."""
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{asset.tag}"'}
        if any(known.value in (asset.tag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.body, headers=headers | {hdrs.CONTENT_TYPE: asset.content_type})

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """Snapshots as they are taken, as server-sent events."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the viewer has gone")
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream",
                hdrs.CACHE_CONTROL: "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        # A viewer may leave at any time, and one that is dropped is cut off.
        with self._feed.watching(transport) as viewer, suppress(ConnectionError):
            await response.prepare(request)
            await response.write(f"retry: {RETRY_MS}\n\n".encode())
            while (snapshot := await viewer.waiting.get()) is not None and not viewer.is_dropped:
                await response.write(b"data: " + snapshot + b"\n\n")
        return response


async def produce(feed: Feed) -> AsyncIterator[None]:
    """The producer's life beside the application's."""
    producer = asyncio.create_task(feed.run())
    yield
    producer.cancel()
    await asyncio.wait((producer,))

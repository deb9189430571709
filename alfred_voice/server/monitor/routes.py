"""The page that shows the daemon at work, and the streams that it draws."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from alfred_voice import __version__
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.server.assets import PAGE_HEADERS, answer_with, load_assets, page_template
from alfred_voice.server.guard.access import CALLER, Access
from alfred_voice.server.monitor.audience import stream_to, transport_of
from alfred_voice.server.monitor.feed import INTERVAL_S, Feed
from alfred_voice.server.monitor.session_feed import SessionFeeds


__all__ = ["MonitorRoutes", "load_assets"]


class MonitorRoutes:
    """The page, its files and its streams."""

    def __init__(self, coordinator: Coordinator, feed: Feed, session_feeds: SessionFeeds, access: Access) -> None:
        self._coordinator = coordinator
        self._feed = feed
        self._session_feeds = session_feeds
        self._access = access
        self._assets = load_assets()
        self._page = page_template("monitor.html")

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [
            web.get("/monitor", self.page),
            web.get("/monitor/feed", self.feed, allow_head=False),
            web.get("/monitor/sessions/{session_id}/feed", self.session_feed, allow_head=False),
            web.get("/static/{name}", self.asset),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """The dashboard."""
        caller = request[CALLER]
        key = "" if caller.cookie is None else caller.owner.key
        text = self._page.render(version=__version__, interval_ms=round(INTERVAL_S * 1000), key=key)
        return web.Response(text=text, content_type="text/html", headers=PAGE_HEADERS)

    async def asset(self, request: web.Request) -> web.Response:
        """One of the page's files."""
        return answer_with(self._assets.get(request.match_info["name"]), request)

    async def feed(self, request: web.Request) -> web.StreamResponse:
        """The daemon's figures, as long as the viewer looks."""
        with self._feed.audience.watching(transport_of(request)) as viewer:
            with self._feed.counted():
                first = self._feed.hello()
            return await stream_to(viewer, request, first, self._stays(request), self._feed.counted)

    async def session_feed(self, request: web.Request) -> web.StreamResponse:
        """One session, as long as the viewer looks and it lives."""
        stream = self._coordinator.roster.get(request.match_info["session_id"])
        with self._session_feeds.watching(stream, transport_of(request)) as (feed, viewer):
            return await stream_to(viewer, request, feed.hello(), self._stays(request))

    def _stays(self, request: web.Request) -> Callable[[], bool]:
        """Whether who looks may go on to: a key is revoked, and somebody signs out, while a stream is open."""
        return lambda: self._access.still_admits(request)

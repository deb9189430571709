"""``/monitor/load-test``: a load test of the daemon by itself, for administrators."""

from __future__ import annotations

from aiohttp import web

from alfred_voice.pipeline.load_test import MOST_SECONDS, MOST_SESSIONS, LoadTest, LoadTestPlan
from alfred_voice.server.bodies import live_json, read_json
from alfred_voice.server.guard.access import owner_of


class LoadTestRoutes:
    """The routes' handlers.

    Args:
        load_test: of this daemon.
        within_s: longest that a request's body may take.
    """

    def __init__(self, load_test: LoadTest, within_s: float) -> None:
        self._load_test = load_test
        self._within_s = within_s

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [
            web.get("/monitor/load-test", self.show),
            web.post("/monitor/load-test", self.start),
            web.delete("/monitor/load-test", self.stop),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """The limits, and how the newest one stands."""
        return self._answer()

    async def start(self, request: web.Request) -> web.Response:
        """Begin one."""
        plan = await read_json(request, LoadTestPlan, self._within_s, empty=LoadTestPlan())
        self._load_test.start(plan, owner_of(request))
        return self._answer(202)

    async def stop(self, request: web.Request) -> web.Response:
        """Let it end; nothing to do when none is running."""
        self._load_test.stop()
        return self._answer()

    def _answer(self, status: int = 200) -> web.Response:
        limits = {"sessions": MOST_SESSIONS, "seconds": MOST_SECONDS}
        return live_json({"limits": limits, "load_test": self._load_test.describe()}, status)

"""How long plain HTTP requests take, by the route's template: a path may hold anything, and is no label."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from alfred_voice.clock import Clock
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.server.guard.access import is_websocket


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
ENDLESS = frozenset({"/monitor/feed", "/monitor/sessions/{session_id}/feed"})
"""Routes whose answer lasts as long as somebody looks."""
_GIVEN_CODES = frozenset({1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_PRIVATE_CODES = range(3000, 5000)
_LOST = 1006


class RequestTimer:
    """Times every request from the outside, refusals included; what is cancelled has no answer and no time.

    Args:
        metrics: where the times go.
        clock: reads them.
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    @web.middleware
    async def time(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass a request on, and note how long its answer took."""
        begun = self._clock.now()
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            self._note(request, answer.status, begun)
            raise
        self._note(request, response.status, begun)
        return response

    def _note(self, request: web.Request, code: int, begun: float) -> None:
        route = route_of(request)
        if not is_websocket(request) and route not in ENDLESS:
            times = self._metrics.door.requests.labels(method_of(request.method), route, str(code))
            times.observe(self._clock.now() - begun)


def route_of(request: web.Request) -> str:
    """The route's template; ``other`` where there is no such route."""
    resource = request.match_info.route.resource
    return OTHER if resource is None else resource.canonical


def method_of(method: str) -> str:
    """The method; ``other`` for those that a client has made up."""
    return method if method in METHODS else OTHER


def close_code_of(code: int | None) -> str:
    """A WebSocket's close code as a label: clients may send any number from 3000 to 4999, and we count them as one."""
    if code is None:
        return str(_LOST)
    if code in _GIVEN_CODES:
        return str(int(code))
    return "private" if code in _PRIVATE_CODES else OTHER

"""Where connections come in: no more than so many, and none that takes for ever to say what it wants.

The library closes a connection that stays idle between two requests; one that has been opened and never sends its
first request's head, or sends it byte by byte, it would hold for as long as that. Each has a timer here instead.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.typedefs import Handler

from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.server.guard.headers import plain_headers
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.problems import problem


KEEP_ALIVE_S = 75.0
"""Between an answer and the head of the next request; longer than proxies usually keep an idle connection."""
HANDSHAKE_S = 10.0
"""For the handshake of TLS."""
TURN_AWAY_S = 2.0
"""How long one client too many may take to ask, so that it can be told."""
LONGEST_LINE, LONGEST_FIELD = 8190, 8192
"""Bytes of a request's address and of one header: not the same, as only by its limit is it told which was too long."""
MOST_HEADERS = 128
_REQUEST_LINE = re.compile(r"b['\"][A-Za-z]{1,32} [/*h]\S* HTTP/1\.[01]")
"""In the parser's complaint about a method: a request all the same, and not just any bytes."""
MOST_TOLD = 64
"""More than that at a time are not even told."""


class Entrance:
    """Makes the protocol for each connection.

    Args:
        options: the limits.
        metrics: where connections that are refused or cut are counted.
    """

    def __init__(self, options: SecurityOptions, metrics: Metrics) -> None:
        self._options = options
        self._metrics = metrics
        self._open: set[Visit] = set()
        self._told: set[TurnedAway] = set()
        self._handshakes: dict[Visit, float] = {}

    def __len__(self) -> int:
        """Connections that are open or in their handshake."""
        return len(self._open) + len(self._handshakes)

    def factory(self, server: web.Server, *, is_tls: bool) -> Callable[[], asyncio.Protocol]:
        """What the listening socket calls for each connection, before any handshake."""
        loop = asyncio.get_running_loop()

        def make() -> asyncio.Protocol:
            self._forget_handshakes(loop.time())
            if len(self) >= self._options.max_connections:
                self._metrics.requests_refused.labels("too_many_connections").inc()
                return TurnedAway(self._told, loop)
            visit = Visit(self, server, loop)
            if is_tls:
                self._handshakes[visit] = loop.time()
            return visit

        return make

    def _forget_handshakes(self, now: float) -> None:
        """Of a handshake that fails nobody is told."""
        while self._handshakes:
            visit = next(iter(self._handshakes))
            if now - self._handshakes[visit] <= HANDSHAKE_S:
                return
            del self._handshakes[visit]

    def arrived(self, visit: Visit) -> float:
        """Count a connection; how long it may take to send its first head, in seconds."""
        self._handshakes.pop(visit, None)
        self._open.add(visit)
        return self._options.head_timeout_s

    def left(self, visit: Visit) -> None:
        """Count it no more."""
        self._open.discard(visit)

    def cut(self) -> None:
        """Note that a connection took too long."""
        self._metrics.requests_refused.labels("slow_request").inc()


class Visit(web.RequestHandler):
    """One connection."""

    __slots__ = ("_entrance", "_patience")

    def __init__(self, entrance: Entrance, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        # The library's own runner gives it None as well, for no line of log per request.
        super().__init__(
            server, loop=loop, access_log=None, keepalive_timeout=KEEP_ALIVE_S,  # type: ignore[arg-type]
            max_line_size=LONGEST_LINE, max_field_size=LONGEST_FIELD, max_headers=MOST_HEADERS,
        )  # fmt: skip
        self._entrance = entrance
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, with a limit to how long the first head may take."""
        seconds = self._entrance.arrived(self)
        self._patience = asyncio.get_running_loop().call_later(seconds, self._lose_patience)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self.has_asked()
        self._entrance.left(self)
        super().connection_lost(exc)

    def has_asked(self) -> None:
        """Note that a whole head has come."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        self._entrance.cut()
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()  # under TLS closing would wait for the client again

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer bytes that are no request. The library would log them, and a key may be among them."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        response = problem(*_fault_of(exc), plain_headers())
        response.force_close()
        return response


def _fault_of(error: BaseException | None) -> tuple[int, str, str]:
    """Status, code and sentence for what the parser could not take."""
    if isinstance(error, LineTooLong):
        limit = error.args[1]
        if limit == LONGEST_LINE:
            return 414, "url_too_long", f"the request's address has more than {limit} bytes"
        return 431, "header_too_long", f"one of the request's headers has more than {limit} bytes"
    said = str(error) if error is not None else ""
    if "Too many headers" in said:
        return 431, "too_many_headers", f"the request has more than {MOST_HEADERS} headers"
    if isinstance(error, BadHttpMethod) and _REQUEST_LINE.search(said):
        return 501, "method_unknown", "the request's method is none that HTTP has"
    return 400, "request_malformed", "what came is no HTTP request"


class TurnedAway(asyncio.Protocol):
    """One connection too many: it is told so when it asks, and closed."""

    def __init__(self, told: set[TurnedAway], loop: asyncio.AbstractEventLoop) -> None:
        self._told = told
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the question, if there are not too many of these, too."""
        if len(self._told) >= MOST_TOLD:
            transport.abort()
            return
        self._told.add(self)
        self._transport = transport
        self._patience = self._loop.call_later(TURN_AWAY_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer whatever it is, and close: with unread bytes the answer would be lost."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(_turning_away())
        self._transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Make place."""
        self._told.discard(self)
        if self._patience is not None:
            self._patience.cancel()


def _turning_away() -> bytes:
    answer = problem(503, "too_many_connections", "as many connections are open as may be", plain_headers())
    body = answer.body
    if not isinstance(body, bytes):
        raise AssertionError("a problem document is bytes")
    headers = {
        **answer.headers,
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Retry-After": "5",
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 503 Service Unavailable\r\n{lines}\r\n".encode() + body


@web.middleware
async def note_arrival(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that a whole head has come."""
    visit = request.protocol
    if isinstance(visit, Visit):
        visit.has_asked()
    return await handler(request)


class Site(web.BaseSite):
    """The listening socket.

    Args:
        runner: the application's.
        entrance: makes the connections' protocols.
        address: host and port.
        tls: None to go without.
    """

    __slots__ = ("_address", "_entrance", "_tls")

    def __init__(
        self, runner: web.AppRunner, entrance: Entrance, address: tuple[str, int], tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner, ssl_context=tls)
        self._entrance = entrance
        self._address = address
        self._tls = tls

    @property
    def name(self) -> str:
        """For people."""
        return f"{'http' if self._tls is None else 'https'}://{self._address[0]}:{self._address[1]}"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        await super().start()
        server = self._runner.server
        if server is None:
            raise AssertionError("the runner has been set up")
        host, port = self._address
        self._server = await asyncio.get_running_loop().create_server(
            self._entrance.factory(server, is_tls=self._tls is not None),
            host,
            port,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_S,
            ssl_shutdown_timeout=None if self._tls is None else HANDSHAKE_S,
            backlog=self._backlog,
        )

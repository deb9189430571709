"""``GET /ws``: from an HTTP request to a connection."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from aiohttp import hdrs, web

from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.turn_trace import parse_traceparent
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage
from alfred_voice.server.guard.access import is_websocket, owner_of
from alfred_voice.server.guard.credentials import offered_protocols
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.rates import Pace
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.admission import Admission
from alfred_voice.server.protocol.opening import Opening
from alfred_voice.server.protocol.query import fields_of
from alfred_voice.server.protocol.resumption import Resumption
from alfred_voice.server.protocol.wire import Mode
from alfred_voice.server.request_timer import close_code_of
from alfred_voice.server.websocket.audio_socket import AudioSocket
from alfred_voice.server.websocket.connection import CLOSE_TIMEOUT_S, Connection


_log = logging.getLogger(__name__)

_QUERY_FIELDS = ("session_id", "sample_rate", "encoding", "language", "engine")


class WebSocketRoutes:
    """Admits clients and gives each its connection."""

    def __init__(
        self,
        coordinator: Coordinator,
        admission: Admission,
        resumption: Resumption,
        options: ServerOptions,
        security: SecurityOptions,
    ) -> None:
        self._resumption = resumption
        self._coordinator = coordinator
        self._admission = admission
        self._options = options
        self._security = security

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.get("/ws", self.connect, allow_head=False)]

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Upgrade, and serve the client until one of the two closes.

        Without ``Upgrade`` the answer is that of the handshake, with 426 where it would have been let in: a browser
        does not tell its page why a handshake was refused, but that of a plain request.
        """
        if not is_websocket(request):
            self._admission.check(_defaults(request).session_id, owner_of(request))
            raise web.HTTPUpgradeRequired(headers={hdrs.UPGRADE: "websocket"}, text="expected a WebSocket handshake")
        if not request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "").isascii():
            # The library answers any other wrong key itself.
            raise MalformedMessage("Sec-WebSocket-Key: expected 16 bytes in base64")
        mode = _offered_mode(request)
        defaults = _defaults(request)
        owner = owner_of(request)
        self._admission.check(defaults.session_id, owner)
        socket = AudioSocket(
            timeout=CLOSE_TIMEOUT_S,
            heartbeat=self._options.heartbeat_s,
            protocols=(mode,) if hdrs.SEC_WEBSOCKET_PROTOCOL in request.headers else (),
            compress=False,
            # The library refuses a message from this size on, not beyond it.
            max_msg_size=self._options.max_message_bytes + 1,
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket  # gone between its request and our answer
        resumption = self._resumption
        parent = parse_traceparent(request.headers.get("traceparent"))
        opening = Opening(self._coordinator, resumption, mode, defaults, self._options.max_message_bytes, owner, parent)
        connection = Connection(socket, transport, mode, opening, resumption, self._pace())
        with self._admission.entered(connection, owner):
            try:
                await connection.run(self._coordinator.options.sessions.idle_timeout_s)
            except Exception:  # noqa: BLE001  the connection's top
                _log.exception("connection_failed", extra=connection.fields)
            finally:
                self._coordinator.metrics.door.closed.labels(close_code_of(socket.close_code)).inc()
        return socket

    def _pace(self) -> Pace:
        """How often a new connection may send what is no audio."""
        now = asyncio.get_running_loop().time()
        return Pace(self._security.control_messages_per_s, self._security.control_burst, now)


def _offered_mode(request: web.Request) -> Mode:
    """The first sub-protocol of the client's that is ours; JSON when it offers none."""
    offered = offered_protocols(request)
    if not offered and not any(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())):
        return Mode.JSON
    for name in offered:
        if name in tuple(Mode):
            return Mode(name)
    if not offered:
        raise MalformedMessage(f"expected a sub-protocol of {', '.join(Mode)} beside the key")
    raise MalformedMessage(
        f"expected a sub-protocol of {', '.join(Mode)}, but {shorten(', '.join(offered))!r} was offered"
    )


def _defaults(request: web.Request) -> wire.Start:
    """The query's fields of ``start``; what is all but one of them is refused, and the rest is none of our business."""
    asked = fields_of(request.query, _QUERY_FIELDS)
    try:
        return msgspec.convert(asked, wire.Start, strict=False)
    except msgspec.ValidationError as error:
        raise MalformedMessage(f"query: {shorten(str(error))}") from error

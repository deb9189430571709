"""``/webrtc/offer`` and WHIP (RFC 9725): sessions over WebRTC. The packages for it are loaded with the first offer."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta, Struct, field

from alfred_voice.audio.pcm import AudioFormat
from alfred_voice.errors import InvalidSettings, Overloaded
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.turn_trace import parse_traceparent
from alfred_voice.server.bodies import live_json, read_json
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage, NotOffered
from alfred_voice.server.guard.access import CALLER, owner_of
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.protocol import wire
from alfred_voice.server.protocol.admission import Admission
from alfred_voice.server.protocol.opening import check_return, settings_of
from alfred_voice.server.protocol.query import fields_of
from alfred_voice.server.protocol.resumption import Resumption
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.session.settings import SessionSettings


if TYPE_CHECKING:
    from alfred_voice.server.webrtc.offer import Offer
    from alfred_voice.server.webrtc.peer import Peer
    from alfred_voice.server.webrtc.peers import Peers


SDP_TYPE = "application/sdp"
ACCEPT_POST = "Accept-Post"
FORMAT = AudioFormat(48_000, 1, "pcm_s16le")
"""What Opus is inside, as ``incoming_track`` has it; the track says it, so a client does not."""
_OF_THE_TRACK = ("sample_rate", "channels", "encoding")
_WHIP_FIELDS = ("session_id", "language", "engine")
_WHIP_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS")
_NO_TRICKLE = "candidates are not trickled and ICE is not restarted here; make another offer"


class OfferRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client offers, and the session that it wants."""

    sdp: str
    type: Literal["offer"] = "offer"
    start: dict[str, Any] = field(default_factory=dict)
    connection_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


class WebRtcRoutes:
    """Answers offers and ends connections."""

    def __init__(
        self,
        coordinator: Coordinator,
        admission: Admission,
        resumption: Resumption,
        server: ServerOptions,
        security: SecurityOptions,
        options: WebRtcOptions,
    ) -> None:
        self._coordinator = coordinator
        self._admission = admission
        self._resumption = resumption
        self._server = server
        self._security = security
        self._options = options
        self._peers: Peers | None = None
        self._loading = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [
            web.post("/webrtc/offer", self.offer),
            web.delete(r"/webrtc/{connection_id:(?!offer$)[^{}/]+}", self.end),
            web.post("/whip", self.publish),
            web.options("/whip", self.describe),
            web.get("/whip", self.describe_nothing),
            web.delete("/whip/{connection_id}", self.unpublish),
            web.options("/whip/{connection_id}", self.describe_connection),
            web.get("/whip/{connection_id}", self.find_nothing),
            web.route("*", "/whip/{connection_id}", self.refuse_method),
        ]

    async def offer(self, request: web.Request) -> web.Response:
        """A new connection, for a new session or one that was cut off, or another offer for one that is open."""
        peers = await self._ready()
        if request.content_type != "application/json":
            raise _unsupported("application/json", request)
        asked = await read_json(request, OfferRequest, self._server.request_timeout_s)
        from alfred_voice.server.webrtc.offer import read_offer

        offer = read_offer(asked.sdp)
        if asked.connection_id is None:
            peer, sdp = await self._connect(peers, request, offer, _start_of(asked.start))
        else:
            if asked.start:
                raise MalformedMessage("start: expected none, as the session is open")
            peer = peers.find(asked.connection_id, owner_of(request), is_admin=request[CALLER].is_admin)
            sdp = await peer.answer(offer)
        return live_json(
            {
                "sdp": sdp,
                "type": "answer",
                "session_id": peer.stream.session_id,
                "connection_id": peer.connection_id,
            }
        )

    async def _connect(self, peers: Peers, request: web.Request, offer: Offer, start: wire.Start) -> tuple[Peer, str]:
        if start.resume_token is None:
            return await peers.open(offer, _settings(start), owner_of(request), _parent(request))
        check_return(start)
        from alfred_voice.server.webrtc.peers import Return

        last_seq = -1 if start.last_seq is None else start.last_seq
        return await peers.resume(
            offer, Return(start.session_id or "", start.resume_token, last_seq), owner_of(request)
        )

    async def end(self, request: web.Request) -> web.Response:
        """End a connection's session as ``stop`` does."""
        await self._end(request)
        return web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def publish(self, request: web.Request) -> web.Response:
        """WHIP: a description for a description. Whoever publishes hears nothing (RFC 9725, section 4.2)."""
        peers = await self._ready()
        if request.content_type != SDP_TYPE:
            raise _unsupported(SDP_TYPE, request)
        if not _accepts_sdp(request.headers.get(hdrs.ACCEPT, "")):
            raise web.HTTPNotAcceptable(text=f"the answer is {SDP_TYPE}, which the request does not accept")
        text = await self._read_text(request)
        from alfred_voice.server.webrtc.offer import check_publishing, read_offer

        offer = read_offer(text)
        check_publishing(offer)
        start = _start_of(fields_of(request.query, _WHIP_FIELDS))
        peer, sdp = await peers.open(offer, _settings(start), owner_of(request), _parent(request), speaks=False)
        headers = {
            hdrs.LOCATION: f"/whip/{peer.connection_id}",
            "X-Session-Id": peer.stream.session_id,
            hdrs.CACHE_CONTROL: "no-store",
        }
        # As bytes: the type has no parameter charset (RFC 8866, section 9.1), and text would get one.
        return web.Response(status=201, body=sdp.encode(), content_type=SDP_TYPE, headers=headers)

    async def unpublish(self, request: web.Request) -> web.Response:
        """WHIP: the end."""
        await self._end(request)
        return web.Response(status=200, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def describe(self, _request: web.Request) -> web.Response:
        """WHIP: what may be posted."""
        return web.Response(headers={hdrs.ALLOW: "GET, HEAD, OPTIONS, POST", ACCEPT_POST: SDP_TYPE})

    async def describe_connection(self, _request: web.Request) -> web.Response:
        """WHIP: what may be done to a connection."""
        return web.Response(headers={hdrs.ALLOW: ", ".join(_WHIP_METHODS), ACCEPT_POST: SDP_TYPE})

    async def describe_nothing(self, _request: web.Request) -> web.Response:
        """WHIP: there is nothing to be read, which is no error (RFC 9725, section 4.1)."""
        return web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def find_nothing(self, request: web.Request) -> web.Response:
        """WHIP: the same of a connection that is open."""
        peers = await self._ready()
        peers.find(request.match_info["connection_id"], owner_of(request), is_admin=request[CALLER].is_admin)
        return await self.describe_nothing(request)

    async def refuse_method(self, request: web.Request) -> web.Response:
        """WHIP: any other, PATCH too: neither candidates nor restarts, both optional (RFC 9725, section 4.3.1)."""
        text = _NO_TRICKLE if request.method == hdrs.METH_PATCH else None
        raise web.HTTPMethodNotAllowed(request.method, _WHIP_METHODS, text=text)

    async def close(self, _application: web.Application) -> None:
        """Cut off connections that are still open; a signal of the application."""
        if self._peers is not None:
            await self._peers.close()

    async def _end(self, request: web.Request) -> None:
        peers = await self._ready()
        peer = peers.find(request.match_info["connection_id"], owner_of(request), is_admin=request[CALLER].is_admin)
        peer.stream.stop()
        try:
            async with asyncio.timeout(self._server.request_timeout_s):
                await peer.ended()
        except TimeoutError as error:
            raise Overloaded("the session has been told to end, but has not finished yet") from error

    async def _read_text(self, request: web.Request) -> str:
        try:
            async with asyncio.timeout(self._server.request_timeout_s):
                return (await request.read()).decode()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="the request's body did not arrive in time") from error
        except UnicodeDecodeError as error:
            raise MalformedMessage("sdp: expected text") from error

    async def _ready(self) -> Peers:
        """The connections, once the packages are loaded; that takes a moment, and is done beside the loop."""
        if not self._options.enabled:
            raise NotOffered("WebRTC is switched off here (webrtc.enabled)")
        async with self._loading:
            if self._peers is None:
                if find_spec("aiortc") is None:
                    raise NotOffered("WebRTC is not installed here: .venv/bin/pip install -e '.[webrtc]'")
                await asyncio.get_running_loop().run_in_executor(None, _load)
                from alfred_voice.server.webrtc.peers import Peers

                self._peers = Peers(
                    self._coordinator,
                    self._admission,
                    self._resumption,
                    self._options,
                    self._security,
                    self._server.host,
                )
        return self._peers


def _load() -> None:
    import alfred_voice.server.webrtc.peers  # noqa: F401  the import is what is wanted


def _parent(request: web.Request) -> Any:
    return parse_traceparent(request.headers.get("traceparent"))


def _start_of(fields: dict[str, Any]) -> wire.Start:
    """What a client wants, as it says it.

    Raises:
        MalformedMessage: a field is unknown or of the wrong type.
    """
    try:
        return msgspec.convert({**fields, "type": wire.START_TYPE}, wire.Start)
    except msgspec.ValidationError as error:
        raise MalformedMessage(f"start: {shorten(str(error))}") from error


def _settings(asked: wire.Start) -> SessionSettings:
    """The settings of a new session.

    Raises:
        InvalidSettings: it cannot be served.
    """
    for name in _OF_THE_TRACK:
        if getattr(asked, name) is not None:
            raise InvalidSettings(f"{name}: expected none over WebRTC, where the track says what its audio is")
    track = wire.Start(sample_rate=FORMAT.sample_rate, channels=FORMAT.channels, encoding=FORMAT.encoding)
    return settings_of(asked, track)


def _accepts_sdp(accept: str) -> bool:
    """Whether an ``Accept`` has a place for our answer (RFC 9110, section 12.5.1); none at all has."""
    asked = [part.split(";") for part in accept.split(",") if part.strip()]
    for kind, *parameters in asked:
        refused = any(re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", each) for each in parameters)
        if kind.strip().lower() in (SDP_TYPE, "application/*", "*/*") and not refused:
            return True
    return not asked


def _unsupported(expected: str, request: web.Request) -> web.HTTPUnsupportedMediaType:
    return web.HTTPUnsupportedMediaType(
        text=f"expected {expected}, but {shorten(request.content_type)!r} came", headers={ACCEPT_POST: expected}
    )

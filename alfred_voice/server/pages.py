"""The page at ``/``, on which a person talks with the daemon; the monitor has a room of its own."""

from __future__ import annotations

from importlib.util import find_spec

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from alfred_voice import __version__
from alfred_voice.server.assets import page_template
from alfred_voice.server.guard.access import CALLER, is_websocket
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.webrtc.options import WebRtcOptions


POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",  # audio worklets included
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
}
_RECORDINGS = "/transcribe"


class TalkRoutes:
    """``GET /``: the page for a person, the conversation for a program that comes with ``Upgrade``.

    Args:
        connect: what answers ``/ws``.
        keys: whether the page has to ask for a key.
        options: how large a recording may be.
        webrtc: whether WebRTC may be chosen.
    """

    def __init__(self, connect: Handler, keys: KeySource, options: ServerOptions, webrtc: WebRtcOptions) -> None:
        self._connect = connect
        self._keys = keys
        self._options = options
        self._has_webrtc = webrtc.enabled and find_spec("aiortc") is not None
        self._page = page_template("talk.html")

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.get("/", self.root)]

    async def root(self, request: web.Request) -> web.StreamResponse:
        """The page; native clients connect to the same address."""
        if is_websocket(request):
            return await self._connect(request)
        caller = request.get(CALLER)  # None before somebody who has shown no key yet
        paths = {resource.canonical for resource in request.app.router.resources()}
        text = self._page.render(
            version=__version__,
            wants_key=bool(self._keys.ring),
            key="" if caller is None or caller.cookie is None else caller.owner.key,
            has_webrtc=self._has_webrtc,
            has_recordings=_RECORDINGS in paths,
            max_recording_bytes=self._options.max_recording_bytes,
        )
        return web.Response(text=text, content_type="text/html", headers=_HEADERS)

"""What the daemon tells and does over plain HTTP, uploads apart."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Annotated, Any, Literal

import numpy as np
from aiohttp import hdrs, web
from msgspec import Meta, Struct, field
from prometheus_client.exposition import choose_encoder

from alfred_voice import __version__
from alfred_voice.audio.pcm import encode
from alfred_voice.audio.wav import wav_header
from alfred_voice.errors import AlfredVoiceError, Overloaded
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.roster import unknown_session
from alfred_voice.pipeline.stream import Stream
from alfred_voice.server.bodies import live_json, read_json
from alfred_voice.server.errors import MalformedMessage
from alfred_voice.server.guard.access import may_see
from alfred_voice.server.http.uploads import Uploads
from alfred_voice.server.options import ServerOptions


_log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
"""When a daemon that loads or drains may be asked again."""
_ENCODING = "pcm_s16le"
_TEXT_METRICS = ("text/plain", "application/openmetrics-text")


class OptimizeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do to free memory: what is named, or everything when nothing is."""

    trigger_gc: bool | None = field(name="triggerGC", default=None)
    cleanup_sessions: bool | None = field(name="cleanupSessions", default=None)
    optimize_buffers: bool | None = field(name="optimizeBuffers", default=None)


class SynthesizeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text to be spoken."""

    text: str
    voice: Annotated[str, Meta(max_length=128)] | None = None
    speed: Annotated[float, Meta(gt=0, le=100)] | None = None
    format: Literal["wav", "pcm"] = "wav"


class HttpRoutes:
    """The routes' handlers; one object for the application."""

    def __init__(self, coordinator: Coordinator, uploads: Uploads, options: ServerOptions) -> None:
        self._coordinator = coordinator
        self._uploads = uploads
        self._options = options

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [
            web.get("/session/{session_id}/status", self.session_status),
            web.delete("/session/{session_id}", self.end_session),
            web.get("/sessions", self.sessions),
            web.delete("/sessions", self.end_idle),
            web.get("/pipeline/status", self.pipeline_status),
            web.get("/metrics", self.metrics),
            web.post("/optimize", self.optimize),
            web.post("/synthesize", self.synthesize),
            web.get("/livez", self.livez),
            web.get("/readyz", self.readyz),
            web.get("/health", self.health),
        ]

    async def session_status(self, request: web.Request) -> web.Response:
        """One session's state, counters, ages and latencies."""
        return live_json(self._stream_of(request).status())

    async def sessions(self, request: web.Request) -> web.Response:
        """All open sessions that the caller may see, as their own status tells them."""
        roster = self._coordinator.roster
        sessions = [stream.status() for stream in roster.all() if may_see(request, roster, stream.session_id)]
        return live_json({"count": len(sessions), "sessions": sessions})

    async def end_idle(self, request: web.Request) -> web.Response:
        """End the caller's sessions, or an administrator everybody's, that have been idle for ``idle_s`` seconds."""
        idle_s = _seconds(request.query.get("idle_s"))
        roster = self._coordinator.roster
        ended = self._coordinator.end_idle(idle_s, lambda stream: may_see(request, roster, stream.session_id))
        return live_json({"ended": ended})

    async def end_session(self, request: web.Request) -> web.Response:
        """End a session as its own ``stop`` would; what an upload's session still had to tell comes back."""
        stream = self._stream_of(request)
        if stream.transport == "http":
            return live_json(await self._uploads.end(stream))
        stream.stop()
        try:
            async with asyncio.timeout(self._options.request_timeout_s):
                await stream.finished()
        except TimeoutError as error:
            raise Overloaded("the session has been told to end, but has not finished yet") from error
        return live_json({"session_id": stream.session_id, "ended": True})

    def _stream_of(self, request: web.Request) -> Stream:
        """The session that the path names, if it is the caller's to see."""
        roster, session_id = self._coordinator.roster, request.match_info["session_id"]
        if not may_see(request, roster, session_id):
            raise unknown_session(session_id)  # of another key's it is not even told that it is there
        return roster.get(session_id)

    async def pipeline_status(self, request: web.Request) -> web.Response:
        """Health, load and alerts of the whole daemon."""
        return live_json(self._coordinator.status())

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus text or OpenMetrics for who asks for it, JSON for everybody else."""
        accept = request.headers.get(hdrs.ACCEPT, "")
        if not prefers_text(accept):
            return live_json(self._coordinator.describe(), headers={"Vary": "Accept"})
        encoder, content_type = choose_encoder(accept)
        return web.Response(
            body=encoder(self._coordinator.metrics.registry),
            headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store", hdrs.VARY: "Accept"},
        )

    async def optimize(self, request: web.Request) -> web.Response:
        """Free what can be freed."""
        asked = await read_json(request, OptimizeRequest, self._options.request_timeout_s, empty=OptimizeRequest())
        unnamed = asked == OptimizeRequest()
        done = self._coordinator.optimise(
            trigger_gc=unnamed or bool(asked.trigger_gc),
            cleanup_sessions=unnamed or bool(asked.cleanup_sessions),
            optimise_buffers=unnamed or bool(asked.optimize_buffers),
        )
        return live_json(done)

    async def synthesize(self, request: web.Request) -> web.StreamResponse:
        """Speak a text: audio as it is made."""
        asked = await read_json(request, SynthesizeRequest, self._options.request_timeout_s)
        timeout_s = self._options.request_timeout_s
        async with aclosing(self._coordinator.synthesise(asked.text, asked.voice, asked.speed)) as pieces:
            # The first piece tells whether anything can be said: until then errors are still problem documents.
            try:
                async with asyncio.timeout(timeout_s):
                    first = await anext(pieces, np.empty(0, dtype=np.int16))
            except TimeoutError as error:
                raise Overloaded(f"no audio was made within {timeout_s:g} s") from error
            response = _audio_response(asked.format, self._coordinator.tts_sample_rate)
            await response.prepare(request)
            try:
                async with asyncio.timeout(timeout_s):
                    if asked.format == "wav":
                        await response.write(wav_header(self._coordinator.tts_sample_rate))
                    await response.write(encode(first, _ENCODING))
                    async for piece in pieces:
                        await response.write(encode(piece, _ENCODING))
            except ConnectionError:
                _log.info("listener_gone")
            except (AlfredVoiceError, TimeoutError) as error:
                _log.warning("synthesis_cut", extra={"error": repr(error)})
                _cut(request, response)
        return response

    async def livez(self, request: web.Request) -> web.Response:
        """The process answers."""
        return live_json({"status": "alive"})

    async def readyz(self, request: web.Request) -> web.Response:
        """Whether a session can be opened; 503 with the reasons when not."""
        is_ready, checks = self._coordinator.readiness()
        return _by_readiness({"status": _word(is_ready), "checks": checks}, is_ready)

    async def health(self, request: web.Request) -> web.Response:
        """Both of the above, with the daemon's version."""
        is_ready, checks = self._coordinator.readiness()
        body = {"status": _word(is_ready), "alive": True, "ready": is_ready, "checks": checks, "version": __version__}
        return _by_readiness(body, is_ready)


def _seconds(value: str | None) -> float:
    """A query's number of seconds.

    Raises:
        MalformedMessage: there is none, or it is no such number.
    """
    try:
        seconds = float("nan" if value is None else value)
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        raise MalformedMessage("idle_s: expected a number of seconds from 0 on")
    return seconds


def prefers_text(accept: str) -> bool:
    """Whether an ``Accept`` header names Prometheus text or OpenMetrics, and no JSON before it.

    Wildcards count for nothing: a program that takes anything is better served with JSON.
    """
    best: tuple[float, int, bool] | None = None
    for place, entry in enumerate(accept.split(",")):
        name, _, parameters = entry.partition(";")
        name = name.strip().lower()
        if name not in (*_TEXT_METRICS, "application/json"):
            continue
        rank = (_quality(parameters), -place, name in _TEXT_METRICS)
        if rank[0] > 0 and (best is None or rank > best):
            best = rank
    return best is not None and best[2]


def _quality(parameters: str) -> float:
    """The weight of an ``Accept`` entry (RFC 9110, section 12.4.2); 1 when there is none that can be read."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0


def _audio_response(audio_format: str, sample_rate: int) -> web.StreamResponse:
    content_type = "audio/wav" if audio_format == "wav" else "application/octet-stream"
    headers = {
        hdrs.CONTENT_TYPE: content_type,
        hdrs.CACHE_CONTROL: "no-store",
        "X-Sample-Rate": str(sample_rate),
        "X-Encoding": _ENCODING,
    }
    return web.StreamResponse(headers=headers)


def _cut(request: web.Request, response: web.StreamResponse) -> None:
    """Break the connection off, so that nobody takes half a speech for a whole one."""
    response.force_close()
    if request.transport is not None:
        request.transport.abort()


def _word(is_ready: bool) -> str:
    return "ready" if is_ready else "not_ready"


def _by_readiness(body: dict[str, Any], is_ready: bool) -> web.Response:
    if is_ready:
        return live_json(body)
    return live_json(body, 503, {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)})

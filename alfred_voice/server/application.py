"""The door as a whole: routes, their order of going, and the socket that they stand behind."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

from aiohttp import web

from alfred_voice import __version__
from alfred_voice.pipeline.coordinator import Coordinator
from alfred_voice.pipeline.load_test import LoadTest
from alfred_voice.server.guard.access import Access
from alfred_voice.server.guard.entrance import Entrance, Site, note_arrival
from alfred_voice.server.guard.headers import harden
from alfred_voice.server.guard.host_page import HostPage
from alfred_voice.server.guard.security import Security
from alfred_voice.server.guard.sign_in import SignInRoutes
from alfred_voice.server.http.form import ignore_warnings
from alfred_voice.server.http.recordings import RecordingRoutes, RecordingWorker
from alfred_voice.server.http.routes import HttpRoutes
from alfred_voice.server.http.settings import LiveSettings, SettingsRoutes
from alfred_voice.server.http.uploads import Uploads
from alfred_voice.server.monitor.feed import Feed, produce
from alfred_voice.server.monitor.load_test import LoadTestRoutes
from alfred_voice.server.monitor.routes import MonitorRoutes
from alfred_voice.server.monitor.session_feed import SessionFeeds
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.pages import TalkRoutes
from alfred_voice.server.problems import problem_documents
from alfred_voice.server.protocol.admission import Admission
from alfred_voice.server.protocol.resumption import Resumption
from alfred_voice.server.request_timer import RequestTimer
from alfred_voice.server.webhook import Sender, Webhook, end
from alfred_voice.server.webrtc.options import WebRtcOptions
from alfred_voice.server.webrtc.routes import WebRtcRoutes
from alfred_voice.server.websocket.routes import WebSocketRoutes


_log = logging.getLogger(__name__)

HANDLERS_TIMEOUT_S = 2.0
"""How long plain HTTP requests get at the very end, when sessions are over."""

COORDINATOR = web.AppKey("coordinator", Coordinator)
OPTIONS = web.AppKey("options", ServerOptions)
ADMISSION = web.AppKey("admission", Admission)
RESUMPTION = web.AppKey("resumption", Resumption)
FEED = web.AppKey("feed", Feed)
SESSION_FEEDS = web.AppKey("session_feeds", SessionFeeds)
LOAD_TEST = web.AppKey("load_test", LoadTest)
SECURITY = web.AppKey("security", Security)
RECORDINGS = web.AppKey("recordings", RecordingRoutes)


def make_application(
    coordinator: Coordinator,
    options: ServerOptions,
    recording_worker: RecordingWorker | None = None,
    security: Security | None = None,
    webrtc: WebRtcOptions | None = None,
) -> web.Application:
    """All routes over one coordinator; with a worker for recordings the one that takes them, too."""
    security = security or Security()
    access = Access(security.options, security.keys, options.host, security.clock, coordinator.metrics)
    sign_in = SignInRoutes(access, options.request_timeout_s)
    timer = RequestTimer(coordinator.metrics, security.clock)
    application = web.Application(
        middlewares=[timer.time, note_arrival, problem_documents, HostPage().explain, sign_in.ask, access.guard],
        # Uploads are read in pieces against a limit of their own; this one is for bodies of JSON.
        client_max_size=options.max_message_bytes,
    )
    resumption = Resumption(coordinator.options.sessions.resume_grace_s)
    admission = Admission(coordinator, resumption)
    load_test = LoadTest(coordinator, security.clock)
    feed, session_feeds = Feed(coordinator, load_test.describe, security.clock), SessionFeeds(coordinator)
    uploads = Uploads(coordinator, options)
    webrtc = webrtc or WebRtcOptions()
    peers = WebRtcRoutes(coordinator, admission, resumption, options, security.options, webrtc)
    application[COORDINATOR] = coordinator
    application[OPTIONS] = options
    application[ADMISSION] = admission
    application[FEED] = feed
    application[SESSION_FEEDS] = session_feeds
    application[LOAD_TEST] = load_test
    application[RESUMPTION] = resumption
    application[SECURITY] = security
    sockets = WebSocketRoutes(coordinator, admission, resumption, options, security.options)
    for room in (
        sockets,
        TalkRoutes(sockets.connect, security.keys, options, webrtc),
        HttpRoutes(coordinator, uploads, options),
        uploads,
        peers,
        MonitorRoutes(coordinator, feed, session_feeds, access),
        sign_in,
        LoadTestRoutes(load_test, options.request_timeout_s),
    ):
        application.router.add_routes(room.routes())
    if recording_worker is not None:
        recordings = RecordingRoutes(recording_worker, options, coordinator.metrics)
        application[RECORDINGS] = recordings
        application.router.add_routes(recordings.routes())
        application.on_shutdown.append(recordings.close)
    application.on_response_prepare.extend((harden, access.share))
    application.on_shutdown.append(_end_monitor)
    application.on_shutdown.append(_end_resumption)
    application.on_shutdown.append(peers.close)
    application.cleanup_ctx.extend((_run_feed, _watch_certificate, _run_webhook))
    return application


def open_settings(application: web.Application, settings: LiveSettings) -> None:
    """Let administrators see and change the settings while the daemon runs."""
    routes = SettingsRoutes(settings, application[OPTIONS].request_timeout_s)
    application.router.add_routes(routes.routes())
    application[FEED].settings_version = lambda: settings.version


async def _run_feed(application: web.Application) -> AsyncIterator[None]:
    async for _ in produce(application[FEED]):
        yield


async def _end_resumption(application: web.Application) -> None:
    application[RESUMPTION].close()


async def _watch_certificate(application: web.Application) -> AsyncIterator[None]:
    certificate = application[SECURITY].certificate
    if certificate is None:
        yield
        return
    watching = asyncio.create_task(certificate.watch())
    yield
    watching.cancel()
    await asyncio.wait((watching,))


async def _run_webhook(application: web.Application) -> AsyncIterator[None]:
    coordinator = application[COORDINATOR]
    alerts = coordinator.options.alerts
    if alerts.webhook_url is None:
        yield
        return
    sender = Sender(socket.gethostname(), __version__)
    clock = application[SECURITY].clock
    webhook = Webhook(alerts.webhook_url, alerts.webhook_timeout_s, sender, clock, coordinator.metrics)
    task = asyncio.create_task(webhook.run(), name="webhook")
    coordinator.on_alert(webhook.notify)
    yield
    coordinator.on_alert(None)
    await end(webhook, task)


async def _end_monitor(application: web.Application) -> None:
    await application[LOAD_TEST].close()
    application[FEED].audience.close()
    await application[SESSION_FEEDS].close()


class Server:
    """The application behind a listening socket.

    The order at shutdown: :meth:`Coordinator.drain` while the socket still answers (``/readyz`` says 503, new
    sessions are refused), :meth:`stop_accepting`, :meth:`close`.
    """

    def __init__(self, application: web.Application) -> None:
        self._application = application
        self._options = application[OPTIONS]
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=HANDLERS_TIMEOUT_S
        )
        security = application[SECURITY]
        self._entrance = Entrance(security.options, application[COORDINATOR].metrics)
        self._tls = None if security.certificate is None else security.certificate.context
        self._site: Site | None = None

    async def start(self, host: str | None = None, port: int | None = None) -> int:
        """Listen, by default where the options say; returns the port, which matters when 0 was asked for.

        Raises:
            OSError: the address cannot be had.
        """
        ignore_warnings()
        await self._runner.setup()
        try:
            address = (
                self._options.host if host is None else host,
                self._options.port if port is None else port,
            )
            site = Site(self._runner, self._entrance, address, self._tls)
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._site = site
        return int(self._runner.addresses[0][1])

    async def stop_accepting(self) -> None:
        """Close the listening socket; connections that are open stay so."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()

    async def close(self, grace_s: float | None = None) -> None:
        """Let connections finish, then close those that have not, and free everything.

        Args:
            grace_s: how long connections and recordings may take; what the options say when absent.
        """
        await self.stop_accepting()
        grace_s = self._options.grace_s if grace_s is None else grace_s
        recordings = self._application.get(RECORDINGS)
        await asyncio.gather(self._dismiss(grace_s), *([recordings.drain(grace_s)] if recordings else []))
        await self._runner.cleanup()

    async def _dismiss(self, grace_s: float) -> None:
        admission = self._application[ADMISSION]
        await admission.dismiss(also_with_session=False)
        try:
            async with asyncio.timeout(grace_s):
                await admission.emptied()
        except TimeoutError:
            _log.warning("connections_cut", extra={"connections": len(admission)})
            await admission.dismiss(also_with_session=True)

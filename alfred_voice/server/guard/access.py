"""Who may come in, and what for: the one place through which every request goes before its route.

Without keys whoever reaches the daemon may do everything; it then listens on this machine only, unless it was told
otherwise, and goes by no name but its own. With keys each request brings one, but for the questions of health.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from alfred_voice.clock import Clock
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.owner import Owner
from alfred_voice.pipeline.roster import Roster
from alfred_voice.server.errors import (
    AccessError,
    KeyNeeded,
    KeyRefused,
    NotAllowed,
    OriginRefused,
    RateLimited,
    TooManyAttempts,
)
from alfred_voice.server.guard.cookies import LIFETIME_S, Cookies
from alfred_voice.server.guard.credentials import QUERY_FIELD, Credential, credential_of
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.keyring import ApiKey
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.origin import CHANGING, Doorplate, household_of, preflight_headers, shared_headers
from alfred_voice.server.guard.rates import Bucket, Buckets


_log = logging.getLogger(__name__)

OPEN = frozenset({"/livez", "/readyz", "/health", "/static/{name}"})
"""Routes for which nobody needs a key: probes, and files that are the same in every copy of this package."""
ADMIN = frozenset(
    {
        "/optimize",
        "/monitor",
        "/monitor/feed",
        "/monitor/sessions/{session_id}/feed",
        "/monitor/load-test",
        "/config",
    }
)
"""Routes that concern everybody's sessions, or the daemon itself.

Figures (``/metrics``, ``/pipeline/status``) name nobody: any key may."""
OPEN_PAGES = frozenset({"/"})
"""Pages that hold nothing of anybody's and ask for a key themselves; not the WebSocket at the same path."""
PAGES = frozenset({"/monitor", "/"})
"""Routes that a person opens in a browser: a key in the query is exchanged for a cookie."""
MOST_KNOWN = 4096
"""Pairs of an address and a key that are remembered as good."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    owner: Owner
    is_admin: bool


CALLER = web.RequestKey("caller", Caller)


def owner_of(request: web.Request) -> Owner:
    """Whose the sessions are that this request opens."""
    return request[CALLER].owner


def may_see(request: web.Request, roster: Roster, session_id: str) -> bool:
    """Whether a session is the caller's own, or the caller an administrator."""
    caller = request[CALLER]
    owner = roster.owner_of(session_id)
    return caller.is_admin or owner is None or owner.key == caller.owner.key


def check_session(request: web.Request, roster: Roster, session_id: str) -> None:
    """Raise :exc:`NotAllowed` when a session is another key's."""
    if not may_see(request, roster, session_id):
        raise NotAllowed("the session belongs to another key")


def is_websocket(request: web.Request) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"


class Access:
    """Looks at every request before its route does.

    Args:
        options: limits and names.
        keys: the keys in force.
        bound: the address that the daemon listens on, as it is configured.
        clock: reads the time.
        metrics: where refusals are counted.
    """

    def __init__(self, options: SecurityOptions, keys: KeySource, bound: str, clock: Clock, metrics: Metrics) -> None:
        self.cookies = Cookies()
        self._options = options
        self._keys = keys
        self._doorplate = Doorplate(bound, options.hosts, options.origins)
        self._clock = clock
        self._metrics = metrics
        most = options.failed_attempts_per_minute
        self._failed = Buckets(most / 60, most) if most else None
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._requests: dict[str, tuple[int, Bucket]] = {}

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through to its route, or say why not."""
        try:
            answer = self._check(request)
            return await handler(request) if answer is None else answer
        except AccessError as error:
            self._metrics.requests_refused.labels(error.code).inc()
            raise

    async def share(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let pages of allowed origins read an answer; a signal of the application."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not self._doorplate.allows(origin):
            return
        headers = shared_headers(origin)
        varies = [value for value in (response.headers.get(hdrs.VARY), headers.pop(hdrs.VARY)) if value]
        response.headers.update(headers)
        response.headers[hdrs.VARY] = ", ".join(dict.fromkeys(varies))
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    def _check(self, request: web.Request) -> web.StreamResponse | None:
        """What to answer instead of the route; None where it may answer itself."""
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            return self._preflight(request)
        route = _pattern(request)
        if request.method in CHANGING or is_websocket(request):
            self._doorplate.check_origin(request.scheme, request.headers)
        if route in OPEN:
            return None
        if not self._keys.ring:
            self._doorplate.check_host(request.headers.get(hdrs.HOST), _local_address(request))
            request[CALLER] = Caller(self._owner(request, None), is_admin=True)
            return None
        credential = credential_of(request)
        if credential is None and route in OPEN_PAGES and not is_websocket(request):
            return None
        key = self._key_of_cookie(request) if credential is None else self._key_of(request, credential)
        self._count(key)
        if route in ADMIN and not key.is_admin:
            raise NotAllowed("this needs the key of an administrator")
        request[CALLER] = Caller(self._owner(request, key), key.is_admin)
        if credential is not None and credential.is_in_query and route in PAGES and request.method == hdrs.METH_GET:
            return self._exchange(request, key)
        return None

    def _preflight(self, request: web.Request) -> web.Response:
        origin = request.headers.get(hdrs.ORIGIN, "")
        if not self._doorplate.allows(origin):
            raise OriginRefused("pages of this origin may not ask; those in security.allowed_origins may")
        return web.Response(status=204, headers=preflight_headers(origin))

    def _key_of(self, request: web.Request, credential: Credential) -> ApiKey:
        """The key that a request brings.

        Raises:
            KeyRefused: it is none of ours.
            TooManyAttempts: its address has tried too many that were not.
        """
        household, now = household_of(request.remote or ""), self._clock.now()
        key = self._keys.ring.find(credential.secret)
        is_known = key is not None and (household, key.digest) in self._known
        if self._failed is not None and not is_known and self._failed.is_empty(household, now):
            # A key that is right now, but has not been seen from there, is not told from a wrong one.
            wait_s = self._failed.of(household, now).wait_s(now)
            raise TooManyAttempts("too many wrong keys have come from this address; try again later", wait_s)
        if key is None:
            if self._failed is not None:
                self._failed.of(household, now).take(now)
            _log.warning("key_refused", extra={"address": request.remote})
            raise KeyRefused("the key is none of those that are configured")
        self._remember(household, key)
        return key

    def _remember(self, household: str, key: ApiKey) -> None:
        """Behind one address there may be many clients: one that guesses is not to lock the others out."""
        self._known[(household, key.digest)] = None
        self._known.move_to_end((household, key.digest))
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _key_of_cookie(self, request: web.Request) -> ApiKey:
        value = request.cookies.get(_cookie_name(request))
        digest = None if value is None else self.cookies.digest_of(value, self._clock.now())
        key = None if digest is None else self._keys.ring.find_digest(digest)
        if key is None:
            raise KeyNeeded("a key is needed: 'Authorization: Bearer KEY', the sub-protocol bearer.KEY or ?token=KEY")
        return key

    def _count(self, key: ApiKey) -> None:
        """Raise :exc:`RateLimited` when a key has asked as often as it may."""
        limit = key.requests_per_minute
        if limit is None:
            return
        now = self._clock.now()
        known = self._requests.get(key.name)
        if known is None or known[0] != limit:
            known = self._requests[key.name] = (limit, Bucket(limit / 60, limit, now))
        if not known[1].take(now):
            raise RateLimited(f"this key may ask {limit} times a minute", known[1].wait_s(now))

    def _owner(self, request: web.Request, key: ApiKey | None) -> Owner:
        return Owner(
            key="" if key is None else key.name,
            address=household_of(request.remote or ""),
            max_of_key=None if key is None else key.max_sessions,
            max_of_address=self._options.max_sessions_per_address or None,
        )

    def _exchange(self, request: web.Request, key: ApiKey) -> web.Response:
        """A cookie for the key in the query, and the way to the same page without it."""
        response = web.Response(status=303, headers={hdrs.CACHE_CONTROL: "no-store"})
        response.headers[hdrs.LOCATION] = str(request.rel_url.without_query_params(QUERY_FIELD))
        response.set_cookie(
            _cookie_name(request),
            self.cookies.open(key.digest, self._clock.now()),
            max_age=LIFETIME_S,
            path="/",
            httponly=True,
            secure=request.secure,
            samesite="Strict",
        )
        return response


def _pattern(request: web.Request) -> str | None:
    """The route's pattern; None where there is no route."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def _local_address(request: web.Request) -> str:
    return str(_socket_name(request)[0])


def _cookie_name(request: web.Request) -> str:
    """With the port in it: browsers give the cookies of all ports of a host to each of them."""
    return f"alfred_voice_{_socket_name(request)[1]}"


def _socket_name(request: web.Request) -> tuple[str, int]:
    """Our end of a request's connection."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return (name[0], name[1]) if isinstance(name, tuple) else ("", 0)

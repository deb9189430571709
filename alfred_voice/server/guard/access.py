"""Who may come in, and what for: the one place through which every request goes before its route.

Without keys whoever reaches the daemon may do everything; it then listens on this machine only, unless it was told
otherwise, and goes by no name but its own. With keys each request brings one, but for the questions of health.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field

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
SIGN_IN = "/sign-in"
"""Where a page of the daemon's own exchanges a key for a cookie, and gives it back."""
HANDSHAKE = "/ws"
"""Asked without ``Upgrade``, it answers as the handshake would: to pages of other origins, too."""
PUBLISHING = frozenset({"/whip", "/whip/{connection_id}"})
"""Routes whose every answer to OPTIONS is a 200 that says what may be posted (RFC 9725, section 4.2)."""
MOST_KNOWN = 4096
"""Pairs of an address and a key that are remembered as good."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    owner: Owner
    is_admin: bool
    digest: bytes | None = None
    """Of its key; None where none is needed."""
    cookie: str | None = field(default=None, repr=False)
    """By which its browser is signed in; None where it has shown its key."""


CALLER = web.RequestKey("caller", Caller)
REFUSED_ORIGIN = web.RequestKey("refused_origin", bool)


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
            request[REFUSED_ORIGIN] = isinstance(error, OriginRefused)
            raise

    async def share(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let pages of allowed origins read an answer; a signal of the application."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return
        if request.get(REFUSED_ORIGIN, False):
            # Any page may read that it is refused, and why: otherwise it looks to it as if nothing were here. The
            # refusal holds nothing but the page's own origin and the option's name, and no cookie counts for it.
            response.headers["Access-Control-Allow-Origin"] = "*"
            return
        if not self._doorplate.allows(origin):
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
        route = pattern_of(request)
        is_asking = route == HANDSHAKE and hdrs.ORIGIN in request.headers
        if request.method in CHANGING or is_websocket(request) or is_asking:
            self._doorplate.check_origin(request.scheme, request.headers)
        if route in OPEN:
            return None
        if not self._keys.ring:
            self._doorplate.check_host(request.headers.get(hdrs.HOST), _local_address(request))
            request[CALLER] = Caller(self._owner(request, None), is_admin=True)
            return None
        if route == SIGN_IN and request.method in CHANGING:
            self._doorplate.check_own_page(request.headers)
            return None  # the key is in the body; to sign out takes none
        credential = credential_of(request)
        if credential is None:
            self._check_cookie(request, route)
            return None
        key = self._key_of(request, credential)
        self._count(key)
        self._note_caller(request, route, key)
        if credential.is_in_query and route in PAGES and request.method == hdrs.METH_GET:
            return self._exchange(request, key)
        return None

    def _check_cookie(self, request: web.Request, route: str | None) -> None:
        """Look at a request that brings no key.

        Raises:
            KeyNeeded: its browser is not signed in, and no page is asked for that asks for a key itself.
        """
        cookie = request.cookies.get(_cookie_name(request))
        key = None if cookie is None else self._key_of_cookie(cookie)
        if key is not None:
            self._count(key)
            self._note_caller(request, route, key, cookie)
        elif route not in OPEN_PAGES or is_websocket(request):
            raise KeyNeeded("a key is needed: 'Authorization: Bearer KEY', the sub-protocol bearer.KEY or ?token=KEY")

    def _note_caller(self, request: web.Request, route: str | None, key: ApiKey, cookie: str | None = None) -> None:
        if route in ADMIN:
            check_admin(key)
        request[CALLER] = Caller(self._owner(request, key), key.is_admin, key.digest, cookie)

    def still_admits(self, request: web.Request) -> bool:
        """Whether who was let in would be so now, too: for answers that go on and on. Nothing is counted."""
        caller = request[CALLER]
        if caller.digest is None:
            return True
        if caller.cookie is None:
            key = self._keys.ring.find_digest(caller.digest)
        else:
            key = self._key_of_cookie(caller.cookie)
        return key is not None and (key.is_admin or pattern_of(request) not in ADMIN)

    def sign_in(self, request: web.Request, secret: str, *, as_admin: bool) -> tuple[ApiKey, str] | None:
        """The key that a browser has shown, and the cookie's value for it; None where no key is needed.

        Args:
            request: the browser's.
            secret: what it says the key is.
            as_admin: whether only an administrator's will do.

        Raises:
            KeyRefused: it is none of ours.
            TooManyAttempts: its address has tried too many that were not.
            RateLimited: the key has asked too often.
            NotAllowed: it is no administrator's.
        """
        if not self._keys.ring:
            return None
        key = self._key_of(request, Credential(secret))
        self._count(key)
        if as_admin:
            check_admin(key)
        return key, self._open_session(request, key)

    def sign_out(self, request: web.Request) -> None:
        """Make a browser's cookie worth nothing; one that is none is no error."""
        cookie = request.cookies.get(_cookie_name(request))
        if cookie is not None and self.cookies.close(cookie):
            _log.info("signed_out", extra={"address": request.remote})

    def _open_session(self, request: web.Request, key: ApiKey) -> str:
        self.sign_out(request)  # a browser has one
        _log.info("signed_in", extra={"key": key.name, "address": request.remote})
        return self.cookies.open(key.digest, self._clock.now())

    def _preflight(self, request: web.Request) -> web.Response:
        origin = request.headers.get(hdrs.ORIGIN, "")
        if not self._doorplate.allows(origin):
            raise OriginRefused("pages of this origin may not ask; those in security.allowed_origins may")
        headers = preflight_headers(origin)
        if pattern_of(request) in PUBLISHING:
            headers["Accept-Post"] = "application/sdp"
        return web.Response(status=200 if pattern_of(request) in PUBLISHING else 204, headers=headers)

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

    def _key_of_cookie(self, cookie: str) -> ApiKey | None:
        digest = self.cookies.digest_of(cookie, self._clock.now())
        return None if digest is None else self._keys.ring.find_digest(digest)

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
        give_cookie(request, response, self._open_session(request, key))
        return response


def check_admin(key: ApiKey) -> None:
    """Raise :exc:`NotAllowed` when a key is no administrator's."""
    if not key.is_admin:
        raise NotAllowed("this needs the key of an administrator")


def give_cookie(request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Let a browser keep a cookie: for pages of the daemon's own only, and out of the reach of their scripts."""
    response.set_cookie(
        _cookie_name(request),
        value,
        max_age=LIFETIME_S,
        path="/",
        httponly=True,
        secure=request.secure,
        samesite="Strict",
    )


def take_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """Let a browser forget its cookie."""
    response.del_cookie(
        _cookie_name(request), path="/", httponly=True, secure=request.secure or None, samesite="Strict"
    )


def pattern_of(request: web.Request) -> str | None:
    """The route's pattern; None where there is no route."""
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def _local_address(request: web.Request) -> str:
    return str(_socket_name(request)[0])


def _cookie_name(request: web.Request) -> str:
    """With the port in it: browsers give the cookies of all ports of a host to each of them.

    With TLS nobody but this very host can set one of that prefix (RFC 6265bis, section 4.1.3).
    """
    return f"{'__Host-' if request.secure else ''}alfred_voice_{_socket_name(request)[1]}"


def _socket_name(request: web.Request) -> tuple[str, int]:
    """Our end of a request's connection."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    return (name[0], name[1]) if isinstance(name, tuple) else ("", 0)

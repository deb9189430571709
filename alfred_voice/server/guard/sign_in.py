"""How a person's browser comes in: a form where a page was to be, and a cookie for the key that it sends.

The key travels once, in a body, and is kept nowhere. What stays with the browser is a random value that no script can
read and no other site can make it send.
"""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from msgspec import Struct, field

from alfred_voice import __version__
from alfred_voice.server.assets import PAGE_HEADERS, page_template
from alfred_voice.server.bodies import live_json, read_json
from alfred_voice.server.errors import AccessError, KeyNeeded, KeyRefused, NotAllowed, RateLimited
from alfred_voice.server.guard.access import (
    ADMIN,
    CALLER,
    PAGES,
    SIGN_IN,
    Access,
    give_cookie,
    is_websocket,
    pattern_of,
    take_cookie,
)
from alfred_voice.server.problems import headers_of, status_of


_FOR_A_KEY = (KeyNeeded, KeyRefused, NotAllowed, RateLimited)
"""What another key, or another moment, may help against."""


class SignInRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that a person has typed."""

    key: str
    as_admin: bool = field(name="admin", default=False)
    """Whether only an administrator's will do."""

    def __repr__(self) -> str:
        return "SignInRequest(...)"


class SignInRoutes:
    """``/sign-in``, and the form.

    Args:
        access: who may come in.
        within_s: longest that a request's body may take.
    """

    def __init__(self, access: Access, within_s: float) -> None:
        self._access = access
        self._within_s = within_s
        self._page = page_template("sign-in.html")

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.get(SIGN_IN, self.show), web.post(SIGN_IN, self.sign_in), web.delete(SIGN_IN, self.sign_out)]

    async def show(self, request: web.Request) -> web.Response:
        """Whose key it is that the caller brings, or that its browser is signed in by."""
        caller = request[CALLER]
        return live_json({"key": caller.owner.key or None, "admin": caller.is_admin})

    async def sign_in(self, request: web.Request) -> web.Response:
        """A cookie for a key."""
        asked = await read_json(request, SignInRequest, self._within_s)
        signed = self._access.sign_in(request, asked.key, as_admin=asked.as_admin)
        if signed is None:
            return live_json({"key": None, "admin": True})
        key, cookie = signed
        response = live_json({"key": key.name, "admin": key.is_admin})
        give_cookie(request, response, cookie)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """The end of the browser's cookie; also of what its other tabs watch."""
        self._access.sign_out(request)
        response = web.Response(status=204, headers={hdrs.CACHE_CONTROL: "no-store"})
        take_cookie(request, response)
        return response

    @web.middleware
    async def ask(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask a person for a key where a page was refused for want of one; programs get the problem as it is."""
        try:
            return await handler(request)
        except _FOR_A_KEY as error:
            if not is_for_a_person(request):
                raise
            return self._form(request, error)

    def _form(self, request: web.Request, error: AccessError) -> web.Response:
        headers = {**PAGE_HEADERS, **headers_of(error), hdrs.VARY: hdrs.ACCEPT}
        text = self._page.render(
            version=__version__,
            code=error.code,
            retry_after_s=headers.get(hdrs.RETRY_AFTER, ""),
            wants_admin=pattern_of(request) in ADMIN,
        )
        return web.Response(text=text, status=status_of(error), content_type="text/html", headers=headers)


def is_for_a_person(request: web.Request) -> bool:
    """Whether a browser asks for a page that it is to show."""
    is_page = pattern_of(request) in PAGES and not is_websocket(request)
    return is_page and request.method == hdrs.METH_GET and "text/html" in request.headers.get(hdrs.ACCEPT, "").lower()

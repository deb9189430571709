"""A page for a person whose browser was led here by a name that the daemon does not go by."""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from alfred_voice.server.assets import PAGE_HEADERS, page_template
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import HostRefused
from alfred_voice.server.guard.origin import split_host
from alfred_voice.server.guard.sign_in import is_for_a_person
from alfred_voice.server.problems import status_of


class HostPage:
    """Says which setting names the daemon."""

    def __init__(self) -> None:
        self._page = page_template("host-refused.html")

    @web.middleware
    async def explain(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a person with a page; programs get the problem as it is."""
        try:
            return await handler(request)
        except HostRefused as error:
            if not is_for_a_person(request):
                raise
            name, _ = split_host(request.headers.get(hdrs.HOST, ""))
            text = self._page.render(name=shorten(name))
            headers = {**PAGE_HEADERS, hdrs.VARY: hdrs.ACCEPT}
            return web.Response(text=text, status=status_of(error), content_type="text/html", headers=headers)

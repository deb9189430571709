"""Headers that every answer has, so that browsers make of it no more than it is."""

from __future__ import annotations

from aiohttp import hdrs, web

from alfred_voice.server.guard.origin import is_loopback, split_host


HSTS_S = 31_536_000
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "alfred-voice",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Of whatever is no page: should a browser show it as one, it does nothing. Pages bring their own."""


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Add what is missing; a signal of the application."""
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    response.headers[hdrs.SERVER] = _ALWAYS["Server"]  # the library has put its own and Python's versions there
    if response.content_type == "text/html" and _is_trustworthy(request):
        response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    if not response.content_type.startswith("image/"):
        response.headers.setdefault("Content-Security-Policy", _POLICY)
    # On this machine's own name it would forbid every other program there to go without TLS.
    if request.secure and not is_loopback(_name_of(request)):
        response.headers.setdefault(hdrs.STRICT_TRANSPORT_SECURITY, f"max-age={HSTS_S}")


def _is_trustworthy(request: web.Request) -> bool:
    """Whether a browser may take the page's origin for secure; elsewhere it only complains of the header."""
    is_tls = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    return is_tls or is_loopback(_name_of(request))


def _name_of(request: web.Request) -> str:
    return split_host(request.headers.get(hdrs.HOST, ""))[0]


def plain_headers() -> dict[str, str]:
    """The same for an answer to bytes that are no request."""
    return {**_ALWAYS, "Content-Security-Policy": _POLICY}

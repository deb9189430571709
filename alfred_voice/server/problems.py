"""Errors of HTTP as problem documents (RFC 9457), each with the stable ``code`` of its error."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from alfred_voice.errors import (
    AlfredVoiceError,
    Fault,
    LoadTestRunning,
    Overloaded,
    RestartNeeded,
    ResumeRefused,
    SessionBusy,
    SessionEnded,
    SwapRunning,
    TooManySessionsOfAddress,
    TooManySessionsOfKey,
    UnknownSession,
    UnsupportedAudio,
)
from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import (
    AccessError,
    KeyNeeded,
    KeyRefused,
    MessageTooLarge,
    NotOffered,
    OfferUnusable,
    RateLimited,
    UnknownConnection,
)


_log = logging.getLogger(__name__)

REALM = "alfred-voice"
"""What a key opens, as the challenge of a 401 names it."""

_STATUSES: tuple[tuple[type[AlfredVoiceError], int], ...] = (
    (UnknownSession, 404),
    (UnknownConnection, 404),
    (SessionBusy, 409),
    (SessionEnded, 409),
    (ResumeRefused, 409),
    (RestartNeeded, 409),
    (SwapRunning, 409),
    (LoadTestRunning, 409),
    (MessageTooLarge, 413),
    (UnsupportedAudio, 415),
    (OfferUnusable, 422),
    (TooManySessionsOfKey, 429),
    (TooManySessionsOfAddress, 429),
    (NotOffered, 501),
    (Overloaded, 503),
    (KeyNeeded, 401),
    (KeyRefused, 401),
    (RateLimited, 429),
    (AccessError, 403),
)
_FAULT_STATUSES = {Fault.CLIENT: 400, Fault.SERVER: 500, Fault.MACHINE: 503}

_CODES = {
    400: "request_malformed",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: MessageTooLarge.code,
    415: "media_type_unsupported",
    426: "upgrade_required",
}
"""For what the HTTP library refuses itself."""


def status_of(error: AlfredVoiceError) -> int:
    """The HTTP status that says what kind of error this is."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return _FAULT_STATUSES[error.fault]


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A problem document."""
    body: dict[str, Any] = {
        "type": "about:blank",  # RFC 9457, section 4.2.1: the title is then the status's own
        "title": HTTPStatus(status).phrase,
        "status": status,
        # Names in a client's form may hold halves of characters, which JSON cannot have.
        "detail": detail.encode(errors="replace").decode(),
        "code": code,
    }
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def problem_of(error: AlfredVoiceError) -> web.Response:
    """The problem document of a deliberate error."""
    return problem(status_of(error), error.code, str(error), headers_of(error))


def headers_of(error: AlfredVoiceError) -> dict[str, str]:
    """What goes with the status: when to come again, or how to show a key (RFC 6750, section 3)."""
    if isinstance(error, Overloaded | RateLimited):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, KeyNeeded):
        return {"WWW-Authenticate": f'Bearer realm="{REALM}"'}
    if isinstance(error, KeyRefused):
        return {"WWW-Authenticate": f'Bearer realm="{REALM}", error="invalid_token"'}
    return {}


@web.middleware
async def problem_documents(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a route raises before it has answered into a problem document."""
    try:
        return await handler(request)
    except AlfredVoiceError as error:
        if error.fault is Fault.SERVER:
            _log.error("request_failed", extra=_about(request), exc_info=error)
        return problem_of(error)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return _refusal(request, error)
    except ConnectionError:
        # The client has gone in the middle of its request; this answer reaches nobody.
        return problem(400, "client_gone", "the client has closed the connection")
    except Exception:  # noqa: BLE001  the request's top
        _log.exception("request_failed", extra=_about(request))
        return problem(500, AlfredVoiceError.code, "the daemon failed on this request; its log says why")


def _about(request: web.Request) -> dict[str, str]:
    """What a record says of a request: its session, where the path names one."""
    fields = {"method": request.method, "route": _route(request)}
    session_id = request.match_info.get("session_id")
    return fields if session_id is None else {**fields, "session": shorten(session_id)}


def _route(request: web.Request) -> str:
    """The route's pattern, not the path: paths are the client's and without number."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"


def _refusal(request: web.Request, error: web.HTTPException) -> web.Response:
    """The problem document for what the HTTP library or the router refused."""
    path = shorten(request.path)
    headers = {name: error.headers[name] for name in ("Accept-Post", "Allow", "Upgrade") if name in error.headers}
    if isinstance(error, web.HTTPNotFound):
        detail = f"nothing is at {path}"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        detail = f"{path} takes {', '.join(sorted(error.allowed_methods))}, not {shorten(error.method)}"
        if error.text and not error.text.startswith(str(error.status)):  # the library's own words say nothing more
            detail += f": {error.text}"
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = "the request's body is larger than the limit"
    else:
        detail = shorten(error.text or error.reason)
    return problem(error.status, _CODES.get(error.status, "request_refused"), detail, headers)

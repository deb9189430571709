"""JSON in the bodies of HTTP: read strictly, written fresh every time."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
from aiohttp import web

from alfred_voice.server.echo import shorten
from alfred_voice.server.errors import MalformedMessage


T = TypeVar("T")

_LONGEST = 300
"""Characters of a complaint about a body."""


async def read_json(request: web.Request, kind: type[T], within_s: float, *, empty: T | None = None) -> T:
    """The request's body as a ``kind``; ``empty``, where one is given, for no body at all.

    Raises:
        HTTPRequestTimeout: it did not arrive within ``within_s`` seconds.
        MalformedMessage: it is no JSON object, or a field is unknown, missing, of the wrong type or out of range.
    """
    try:
        async with asyncio.timeout(within_s):
            data = await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the request's body did not arrive in time") from error
    if not data.strip() and empty is not None:
        return empty
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise MalformedMessage(shorten(_fault_of(kind, str(error)), _LONGEST)) from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise MalformedMessage(f"expected a JSON object: {shorten(str(error))}") from error


def _fault_of(kind: type[Any], said: str) -> str:
    """What the library says of a wrong field, with the field's name first and all that may stand there."""
    what, _, place = said.partition(" - at `$.")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)} if _is_struct(kind) else {}
    if place:
        name = place.rstrip("`")
        choices = get_args(fields[name].type) if name in fields and get_origin(fields[name].type) is Literal else ()
        came = what.removeprefix("Invalid enum value ")
        return f"{name}: expected one of {', '.join(choices)}, got {came}" if choices else f"{name}: {what}"
    told = "Object contains unknown field "
    if what.startswith(told):
        unknown = what.removeprefix(told).strip("`")
        return f"{shorten(unknown)}: unknown field; expected {', '.join(fields)}"
    return f"expected a JSON object: {what}"


def _is_struct(kind: type[Any]) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def live_json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer that is true now only, and so is never stored on the way."""
    return web.Response(
        body=msgspec.json.encode(data),
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )

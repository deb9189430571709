"""The files of the pages: read once, served by name, and asked for again only when they have changed."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

import jinja2
from aiohttp import hdrs, web


STATIC = Path(__file__).resolve().parent.parent / "static"

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-store",
}
"""Of a page that loads nothing but its own files and runs nothing but those."""


def page_template(name: str) -> jinja2.Template:
    """A page to be filled in; whatever is put into it is text there and never markup."""
    return jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=True).get_template(name)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the pages, in memory."""

    body: bytes
    content_type: str
    tag: str


def load_assets(folder: Path = STATIC) -> dict[str, Asset]:
    """The files that pages load, by name; a name that is not among them is not served, so no path can lead astray."""
    assets = {}
    for path in sorted(folder.iterdir()):
        content_type = mimetypes.types_map.get(path.suffix)
        if content_type is None or path.suffix == ".html":
            continue  # templates are no assets
        body = path.read_bytes()
        assets[path.name] = Asset(body, content_type, hashlib.sha256(body).hexdigest()[:32])
    return assets


def answer_with(asset: Asset | None, request: web.Request) -> web.Response:
    """The file, or that it has not changed.

    Raises:
        HTTPNotFound: there is none.
    """
    if asset is None:
        raise web.HTTPNotFound
    headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.ETAG: f'"{asset.tag}"'}
    if any(known.value in (asset.tag, "*") for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=asset.body, headers=headers | {hdrs.CONTENT_TYPE: asset.content_type})

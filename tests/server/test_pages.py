"""The page at ``/``: what it is sent with, and that its files fit together."""

from __future__ import annotations

import re
from typing import Any

import pytest

from alfred_voice.server.assets import STATIC
from alfred_voice.server.options import ServerOptions


SCRIPTS = sorted(STATIC.glob("*.js"))


async def text_of(door: Any, path: str = "/") -> str:
    async with door.client.get(path) as answer:
        assert answer.status == 200
        text: str = await answer.text()
        return text


async def test_a_person_gets_a_page_at_the_root(door: Any) -> None:
    async with door.client.get("/", allow_redirects=False) as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "<title>Alfred Voice</title>" in await answer.text()
    async with door.client.head("/") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")


async def test_the_page_loads_and_asks_nothing_but_its_own_daemon(door: Any) -> None:
    async with door.client.get("/") as answer:
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert "microphone=(self)" in answer.headers["Permissions-Policy"]
        text = await answer.text()
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not re.search(r"\s(on\w+|style)=", text), "something runs or looks inline"
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address.startswith("/"), address


async def test_every_file_of_the_page_is_there(door: Any) -> None:
    wanted = set(re.findall(r'"/static/([^"]+)"', await text_of(door)))
    assert {"talk.js", "talk.css"} <= wanted
    seen: set[str] = set()
    while wanted - seen:
        name = (wanted - seen).pop()
        seen.add(name)
        text = await text_of(door, f"/static/{name}")
        if name.endswith(".js"):
            wanted |= set(re.findall(r'from "\./([^"]+)"', text))
            wanted |= set(re.findall(r'new URL\("([^"/]+\.js)"', text))
    assert {"alfred-voice.js", "alfred-voice-worklets.js", "alfred-voice-resampler.js"} <= seen


async def test_the_script_finds_everything_that_it_looks_for(door: Any) -> None:
    text = await text_of(door)
    # Recordings are taken by a daemon that has a worker for them; this one has not.
    template = (STATIC / "talk.html").read_text()
    ids = set(re.findall(r'\bid="([^"]+)"', template))
    for script in STATIC.glob("talk*.js"):
        for name in re.findall(r'\bat\("([^"]+)"\)', script.read_text()):
            assert name in ids, f"{script.name} looks for #{name}"
    assert set(re.findall(r'\bid="([^"]+)"', text)) <= ids
    assert 'id="file"' not in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_no_script_makes_markup_of_text_or_grows_too_long(script: Any) -> None:
    text = script.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert len(text.splitlines()) < 400


async def test_the_page_says_how_large_a_recording_may_be(make_door: Any) -> None:
    door = await make_door(ServerOptions(max_recording_bytes=123_456))

    assert 'data-max-recording-bytes="123456"' in await text_of(door)

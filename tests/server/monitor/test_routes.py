"""The dashboard: its page and its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.server.assets import STATIC, load_assets
from tests.server.monitor.event_stream import events_of


SCRIPTS = sorted(path.name for path in STATIC.glob("monitor*.js"))
OUR_FILES = [*SCRIPTS, "monitor.html", "monitor.css", "favicon.svg"]
LONGEST = 400


async def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(door: Any) -> None:
    async with door.client.get("/monitor") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        page = await answer.text()

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.search(r"\son\w+\s*=", page)
    assert not re.search(r"\sstyle\s*=|<style", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    for name in OUR_FILES:
        addresses = re.findall(r"https?://[^\s\"')]+", (STATIC / name).read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, name  # a name, not a place


@pytest.mark.parametrize("name", SCRIPTS)
def test_strangers_words_reach_the_page_as_text_only(name: str) -> None:
    script = (STATIC / name).read_text("utf-8")

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|DOMParser", script)


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_is_longer_than_a_reader_can_hold(name: str) -> None:
    assert len((STATIC / name).read_text("utf-8").splitlines()) < LONGEST


async def test_every_module_that_a_script_imports_is_there(door: Any) -> None:
    for name in SCRIPTS:
        for imported in re.findall(r"""from "(\./[^"]+)";""", (STATIC / name).read_text("utf-8")):
            async with door.client.get(f"/static/{imported[2:]}") as answer:
                assert (answer.status, answer.content_type) == (200, "text/javascript"), (name, imported)


async def test_the_page_finds_every_figure_it_draws(door: Any) -> None:
    """The scripts read these names from what the real pipeline tells."""
    socket = await door.connect("?session_id=seen")
    await socket.send_str('{"type":"start"}')
    await socket.receive_str()
    async with events_of(door.client, "/monitor/feed") as events:
        now, sessions = await events.data("now"), await events.data("sessions")
    async with events_of(door.client, "/monitor/sessions/seen/feed") as events:
        status = (await events.data("hello"))["status"]
    text = "\n".join((STATIC / name).read_text("utf-8") for name in SCRIPTS)

    used = set(re.findall(r"\bnow\.(\w+)(?:\.(\w+))?", text))
    assert len(used) >= 12
    for group, name in used:
        assert group in now, group
        if isinstance(now[group], dict) and name:
            assert name in now[group], (group, name)
    for script, told in (("monitor-sessions.js", sessions["sessions"][0]), ("monitor-lane.js", status)):
        names = set(re.findall(r"\bsession\.(\w+)", (STATIC / script).read_text("utf-8")))
        assert len(names) >= 10
        assert names <= set(told)


async def test_every_file_that_the_page_names_is_there_with_its_type(door: Any) -> None:
    async with door.client.get("/monitor") as answer:
        names = re.findall(r'(?:src|href)="([^"#]+)"', await answer.text())

    types = {}
    for name in names:
        async with door.client.get(name) as answer:
            assert answer.status == 200, name
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            types[Path(name).suffix] = answer.content_type
    assert types == {".svg": "image/svg+xml", ".css": "text/css", ".js": "text/javascript"}


async def test_a_file_that_has_not_changed_is_not_sent_again(door: Any) -> None:
    async with door.client.get("/static/monitor.css") as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "no-cache"
    async with door.client.get("/static/monitor.css", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
        assert answer.headers["ETag"] == tag
    async with door.client.get("/static/monitor.css", headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


def test_only_files_of_a_known_kind_are_served(tmp_path: Path) -> None:
    for name in ("page.html", "style.css", "script.js", ".hidden", "notes", "data.unknown"):
        (tmp_path / name).write_text("x")

    assert set(load_assets(tmp_path)) == {"style.css", "script.js"}

"""The JavaScript client on pages that are not the daemon's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.support import Daemon


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page


OpenPage = Callable[..., Awaitable[Page]]
StartDaemon = Callable[..., AbstractContextManager[Daemon]]

CONNECT = """async ({ url, transport, key }) => {
  const { AlfredVoice } = await import("/static/alfred-voice.js");
  const voice = new AlfredVoice({ url, transport, key, playsSpeech: false });
  const told = await voice.connect().then((event) => event.type, (error) => error.code);
  voice.close();
  return told;
}"""


@pytest.mark.parametrize("key", [None, "a-key-that-has-enough-letters"])
@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_a_page_of_another_origin_is_told_that_it_is_refused(
    open_page: OpenPage, daemon: Daemon, start_daemon: StartDaemon, watch: Any, transport: str, key: str | None
) -> None:
    watch.expect("403|blocked by CORS policy|ERR_FAILED|WebSocket connection to")
    with start_daemon() as other:
        watch.homes.append(f"127.0.0.1:{other.port}")
        page = await open_page(bypass_csp=True)  # a page of the shared daemon stands for one of somebody else's
        assert await page.evaluate(CONNECT, {"url": other.base, "transport": transport, "key": key}) == "origin_refused"
        await page.close()


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
async def test_a_page_of_an_allowed_origin_serves_the_files_itself(
    open_page: OpenPage, daemon: Daemon, start_daemon: StartDaemon, watch: Any, transport: str
) -> None:
    with start_daemon("--set", f"security.allowed_origins={daemon.base}") as other:
        watch.homes.append(f"127.0.0.1:{other.port}")
        page = await open_page(bypass_csp=True)
        assert (
            await page.evaluate(CONNECT, {"url": other.base, "transport": transport, "key": None}) == "sessionStarted"
        )
        await page.close()

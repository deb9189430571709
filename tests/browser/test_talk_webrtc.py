"""The page and its client by WebRTC where networks and daemons do not last."""

from __future__ import annotations

import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.models.store import Store
from tests.certificates import make_certificate
from tests.end_to_end.test_access import ADMIN, daemon_with_tls
from tests.sounds import Int16, silence
from tests.support import Daemon, free_port, word_error_rate


pytest.importorskip("playwright", reason="needs the extra `browser`")

from playwright.async_api import Page, expect


OpenPage = Callable[..., Awaitable[Page]]
Microphone = Callable[..., Any]
Picture = Callable[..., Awaitable[Path]]
StartDaemon = Callable[..., AbstractContextManager[Daemon]]

ROOT = Path(__file__).parent.parent
LEAD_S = 6.0
"""Silence before the speech: what is said before the connection stands is not heard."""
GONE = "ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|409"
COUNT = "() => fetch('/sessions').then((answer) => answer.json()).then(({ sessions }) => sessions.length)"
KEEP_EVENTS = """
  window.told = [];
  window.states = [];
  window.phases = [];
  window.spoken = [];
  addEventListener("DOMContentLoaded", async () => {
    const { AlfredVoice } = await import("/static/alfred-voice.js");
    const dispatch = AlfredVoice.prototype.dispatchEvent;
    AlfredVoice.prototype.dispatchEvent = function (event) {
      if (event.type === "message") window.told.push(event.detail);
      return dispatch.call(this, event);
    };
    const link = document.getElementById("link");
    new MutationObserver(() => window.states.push(link.dataset.state)).observe(link, { attributes: true });
    const said = document.getElementById("said");
    new MutationObserver(() => window.spoken.push(said.textContent)).observe(said, { childList: true });
    const label = document.getElementById("talk-label");
    new MutationObserver(() => {
      const row = [label.textContent, document.getElementById("hint").textContent];
      row.push(document.body.hasAttribute("data-unheard"));
      window.phases.push(row);
    }).observe(label, { childList: true });
  });
"""


async def talk(page: Page) -> None:
    await page.get_by_text("WebRTC", exact=True).click()
    await page.get_by_role("button", name="Talk", exact=True).click()


async def expect_open(page: Page) -> None:
    await expect(page.locator("#link")).to_have_attribute("data-state", "open")


async def watched_page(open_page: OpenPage, **options: Any) -> Page:
    page = await open_page(None, **options)
    await page.add_init_script(KEEP_EVENTS)
    await page.goto("/")
    return page


async def test_a_connection_whose_network_goes_comes_back_by_itself_with_its_session(
    open_page: OpenPage, start_daemon: StartDaemon, microphone: Microphone, sentence: Int16, picture: Picture
) -> None:
    deaf = {"command": (str(ROOT / "deaf_daemon.py"),), "env": {"PYTHONPATH": str(ROOT.parent)}}
    said = [sentence, silence(22), sentence, silence(4)]
    with start_daemon(**deaf) as daemon:
        page = await watched_page(open_page, at=daemon, hearing=microphone(*said, lead_s=LEAD_S))
        await talk(page)
        await expect(page.locator("#transcript .heard").first).to_contain_text("worst of times")
        daemon.process.send_signal(signal.SIGUSR1)

        await expect(page.locator("#link")).to_have_attribute("data-state", "reconnecting")
        await expect(page.locator("#hint")).to_contain_text("not heard until it is back")
        await picture(page, "talk-WebRTC-coming-back")
        await expect_open(page)
        missing = page.locator("#transcript .heading", has_text="s of what you said are missing")
        await expect(missing).to_be_visible()
        before = await page.locator("#transcript .heard").count()
        await expect(page.locator("#transcript .heard").nth(before)).to_contain_text("worst of times")
        await picture(page, "talk-WebRTC-back")

        told: list[dict[str, Any]] = await page.evaluate("told")
        assert len({event["session_id"] for event in told}) == 1
        assert [event["seq"] for event in told] == list(range(len(told))), "told twice, or not at all"
        assert sum(event["type"] == "sessionResumed" for event in told) == 1
        states: list[str] = await page.evaluate("states")
        assert states == ["connecting", "open", "reconnecting", "open"]
        await page.close()


async def test_a_daemon_that_was_started_anew_gets_a_new_session_and_the_page_says_so(
    open_page: OpenPage, start_daemon: StartDaemon, microphone: Microphone, sentence: Int16, watch: Any
) -> None:
    watch.expect(GONE)
    port = free_port()
    said = [sentence, silence(30), sentence, silence(4)]
    with start_daemon(port=port) as daemon:
        page = await watched_page(open_page, at=daemon, hearing=microphone(*said, lead_s=LEAD_S))
        await talk(page)
        await expect(page.locator("#transcript .heard").first).to_contain_text("worst of times")
        daemon.process.kill()
        daemon.process.wait()
        daemon.process.returncode = 0  # it was meant to die
    await expect(page.locator("#link")).to_have_attribute("data-state", "reconnecting")
    with start_daemon(port=port):
        await expect_open(page)
        await expect(page.locator("#transcript .heading", has_text="a new one goes on from here")).to_be_visible()
        before = await page.locator("#transcript .heard").count()
        await expect(page.locator("#transcript .heard").nth(before)).to_contain_text("worst of times", timeout=40_000)
        told: list[dict[str, Any]] = await page.evaluate("told")
        assert sum(event["type"] == "sessionStarted" for event in told) == 2
        await page.close()


async def test_a_page_that_is_closed_leaves_no_session_behind(open_page: OpenPage, start_daemon: StartDaemon) -> None:
    with start_daemon() as daemon:
        look = await open_page("/", at=daemon)
        page = await open_page(at=daemon)
        await talk(page)
        await expect_open(page)
        assert await look.evaluate(COUNT) == 1
        await page.close(run_before_unload=False)
        await look.wait_for_function(f"({COUNT})().then((count) => count === 0)")
        await look.close()


async def test_the_page_shows_and_says_that_nothing_is_heard_before_the_connection_stands(
    open_page: OpenPage, picture: Picture, axe: Any
) -> None:
    page = await watched_page(open_page)
    held: list[Any] = []

    async def hold(route: Any) -> None:
        held.append(route)

    await page.route("**/webrtc/offer", hold)
    await talk(page)
    button = page.locator("#talk")
    await expect(button).to_have_attribute("aria-busy", "true")
    await expect(page.locator("#hint")).to_contain_text("what you say now is not heard yet")
    await expect(button).to_contain_text("Connecting")
    await expect(page.locator("#said")).to_contain_text("not heard yet")
    await expect(page.locator("body[data-unheard]")).to_have_count(1)
    await axe(page)
    await picture(page, "talk-WebRTC-connecting")
    await held[0].continue_()

    await expect_open(page)
    await expect(button).to_have_attribute("aria-busy", "false")
    await expect(button).to_contain_text("Stop")
    await expect(page.locator("#said")).to_contain_text(re.compile("^Listening"))
    await expect(page.locator("body[data-unheard]")).to_have_count(0)


async def test_by_websocket_one_may_begin_at_once(open_page: OpenPage) -> None:
    page = await watched_page(open_page)
    await page.get_by_role("button", name="Talk", exact=True).click()
    await expect_open(page)
    rows: list[list[Any]] = await page.evaluate("phases")
    assert rows[0][0] == "Connecting…"
    assert not any(is_unheard for _, _, is_unheard in rows)


HIDING = "--disable-features=Translate"
"""Stands for the browser's own settings: it hides this machine's addresses until a page may use the microphone."""


async def say(page: Page, text: str) -> None:
    await page.get_by_label("A sentence for Alfred to say").fill(text)
    await page.get_by_role("button", name="Speak", exact=True).click()


async def test_who_only_listens_is_served_though_the_browser_hides_its_addresses(
    open_page: OpenPage, daemon: Daemon
) -> None:
    page = await open_page(microphone="deny", switches=(HIDING,))
    offers: list[str] = []
    page.on("request", lambda request: offers.append(request.post_data or "") if "webrtc" in request.url else None)
    await page.get_by_text("WebRTC", exact=True).click()
    await say(page, "Good morning. Tea is served.")

    await expect(page.locator("#transcript .said .note")).to_have_text(re.compile(r"^[1-9]\.\d s$"))
    await expect(page.locator("#link")).to_have_text("connected by WebRTC")
    assert ".local" in offers[0], "the browser hid nothing, so that this has shown nothing"
    await page.close()


async def test_a_page_that_may_only_receive_hears_the_daemon(open_page: OpenPage) -> None:
    page = await open_page(microphone="deny", switches=(HIDING,))
    heard = await page.evaluate(
        """async () => {
          const peer = new RTCPeerConnection({ iceServers: [] });
          peer.addTransceiver("audio", { direction: "recvonly" });
          const player = new Audio();
          peer.ontrack = ({ track }) => {
            player.srcObject = new MediaStream([track]);
            player.play();
          };
          const channel = peer.createDataChannel("alfred");
          const told = [];
          const ended = new Promise((resolve) => {
            channel.onmessage = ({ data }) => {
              const event = JSON.parse(data);
              told.push(event.type);
              const wish = JSON.stringify({ type: "speak", text: "Good morning." });
              if (event.type === "sessionStarted") channel.send(wish);
              if (event.type === "ttsEnd") resolve();
            };
          });
          await peer.setLocalDescription();
          const body = JSON.stringify({ sdp: peer.localDescription.sdp });
          const headers = { "Content-Type": "application/json" };
          const answer = await (await fetch("/webrtc/offer", { method: "POST", headers, body })).json();
          await peer.setRemoteDescription(answer);
          await ended;
          let energy = 0;
          for (const report of (await peer.getStats()).values()) energy += report.totalAudioEnergy ?? 0;
          peer.close();
          return { told, energy };
        }"""
    )
    assert "ttsStart" in heard["told"]
    assert heard["energy"] > 0
    await page.close()


async def test_by_https_and_with_a_key_words_are_heard_by_webrtc(
    open_page: OpenPage, models: Store, tmp_path: Path, microphone: Microphone, sentence: Int16, sentence_text: str
) -> None:
    cert, key = make_certificate(tmp_path)
    settings = ("--set", f"security.tls_cert={cert}", "--set", f"security.tls_key={key}")
    with daemon_with_tls(tmp_path, cert, *settings) as (process, port, log):
        page = await open_page(
            at=Daemon(port, process, log),
            hearing=microphone(silence(6), sentence, silence(3)),
            base_url=f"https://127.0.0.1:{port}",
            ignore_https_errors=True,
        )
        await page.get_by_label("Key", exact=True).fill(ADMIN)
        await page.get_by_role("button", name="Sign in").click()
        await talk(page)
        await expect_open(page)
        await expect(page.locator("#link")).to_have_text("connected by WebRTC")
        await expect(page.locator("#transcript .heard").first).to_be_visible()
        heard = " ".join(await page.locator("#transcript .heard .words").all_text_contents())
        assert word_error_rate(sentence_text, heard) <= 0.2
        await page.close()


async def test_a_key_that_is_missing_is_asked_for_by_webrtc_as_well(
    open_page: OpenPage, start_daemon: StartDaemon, watch: Any
) -> None:
    watch.expect("401")
    with start_daemon(env={"ALFRED_API_KEYS": "me:a-key-that-has-enough-letters"}) as daemon:
        page = await open_page(at=daemon)
        await talk(page)
        await expect(page.get_by_role("alert")).to_have_attribute("data-code", "key_needed")
        await expect(page.get_by_label("Key", exact=True)).to_be_focused()
        await page.close()


async def test_at_an_address_that_is_not_secure_webrtc_says_so_and_still_speaks(
    open_page: OpenPage, start_daemon: StartDaemon, watch: Any
) -> None:
    watch.expect("Cross-Origin-Opener-Policy header has been ignored")
    with start_daemon("--set", "security.allowed_hosts=voice.example") as daemon:
        page = await open_page(at=daemon, host="voice.example")
        await talk(page)
        await expect(page.get_by_role("alert")).to_have_attribute("data-code", "insecure_context")
        await say(page, "Good morning. Tea is served.")
        await expect(page.locator("#transcript .said .note")).to_have_text(re.compile(r"^[1-9]\.\d s$"))
        await page.close()

"""A real Chromium before a real daemon: pages that are watched, a microphone that plays what a test wants said.

Every test here is asynchronous and shares one event loop, in which the browser lives.
"""

from __future__ import annotations

import os
import re
import shutil
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soxr

from alfred_voice.models.store import Store
from tests.sounds import SAMPLE_RATE, Int16, silence
from tests.support import Daemon, running_daemon, wait_until_calm


try:
    from axe_playwright_python.async_playwright import Axe
    from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, async_playwright, expect
except ImportError as error:  # the extra `browser` is not installed
    _MISSING: str | None = f"needs the extra `browser` (pip install -e .[browser]): {error}"
else:
    _MISSING = None


StartDaemon = Callable[..., AbstractContextManager[Daemon]]
OpenPage = Callable[..., Awaitable["Page"]]

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    "--headless=new",  # the old headless mode has no microphone
    "--no-sandbox",  # containers give root no namespaces of its own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
FAKE_DEVICE = "--use-fake-device-for-media-stream"
ALLOW_MICROPHONE = "--use-fake-ui-for-media-stream"
"""Answers the question for the microphone with yes."""
MICROPHONE_RATE = 48_000
LEAD_S = 1.0
"""Silence before what a microphone plays: the device is open before the page listens to it."""
PATIENCE_MS = 20_000.0
"""How long a page may take for one thing that a test waits for."""
WIDE = (1280, 900)
SERIOUS = ("serious", "critical")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies here needs a browser and real models, and the event loop that the browser lives in."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.models)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def find_chromium() -> str | None:
    """The browser's program: the one that ``ALFRED_VOICE_CHROMIUM`` names, or the first known one on the path."""
    named = os.environ.get("ALFRED_VOICE_CHROMIUM")
    return named or next((found for name in PROGRAMS if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; without one the test is left out."""
    if _MISSING is not None:
        pytest.skip(_MISSING)
    program = find_chromium()
    if program is None:
        pytest.skip(f"needs {', '.join(PROGRAMS)} on the PATH, or ALFRED_VOICE_CHROMIUM; scripts/test-browser helps")
    return program


@pytest.fixture(scope="session")
def daemon(chromium: str, models: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with its default settings, shared by all tests."""
    with running_daemon(tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.fixture
def start_daemon(chromium: str, models: Store, tmp_path: Path) -> StartDaemon:
    """Starts a daemon of the test's own, with further arguments of ``serve``."""

    def start(*arguments: str, **options: Any) -> AbstractContextManager[Daemon]:
        return running_daemon(tmp_path, *arguments, **options)

    return start


@pytest.fixture(autouse=True)
def calm_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    """What one test loads the shared daemon with is not to be felt by the next."""
    yield
    if "daemon" in request.fixturenames:
        wait_until_calm(request.getfixturevalue("daemon"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def playwright(chromium: str) -> AsyncIterator[Playwright]:
    """What drives browsers."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(playwright: Playwright, chromium: str) -> AsyncIterator[Browser]:
    """One Chromium for all pages that need no words from the microphone: there it beeps."""
    running = await playwright.chromium.launch(
        executable_path=chromium, args=[*SWITCHES, FAKE_DEVICE, ALLOW_MICROPHONE]
    )
    yield running
    await running.close()


@dataclass(eq=False)
class Watch:
    """What went wrong on a test's pages: a complaint in the console, an exception, a request to somewhere else."""

    faults: list[str] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)
    """Where requests may go: ``127.0.0.1:8015``."""
    _expected: list[re.Pattern[str]] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Complaints that this regular expression finds belong to the test."""
        self._expected.append(re.compile(pattern))

    def add(self, page: Page) -> None:
        """Look at a page from now on."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        page.on("request", lambda request: self._on_address(request.url))
        page.on("websocket", lambda socket: self._on_address(socket.url))

    def check(self) -> None:
        """Fail when there was anything that the test did not expect."""
        unexpected = [fault for fault in self.faults if not any(known.search(fault) for known in self._expected)]
        assert not unexpected, "on the page: " + "\n".join(unexpected)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            place = message.location.get("url", "")
            self.faults.append(f"console {message.type}: {message.text} ({place})")

    def _on_address(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        is_inside = url.startswith(("data:", "blob:", "about:"))
        is_home = scheme in ("http", "https", "ws", "wss") and rest.split("/")[0] in self.homes
        if not is_inside and not is_home:
            self.faults.append(f"a request to somewhere else: {url}")


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test afterwards when its pages complained, raised or asked anybody but the daemon."""
    watching = Watch()
    yield watching
    watching.check()


@pytest.fixture
def microphone(tmp_path: Path) -> Callable[..., Path]:
    """Writes what a microphone is to play: 16 kHz samples to a WAV of 48 kHz, after a second of silence."""

    def write(*parts: Int16, lead_s: float = LEAD_S) -> Path:
        samples = np.concatenate([silence(lead_s), *parts]).astype(np.float64)
        fine = soxr.resample(samples, SAMPLE_RATE, MICROPHONE_RATE)
        path = tmp_path / "microphone.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(MICROPHONE_RATE)
            file.writeframes(np.clip(np.round(fine), -32768, 32767).astype("<i2").tobytes())
        return path

    return write


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(
    playwright: Playwright, chromium: str, browser: Browser, daemon: Daemon, watch: Watch
) -> AsyncIterator[OpenPage]:
    """Opens watched pages, each in a context of its own: ``await open_page("/monitor", size=(390, 844), ...)``.

    Args of what it yields:
        path: where to go; None to go nowhere yet.
        at: the daemon; the shared one unless given.
        hearing: a WAV that the microphone plays, once; needs a browser of its own.
        microphone: ``allow``, ``deny``, or ``none`` where the machine has none.
        host: the name in the address; leads to the daemon whatever it is.
        port: another one than the daemon's, such as that of a wire to it.
        size: the viewport's width and height.
        switches: further ones of the browser, which then is one of its own.
        others go to ``Browser.new_context``, such as ``color_scheme``.
    """
    async with AsyncExitStack() as stack:

        async def launch(*switches: str) -> Browser:
            running = await playwright.chromium.launch(executable_path=chromium, args=[*SWITCHES, *switches])
            stack.push_async_callback(running.close)
            return running

        async def choose(hearing: Path | None, access: str, switches: tuple[str, ...]) -> Browser:
            answer = [] if access == "none" else [FAKE_DEVICE]
            answer += [ALLOW_MICROPHONE] if access == "allow" else []
            if hearing is not None:
                return await launch(*answer, f"--use-file-for-fake-audio-capture={hearing}%noloop", *switches)
            if switches or access != "allow":
                return await launch(*answer, *switches)
            return browser

        async def open_one(
            path: str | None = "/",
            *,
            at: Daemon | None = None,
            hearing: Path | None = None,
            microphone: str = "allow",
            host: str = "127.0.0.1",
            port: int | None = None,
            size: tuple[int, int] = WIDE,
            switches: tuple[str, ...] = (),
            **options: Any,
        ) -> Page:
            target = at or daemon
            home = f"{host}:{port or target.port}"
            watch.homes.append(home)
            if host != "127.0.0.1":
                switches = (*switches, f"--host-resolver-rules=MAP {host} 127.0.0.1")
            running = await choose(hearing, microphone, switches)
            viewport = {"width": size[0], "height": size[1]}
            context = await running.new_context(**{"base_url": f"http://{home}", "viewport": viewport, **options})
            stack.push_async_callback(context.close)
            if microphone == "allow" and host == "127.0.0.1":  # other names are not secure
                await context.grant_permissions(["microphone"], origin=f"http://{home}")
            page = await context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            watch.add(page)
            if path is not None:
                await page.goto(path)
            return page

        yield open_one


@pytest_asyncio.fixture(loop_scope="session")
async def page(open_page: OpenPage) -> Page:
    """An empty watched page before the shared daemon."""
    return await open_page(None)


@pytest.fixture
def axe() -> Callable[[Page], Awaitable[None]]:
    """Fails when axe-core finds something serious. It is put in by the debugger: the page's policy stays as it is."""

    async def check(page: Page) -> None:
        results = await Axe().run(page)
        serious = [found for found in results.response["violations"] if found["impact"] in SERIOUS]
        assert not serious, "\n".join(
            f"{found['id']}: {found['help']}: {[node['target'] for node in found['nodes']]}" for found in serious
        )

    return check


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[Page, str], Awaitable[Path]]:
    """Keeps what a page looks like: into the folder that ``ALFRED_VOICE_PICTURES`` names, or the test's own."""
    folder = Path(os.environ.get("ALFRED_VOICE_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    async def take(page: Page, name: str, *, whole: bool = True) -> Path:
        path = folder / f"{name}.png"
        await page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    return take

"""Sources of models that need no network: a web server with faults on demand, and a folder of tiny wheels."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from alfred_voice.models.catalog import Address, Member, Model, ModelFile, Package, Source
from tests.models.openai_server import Asked, OpenAiServer, Reply


class Web:
    """A web server of files, which can be told to misbehave."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        """Path and Range header of every request so far."""
        self.break_after: int | None = None
        """Bytes of each answer after which the connection is cut."""
        self.knows_ranges = True
        self.gate = threading.Event()
        """Answers wait for it."""
        self.asked = threading.Event()
        """Set by the first request."""
        self.gate.set()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self)

            def do_HEAD(self) -> None:
                web.describe(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                """Not on the console of the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def describe(self, handler: BaseHTTPRequestHandler) -> None:
        content = self.files.get(handler.path.lstrip("/"))
        if content is None:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        self.requests.append((handler.path.lstrip("/"), wanted))
        self.asked.set()
        self.gate.wait(30)
        content = self.files.get(handler.path.lstrip("/"))
        if content is None:
            handler.send_error(404)
            return
        begin = 0
        if wanted and self.knows_ranges:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match
            begin = int(match[1])
            if begin >= len(content):
                handler.send_error(416)
                return
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        handler.wfile.write(content[begin:][: self.break_after])

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on this machine."""
    server = Web()
    yield server
    server.close()


class Wheelhouse:
    """A folder of wheels that pip is told to take for the whole world."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, package: Package, members: Mapping[str, bytes]) -> Path:
        name = f"{package.name.replace('-', '_')}-{package.version}"
        tag = f"py3-none-{package.platform or 'any'}"
        path = self.folder / f"{name}-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            for member, content in members.items():
                wheel.writestr(member, content)
            wheel.writestr(
                f"{name}.dist-info/METADATA",
                f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n",
            )
            wheel.writestr(
                f"{name}.dist-info/WHEEL", f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n"
            )
            wheel.writestr(f"{name}.dist-info/RECORD", "")
        return path


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheelhouse:
    """An empty folder, the only one that pip looks into."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Wheelhouse(folder)


class Watcher:
    """Progress that remembers everything."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, int, int]] = []
        self.notes: list[str] = []

    def update(self, item: str, done: int, total: int) -> None:
        self.updates.append((item, done, total))

    def note(self, message: str) -> None:
        self.notes.append(message)

    def completed(self) -> list[str]:
        """Items in the order in which they became complete."""
        return [item for item, done, total in self.updates if done == total]


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


class Maker:
    """Makes catalogue entries that are true of given contents."""

    def file(self, name: str, content: bytes, *sources: Source) -> ModelFile:
        return ModelFile(name, len(content), hashlib.sha256(content).hexdigest(), sources)

    def model(self, model_id: str, *files: ModelFile, is_default: bool = True) -> Model:
        return Model(model_id, "1", "A model", "MIT", 1, files, is_default)

    def on_web(self, web: Web, model_id: str, contents: Mapping[str, bytes]) -> Model:
        """A model whose files the web server offers."""
        for name, content in contents.items():
            web.files[f"{model_id}/{name}"] = content
        files = [self.file(name, content, Address(web.url(f"{model_id}/{name}"))) for name, content in contents.items()]
        return self.model(model_id, *files)

    def in_package(self, package: Package, model_id: str, contents: Mapping[str, bytes]) -> Model:
        """A model whose files lie in a package, in the folder ``data``."""
        files = [self.file(name, content, Member(package, f"data/{name}")) for name, content in contents.items()]
        return self.model(model_id, *files)


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OpenAiServer]]:
    """Starts servers that speak OpenAI's protocol by a script; no proxy stands in between, and no key is set."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ALFRED_OPENAI_API_KEY", raising=False)
    servers: list[OpenAiServer] = []

    def start(*script: Reply | Callable[[Asked], Reply]) -> OpenAiServer:
        servers.append(OpenAiServer(*script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "folder of models"

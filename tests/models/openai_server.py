"""A server that speaks OpenAI's protocol on this machine, and misbehaves when it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server does with one request."""

    body: Any = b""
    """Bytes as they are, anything else as JSON."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    """How long it waits before it says anything."""
    hangs: bool = False
    """It says nothing until the server is closed."""
    missing: int = 0
    """Bytes that are announced and never sent."""
    drip_s: float = 0.0
    """The pause before each byte of the body."""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(slots=True)
class Asked:
    """One request that came."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    connection: int
    """The client's port: the same for requests on one connection."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, list[bytes]]:
        """The fields of a multipart form."""
        message = message_from_bytes(
            b"Content-Type: " + self.headers["content-type"].encode() + b"\r\n\r\n" + self.body
        )
        fields: dict[str, list[bytes]] = {}
        for part in message.walk():
            if not part.is_multipart():
                name = part.get_param("name", header="content-disposition")
                content = part.get_payload(decode=True)
                assert isinstance(content, bytes)
                fields.setdefault(str(name), []).append(content)
        return fields


class OpenAiServer:
    """Answers by a script: a reply for each request, the last one again and again; or what a function says."""

    def __init__(self, *script: Reply | Callable[[Asked], Reply]) -> None:
        self.script = list(script)
        self.requests: list[Asked] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
                """Not on the console of the tests."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is no error here."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.requests]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.path, headers, body, handler.client_address[1])
        with self._lock:
            self.requests.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        try:
            self._send(handler, step if isinstance(step, Reply) else step(asked))
        finally:
            with self._lock:
                self._at_once -= 1

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.hangs:
            self._over.wait(30)
            handler.close_connection = True
            return
        self._over.wait(reply.after_s)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.content) + reply.missing))
        handler.end_headers()
        handler.close_connection = bool(reply.missing)
        if not reply.drip_s:
            handler.wfile.write(reply.content)
            return
        for byte in reply.content:
            time.sleep(reply.drip_s)
            handler.wfile.write(bytes([byte]))

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

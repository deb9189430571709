"""Questions over real connections to a server that is slow, broken, rude or gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from alfred_voice.clock import Clock, ManualClock, SystemClock
from alfred_voice.errors import ConfigError, EngineFailure
from alfred_voice.models.openai_transport import MOST_ANSWER_BYTES, OpenAiTransport, Refused, Remote
from tests.models.openai_server import OpenAiServer, Reply
from tests.support import free_port


KEY = "sk-very-secret-0123456789"
OK = Reply({"text": "hello"})
BUSY = Reply({"error": {"message": "overloaded"}}, 503)

Serve = Callable[..., OpenAiServer]
Connect = Callable[..., OpenAiTransport]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def connect() -> Iterator[Connect]:
    transports: list[OpenAiTransport] = []

    def build(url: str, clock: Clock | None = None, **limits: Any) -> OpenAiTransport:
        given: dict[str, Any] = {"api_key": KEY, "timeout_s": 5.0}
        remote = Remote(url, **(given | limits))
        transports.append(OpenAiTransport(remote, clock or ManualClock(), lambda: 0.5))
        return transports[-1]

    yield build
    for transport in transports:
        transport.close()


def ask(transport: OpenAiTransport, **limits: Any) -> bytes:
    return transport.post("audio/transcriptions", {"json": {"a": "b"}}, bytes, **limits)


def test_a_question_and_its_answer(serve: Serve, connect: Connect) -> None:
    server = serve(OK)
    assert ask(connect(server.url)) == b'{"text": "hello"}'
    (asked,) = server.requests
    assert asked.path == "/v1/audio/transcriptions"
    assert asked.json == {"a": "b"}
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["user-agent"].startswith("alfred-voice/")


def test_without_a_key_none_is_sent(serve: Serve, connect: Connect) -> None:
    server = serve(OK)
    ask(connect(server.url, api_key=""))
    assert "authorization" not in server.requests[0].headers


def test_an_address_may_end_with_a_slash(serve: Serve, connect: Connect) -> None:
    server = serve(OK)
    ask(connect(server.url + "/"))
    assert server.paths == ["/v1/audio/transcriptions"]


def test_one_connection_serves_many_questions(serve: Serve, connect: Connect) -> None:
    server = serve(OK)
    transport = connect(server.url)
    for _ in range(3):
        ask(transport)
    assert len({asked.connection for asked in server.requests}) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(serve: Serve, connect: Connect, status: int) -> None:
    server = serve(Reply(b"", status), Reply(b"", status), OK)
    clock = ManualClock()
    assert ask(connect(server.url, clock)) == OK.content
    assert len(server.requests) == 3
    assert clock.now() == 0.25 + 0.5


def test_the_server_says_when_to_come_back(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(b"", 429, {"Retry-After": "2"}), OK)
    clock = ManualClock()
    ask(connect(server.url, clock))
    assert clock.now() == 2.25


def test_nobody_waits_longer_than_the_question_may_take(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(b"", 429, {"Retry-After": "60"}), OK)
    clock = ManualClock()
    with pytest.raises(EngineFailure, match=r"answered 429$"):
        ask(connect(server.url, clock))
    assert clock.now() == 0
    assert len(server.requests) == 1


def test_attempts_come_to_an_end(serve: Serve, connect: Connect) -> None:
    server = serve(BUSY)
    with pytest.raises(EngineFailure, match=r"answered 503: overloaded \(3 attempts\)"):
        ask(connect(server.url))
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_refusal_is_not_asked_again(serve: Serve, connect: Connect, status: int) -> None:
    server = serve(Reply({"error": {"message": "no such thing"}}, status))
    with pytest.raises(Refused, match=f"^{server.url}: answered {status}: no such thing$") as caught:
        ask(connect(server.url))
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_who_has_no_key_is_told_so(serve: Serve, connect: Connect) -> None:
    with pytest.raises(Refused, match=r"answered 401.*no key was sent.*api_key_env"):
        ask(connect(serve(Reply(b"", 401)).url, api_key=""))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(serve: Serve, connect: Connect, status: int) -> None:
    elsewhere = serve(OK)
    server = serve(Reply(b"", status, {"Location": elsewhere.url}))
    with pytest.raises(Refused, match=rf"answered {status}: it points to 127\.0\.0\.1.*set base_url"):
        ask(connect(server.url))
    assert elsewhere.requests == []


def test_a_refused_connection_is_tried_again_and_told(connect: Connect) -> None:
    clock = ManualClock()
    with pytest.raises(EngineFailure, match=r"no connection: .*\(3 attempts\)"):
        ask(connect(f"http://127.0.0.1:{free_port()}/v1", clock))
    assert clock.now() == 0.75


def test_a_connection_that_breaks_in_the_middle_is_tried_again(serve: Serve, connect: Connect) -> None:
    server = serve(Reply({"text": "hel"}, missing=10), OK)
    assert ask(connect(server.url)) == OK.content
    with pytest.raises(EngineFailure, match="the connection broke off"):
        ask(connect(serve(Reply({"text": "hel"}, missing=10)).url, max_retries=0))


def test_a_connection_that_closes_without_a_word_is_tried_again(serve: Serve, connect: Connect) -> None:
    def close(self: OpenAiServer, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    class Mute(OpenAiServer):
        answer = close

    server = Mute(OK)
    try:
        with pytest.raises(EngineFailure, match=r"the connection broke off: .*\(3 attempts\)"):
            ask(connect(server.url))
    finally:
        server.close()


@pytest.mark.parametrize("reply", [Reply(hangs=True), Reply(b"x" * 50, drip_s=0.05)], ids=["hangs", "drips"])
def test_an_answer_that_does_not_come_is_not_waited_for(serve: Serve, connect: Connect, reply: Reply) -> None:
    server = serve(reply)
    started = time.monotonic()
    with pytest.raises(EngineFailure, match=r"no answer in time|did not end in time"):
        ask(connect(server.url, SystemClock(), timeout_s=0.3))
    assert time.monotonic() - started < 1.5
    assert len(server.requests) == 1


def test_a_slow_answer_is_waited_for(serve: Serve, connect: Connect) -> None:
    assert ask(connect(serve(Reply(OK.body, after_s=0.3)).url, SystemClock())) == OK.content


def test_a_question_may_have_less_time_than_the_server(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(hangs=True))
    transport = connect(server.url, SystemClock(), timeout_s=60.0)
    started = time.monotonic()
    with pytest.raises(EngineFailure, match="no answer in time"):
        ask(transport, within_s=0.2)
    with pytest.raises(EngineFailure, match="no time is left"):
        ask(transport, within_s=0.0)
    assert time.monotonic() - started < 1.5


def test_a_huge_answer_is_not_read_to_its_end(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(b"x" * (MOST_ANSWER_BYTES + 1)))
    with pytest.raises(EngineFailure, match=f"at most {MOST_ANSWER_BYTES} bytes"):
        ask(connect(server.url))
    assert len(server.requests) == 1


def test_a_huge_error_is_an_error(serve: Serve, connect: Connect) -> None:
    with pytest.raises(Refused, match=r"answered 400$"):
        ask(connect(serve(Reply(b"x" * 10_000_000, 400)).url))


def test_a_packed_answer_is_not_unpacked(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(EngineFailure, match="not packed, got gzip"):
        ask(connect(server.url))
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_an_answer_that_cannot_be_read_is_not_asked_for_again(serve: Serve, connect: Connect) -> None:
    def refuse(body: bytes) -> None:
        raise EngineFailure("nonsense")

    server = serve(OK)
    with pytest.raises(EngineFailure, match=f"^{server.url}: nonsense$"):
        connect(server.url).post("x", {"json": {}}, refuse)
    assert len(server.requests) == 1


class TestBreaker:
    def test_a_server_that_fails_is_left_alone_and_tried_again(
        self, serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve(Reply(b"", 500), Reply(b"", 500), Reply(b"", 500), OK)
        clock = ManualClock()
        transport = connect(server.url, clock, max_retries=0, breaker_failures=2, breaker_reset_s=15.0)
        for _ in range(2):
            with pytest.raises(EngineFailure, match="answered 500"):
                ask(transport)
        with pytest.raises(EngineFailure, match=r"left alone for 15\.0 s more.*the last time: answered 500"):
            ask(transport)
        assert len(server.requests) == 2
        clock.advance(15)
        with pytest.raises(EngineFailure, match=": answered 500"):
            ask(transport)
        with pytest.raises(EngineFailure, match="left alone"):
            ask(transport)
        clock.advance(15)
        for _ in range(3):
            assert ask(transport) == OK.content
        assert len(server.requests) == 6
        # Once each: when it was left alone, and when it was back.
        told = [record for record in caplog.records if record.getMessage().startswith("server_")]
        assert [record.getMessage() for record in told] == ["server_left_alone", "server_is_back"]
        assert "answered 500" in told[0].__dict__["error"]

    def test_answers_that_cannot_be_read_count(self, serve: Serve, connect: Connect) -> None:
        def refuse(body: bytes) -> None:
            raise EngineFailure("nonsense")

        server = serve(OK)
        transport = connect(server.url, breaker_failures=1)
        with pytest.raises(EngineFailure, match="nonsense"):
            transport.post("x", {"json": {}}, refuse)
        with pytest.raises(EngineFailure, match="left alone"):
            ask(transport)

    @pytest.mark.parametrize(("status", "is_left_alone"), [(400, False), (404, False), (401, True), (403, True)])
    def test_of_refusals_only_those_of_the_key_count(
        self, serve: Serve, connect: Connect, status: int, is_left_alone: bool
    ) -> None:
        server = serve(Reply(b"", status))
        transport = connect(server.url, breaker_failures=1)
        for _ in range(3):
            with pytest.raises(EngineFailure):
                ask(transport)
        assert len(server.requests) == (1 if is_left_alone else 3)

    def test_a_mistake_of_ours_says_nothing_about_the_server(self, serve: Serve, connect: Connect) -> None:
        def stumble(body: bytes) -> None:
            raise KeyError("ours")

        server = serve(Reply(b"", 500), OK)
        clock = ManualClock()
        transport = connect(server.url, clock, max_retries=0, breaker_failures=1)
        with pytest.raises(EngineFailure):
            ask(transport)
        clock.advance(15)
        with pytest.raises(KeyError):
            transport.post("x", {"json": {}}, stumble)
        assert ask(transport) == OK.content


class TestKey:
    """The key goes to the server and nowhere else."""

    @pytest.mark.parametrize(
        "reply",
        [
            Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401),
            Reply({"error": {"message": "x" * 190 + KEY}}, 400),
            Reply({"error": KEY}, 503),
            Reply(b"", 302, {"Location": f"http://{KEY}/"}),
            Reply(b"", headers={"Content-Encoding": KEY}),
        ],
    )
    def test_no_message_and_no_log_shows_it(
        self, serve: Serve, connect: Connect, reply: Reply, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        transport = connect(serve(reply).url, breaker_failures=1)
        for _ in range(2):
            with pytest.raises(EngineFailure) as caught:
                ask(transport)
            assert KEY[:12] not in repr(caught.value)
        assert caplog.records
        assert all(KEY not in str(vars(record)) for record in caplog.records)

    def test_the_libraries_do_not_log_it_even_in_detail(
        self, serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        ask(connect(serve(OK).url))
        assert any(record.name.startswith("httpcore") for record in caplog.records)
        assert all(KEY not in str(vars(record)) + record.getMessage() for record in caplog.records)

    def test_no_representation_shows_it(self, connect: Connect) -> None:
        remote = Remote("https://example.org/v1", KEY)
        assert KEY not in repr(remote)
        transport = connect("https://example.org/v1")
        assert repr(transport) == "<OpenAiTransport https://example.org/v1 closed>"

    def test_a_key_that_cannot_be_sent_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="api_key: expected") as caught:
            Remote("https://example.org/v1", KEY + "\r\nX: y")
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "is_told"),
        [
            ("http://example.org/v1", True),
            ("https://example.org/v1", False),
            ("http://127.0.0.1/v1", False),
            ("http://[::1]/v1", False),
        ],
    )
    def test_the_log_tells_when_everyone_can_read_it(
        self, connect: Connect, caplog: pytest.LogCaptureFixture, url: str, is_told: bool
    ) -> None:
        connect(url)
        assert ("key_sent_in_clear" in caplog.text) is is_told


def test_closing_ends_what_waits_for_an_answer(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(hangs=True))
    transport = connect(server.url, SystemClock(), timeout_s=20.0)
    failures: list[Exception] = []

    def wait() -> None:
        try:
            ask(transport)
        except EngineFailure as failure:
            failures.append(failure)

    thread = threading.Thread(target=wait)
    thread.start()
    while not server.requests:
        time.sleep(0.01)
    started = time.monotonic()
    transport.close()
    thread.join(5)
    assert time.monotonic() - started < 2
    assert len(failures) == 1
    with pytest.raises(EngineFailure, match="closed"):
        ask(transport)


def test_closing_ends_the_wait_for_another_attempt(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(b"", 503, {"Retry-After": "15"}))
    transport = connect(server.url, SystemClock(), timeout_s=20.0)
    closing = threading.Timer(0.2, transport.close)
    closing.start()
    started = time.monotonic()
    with pytest.raises(EngineFailure, match="closed"):
        ask(transport)
    assert time.monotonic() - started < 2
    closing.join()

"""A language model behind an address: what it is asked, and what is learnt from its refusals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from alfred_voice.clock import Clock, ManualClock, SystemClock
from alfred_voice.errors import EngineFailure
from alfred_voice.models.chat import ChatClient, Message
from alfred_voice.models.openai_transport import Remote
from tests.models.openai_server import Asked, OpenAiServer, Reply


KEY = "sk-very-secret-0123456789"
SCHEMA = {"type": "object"}
HELLO = [Message("system", "Be kind."), Message("user", "Hello!")]

Serve = Callable[..., OpenAiServer]
Connect = Callable[..., ChatClient]


def said(text: str | None, finish_reason: str = "stop") -> Reply:
    return Reply({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}]})


def refused(message: str = "not supported", status: int = 400) -> Reply:
    return Reply({"error": {"message": message}}, status)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[ChatClient] = []

    def connect(server: OpenAiServer, clock: Clock | None = None, **limits: Any) -> ChatClient:
        remote = Remote(server.url, KEY, **({"timeout_s": 5.0, "max_retries": 0} | limits))
        clients.append(ChatClient(remote, "llama", clock or ManualClock()))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def shapes(server: OpenAiServer) -> list[str | None]:
    """How the shape of the answer was asked for, in each request."""
    return [asked.json.get("response_format", {}).get("type") for asked in server.requests]


def test_a_conversation_goes_out_and_a_text_comes_back(serve: Serve, connect: Connect) -> None:
    server = serve(said(" Good morning. "))
    assert connect(server).complete(HELLO, max_tokens=50, temperature=0.5) == "Good morning."
    (asked,) = server.requests
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.json == {
        "model": "llama",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}],
        "temperature": 0.5,
        "max_tokens": 50,
    }


def test_a_shape_is_asked_for_by_its_schema(serve: Serve, connect: Connect) -> None:
    server = serve(said("{}"))
    connect(server).complete(HELLO, json_schema=SCHEMA, max_tokens=50)
    assert server.requests[0].json["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
    }


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("known", "asked_for"),
    [
        ({"json_schema", "json_object", None}, ["json_schema", "json_schema"]),
        ({"json_object", None}, ["json_schema", "json_object", "json_object"]),
        ({None}, ["json_schema", "json_object", None, None]),
    ],
)
def test_a_shape_that_was_refused_is_not_asked_for_again(
    serve: Serve, connect: Connect, status: int, known: set[str | None], asked_for: list[str | None]
) -> None:
    def reply(asked: Asked) -> Reply:
        shape = asked.json.get("response_format", {}).get("type")
        return said("{}") if shape in known else refused(status=status)

    server = serve(reply)
    client = connect(server)
    for _ in range(2):
        assert client.complete(HELLO, json_schema=SCHEMA, max_tokens=50) == "{}"
    assert shapes(server) == asked_for


def test_a_question_that_is_refused_in_every_shape_changes_nothing(serve: Serve, connect: Connect) -> None:
    server = serve(refused("too long"), refused("too long"), refused("too long"), said("{}"))
    client = connect(server)
    with pytest.raises(EngineFailure, match="answered 400: too long"):
        client.complete(HELLO, json_schema=SCHEMA, max_tokens=50)
    client.complete(HELLO, json_schema=SCHEMA, max_tokens=50)
    assert shapes(server)[-1] == "json_schema"


def test_a_question_without_a_shape_is_asked_once(serve: Serve, connect: Connect) -> None:
    server = serve(refused())
    with pytest.raises(EngineFailure):
        connect(server).complete(HELLO, max_tokens=50)
    assert shapes(server) == [None]


def test_the_limit_of_tokens_has_a_newer_name(serve: Serve, connect: Connect) -> None:
    def reply(asked: Asked) -> Reply:
        return refused("Use 'max_completion_tokens' instead.") if "max_tokens" in asked.json else said("{}")

    server = serve(reply)
    client = connect(server)
    for _ in range(2):
        client.complete(HELLO, json_schema=SCHEMA, max_tokens=50)
    assert [asked.json.get("max_completion_tokens") for asked in server.requests] == [None, 50, 50]
    assert shapes(server) == ["json_schema"] * 3


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (refused("bad key", 401), "answered 401: bad key"),
        (Reply(b"", 500), "answered 500"),
        (said(None), "with a text"),
        (said("Hel", "length"), "cut off"),
        (Reply(b"<html>"), "in JSON"),
    ],
)
def test_no_text_is_a_failure_that_names_the_server(serve: Serve, connect: Connect, reply: Reply, message: str) -> None:
    server = serve(reply)
    with pytest.raises(EngineFailure, match=message) as caught:
        connect(server).complete(HELLO, max_tokens=50)
    assert str(caught.value).startswith(server.url)
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


def test_all_attempts_and_shapes_share_one_time_limit(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(refused().body, 400, after_s=0.2), Reply(hangs=True))
    started = time.monotonic()
    with pytest.raises(EngineFailure, match=r"no answer in time"):
        connect(server, SystemClock()).complete(HELLO, json_schema=SCHEMA, max_tokens=50, within_s=0.5)
    assert time.monotonic() - started < 2


def test_no_question_goes_out_when_no_time_is_left(serve: Serve, connect: Connect) -> None:
    server = serve(said("{}"))
    client = connect(server, breaker_failures=1)
    with pytest.raises(EngineFailure, match="no time is left"):
        client.complete(HELLO, max_tokens=50, within_s=0.0)
    assert client.complete(HELLO, max_tokens=50) == "{}"

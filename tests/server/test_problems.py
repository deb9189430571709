"""Errors of HTTP, as the client of any route sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from alfred_voice import errors
from alfred_voice.errors import AlfredVoiceError
from alfred_voice.pipeline.outbox import SlowReader
from alfred_voice.server.errors import MalformedMessage, MessageTooLarge
from alfred_voice.server.problems import problem_documents, problem_of, status_of


Client = TestClient[web.Request, web.Application]
Ask = Callable[[BaseException], Awaitable[Client]]


@pytest.fixture
async def failing() -> AsyncIterator[Ask]:
    """A server whose only route raises what it is told to."""
    clients: list[Client] = []

    async def make(error: BaseException) -> Client:
        async def fail(request: web.Request) -> web.Response:
            raise error

        application = web.Application(middlewares=[problem_documents])
        application.router.add_post("/fail/{id}", fail)
        client = TestClient(TestServer(application))
        await client.start_server()
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedMessage("m"), 400),
        (errors.InvalidSettings("m"), 400),
        (errors.MalformedAudio("m"), 400),
        (errors.EmptyAudio("m"), 400),
        (errors.UnknownVoice("m"), 400),
        (errors.UnknownSession("m"), 404),
        (errors.SessionBusy("m"), 409),
        (errors.SessionEnded("m"), 409),
        (MessageTooLarge("m"), 413),
        (errors.UnsupportedAudio("m"), 415),
        (errors.EngineFailure("m"), 500),
        (errors.ModelMissing("m"), 500),
        (errors.AlfredVoiceError("m"), 500),
        (errors.ModelFetchFailed("m"), 503),
        (errors.Overloaded("m"), 503),
        (errors.Draining("m"), 503),
        (errors.TooManySessions("m"), 503),
        (SlowReader("m"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_error_has_its_status(error: AlfredVoiceError, status: int) -> None:
    assert status_of(error) == status


async def test_a_deliberate_error_is_a_problem_document_with_its_code(failing: Ask) -> None:
    client = await failing(errors.InvalidSettings("channels: expected 1 or 2, got 3"))

    answer = await client.post("/fail/1")

    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert await answer.json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "channels: expected 1 or 2, got 3",
        "code": "settings_invalid",
    }


async def test_an_overload_says_when_to_come_back(failing: Ask) -> None:
    client = await failing(errors.TooManySessions("full", retry_after_s=17))

    answer = await client.post("/fail/1")

    assert (answer.status, answer.headers["Retry-After"]) == (503, "17")
    assert (await answer.json())["code"] == "too_many_sessions"


def test_only_an_overload_has_a_time_to_come_back() -> None:
    assert "Retry-After" not in problem_of(errors.UnknownSession("x")).headers


async def test_a_bug_is_logged_and_nothing_of_it_leaks(failing: Ask, caplog: pytest.LogCaptureFixture) -> None:
    client = await failing(ValueError("secret path /root/key"))

    answer = await client.post("/fail/some-id")

    text = await answer.text()
    assert answer.status == 500
    assert "secret" not in text
    assert "ValueError" not in text
    assert (await answer.json())["code"] == "internal_error"
    (record,) = [record for record in caplog.records if record.msg == "request_failed"]
    assert record.exc_info is not None
    assert record.__dict__["route"] == "/fail/{id}"


async def test_an_error_of_ours_is_logged_and_one_of_the_client_is_not(
    failing: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    await (await failing(errors.InvalidSettings("x"))).post("/fail/1")
    assert not caplog.records
    await (await failing(errors.EngineFailure("the engine is gone"))).post("/fail/1")
    assert [record.msg for record in caplog.records] == ["request_failed"]


async def test_an_unknown_path_is_a_problem_document(failing: Ask) -> None:
    client = await failing(AssertionError())

    answer = await client.get("/nothing/" + "x" * 500)

    assert answer.status == 404
    problem = await answer.json()
    assert problem["code"] == "not_found"
    assert len(problem["detail"]) < 140


async def test_a_wrong_method_says_which_are_right(failing: Ask) -> None:
    client = await failing(AssertionError())

    answer = await client.get("/fail/1")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert (await answer.json())["code"] == "method_not_allowed"
    assert "POST" in (await answer.json())["detail"]


async def test_a_redirect_is_no_problem(failing: Ask) -> None:
    client = await failing(web.HTTPSeeOther("/elsewhere"))

    answer = await client.post("/fail/1", allow_redirects=False)

    assert (answer.status, answer.headers["Location"]) == (303, "/elsewhere")

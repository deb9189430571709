"""``/config`` over real sockets: for administrators, all or nothing, with errors that name each key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ConfigError, RestartNeeded, SwapRunning
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from alfred_voice.server.http.settings import SettingsRoutes
from alfred_voice.server.options import ServerOptions


ADMIN, ALICE = "admin-key-of-16-and-more", "alice-key-of-16-and-more"


class PlayedSettings:
    """Settings that do what a test says."""

    version = 0

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.failure: Exception | None = None
        self.state = "done"

    def describe(self) -> dict[str, Any]:
        return {"keys": {"vad.threshold": {"value": 0.5}}, "swap": None}

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(changes)
        if self.failure is not None:
            raise self.failure
        return {"state": self.state, "changes": {}}


@pytest.fixture
def settings() -> PlayedSettings:
    return PlayedSettings()


@pytest.fixture
async def base(make_door: Any, settings: PlayedSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A door with two keys, one of them an administrator's, and the settings behind it."""
    from alfred_voice.server.http.routes import HttpRoutes

    file = tmp_path / "keys.toml"
    file.write_text(f'[keys.me]\nkey = "{ADMIN}"\nadmin = true\n[keys.alice]\nkey = "{ALICE}"\n')
    file.chmod(0o600)
    routes = HttpRoutes.routes
    monkeypatch.setattr(HttpRoutes, "routes", lambda self: [*routes(self), *SettingsRoutes(settings, 5.0).routes()])
    return await make_door(ServerOptions(), security=Security(SecurityOptions(), KeySource(str(file))))


async def ask(door: Any, method: str, key: str | None = ADMIN, body: str | None = None) -> tuple[int, Any]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with door.client.request(method, "/config", headers=headers, data=body) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize("method", ["GET", "PATCH"])
async def test_settings_are_for_administrators(base: Any, settings: PlayedSettings, method: str) -> None:
    assert (await ask(base, method, None, "{}"))[0] == 401
    status, problem = await ask(base, method, ALICE, "{}")
    assert (status, problem["code"]) == (403, "not_allowed")
    assert not settings.asked


async def test_an_administrator_sees_and_changes_them(base: Any, settings: PlayedSettings) -> None:
    assert await ask(base, "GET") == (200, settings.describe())
    assert (await ask(base, "PATCH", body='{"vad": {"threshold": 0.6}}'))[0] == 200
    assert settings.asked == [{"vad": {"threshold": 0.6}}]


async def test_while_a_model_is_loaded_the_answer_is_accepted(base: Any, settings: PlayedSettings) -> None:
    settings.state = "loading"
    assert (await ask(base, "PATCH", body='{"stt.engine": "x"}'))[0] == 202


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ConfigError("vad.threshold: no"), 400, "config_invalid"),
        (RestartNeeded("server.port: no"), 409, "restart_needed"),
        (SwapRunning("later"), 409, "swap_running"),
    ],
)
async def test_what_is_refused_says_why(
    base: Any, settings: PlayedSettings, failure: Exception, status: int, code: str
) -> None:
    settings.failure = failure
    found, problem = await ask(base, "PATCH", body="{}")
    assert (found, problem["code"], problem["detail"]) == (status, code, str(failure))


@pytest.mark.parametrize("body", ["", "[]", "3", "{", '{"a": 1'])
async def test_what_is_no_object_is_refused(base: Any, settings: PlayedSettings, body: str) -> None:
    status, problem = await ask(base, "PATCH", body=body)
    assert (status, problem["code"]) == (400, "message_malformed")
    assert not settings.asked


async def test_a_page_of_another_origin_changes_nothing(base: Any, settings: PlayedSettings) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}", "Origin": "https://evil.example"}
    async with base.client.patch("/config", headers=headers, data="{}") as answer:
        assert answer.status == 403
    assert not settings.asked

"""``/config``: the settings in force, and their change while the daemon runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from alfred_voice.server.bodies import live_json, read_json


class LiveSettings(Protocol):
    """What the routes stand in front of."""

    @property
    def version(self) -> int:
        """Another one after each change."""
        ...

    def describe(self) -> dict[str, Any]:
        """Every key with its value, where it comes from and whom a change reaches."""
        ...

    def change(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Apply ``room.key`` -> value, all of it or nothing; says what has changed.

        Raises:
            ConfigError: naming every setting that is wrong.
        """
        ...


class SettingsRoutes:
    """The routes' handlers.

    Args:
        settings: of this daemon.
        within_s: longest that a request's body may take.
    """

    def __init__(self, settings: LiveSettings, within_s: float) -> None:
        self._settings = settings
        self._within_s = within_s

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.get("/config", self.show), web.patch("/config", self.change)]

    async def show(self, _request: web.Request) -> web.Response:
        """Every key, and how the newest change of models stands."""
        return live_json(self._settings.describe())

    async def change(self, request: web.Request) -> web.Response:
        """Other values; 202 while a model is loaded that they need."""
        changes = await read_json(request, dict[str, Any], self._within_s)
        answer = self._settings.change(changes)
        return live_json(answer, status=202 if answer["state"] == "loading" else 200)

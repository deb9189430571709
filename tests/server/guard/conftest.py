"""Doors with keys and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security
from alfred_voice.server.options import ServerOptions
from tests.server.guard.guarded import KEYS, Guard


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000)


@pytest.fixture
def keys() -> str:
    """What stands in the file of keys: four of them."""
    return KEYS


@pytest.fixture
def guarded(make_door: Any, tmp_path: Path, clock: ManualClock, keys: str) -> Guard:
    """Makes a door with these keys."""
    file = tmp_path / "keys.toml"
    file.write_text(keys)
    file.chmod(0o600)

    async def make(**options: Any) -> Any:
        security = Security(SecurityOptions(**options), KeySource(str(file)), None, clock)
        return await make_door(security=security)

    return make


@pytest.fixture
def opened(make_door: Any) -> Guard:
    """Makes a door without keys."""

    async def make(server: ServerOptions | None = None, **options: Any) -> Any:
        return await make_door(server, security=Security(SecurityOptions(**options)))

    return make

"""Settings that change while the daemon runs, over a daemon that only notes what it is told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from alfred_voice import config
from alfred_voice.clock import ManualClock
from alfred_voice.config import Config, Loaded
from alfred_voice.errors import ConfigError, ModelMissing, Overloaded, RestartNeeded, SwapRunning, UnknownVoice
from alfred_voice.keys import HIDDEN
from alfred_voice.live_config import LiveConfig, lanes_to_swap
from alfred_voice.models.scripted import ScriptedStt, ScriptedTurn


class NotingDaemon:
    """Notes what it is told; its engines are built when the test lets them."""

    def __init__(self) -> None:
        self.is_ready = True
        self.applied: list[Config] = []
        self.replaced: list[tuple[str, Any]] = []
        self.may_build = threading.Event()
        self.may_build.set()
        self.failure: Exception | None = None
        self.engine: Any = None

    def apply(self, tree: Config) -> None:
        self.applied.append(tree)

    def check_voice(self, voice: str, speed: float) -> None:
        if voice == "nonesuch":
            raise UnknownVoice("no voice of that name")

    def language_warning(self, language: str) -> str:
        return "heard as en" if language == "de" else ""

    def check_recording(self, tree: Config) -> None:
        if tree.recording.folder == "/nowhere":
            raise ConfigError("recording.folder: /nowhere cannot be used")

    def builders(self, tree: Config) -> Mapping[str, Callable[[], Any]]:
        def build(engine: Any) -> Any:
            assert self.may_build.wait(5)
            if self.failure is not None:
                raise self.failure
            return self.engine or engine

        return {
            "vad": lambda: build(None),
            "stt": lambda: build(ScriptedStt((tree.stt.engine,))),
            "stt-whisper": lambda: build(ScriptedStt(("more",))),
            "turn": lambda: build(ScriptedTurn()),
            "tts": lambda: build(None),
        }

    def replace_engine(self, lane: str, engine: Any, build: Callable[[], Any]) -> None:
        self.replaced.append((lane, engine))


@pytest.fixture
def daemon() -> NotingDaemon:
    return NotingDaemon()


class Files:
    """What stands in the files."""

    def __init__(self) -> None:
        # A daemon of a test: one that was started without engines for tests takes none.
        self.sets: list[str] = ["vad.threshold=0.4", "tts.engine=scripted"]

    def read(self) -> Loaded:
        return config.load(sets=self.sets)


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
async def live(daemon: NotingDaemon, files: Files) -> AsyncIterator[LiveConfig]:
    settings = LiveConfig(files.read(), files.read, daemon, ManualClock())
    yield settings
    daemon.may_build.set()
    await settings.close()


def key(live: LiveConfig, path: str) -> tuple[Any, str]:
    shown = live.describe()["keys"][path]
    return shown["value"], shown["origin"]


async def swapped(live: LiveConfig) -> dict[str, Any]:
    async with asyncio.timeout(5):
        while (swap := live.describe()["swap"])["state"] == "loading":  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0.002)
    assert isinstance(swap, dict)
    return swap


def changes(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any, Any]]:
    found = [record for record in caplog.records if record.message == "setting_changed"]
    return [(vars(record)["key"], vars(record)["old"], vars(record)["new"]) for record in found]


async def test_every_key_is_shown_with_its_value_its_origin_and_whom_a_change_reaches(live: LiveConfig) -> None:
    shown = live.describe()

    assert list(shown["keys"]) == [key.path for key in config.reference()]
    assert shown["keys"]["vad.threshold"] == {"value": 0.4, "origin": "--set", "applies_to": "new sessions"}
    assert shown["keys"]["server.port"]["applies_to"] == "restart"
    assert shown["swap"] is None


async def test_changes_are_counted_so_that_who_shows_the_settings_knows_when_to_look_again(live: LiveConfig) -> None:
    assert (live.version, live.describe()["version"]) == (0, 0)
    live.change({"vad.threshold": 0.6})
    assert (live.version, live.describe()["version"]) == (1, 1)
    live.change({"vad.threshold": 0.6})
    assert live.version == 1


async def test_a_secret_that_is_set_is_not_shown(daemon: NotingDaemon) -> None:
    loaded = config.load(environ={}, sets=["alerts.webhook_url=https://hooks.example/xyzzy"])
    live = LiveConfig(loaded, lambda: loaded, daemon, ManualClock())
    assert live.describe()["keys"]["alerts.webhook_url"]["value"] == HIDDEN
    assert "xyzzy" not in repr(live.describe())


async def test_a_change_is_applied_told_and_logged_once(
    live: LiveConfig, daemon: NotingDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    answer = live.change({"vad": {"threshold": 0.7}, "sessions.max_concurrent": 3, "turn.threshold": 0.5})

    assert answer == {
        "state": "done",
        "changes": {
            "sessions.max_concurrent": {"from": 512, "to": 3, "applies_to": "now"},
            "vad.threshold": {"from": 0.4, "to": 0.7, "applies_to": "new sessions"},
        },
    }
    (applied,) = daemon.applied
    assert (applied.vad.threshold, applied.sessions.max_concurrent) == (0.7, 3)
    assert key(live, "vad.threshold") == (0.7, "PATCH /config")
    assert changes(caplog) == [("sessions.max_concurrent", 512, 3), ("vad.threshold", 0.4, 0.7)]


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"turn.threshold": 7}, ConfigError, "turn.threshold"),
        ({"nonesuch.key": 7}, ConfigError, "nonesuch.key"),
        ({"server.port": 1, "tts.engine": "x"}, RestartNeeded, "server.port, tts.engine"),
        ({"tts.voice": "nonesuch"}, ConfigError, "tts.voice"),
        ({"memory.gc_trigger_mb": 400}, ConfigError, "gc_trigger_mb"),
        ({"stt.engine": "whisper", "stt.max_window_ms": 40_000}, ConfigError, "stt.max_window_ms"),
    ],
)
async def test_when_anything_is_wrong_nothing_is_applied(
    live: LiveConfig, daemon: NotingDaemon, wrong: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        live.change({"vad.threshold": 0.7, **wrong})

    assert not daemon.applied
    assert key(live, "vad.threshold") == (0.4, "--set")


async def test_a_key_that_needs_a_restart_may_be_named_with_the_value_that_it_has(live: LiveConfig) -> None:
    assert live.change({"server.port": 8015})["changes"] == {}


# Models


async def test_a_model_is_loaded_aside_and_its_settings_hold_when_it_is_there(
    live: LiveConfig, daemon: NotingDaemon
) -> None:
    daemon.may_build.clear()

    answer = live.change({"stt.engine": "scripted", "vad.threshold": 0.9})

    assert (answer["state"], answer["lanes"]) == ("loading", ["stt"])
    assert live.describe()["swap"]["state"] == "loading"
    assert key(live, "vad.threshold")[0] == 0.4
    live.change({"turn.threshold": 0.3})
    daemon.may_build.set()
    assert await swapped(live) == {"state": "done", "lanes": ["stt"], "seconds": 0.0}
    assert [lane for lane, _ in daemon.replaced] == ["stt"]
    assert key(live, "stt.engine") == ("scripted", "PATCH /config")
    assert (key(live, "vad.threshold")[0], key(live, "turn.threshold")[0]) == (0.9, 0.3)
    assert daemon.applied[-1].stt.engine == "scripted"


@pytest.mark.parametrize(
    "failure", [ModelMissing("the model is not here"), OSError("the disk is gone")], ids=["deliberate", "not"]
)
async def test_a_model_that_cannot_be_loaded_changes_nothing_and_says_why(
    live: LiveConfig, daemon: NotingDaemon, failure: Exception
) -> None:
    daemon.failure = failure

    live.change({"turn.engine": "scripted", "vad.threshold": 0.9})

    swap = await swapped(live)
    assert swap["state"] == "failed"
    assert str(failure) in swap["error"]
    assert not daemon.applied
    assert not daemon.replaced
    assert key(live, "vad.threshold")[0] == 0.4
    daemon.failure = None
    live.change({"turn.engine": "scripted"})
    assert (await swapped(live))["state"] == "done"


async def test_a_model_that_answers_nonsense_is_not_taken_and_given_back(
    live: LiveConfig, daemon: NotingDaemon
) -> None:
    class Mute:
        closed = False

        def transcribe(self, clips: Any) -> list[Any]:
            return [None for _ in clips]

        def close(self) -> None:
            self.closed = True

    daemon.engine = Mute()

    live.change({"stt.engine": "scripted"})

    swap = await swapped(live)
    assert swap["state"] == "failed"
    assert "expected a transcript" in swap["error"]
    assert not daemon.replaced
    async with asyncio.timeout(5):
        while not daemon.engine.closed:  # noqa: ASYNC110  it is closed in a thread
            await asyncio.sleep(0.002)


async def test_one_model_is_loaded_at_a_time(live: LiveConfig, daemon: NotingDaemon) -> None:
    daemon.may_build.clear()
    live.change({"stt.engine": "scripted"})

    with pytest.raises(SwapRunning):
        live.change({"turn.engine": "scripted"})

    daemon.may_build.set()
    await swapped(live)
    live.change({"turn.engine": "scripted"})
    await swapped(live)
    assert [lane for lane, _ in daemon.replaced] == ["stt", "turn"]


async def test_no_model_is_changed_before_the_first_ones_are_there(live: LiveConfig, daemon: NotingDaemon) -> None:
    daemon.is_ready = False

    with pytest.raises(Overloaded):
        live.change({"stt.engine": "scripted"})
    live.change({"vad.threshold": 0.9})


@pytest.mark.parametrize(
    ("sets", "differing", "lanes"),
    [
        ([], ["vad.threshold"], ()),
        ([], ["whisper.prompt"], ()),
        (["stt.engine=whisper"], ["whisper.prompt"], ("stt",)),
        (["stt.more_engines=whisper"], ["whisper.prompt"], ("stt-whisper",)),
        (["stt.more_engines=whisper"], ["stt.final_model"], ("stt", "stt-whisper")),
        (["stt.engine=whisper"], ["stt.engine", "turn.engine"], ("stt", "turn")),
    ],
)
def test_those_lanes_get_another_engine_whose_model_is_another(
    sets: list[str], differing: list[str], lanes: tuple[str, ...]
) -> None:
    tree = config.load(sets=sets).config
    there = ["vad", "stt", "turn", "tts", *(["stt-whisper"] if tree.stt.more_engines else [])]

    assert lanes_to_swap(tree, differing, there) == lanes


# Files read again


async def test_what_has_changed_in_the_files_is_applied_and_the_rest_is_said_to_need_a_restart(
    live: LiveConfig, daemon: NotingDaemon, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    files.sets = ["vad.threshold=0.45", "server.port=9000", "vad.engine=scripted", "tts.engine=scripted"]

    await live.reload()

    assert daemon.applied[-1].vad.threshold == 0.45
    assert daemon.applied[-1].server.port == 8015
    assert key(live, "server.port") == (8015, "default")
    (warned,) = [record for record in caplog.records if record.message == "restart_needed"]
    assert vars(warned)["keys"] == ["server.port", "vad.engine"]
    assert changes(caplog) == [("vad.threshold", 0.4, 0.45)]


async def test_reading_again_brings_back_what_stands_in_the_files(live: LiveConfig, files: Files) -> None:
    live.change({"vad.threshold": 0.9, "turn.threshold": 0.9})

    await live.reload()

    assert key(live, "vad.threshold") == (0.4, "--set")
    assert key(live, "turn.threshold") == (0.5, "default")


async def test_a_broken_file_changes_nothing_and_is_logged(
    live: LiveConfig, daemon: NotingDaemon, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.sets = ["vad.threshold=0.45", "turn.threshold=7"]

    await live.reload()

    assert not daemon.applied
    (record,) = [record for record in caplog.records if record.message == "config_not_reloaded"]
    assert "turn.threshold" in vars(record)["reason"]


async def test_a_model_that_the_files_ask_for_is_loaded(live: LiveConfig, daemon: NotingDaemon, files: Files) -> None:
    files.sets = ["vad.threshold=0.45", "stt.engine=scripted"]

    await live.reload()

    assert (await swapped(live))["state"] == "done"
    assert key(live, "stt.engine") == ("scripted", "--set")
    assert key(live, "vad.threshold") == (0.45, "--set")


async def test_recording_is_not_begun_where_it_cannot_work(daemon: NotingDaemon, files: Files) -> None:
    files.sets = ["recording.folder=/nowhere"]
    live = LiveConfig(files.read(), files.read, daemon, ManualClock())
    with pytest.raises(ConfigError, match="/nowhere"):
        live.change({"recording.enabled": True})
    assert key(live, "recording.enabled") == (False, "default")
    assert not daemon.applied


async def test_a_language_that_the_recogniser_does_not_know_is_set_with_a_warning(live: LiveConfig) -> None:
    assert live.change({"stt.language": "de"})["warnings"] == ["stt.language: heard as en"]
    assert "warnings" not in live.change({"stt.language": "en"})


async def test_an_engine_for_tests_is_not_set_in_a_daemon_that_was_started_without(
    daemon: NotingDaemon, files: Files
) -> None:
    files.sets = []
    live = LiveConfig(files.read(), files.read, daemon, ManualClock())
    with pytest.raises(ConfigError, match=r"turn\.engine: scripted is for tests"):
        live.change({"turn.engine": "scripted"})
    assert not daemon.applied

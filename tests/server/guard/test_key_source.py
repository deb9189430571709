"""Reading keys at the start, and again when asked to."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.key_source import KeySource


KEY, OTHER, THIRD = "correct-horse-battery", "staple.staple.staple", "another-key-of-ours"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(f'[keys.a]\nkey = "{KEY}"\n')
    path.chmod(0o600)
    return path


def test_keys_come_from_the_file_and_from_the_environment(file: Path) -> None:
    ring = KeySource(str(file), {"ALFRED_API_KEYS": f"b:{OTHER}"}).ring

    assert [(key.name, key.is_admin) for key in ring] == [("a", False), ("b", True)]


def test_without_either_there_is_no_key() -> None:
    assert len(KeySource().ring) == 0


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"security\.keys_file .*missing\.toml: cannot be read: No such file"):
        KeySource(str(tmp_path / "missing.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        KeySource(str(tmp_path / "binary.toml"))


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 1), (0o604, 1)])
def test_a_file_that_others_can_read_is_warned_of(
    file: Path, mode: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(mode)

    KeySource(str(file))

    assert [record.getMessage() for record in caplog.records] == ["keys_file_readable"] * warnings
    assert KEY not in caplog.text


def test_reading_again_takes_new_keys_and_drops_old_ones(file: Path) -> None:
    source = KeySource(str(file), {"ALFRED_API_KEYS": f"b:{OTHER}"})
    file.write_text(f'[keys.c]\nkey = "{THIRD}"\n')

    assert source.reload()

    assert [key.name for key in source.ring] == ["c", "b"]


@pytest.mark.parametrize("broken", ["[keys.a]\nkey = 'too short'", "[keys", None])
def test_a_broken_file_keeps_the_old_keys_and_is_logged_without_them(
    file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    source = KeySource(str(file))
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)

    with caplog.at_level(logging.ERROR):
        assert not source.reload()

    assert source.ring.find(KEY) is not None
    assert "keys_not_reloaded" in caplog.text
    assert "too short" not in caplog.text


def test_without_keys_nothing_is_told_of_reading_them_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert KeySource().reload()
    assert not caplog.records

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ConfigError
from alfred_voice.log import Logging, LogOptions, configure, unwritten


needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")

log = logging.getLogger("alfred_voice.test")


@contextmanager
def logging_to(stream: Any, options: LogOptions | None = None) -> Iterator[Logging]:
    running = configure(options or LogOptions(), stream=stream)
    try:
        yield running
    finally:
        running.close()


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


# Files


def test_the_file_gets_the_same_lines_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "deep" / "daemon.log"
    stream = io.StringIO()
    with logging_to(stream, LogOptions(file=str(path))):
        log.info("first", extra={"text": "größe"})

    assert path.read_text("utf-8") == stream.getvalue()
    with logging_to(stream, LogOptions(file=str(path))):
        log.info("second")
    assert path.read_text("utf-8") == stream.getvalue()  # the second run appends


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with logging_to(io.StringIO(), LogOptions(file="~/daemon.log")):
        log.info("here")

    assert " here\n" in (tmp_path / "daemon.log").read_text()


def test_the_file_is_rotated_by_size_and_no_record_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    filler = "x" * 1000
    with logging_to(io.StringIO(), LogOptions(file=str(path), max_mb=1, backups=2)) as running:
        for number in range(2500):
            log.info("filler", extra={"number": number, "filler": filler})

    files = [path.with_name(name) for name in ("daemon.log.2", "daemon.log.1", "daemon.log")]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 1024 * 1024 for file in files)
    numbers = [line.split("number=")[1].split()[0] for file in files for line in file.read_text().splitlines()]
    assert numbers == [str(number) for number in range(2500)]
    assert running.failures == 0


def test_rotated_files_beyond_the_limit_go(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    with logging_to(io.StringIO(), LogOptions(file=str(path), max_mb=1, backups=1)):
        for _ in range(40):
            log.info("filler", extra={"filler": "x" * 100_000})

    assert sorted(file.name for file in tmp_path.iterdir()) == ["daemon.log", "daemon.log.1"]


def test_a_file_that_cannot_be_rotated_is_written_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "daemon.log"
    blocked = path.with_name("daemon.log.1")
    blocked.mkdir()
    (blocked / "in the way").touch()
    with logging_to(io.StringIO(), LogOptions(file=str(path), max_mb=1, backups=1)) as running:
        for number in range(15):
            log.info("filler", extra={"number": number, "filler": "x" * 100_000})

        assert unwritten() == running.failures
    assert len(path.read_text().splitlines()) == 15
    assert running.failures > 0
    assert unwritten() == 0, "there is no logging any more"
    assert capsys.readouterr().err.count("could not be written") == 1


@pytest.mark.parametrize("name", ["file/below.log", "folder", "~no-such-user-here/a.log"])
def test_a_file_that_cannot_be_written_is_a_mistake_of_the_configuration(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = name if name.startswith("~") else str(tmp_path / name)
    before = list(logging.getLogger().handlers)

    with pytest.raises(ConfigError, match=r"^log\.file: expected a file that can be written, got ") as refused:
        configure(LogOptions(file=target), stream=io.StringIO())

    assert target in str(refused.value)
    assert logging.getLogger().handlers == before


# Failures


@needs_full_device
def test_a_full_disk_is_counted_told_once_and_never_raised(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    with logging_to(stream, LogOptions(file="/dev/full")) as running:
        for _ in range(3):
            log.info("still here")

    assert running.failures >= 3
    assert len(stream.getvalue().splitlines()) == 3  # the console goes on
    told = capsys.readouterr().err
    assert told.count("could not be written") == 1
    assert "No space left" in told


def test_a_console_that_is_gone_is_counted_and_never_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    path = tmp_path / "daemon.log"
    with logging_to(stream, LogOptions(file=str(path))) as running:
        log.info("first")
        log.info("second")
    with pytest.raises(BrokenPipeError):
        stream.close()

    assert running.failures == 2
    assert len(path.read_text().splitlines()) == 2
    assert "BrokenPipeError" in capsys.readouterr().err


def test_a_closed_standard_error_does_not_make_it_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    with logging_to(closed) as running:
        log.info("nowhere")

    assert running.failures == 1


def test_without_standard_error_failures_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", None)
    with logging_to(closed) as running:
        log.info("nowhere")

    assert running.failures == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_record_that_cannot_be_formatted_is_counted_and_never_raised(
    form: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own handlers raise on purpose
    stream = io.StringIO()
    with logging_to(stream, LogOptions(format=form)) as running:
        log.info("number %d", "seven")
        log.info("event", extra={"field": Unprintable()})
        log.info("after")

    assert running.failures == 2
    assert len(stream.getvalue().splitlines()) == 1
    assert capsys.readouterr().err.count("could not be written") == 1


def test_a_console_that_knows_only_ascii_gets_escapes() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with logging_to(stream) as running:
        log.info("event", extra={"text": "größe"})

    assert raw.getvalue().endswith(b" event text=gr\\xf6\\xdfe\n")
    assert running.failures == 0

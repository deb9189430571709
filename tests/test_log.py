from __future__ import annotations

import ast
import io
import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alfred_voice
from alfred_voice.log import JsonFormatter, Logging, LogOptions, TextFormatter, configure


log = logging.getLogger("alfred_voice.test")


@contextmanager
def logging_to(stream: Any, options: LogOptions | None = None) -> Iterator[Logging]:
    running = configure(options or LogOptions(), stream=stream)
    try:
        yield running
    finally:
        running.close()


def record(event: str = "event", /, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("alfred_voice.room", logging.INFO, "file.py", 1, event, (), None)
    vars(made).update(fields)
    return made


def text_of(**fields: Any) -> str:
    """The fields of a line for people."""
    return TextFormatter().format(record(**fields)).split(" INFO    event", 1)[1].strip()


def json_of(**fields: Any) -> Any:
    return json.loads(JsonFormatter().format(record(**fields)))


# Text for people


def test_a_line_has_time_level_event_and_fields() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log.info("session_started", extra={"session": "abc-1", "queue_ms": 20})

    line = stream.getvalue()
    assert line.endswith(" INFO    session_started session=abc-1 queue_ms=20\n")
    assert datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S.%f")  # noqa: DTZ007 - the line is in local time


def test_the_time_is_local_and_to_the_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    made = record(created=datetime(2026, 1, 31, 23, 30, 0, 7_999, tzinfo=UTC).timestamp())

    monkeypatch.setenv("TZ", "UTC-2")  # POSIX: two hours east of Greenwich
    time.tzset()
    try:
        assert TextFormatter().format(made).startswith("2026-02-01 01:30:00.007 INFO ")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a=b", '"a=b"'),
        ("/v/m.onnx", "/v/m.onnx"),
        ("größe", "größe"),
        (3, "3"),
        (-0.123456789, "-0.123457"),
        (2.0, "2"),
        (float("nan"), "nan"),
        (True, "true"),
        (None, "null"),
        ([1, "a"], '[1, "a"]'),
        ({"vad": "silero"}, '{"vad": "silero"}'),
        (np.float32(0.5), "0.5"),
        (Path("/a/b"), "/a/b"),
    ],
)
def test_a_field_is_written_so_that_it_can_be_told_apart(value: Any, text: str) -> None:
    assert text_of(field=value) == f"field={text}"


@pytest.mark.parametrize("nasty", ["a\nb", "a\r\nb", "\x1b[31mred", "a\u2028b", "a\u202eb", "a\x00b", "a\tb", "\udc80"])
def test_no_field_can_break_the_line_or_steer_the_terminal(nasty: str) -> None:
    for line in (text_of(field=nasty), text_of(field=[nasty]), TextFormatter().format(record(nasty))):
        assert line.isprintable()


def test_a_traceback_follows_below_indented_and_escaped() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        try:
            raise ValueError("bad \x1b[31m text\n2026-01-01 00:00:00.000 INFO    forged")
        except ValueError:
            log.exception("engine_failed", extra={"engine": "vad"})

    first, *below = stream.getvalue().splitlines()
    assert first.endswith(" ERROR   engine_failed engine=vad")
    assert below[0] == "    Traceback (most recent call last):"
    assert below[-1] == "    2026-01-01 00:00:00.000 INFO    forged"
    assert "\x1b" not in stream.getvalue()


def test_records_of_other_packages_name_their_logger() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        logging.getLogger("aiohttp.server").error("Error handling %s", "request")
        log.error("own")

    theirs, own = stream.getvalue().splitlines()
    assert theirs.endswith(" ERROR   Error handling request logger=aiohttp.server")
    assert own.endswith(" ERROR   own")


# JSON lines


def test_a_json_line_has_time_level_event_logger_and_fields() -> None:
    stream = io.StringIO()
    with logging_to(stream, LogOptions(format="json")):
        log.warning("queue_full", extra={"session": "ü", "frames": 500})

    line = json.loads(stream.getvalue())
    stamp = datetime.fromisoformat(line.pop("time"))
    assert stamp.utcoffset() is not None
    assert line == {
        "level": "warning",
        "event": "queue_full",
        "logger": "alfred_voice.test",
        "session": "ü",
        "frames": 500,
    }


def test_the_time_of_a_json_line_is_utc() -> None:
    assert json_of(created=0.5)["time"] == "1970-01-01T00:00:00.500Z"


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float64(0.25), 0.25),
        (float("inf"), "inf"),
        ([float("nan")], ["nan"]),
        (Colour.RED, "red"),
        (("a", 1), ["a", 1]),
        (frozenset({1}), [1]),
        ({1: {"a": None}}, {"1": {"a": None}}),
        (Path("/a"), "/a"),
        (b"x", "b'x'"),
        ("\udc80\n", "\udc80\n"),
        (np.zeros(2), "[0. 0.]"),
    ],
)
def test_any_value_becomes_json(value: Any, plain: Any) -> None:
    assert json_of(field=value)["field"] == plain


def test_a_value_that_holds_itself_is_written_to_a_depth() -> None:
    endless: list[Any] = []
    endless.append(endless)

    assert "[...]" in json.dumps(json_of(field=endless)["field"])


def test_a_field_does_not_overwrite_what_every_line_has() -> None:
    line = json_of(event="mine", level="mine", time="mine", logger="mine", exception="mine")

    assert (line["event"], line["level"], line["logger"]) == ("event", "info", "alfred_voice.room")
    assert {name: value for name, value in line.items() if value == "mine"} == {
        "event_": "mine",
        "level_": "mine",
        "time_": "mine",
        "logger_": "mine",
        "exception_": "mine",
    }


def test_a_traceback_is_a_field_of_a_json_line() -> None:
    stream = io.StringIO()
    with logging_to(stream, LogOptions(format="json")):
        try:
            raise ValueError("bad")
        except ValueError:
            log.exception("engine_failed")

    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("\nValueError: bad")


# Levels


@pytest.mark.parametrize(
    ("level", "own", "others"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_is_for_own_records_and_others_are_heard_from_warnings_on(
    level: Any, own: list[str], others: list[str]
) -> None:
    stream = io.StringIO()
    with logging_to(stream, LogOptions(level=level, format="json")):
        for name in ("debug", "info", "warning", "error"):
            getattr(log, name)("own")
            getattr(logging.getLogger("asyncio"), name)("other")

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["level"] for line in lines if line["event"] == "own"] == own
    assert [line["level"] for line in lines if line["event"] == "other"] == others


def test_aiohttp_does_not_log_a_line_per_request() -> None:
    stream = io.StringIO()
    with logging_to(stream, LogOptions(level="debug")):
        assert not logging.getLogger("aiohttp.access").isEnabledFor(logging.INFO)


# What would get lost


def test_warnings_are_logged() -> None:
    stream = io.StringIO()
    with logging_to(stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)  # the context manager has put the original back: take over again
        logging.captureWarnings(True)
        warnings.warn("old habit", DeprecationWarning, stacklevel=1)

    (line,) = stream.getvalue().splitlines()
    assert "DeprecationWarning: old habit" in line
    assert line.endswith("logger=py.warnings")


def test_an_uncaught_exception_is_logged() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        try:
            raise RuntimeError("lost")
        except RuntimeError as error:
            sys.excepthook(RuntimeError, error, error.__traceback__)

    assert " CRITICAL uncaught_exception\n" in stream.getvalue()
    assert "    RuntimeError: lost\n" in stream.getvalue()


def test_the_users_interrupt_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, _error, _traceback: seen.append(kind))
    stream = io.StringIO()
    with logging_to(stream):
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert seen == [KeyboardInterrupt]
    assert stream.getvalue() == ""


def test_an_uncaught_exception_of_a_thread_is_logged_with_its_name() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        thread = threading.Thread(target=lambda: 1 / 0, name="lane vad")
        thread.start()
        thread.join()

    assert ' CRITICAL uncaught_exception in_thread="lane vad"\n' in stream.getvalue()
    assert "    ZeroDivisionError: division by zero\n" in stream.getvalue()


def test_a_thread_that_leaves_is_no_exception() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        thread = threading.Thread(target=sys.exit)
        thread.start()
        thread.join()

    assert stream.getvalue() == ""


# Beginning and end


def test_closing_gives_everything_back(tmp_path: Path) -> None:
    names = ("", "alfred_voice", "aiohttp.access")
    before = (
        list(logging.getLogger().handlers),
        [logging.getLogger(name).level for name in names],
        sys.excepthook,
        threading.excepthook,
        warnings.showwarning,
    )
    stream = io.StringIO()

    running = configure(LogOptions(level="debug", file=str(tmp_path / "a.log")), stream=stream)
    assert sys.excepthook != before[2]
    running.close()
    running.close()
    log.error("too late")

    after = (
        list(logging.getLogger().handlers),
        [logging.getLogger(name).level for name in names],
        sys.excepthook,
        threading.excepthook,
        warnings.showwarning,
    )
    assert before == after
    assert stream.getvalue() == ""
    assert not stream.closed


def test_no_field_in_the_package_has_a_name_that_logging_refuses() -> None:
    taken = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    found = []
    for path in sorted(Path(alfred_voice.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
                names = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
                found += [f"{path.name}:{node.lineno} {name}" for name in names if name in taken]

    assert found == []

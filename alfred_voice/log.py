"""Where log records go: the console and a rotating file, as text for people or as JSON lines.

A record is the name of an event and its fields: ``log.info("session_started", extra={"session": name})``. Nothing is
set up by importing this module, and nothing that goes wrong while a record is written reaches the code that logged it.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, TextIO

from msgspec import Meta

from alfred_voice.errors import ConfigError


PACKAGE = "alfred_voice"
BYTES_PER_MB = 1024 * 1024

# What every record carries; all else on it came through ``extra``.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_JSON_FIELDS = frozenset({"time", "level", "event", "logger", "exception"})
_PLAIN_VALUE = re.compile(r"[\w.:/@%+,*~-]+")
# OpenTelemetry logs each failure, and we tell of the first (pipeline/otel).
# A handshake's warnings repeat what the client offered as sub-protocols, and a key may be among that.
# What ICE and WebRTC warn of is a peer's doing, and shows in its session and in the figures.
_LEAST = {
    "aiohttp.access": logging.WARNING,
    "aiohttp.websocket": logging.ERROR,
    "opentelemetry": logging.CRITICAL,
    "aioice": logging.ERROR,
    "aiortc": logging.ERROR,
}
_DEEPEST = 8  # levels of a nested field that are still told apart


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is logged, and where to."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level of the daemon's own records")
    ] = "info"
    file: Annotated[
        Annotated[str, Meta(min_length=1)] | None, Meta(description="log file beside the console; null for none")
    ] = None
    format: Annotated[Literal["text", "json"], Meta(description="text for people, or one JSON object on each line")] = (
        "text"
    )
    max_mb: Annotated[int, Meta(ge=1, le=10240, description="size at which the file is rotated")] = 10
    backups: Annotated[int, Meta(ge=1, le=1000, description="rotated files that are kept")] = 5


class Logging:
    """The logging of one process while it is set up; made by :func:`configure`, ended by :meth:`close`."""

    def __init__(self, handlers: list[_ConsoleHandler | _FileHandler]) -> None:
        self._handlers = handlers
        self._levels: dict[str, int] = {}
        self._sys_hook = sys.excepthook
        self._thread_hook = threading.excepthook

    @property
    def failures(self) -> int:
        """Records that could not be written, over all destinations."""
        return sum(handler.failures for handler in self._handlers)

    def start(self, level: int) -> None:
        """Take over the root logger, warnings and uncaught exceptions."""
        # Other packages are heard from warnings on; that also keeps aiohttp's line per request out.
        for name, least in {"": max(level, logging.WARNING), PACKAGE: level, **_LEAST}.items():
            self._levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(least)
        for handler in self._handlers:
            logging.getLogger().addHandler(handler)
        logging.captureWarnings(True)
        sys.excepthook = self._log_uncaught
        threading.excepthook = self._log_uncaught_in_thread

    def set_level(self, level: str) -> None:
        """Log from another level on, by its name in the options; harmless after :meth:`close`."""
        if self._levels:
            least = logging.getLevelNamesMapping()[level.upper()]
            logging.getLogger().setLevel(max(least, logging.WARNING))
            logging.getLogger(PACKAGE).setLevel(least)

    def close(self) -> None:
        """Give back what was taken over and close the file; harmless when repeated."""
        if not self._levels:
            return
        sys.excepthook = self._sys_hook
        threading.excepthook = self._thread_hook
        logging.captureWarnings(False)
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._levels = {}

    def _log_uncaught(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._sys_hook(kind, error, traceback)
            return
        logging.getLogger(PACKAGE).critical("uncaught_exception", exc_info=(kind, error, traceback))

    def _log_uncaught_in_thread(self, args: threading.ExceptHookArgs) -> None:
        if issubclass(args.exc_type, SystemExit):
            return  # as Python's own hook does
        error = args.exc_value or args.exc_type()
        name = args.thread.name if args.thread else "unknown"
        logging.getLogger(PACKAGE).critical(
            "uncaught_exception",
            extra={"in_thread": name},
            exc_info=(args.exc_type, error, args.exc_traceback),
        )


def configure(options: LogOptions, *, stream: TextIO) -> Logging:
    """Log to ``stream``, and to the file of the options if there is one, until the result is closed.

    Raises:
        ConfigError: the file cannot be written.
    """
    formatter = JsonFormatter() if options.format == "json" else TextFormatter()
    handlers: list[_ConsoleHandler | _FileHandler] = [_ConsoleHandler(stream)]
    if options.file is not None:
        handlers.append(_open_file(options.file, options))
    for handler in handlers:
        handler.setFormatter(formatter)
    running = Logging(handlers)
    running.start(logging.getLevelNamesMapping()[options.level.upper()])
    return running


def _open_file(name: str, options: LogOptions) -> _FileHandler:
    try:
        path = Path(name).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        return _FileHandler(path, options.max_mb * BYTES_PER_MB, options.backups)
    except (OSError, RuntimeError) as exc:  # RuntimeError: the home folder of ~ is not known
        reason = getattr(exc, "strerror", None) or exc
        raise ConfigError(f"log.file: expected a file that can be written, got {name}: {reason}") from exc


def unwritten() -> int:
    """Records that could not be written since the process's logging was set up; 0 where it is not."""
    return sum(handler.failures for handler in logging.getLogger().handlers if isinstance(handler, _Careful))


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00.000 INFO    session_started session=abc``, in local time; a traceback follows below."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, every control character in it escaped."""
        time = datetime.fromtimestamp(record.created, tz=UTC).astimezone()
        event = _printable(record.getMessage().strip())
        parts = [f"{time:%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03d}", f"{record.levelname:<7}", event]
        if not _is_own(record.name):
            parts.append(f"logger={_text_value(record.name)}")
        parts += [f"{name}={_text_value(value)}" for name, value in _fields(record).items()]
        lines = [" ".join(parts)]
        if record.exc_info:
            lines += [f"    {_printable(line)}" for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object: ``time`` (UTC), ``level``, ``event``, ``logger``, the fields, and ``exception`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, ASCII only, so that any console and any encoding takes it."""
        time = datetime.fromtimestamp(record.created, tz=UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
            "logger": record.name,
        }
        for name, value in _fields(record).items():
            line[f"{name}_" if name in _JSON_FIELDS else name] = _plain(value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, allow_nan=False)


class _Careful(logging.Handler):
    """A handler whose failures are counted, and told once on standard error."""

    failures = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Count the failure that is being handled."""
        self.failed(sys.exc_info()[1])

    def failed(self, error: BaseException | None) -> None:
        """Count one failure; the first is told."""
        self.failures += 1
        if self.failures == 1 and sys.stderr is not None:
            with suppress(OSError, ValueError):  # standard error may be full or closed as well
                sys.stderr.write(f"alfred-voice: a log record could not be written: {error!r}; more are only counted\n")
                sys.stderr.flush()


class _ConsoleHandler(_Careful, logging.StreamHandler[TextIO]):
    """Records on a text stream, escaped where its encoding lacks a character."""

    def format(self, record: logging.LogRecord) -> str:
        """One record in characters that the stream can take."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)


class _FileHandler(_Careful, RotatingFileHandler):
    """Records in a file that is rotated by size, and goes on in the same file while it cannot be."""

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", errors="backslashreplace")

    def doRollover(self) -> None:  # noqa: N802 - the name that logging calls
        """Rotate."""
        try:
            super().doRollover()
        except OSError as exc:
            self.failed(exc)
        if self.stream is None:
            self.stream = self._open()

    def close(self) -> None:
        """Close the file; what a full disk keeps from being written is counted and lost."""
        try:
            super().close()
        except OSError as exc:
            self.failed(exc)


def _is_own(logger: str) -> bool:
    return logger == PACKAGE or logger.startswith(f"{PACKAGE}.")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _RECORD_FIELDS}


def _plain(value: Any, depth: int = 0) -> Any:
    """``value`` as JSON has it: numbers of NumPy become numbers, what JSON lacks becomes text."""
    if isinstance(value, Enum):
        return _plain(value.value, depth + 1)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if depth < _DEEPEST and isinstance(value, dict):
        return {str(name): _plain(inner, depth + 1) for name, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner, depth + 1) for inner in value]
    if depth < _DEEPEST and getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _plain(value.item(), depth + 1)
    return str(value)


def _text_value(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, float):
        return f"{plain:.6g}"
    if not isinstance(plain, str):
        return _printable(json.dumps(plain, ensure_ascii=False))
    if _PLAIN_VALUE.fullmatch(plain):
        return plain
    return '"' + _printable(plain.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _printable(text: str) -> str:
    """Line breaks, terminal codes and the like escaped, so that no record can look like another."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)

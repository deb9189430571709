"""How far ``alfred-voice transcribe`` is: a bar on a terminal, nothing elsewhere; totals at the end."""

from __future__ import annotations

import shutil
import threading
from typing import TextIO

from alfred_voice.clock import Clock


REDRAW_S = 0.1
BAR_CELLS = 24


class Meter:
    """How much of all recordings has been read; several threads tell it.

    Args:
        files: how many recordings there are.
        whole: their bytes; 0 when nobody knows.
    """

    def __init__(self, files: int, whole: int, stream: TextIO, clock: Clock, *, is_shown: bool) -> None:
        self._files = files
        self._whole = whole
        self._stream = stream
        self._clock = clock
        self._is_shown = is_shown
        self._lock = threading.Lock()
        self._begun_at = clock.now()
        self._drawn_at = float("-inf")
        self._drawn = 0
        self._done_files = 0
        self._read_bytes: dict[str, float] = {}
        self._heard_ms: dict[str, float] = {}

    def update(self, file: str, read_bytes: float, heard_ms: float) -> None:
        """So much of this one has been read."""
        with self._lock:
            self._read_bytes[file] = max(read_bytes, self._read_bytes.get(file, 0.0))
            self._heard_ms[file] = heard_ms
            if self._is_shown and self._clock.now() - self._drawn_at >= REDRAW_S:
                self._draw(self.line(shutil.get_terminal_size().columns - 1))

    def end_file(self) -> None:
        """One is done, however it went."""
        with self._lock:
            self._done_files += 1

    def clear(self) -> None:
        """Leave an empty line for what is printed next."""
        with self._lock:
            if self._drawn:
                self._stream.write("\r" + " " * self._drawn + "\r")
                self._stream.flush()
                self._drawn = 0
                self._drawn_at = float("-inf")

    @property
    def heard_s(self) -> float:
        """Audio of all recordings together."""
        return sum(self._heard_ms.values()) / 1000

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return self._clock.now() - self._begun_at

    def line(self, columns: int) -> str:
        """``[####----]  45 %  2 of 7 files  0:12:31 of audio  80x  0:40 left``, cut to the columns."""
        share = min(1.0, sum(self._read_bytes.values()) / self._whole) if self._whole else 0.0
        parts = [f"{share:4.0%}"] if self._whole else []
        if self._files > 1:
            parts.append(f"{self._done_files} of {self._files} files")
        parts.append(f"{hours(self.heard_s)} of audio")
        if self.elapsed_s > 0:
            parts.append(f"{self.heard_s / self.elapsed_s:.0f}x")
        if 0 < share < 1:
            parts.append(f"{hours(self.elapsed_s * (1 - share) / share)} left")
        figures = "  ".join(parts)
        filled = round(share * BAR_CELLS)
        bar = f"[{'#' * filled}{'-' * (BAR_CELLS - filled)}] " if self._whole else ""
        return (bar + figures if len(bar) + len(figures) <= columns else figures)[:columns]

    def _draw(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._drawn))
        self._stream.flush()
        self._drawn, self._drawn_at = len(line), self._clock.now()


def hours(seconds: float) -> str:
    """``1:02:03``."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


def total(files: int, failed: int, skipped: int, heard_s: float, elapsed_s: float) -> str:
    """``7 files, 0:42:10 of audio in 31.2 s, 81 times as fast; 1 failed``."""
    speed = f", {heard_s / elapsed_s:.0f} times as fast" if elapsed_s > 0 and heard_s > 0 else ""
    text = f"{files} files, {hours(heard_s)} of audio in {elapsed_s:.1f} s{speed}"
    if skipped:
        text += f"; {skipped} were complete already"
    return text + (f"; {failed} could not be transcribed" if failed else "")

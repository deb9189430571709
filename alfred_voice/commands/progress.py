"""How a pull looks to the person who waits: a bar on a terminal, a line per file elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from alfred_voice.clock import Clock


MB = 1_000_000
REDRAW_S = 0.1
BAR_CELLS = 24
LEAST_CELLS = 8


class Bar:
    """One line on a terminal, drawn anew as bytes come: percent, size, rate and time to go."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._item = ""
        self._begun_at = 0.0
        self._begun_bytes = 0
        self._drawn_at = 0.0
        self._drawn_chars = 0

    def update(self, item: str, done: int, total: int) -> None:
        """Draw, unless that was done a moment ago; a complete item keeps its line."""
        now = self._clock.now()
        if item != self._item:
            self._item, self._begun_at, self._begun_bytes = item, now, done
        elif done < total and now - self._drawn_at < REDRAW_S:
            return
        self._drawn_at = now
        gained, elapsed_s = done - self._begun_bytes, now - self._begun_at
        self._draw(_line(item, done, total, gained, elapsed_s, _columns()))
        if done >= total:
            self._end_line()

    def note(self, message: str) -> None:
        """Print a sentence on a line of its own."""
        self._stream.write("\r" + message.ljust(self._drawn_chars))
        self._end_line()

    def close(self) -> None:
        """Leave the cursor on a fresh line, whatever became of the pull."""
        if self._drawn_chars:
            self._end_line()

    def _draw(self, line: str) -> None:
        line = line[: _columns()]  # a line that wraps could not be drawn over
        self._stream.write("\r" + line.ljust(self._drawn_chars))
        self._stream.flush()
        self._drawn_chars = len(line)

    def _end_line(self) -> None:
        self._stream.write("\n")
        self._stream.flush()
        self._item, self._drawn_chars = "", 0


class Lines:
    """A line for each complete file; for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun: str | None = None

    def update(self, item: str, done: int, total: int) -> None:
        """Print the item when it begins to take long, and when it is complete."""
        if done >= total:
            self._print(f"{item}: {total / MB:.1f} MB")
            self._begun = None
        elif item != self._begun:
            self._print(f"{item}: fetching {total / MB:.1f} MB")
            self._begun = item

    def note(self, message: str) -> None:
        """Print a sentence."""
        self._print(message)

    def close(self) -> None:
        """Nothing is left open."""

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _columns() -> int:
    """Cells of a line; the last one stays free, or some terminals would go on to the next line."""
    return shutil.get_terminal_size().columns - 1


def _line(item: str, done: int, total: int, gained: int, elapsed_s: float, columns: int) -> str:
    """``item [###---]  45 %  40.1/88.4 MB  12.3 MB/s  0:04 left``; the rate counts what came in this run.

    The bar takes the room that the figures leave, and none on a narrow terminal.
    """
    if done >= total and gained == 0:
        return f"{item}: {total / MB:.1f} MB"
    figures = f"{done * 100 // total:3d} %  {done / MB:.1f}/{total / MB:.1f} MB"
    if gained > 0 and elapsed_s > 0:
        rate = gained / elapsed_s
        figures += f"  {rate / MB:.1f} MB/s"
        if done < total:
            minutes, seconds = divmod(round((total - done) / rate), 60)
            figures += f"  {minutes}:{seconds:02d} left"
    cells = min(BAR_CELLS, columns - len(item) - len(figures) - len(" [] "))
    if cells < LEAST_CELLS:
        return f"{item} {figures}"
    filled = done * cells // total
    return f"{item} [{'#' * filled}{'-' * (cells - filled)}] {figures}"

"""A process's memory as the system counts it."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from alfred_voice.bench.errors import DaemonFailed


MB = 1_000_000
KB = 1_000


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes."""

    rss: int
    """Resident: all that is in memory, shared libraries included."""
    uss: int
    """What would be free if the process ended."""
    pss: int
    """The same, and its share of what it has in common with others."""

    @property
    def cells(self) -> dict[str, float]:
        """For a table, in megabytes."""
        return {"rss_mb": self.rss / MB, "pss_mb": self.pss / MB, "uss_mb": self.uss / MB}


def footprint_of(pid: int) -> Footprint:
    """The memory of a process now.

    Raises:
        DaemonFailed: it has gone.
    """
    try:
        figures = psutil.Process(pid).memory_full_info()
    except psutil.Error as exc:
        raise DaemonFailed(f"the daemon has gone: {exc}") from exc
    # Only Linux tells the proportional share.
    return Footprint(figures.rss, figures.uss, getattr(figures, "pss", figures.rss))

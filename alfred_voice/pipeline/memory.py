"""Resident memory: read it, and give back what can be given back."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress

import psutil


MEGABYTE = 1024 * 1024
GC_THRESHOLD = 50_000
"""Allocations between two looks at the youngest objects."""

# malloc.h of glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8


class Memory:
    """The process's own memory."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._last_mb = 0.0

    def resident_mb(self) -> float:
        """Resident memory now; what it was last while the process has no descriptor left to look with."""
        with suppress(OSError):
            self._last_mb = float(self._process.memory_info().rss) / MEGABYTE
        return self._last_mb

    def collect(self) -> int:
        """Run a full garbage collection; returns how many objects were freed."""
        return gc.collect()

    def trim(self) -> bool:
        """Give freed heap back to the system, where the C library can (glibc's ``malloc_trim``)."""
        libc = _glibc()
        return libc is not None and bool(libc.malloc_trim(ctypes.c_size_t(0)))

    def settle(self) -> None:
        """Set aside what has been loaded, which lives as long as the process: the collector need not look at it.

        It also looks less often. Hundreds of sessions make ten thousands of short-lived tuples a second, none of them
        in a cycle; with the usual threshold of 700 one tenth of the event loop's time went into looking.
        """
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 20)

    def tune(self) -> None:
        """Make the C library give large blocks back as soon as they are freed.

        The turn model takes some 30 MB for each of its runs; by default glibc keeps them, and keeps
        them in an arena of their own for each thread (mallopt(3)).
        """
        libc = _glibc()
        if libc is not None:
            libc.mallopt(M_MMAP_THRESHOLD, MEGABYTE)
            libc.mallopt(M_TRIM_THRESHOLD, 4 * MEGABYTE)
            libc.mallopt(M_ARENA_MAX, 2)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    # What the process has loaded already: to look for the file would start other programs.
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None

"""What a process holds: memory, threads, descriptors, and sessions."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.support import Daemon


@dataclass(frozen=True, slots=True)
class Footprint:
    """At one moment, as the kernel and the daemon tell."""

    memory_mb: float
    """Resident."""
    threads: int
    descriptors: int
    sessions: int


def footprint_of(daemon: Daemon) -> Footprint:
    """What a daemon holds now."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{daemon.pid}/status").read_text("utf-8").splitlines() if ":" in line
    )
    with urllib.request.urlopen(f"{daemon.base}/sessions", timeout=10) as response:  # noqa: S310 - our own http address
        sessions = json.load(response)["count"]
    return Footprint(
        memory_mb=int(fields["VmRSS"].split()[0]) / 1024,
        threads=int(fields["Threads"]),
        descriptors=len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())),
        sessions=sessions,
    )


def settled(daemon: Daemon, bound: Footprint, within_s: float = 20.0) -> Footprint:
    """What it holds once it has no more sessions and descriptors than ``bound``, or at the time's end."""
    deadline = time.monotonic() + within_s
    while True:
        found = footprint_of(daemon)
        if found.sessions == 0 and found.descriptors <= bound.descriptors:
            return found
        if time.monotonic() > deadline:
            return found
        time.sleep(0.1)

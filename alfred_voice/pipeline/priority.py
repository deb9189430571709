"""Who computes first where there are more threads than cores."""

from __future__ import annotations

import os
import sys
import threading


GIVE_WAY = 5
"""Nice value of the threads in which engines compute: against the event loop they get a third of a core's time."""


def give_way() -> None:
    """Let the calling thread, and those that it starts, come after the event loop.

    With several threads for each core the detector, which runs on the loop, took ten times as long as alone, and the
    loop was half a second late. On Linux each thread has a nice value of its own (setpriority(2), "C library/kernel
    differences"); elsewhere nothing is done.
    """
    if sys.platform.startswith("linux"):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(GIVE_WAY, os.getpriority(os.PRIO_PROCESS, thread)))

"""What the daemon starts for each recording: a process of its own, which reads a job and writes lines of JSON.

It takes nothing of the daemon's memory, stands back behind it, and gives everything back at its end. Not a sub-command;
``python -m alfred_voice.commands.transcribe_worker`` with a :class:`Job` on standard input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any, BinaryIO

import msgspec

from alfred_voice.clock import SystemClock
from alfred_voice.config import Config
from alfred_voice.errors import AlfredVoiceError
from alfred_voice.files.errors import RecordingUnreadable
from alfred_voice.files.transcriber import Progress, Wishes
from alfred_voice.pipeline.memory import Memory
from alfred_voice.recordings import Recordings


NICE = 19
"""As far behind the daemon as there is, see nice(1): a live final is waited for, a recording is not."""
PROGRESS_S = 1.0
"""How often it tells how far it is; that is also how the daemon notices that a client has left."""


class Job(msgspec.Struct, frozen=True):
    """A recording to be transcribed."""

    file: str
    """Its path."""
    wishes: Wishes
    config: Config
    workers: int


class Teller:
    """Writes each thing as a line."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._now = SystemClock().now
        self._next_at = float("-inf")
        self.share_read = 0.0

    def tell(self, kind: str, fields: dict[str, Any]) -> None:
        """One thing of that ``type``."""
        self._output.write(msgspec.json.encode({"type": kind, **fields}) + b"\n")
        self._output.flush()

    def progress(self, progress: Progress) -> None:
        """Told when it is time to."""
        now = self._now()
        if now >= self._next_at:
            self._next_at = now + PROGRESS_S
            share = round(self.share_read, 4)
            times = {"heard_ms": round(progress.heard_ms, 1), "done_ms": round(progress.done_ms, 1)}
            self.tell("progress", times | {"share_read": share})


def work(job: Job, output: BinaryIO) -> None:
    """The whole recording; an error is the last line."""
    teller = Teller(output)
    try:
        with Recordings(job.config, workers=job.workers) as recordings:

            def tell(progress: Progress) -> None:
                teller.share_read = going.share_read
                teller.progress(progress)

            going = recordings.start(job.file, job.wishes, tell)
            for segment in going:
                teller.tell("segment", segment.as_fields())
            fields = going.result().as_fields()
        fields["metadata"].pop("name")  # a temporary file's
        teller.tell("result", fields)
    except AlfredVoiceError as error:
        from alfred_voice.server.problems import status_of  # loads the web server's library

        # The name is that of a temporary file.
        detail = error.reason if isinstance(error, RecordingUnreadable) else str(error)
        teller.tell("error", {"code": error.code, "detail": detail, "status": status_of(error)})


def stand_back() -> None:
    """Let the daemon go first, at once when it wakes up, where the system has that (sched(7), SCHED_IDLE)."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main() -> None:
    """Read the job, do it."""
    # A terminal's Ctrl-C is for the daemon, which ends this. A session of its own would keep it off, too, but Linux
    # weighs sessions against each other, and priorities within them only (sched(7), autogroups). So is the SIGTERM that
    # a service manager sends to all processes of a service; without the daemon the next line that is written ends this.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    stand_back()
    Memory().tune()
    work(msgspec.json.decode(sys.stdin.buffer.read(), type=Job), sys.stdout.buffer)


if __name__ == "__main__":
    main()

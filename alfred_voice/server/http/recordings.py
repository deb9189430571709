"""``POST /transcribe``: a whole recording in, its text out, segment by segment as it is recognised.

Each recording has a process of its own (:mod:`alfred_voice.commands.transcribe_worker`), which stands back behind the
daemon: live sessions are not kept waiting, and what it takes of memory is neither the daemon's nor kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, cast

import msgspec
from aiohttp import web

from alfred_voice.errors import (
    AlfredVoiceError,
    Draining,
    Overloaded,
)
from alfred_voice.files.transcriber import Wishes
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.server.guard.credentials import QUERY_FIELD
from alfred_voice.server.http.recording_body import read_recording, wishes_of
from alfred_voice.server.options import ServerOptions
from alfred_voice.server.problems import problem, problem_of, status_of


_log = logging.getLogger(__name__)

LINE_BYTES = 256 * 1024 * 1024
"""The longest line that a worker may write: the result of a recording of days."""
RETRY_AFTER_S = 10
_EXIT_WITHIN_S = 5.0
"""How long a worker may take to be gone that has closed its output."""
_STOPS = "the daemon is shutting down; send the recording again to one that is not"
NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"


@dataclass(frozen=True, slots=True)
class RecordingWorker:
    """What is started for each recording."""

    command: tuple[str, ...]
    config: Any
    """The daemon's, as it stands in the job."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording that has arrived."""

    path: str
    wishes: Wishes


@dataclass(slots=True, eq=False)
class _Work:
    """A worker's process."""

    process: asyncio.subprocess.Process
    is_cut_off: bool = False
    """Whether the daemon has ended it because it stops."""

    def cut_off(self) -> None:
        """End it."""
        self.is_cut_off = self.is_cut_off or self.process.returncode is None
        _kill(self.process)


class Line(msgspec.Struct):
    """What is to be known of a worker's line; the rest is the client's."""

    type: str
    code: str = ""
    detail: str = ""
    status: int = 500


class RecordingRoutes:
    """Takes recordings, a few at a time; who comes when all places are taken is asked to come again.

    Args:
        worker: what transcribes one.
        options: how many at a time, and how large.
        metrics: where recordings are counted.
    """

    def __init__(self, worker: RecordingWorker, options: ServerOptions, metrics: Metrics) -> None:
        self._count = metrics.door.recordings
        self._worker = worker
        self._options = options
        self._taken = 0
        self._works: set[_Work] = set()
        self._is_draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    def reconfigure(self, worker: RecordingWorker) -> None:
        """Transcribe the recordings that come from now on in another way."""
        self._worker = worker

    def routes(self) -> list[web.RouteDef]:
        """For the application's router."""
        return [web.post("/transcribe", self.transcribe)]

    async def drain(self, grace_s: float) -> None:
        """Take no more; those that are on their way are cut off after ``grace_s`` seconds, and their clients told."""
        self._is_draining = True
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("recordings_cut_off", extra={"recordings": self._taken})
            self._cut_off()

    async def close(self, _application: web.Application) -> None:
        """End what is being transcribed: the daemon stops."""
        self._is_draining = True
        self._cut_off()

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """A recording in; JSON lines out, or server-sent events where they are asked for."""
        self._check_open()
        if self._taken >= self._options.max_recordings:
            self._count.labels("refused").inc()
            raise Overloaded(f"{_being_transcribed(self._taken)}, as many as may be", RETRY_AFTER_S)
        self._taken += 1
        self._idle.clear()
        outcome = "failed"
        try:
            with tempfile.NamedTemporaryFile(prefix="alfred-voice-") as file:
                wishes = await self._read(request, cast("BinaryIO", file))
                self._check_open()
                async with self._work(Upload(file.name, wishes)) as work:
                    response, outcome = await _answer(request, work)
                    return response
        except (AlfredVoiceError, web.HTTPException, ConnectionError) as error:
            outcome = _outcome_of(error)
            raise
        finally:
            self._taken -= 1
            self._count.labels(outcome).inc()
            if not self._taken:
                self._idle.set()

    def _check_open(self) -> None:
        if self._is_draining:
            raise Draining(_STOPS, RETRY_AFTER_S)

    def _cut_off(self) -> None:
        for work in self._works:
            work.cut_off()

    async def _read(self, request: web.Request, file: BinaryIO) -> Wishes:
        try:
            async with asyncio.timeout(self._options.recording_timeout_s):
                fields = await read_recording(request, file, self._options.max_recording_bytes)
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(text="the recording did not arrive in time") from error
        file.flush()
        asked = {name: value for name, value in request.query.items() if name != QUERY_FIELD}
        return wishes_of({**asked, **fields}, self._options.max_recording_s)

    @contextlib.asynccontextmanager
    async def _work(self, upload: Upload) -> AsyncIterator[_Work]:
        """A worker, which writes lines about the recording; it ends with the context."""
        job = {
            "file": upload.path,
            "wishes": msgspec.to_builtins(upload.wishes),
            "config": self._worker.config,
            "workers": self._options.recording_workers,
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._worker.command,
            stdin=pipe,
            stdout=pipe,
            limit=LINE_BYTES,
            env=_environment(),
        )
        if process.stdin is None:
            raise AssertionError("a process without its pipes")
        work = _Work(process)
        self._works.add(work)
        try:
            with contextlib.suppress(ConnectionError):  # it has ended at once: there will be no line
                process.stdin.write(msgspec.json.encode(job))
                await process.stdin.drain()
                process.stdin.close()
            yield work
        finally:
            _kill(process)
            await process.wait()
            self._works.discard(work)


def _being_transcribed(count: int) -> str:
    return "1 recording is being transcribed" if count == 1 else f"{count} recordings are being transcribed"


def _environment() -> dict[str, str]:
    """Products of matrices are not to start threads of their own."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def _answer(request: web.Request, work: _Work) -> tuple[web.StreamResponse, str]:
    """The answer, and what became of the recording: ``done``, ``unusable``, ``failed``, or ``gone`` with its client.

    Begun with the first line, so that a recording that cannot be read at all gets a status that says so.
    """
    is_events = EVENTS in request.headers.get("Accept", "")
    response: web.StreamResponse | None = None
    last = Line("")
    if work.process.stdout is None:
        raise AssertionError("a process without its pipes")
    try:
        async for line in work.process.stdout:
            last = msgspec.json.decode(line, type=Line)
            if response is None and last.type == "error":
                return problem(last.status, last.code, last.detail), _outcome(last)
            response = response or await _begin(request, is_events=is_events)
            await response.write(framed(line, last.type) if is_events else line)
    except ConnectionError:
        return response or web.Response(status=400), "gone"  # reaches nobody
    if last.type not in ("result", "error"):
        response = await _told_failure(response, work, is_events=is_events)
    if response is None:
        raise AssertionError("lines without an answer")
    return response, _outcome(last)  # whose end is sent when the place is free


def _outcome_of(error: Exception) -> str:
    """What became of a recording that was never worked on."""
    if isinstance(error, ConnectionError):
        return "gone"
    return "refused" if isinstance(error, Overloaded) else "unusable"


def _outcome(last: Line) -> str:
    if last.type == "result":
        return "done"
    is_theirs = last.type == "error" and last.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return "unusable" if is_theirs else "failed"


async def _told_failure(response: web.StreamResponse | None, work: _Work, *, is_events: bool) -> web.StreamResponse:
    """The worker has ended before its work."""
    error = await _failure(work)
    if response is None:
        return problem_of(error)
    fields = {"type": "error", "code": error.code, "detail": str(error), "status": status_of(error)}
    line = msgspec.json.encode(fields) + b"\n"
    with contextlib.suppress(ConnectionError):
        await response.write(framed(line, "error") if is_events else line)
    return response


async def _failure(work: _Work) -> AlfredVoiceError:
    """Why it has ended: the daemon stops, or it has failed by itself, which is logged."""
    if work.is_cut_off:
        return Draining(_STOPS, RETRY_AFTER_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_WITHIN_S):
            await work.process.wait()
    # What it had to say it has written to the daemon's standard error.
    _log.error("recording_worker_failed", extra={"pid": work.process.pid, "exit_status": work.process.returncode})
    return AlfredVoiceError("the daemon failed on this recording; its log says why")


async def _begin(request: web.Request, *, is_events: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = EVENTS if is_events else NDJSON
    response.charset = "utf-8"
    await response.prepare(request)
    return response


def framed(line: bytes, kind: str) -> bytes:
    """A line of JSON as a server-sent event named by its type (HTML Living Standard, section 9.2)."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), line.rstrip(b"\n"))

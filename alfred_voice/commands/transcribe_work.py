"""The work of ``alfred-voice transcribe``: several recordings side by side, told in their order."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from alfred_voice.commands.transcribe_progress import Meter
from alfred_voice.commands.transcribe_tasks import STDIN, Task
from alfred_voice.errors import AudioError, EngineFailure
from alfred_voice.files.errors import RecordingUnreadable
from alfred_voice.files.formats import JSON, TEXT, line, render
from alfred_voice.files.notes import Notes
from alfred_voice.recordings import Progress, Recordings, Segment, Source, Transcribing, Transcription, Wishes


@dataclass(frozen=True, slots=True)
class Orders:
    """What is made of each recording."""

    kind: str
    """The format."""
    wishes: Wishes
    timestamps: bool = False
    has_notes: bool = False
    """Whether segments are noted as they come."""
    resumes: bool = False
    """Whether such notes are taken up again."""
    has_titles: bool = False
    """Whether printed text stands under the recording's name."""
    is_verbose: bool = False
    """Whether it is told where in the program an error arose."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recording."""

    task: Task
    result: Transcription
    """As far as it came."""
    failure: Exception | None = None

    @property
    def reason(self) -> str | None:
        """Of the failure, for people, without the recording's name; None when there was none."""
        if isinstance(self.failure, RecordingUnreadable):
            return self.failure.reason
        return None if self.failure is None else str(self.failure)


class Unwritten(Exception):
    """A text or its notes cannot be written; its sentence says which and why."""


class Interrupted(Exception):
    """Ends the work on a recording that nobody waits for any more."""


@dataclass(slots=True)
class Tally:
    """How many recordings came to which end."""

    complete: int = 0
    failed: int = 0


class Batch:
    """Recordings that are transcribed with the same orders.

    As many as there are workers are on their way at once, so that short ones keep all of them busy, too.
    """

    def __init__(self, recordings: Recordings, orders: Orders, meter: Meter, stop: threading.Event) -> None:
        self._recordings = recordings
        self._orders = orders
        self._meter = meter
        self._stop = stop
        self.tally = Tally()
        # Then nothing can be printed before all of a recording is there.
        self._is_improved = recordings.config.post_processing.is_on
        self._told_before = recordings.unknown_language(orders.wishes)
        """A warning that is for all recordings alike."""

    def run(self, tasks: list[Task]) -> None:
        """All of them; :attr:`tally` counts. Those that are on their way when ``stop`` is set are given up.

        Raises:
            OSError: standard output cannot be written.
        """
        if self._told_before:
            print(f"warning: {self._told_before}", file=sys.stderr)
        if len(tasks) == 1:
            self._close(self._transcribe(tasks[0], is_alone=True))
            return
        pool = ThreadPoolExecutor(min(self._recordings.workers, len(tasks)), thread_name_prefix="recording")
        try:
            for outcome in pool.map(self._transcribe, tasks):
                self._close(outcome)
        except BaseException:
            self._stop.set()  # whoever is still at work has been interrupted
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _transcribe(self, task: Task, *, is_alone: bool = False) -> Outcome | None:
        """One recording; what fails is told by the outcome. None when it was interrupted."""
        try:
            return None if self._stop.is_set() else self._heard(task, is_alone=is_alone)
        except Interrupted:
            return None

    def _heard(self, task: Task, *, is_alone: bool) -> Outcome:
        try:
            if task.target is not None:
                with _writing(task.target):
                    task.target.parent.mkdir(parents=True, exist_ok=True)
        except Unwritten as error:
            return Outcome(task, Transcription((), 0.0), error)
        source: Source = sys.stdin.buffer if task.file == STDIN else task.file
        with contextlib.ExitStack() as stack:
            notes = self._notes(task, stack)
            known = notes.known if notes else []
            wishes = replace(self._orders.wishes, done_until_ms=notes.done_until_ms if notes else 0.0)
            going: Transcribing | None = None

            def tell(progress: Progress) -> None:
                self._look()
                share = going.share_read if going else 0.0
                self._meter.update(task.file, share * task.size, progress.heard_ms)

            going = self._recordings.start(source, wishes, tell)
            try:
                for segment in going:
                    if notes:
                        with _writing(task.notes):
                            notes.add(segment)
                    if is_alone:
                        self._print_segment(task, segment)
                    self._look()
                result = _after(known, going.result())
                if notes:
                    with _writing(task.notes):
                        notes.finish(result)
            except (AudioError, EngineFailure, Unwritten) as error:
                return Outcome(task, _after(known, going.result()), error)
            finally:
                self._meter.end_file()
        return Outcome(task, self._recordings.improved(result))

    def _look(self) -> None:
        """Whether somebody still waits for this."""
        if self._stop.is_set():
            raise Interrupted

    def _notes(self, task: Task, stack: contextlib.ExitStack) -> Notes | None:
        path = task.notes
        if path is None or not self._orders.has_notes:
            return None
        notes = stack.enter_context(Notes(path, self._about(task), goes_on=self._orders.resumes))
        if notes.other:
            self._meter.clear()
            print(f"note: {_shown(task)}: {notes.other} are left aside: it begins anew", file=sys.stderr)
        return notes

    def _about(self, task: Task) -> dict[str, Any]:
        """What must not have changed for notes to be of use."""
        about: dict[str, Any] = {
            "file": task.file,
            "settings": self._recordings.fingerprint(self._orders.wishes),
        }
        with contextlib.suppress(OSError):
            stat = Path(task.file).stat()
            about |= {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
        return about

    def _print_segment(self, task: Task, segment: Segment) -> None:
        """At once, where it is a line by itself."""
        if task.target is None and self._orders.kind == TEXT and not self._is_improved:
            self._meter.clear()
            print(line(segment, timestamps=self._orders.timestamps), flush=True)

    def _close(self, outcome: Outcome | None) -> None:
        """Tell what became of a recording."""
        self._meter.clear()
        if outcome is None:
            return
        task = outcome.task
        if task.target is not None:
            outcome = self._written(outcome)
        elif self._orders.kind != TEXT or self._orders.has_titles or self._is_improved:
            self._print(outcome, sys.stdout)
        self._warn(outcome)
        if outcome.failure is None:
            self.tally.complete += 1
            return
        self.tally.failed += 1
        has_part = task.part is not None and outcome.result.segments and not isinstance(outcome.failure, Unwritten)
        left = f"; what was heard until then is in {task.part}" if has_part else ""
        print(f"error: {_shown(task)}: {outcome.reason}{left}", file=sys.stderr)
        if self._orders.is_verbose:
            traceback.print_exception(outcome.failure)

    def _warn(self, outcome: Outcome) -> None:
        name, metadata = _shown(outcome.task), outcome.result.metadata
        for warning in outcome.result.warnings:
            if warning != self._told_before:
                print(f"warning: {name}: {warning}", file=sys.stderr)
        if "post_processing" in metadata:
            print(f"warning: {name}: as recognised: {metadata['post_processing']}", file=sys.stderr)

    def _print(self, outcome: Outcome, output: TextIO) -> None:
        if (
            self._orders.kind == TEXT
            and self._orders.has_titles
            and (outcome.failure is None or outcome.result.segments)
        ):
            output.write(f"== {_shown(outcome.task)}\n")
        output.write(self._rendered(outcome))
        output.flush()

    def _written(self, outcome: Outcome) -> Outcome:
        """Under another name first: what has the right name is complete. As it was, or why it could not be written."""
        task = outcome.task
        if task.target is None or task.part is None:
            raise AssertionError("a recording without a file to write")
        is_whole = outcome.failure is None
        if not is_whole and (not outcome.result.segments or isinstance(outcome.failure, Unwritten)):
            return outcome
        try:
            with _writing(task.target):
                task.part.write_text(self._rendered(outcome), "utf-8", newline="\n")
                if is_whole:
                    task.part.replace(task.target)
        except Unwritten as error:
            with contextlib.suppress(OSError):
                task.part.unlink(missing_ok=True)
            return replace(outcome, failure=outcome.failure or error)
        return outcome

    def _rendered(self, outcome: Outcome) -> str:
        orders, name = self._orders, _shown(outcome.task)
        if orders.kind != JSON or outcome.failure is None:
            return render(outcome.result, orders.kind, timestamps=orders.timestamps, name=name)
        fields = {"file": name, "error": outcome.reason, **outcome.result.as_fields()}
        return json.dumps(fields, ensure_ascii=False) + "\n"


def _shown(task: Task) -> str:
    return "standard input" if task.file == STDIN else task.file


def _after(known: list[Segment], result: Transcription) -> Transcription:
    """With the segments of before the interruption."""
    return replace(result, segments=(*known, *result.segments)) if known else result


@contextlib.contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritten(f"{path} cannot be written: {error.strerror or error}") from error

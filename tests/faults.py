"""Engines that do wrong when a test says so: real or scripted ones with a switch in front.

The switch is a file, so that a test can throw it in a daemon that runs as another process.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alfred_voice.errors import OutOfMemory
from alfred_voice.models.engine import Clip, Engines, Float32, SttEngine, TurnEngine, VadEngine
from alfred_voice.results import Transcript, TurnJudgement


Wrong = Literal["raise", "memory", "oom", "hang", "nan", "count"]
"""Raise something unexpected, a MemoryError, or OutOfMemory; never return; answer nonsense; answer too few."""

MARK = 1234
"""A value that marked audio holds for a while, as no recording does."""
MARK_SAMPLES = 1100
"""So that at least one window of the detector is full of it."""
_RUN = 256
"""Equal samples that are taken for the mark."""


def marked(samples: NDArray[np.int16], at: int | None = None) -> NDArray[np.int16]:
    """The same sound with the mark in it, in its middle or from sample ``at`` on: 70 ms that do not sound."""
    begin = (len(samples) - MARK_SAMPLES) // 2 if at is None else at
    sound = samples.copy()
    sound[begin : begin + MARK_SAMPLES] = MARK
    return sound


def has_mark(samples: Float32) -> bool:
    """Whether the mark is in these samples, float32, as engines get them."""
    others = np.flatnonzero(samples != np.float32(MARK / 32_768))
    return bool(np.diff(np.concatenate(([-1], others, [len(samples)]))).max() > _RUN)


@dataclass(frozen=True, slots=True)
class Fault:
    """What an engine does wrong."""

    kind: Literal["vad", "stt", "turn"]
    wrong: Wrong
    times: int = 1_000_000
    """How often."""
    only_marked: bool = False
    """Only to rows that have the mark."""


class Switch:
    """What is wrong now: nothing, or one fault. Read at each call from its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._fault: Fault | None = None
        self._left = 0
        self._lock = threading.Lock()

    def throw(self, fault: Fault | None) -> None:
        """Have it done wrong from now on; None for no more."""
        text = "" if fault is None else json.dumps(asdict(fault))
        # Another fault of the same kind is another one.
        aside = self._path.with_suffix(".new")
        aside.write_text(text, "utf-8")
        aside.replace(self._path)

    def due(self, kind: str, rows: Sequence[Float32]) -> tuple[Wrong, list[int]] | None:
        """What is to go wrong in this call, and for which rows; counts it."""
        with self._lock:
            text = self._path.read_text("utf-8") if self._path.exists() else ""
            if text != self._text:
                self._text = text
                self._fault = Fault(**json.loads(text)) if text else None
                self._left = self._fault.times if self._fault else 0
            fault = self._fault
            if fault is None or fault.kind != kind or not self._left:
                return None
            hit = [place for place, row in enumerate(rows) if not fault.only_marked or has_mark(row)]
            if not hit:
                return None
            self._left -= 1
            return fault.wrong, hit


def _do(wrong: Wrong) -> None:
    """What can be done wrong before the engine is asked."""
    if wrong == "raise":
        raise ZeroDivisionError("a fault that a test has asked for")
    if wrong == "memory":
        raise MemoryError
    if wrong == "oom":
        raise OutOfMemory("a test has taken all of it")
    if wrong == "hang":
        threading.Event().wait()


class FaultyVad:
    """A detector behind a switch."""

    def __init__(self, engine: VadEngine, switch: Switch) -> None:
        self.name = engine.name
        self._engine = engine
        self._switch = switch
        self.new_states = engine.new_states

    def step(self, states: Any, rows: Sequence[int], windows: Float32) -> Float32:
        """See :meth:`VadEngine.step`."""
        due = self._switch.due("vad", list(windows))
        if due is None:
            return self._engine.step(states, rows, windows)
        wrong, hit = due
        _do(wrong)
        answer = self._engine.step(states, rows, windows)
        if wrong == "count":
            return answer[:-1]
        answer[hit] = np.nan
        return answer


class FaultyStt:
    """A recogniser behind a switch."""

    def __init__(self, engine: SttEngine, switch: Switch) -> None:
        self.name = engine.name
        self._engine = engine
        self._switch = switch

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        """See :meth:`SttEngine.transcribe`."""
        due = self._switch.due("stt", [clip.samples for clip in clips])
        if due is None:
            return self._engine.transcribe(clips)
        wrong, hit = due
        _do(wrong)
        answers = self._engine.transcribe(clips)
        if wrong == "count":
            return answers[:-1]
        return [replace(one, confidence=np.nan) if place in hit else one for place, one in enumerate(answers)]


class GrowingFaultyStt(FaultyStt):
    """One that keeps hearings."""

    def new_hearing(self) -> Any:
        """See :meth:`GrowingStt.new_hearing`."""
        return self._engine.new_hearing()  # type: ignore[attr-defined]


class FaultyTurn:
    """A turn model behind a switch."""

    def __init__(self, engine: TurnEngine, switch: Switch) -> None:
        self.name = engine.name
        self._engine = engine
        self._switch = switch

    def judge(self, turns: Sequence[Float32]) -> list[TurnJudgement]:
        """See :meth:`TurnEngine.judge`."""
        due = self._switch.due("turn", turns)
        if due is None:
            return self._engine.judge(turns)
        wrong, hit = due
        _do(wrong)
        answers = self._engine.judge(turns)
        if wrong == "count":
            return answers[:-1]
        return [TurnJudgement(np.nan) if place in hit else one for place, one in enumerate(answers)]


def faulty(engines: Engines, switch: Switch) -> Engines:
    """The same engines behind a switch, and those that are built in their place after a fault."""

    def stt(engine: SttEngine) -> FaultyStt:
        return (GrowingFaultyStt if hasattr(engine, "new_hearing") else FaultyStt)(engine, switch)

    wraps: Mapping[str, Callable[[Any], Any]] = {
        "vad": lambda engine: FaultyVad(engine, switch),
        "stt": stt,
        "turn": lambda engine: FaultyTurn(engine, switch),
    }

    def rebuilt(kind: str, build: Callable[[], Any]) -> Callable[[], Any]:
        wrap = wraps.get(kind)
        return build if wrap is None else lambda: wrap(build())

    return replace(
        engines,
        vad=wraps["vad"](engines.vad),
        stt=stt(engines.stt),
        turn=wraps["turn"](engines.turn),
        builders={kind: rebuilt(kind, build) for kind, build in engines.builders.items()},
    )

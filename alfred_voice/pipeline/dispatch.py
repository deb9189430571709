"""From sessions to engines and back: who has something to do, and the lanes that do it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, EngineBusy, EngineFailure
from alfred_voice.models.engine import STT_LANE_PREFIX, Closing, Engines, SttEngine
from alfred_voice.pipeline.engine_call import Work
from alfred_voice.pipeline.engine_work import DetectWork, JudgeWork, TranscribeWork
from alfred_voice.pipeline.lane import Lane
from alfred_voice.pipeline.lane_options import LaneOptions
from alfred_voice.pipeline.measures import Measures
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import PipelineOptions
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.work import DetectQueue, Job, JudgeQueue, TranscribeQueue
from alfred_voice.results import Transcript, TurnJudgement
from alfred_voice.session.requests import DetectRequest, JudgeRequest, TranscribeRequest


log = logging.getLogger(__name__)

CROWD = 64
"""Sessions that send at the same time, from which on the loop turns more slowly."""
CROWD_TURN_S = 0.002
"""500 turns a second instead of thousands: most of the gain. At 5 ms one frame was a tenth cheaper still, but verdicts
came 15 ms later, as they wait for a turn on each of their ways."""

Answer = Transcript | TurnJudgement | AlfredVoiceError


class Dispatch:
    """Advances the streams that have something to do, once in a turn of the event loop for all of them.

    Args:
        on_end: called with each stream whose session has ended.
    """

    def __init__(
        self,
        engines: Engines,
        options: PipelineOptions,
        clock: Clock,
        metrics: Metrics,
        on_end: Callable[[Stream], None],
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._on_end = on_end
        self._ready: dict[Stream, None] = {}
        self._scheduled = False
        self.detect_queue = DetectQueue(options.max_batch, options.batch_deadline_ms)
        self.judge_queue = JudgeQueue()
        self._timeout_s = options.engine_timeout_s
        self._builders = engines.builders
        self._is_reduced = False
        self._generations: dict[str, int] = {}
        self.roll = engines.roll
        """The names of the engines that are there."""
        # Each recogniser has a lane of its own, so that a slow one, or a server far away, holds nobody else up.
        recognisers = {"": engines.stt, **engines.more_stt}
        transcribe_queues = {name: TranscribeQueue(options.stt_max_batch) for name in recognisers}
        self.transcribe_queues = tuple(transcribe_queues.values())
        self.far_lanes = frozenset(
            _lane_name(name) for name, engine in recognisers.items() if isinstance(engine, Closing)
        )
        """Lanes whose engine asks another machine: that they are busy says nothing about this one."""
        names = ("vad", *map(_lane_name, recognisers), "turn")
        self.lane_metrics = {name: LaneMetrics(name, metrics) for name in names}
        self.detect = Lane[DetectRequest, list[float]](
            "vad", self.detect_queue, DetectWork, engines.vad, self._deliver_detections, self._kick, clock,
            self.lane_metrics["vad"], self._lane_options("vad", threaded=False),
        )  # fmt: skip
        self.transcribe = {
            name: Lane[TranscribeRequest, Transcript](
                _lane_name(name), transcribe_queues[name], self._transcribe_maker(_lane_name(name)), engine,
                self._deliver, self._kick, clock, self.lane_metrics[_lane_name(name)],
                self._lane_options(_lane_name(name)),
            )
            for name, engine in recognisers.items()
        }  # fmt: skip
        self.judge = Lane[JudgeRequest, TurnJudgement](
            "turn", self.judge_queue, JudgeWork, engines.turn, self._deliver, self._kick, clock,
            self.lane_metrics["turn"], self._lane_options("turn"),
        )  # fmt: skip
        self._lanes: tuple[Lane[Any, Any], ...] = (self.detect, *self.transcribe.values(), self.judge)

    def _lane_options(self, name: str, *, threaded: bool = True) -> LaneOptions:
        return LaneOptions(threaded, self._timeout_s, self._builders.get(name))

    def _transcribe_maker(self, lane: str) -> Callable[[SttEngine], TranscribeWork]:
        """What makes a recogniser's work, for the model that the lane has now."""
        generation = self._generations.get(lane, 0)

        def make(engine: SttEngine) -> TranscribeWork:
            work = TranscribeWork(engine, self._clock, generation)
            work.reduce_quality(self._is_reduced)
            return work

        return make

    def reconfigure(self, options: PipelineOptions) -> None:
        """Go by other bounds from the next batches on."""
        self.detect_queue.reconfigure(options.max_batch, options.batch_deadline_ms)
        for queue in self.transcribe_queues:
            queue.reconfigure(options.stt_max_batch)
        for lane in self.lanes:
            lane.give_time(options.engine_timeout_s)

    def wake(self, stream: Stream) -> None:
        """Advance ``stream`` in the loop's next turn, together with all others that were woken by then."""
        self._ready[stream] = None
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        ready, self._ready = self._ready, {}
        now = self._clock.now()
        for stream in ready:
            self._advance(stream, now)
        if late := self.judge_queue.late(now):
            self._metrics.turns_unjudged.inc(len(late))
            error = EngineBusy("the turn model had no time for this pause")
            self._deliver(late, [error] * len(late))
        self._kick()
        self._rest(now)

    def _rest(self, began: float) -> None:
        """Hold the loop still for a moment when many send, so that its next turn takes up what all have sent since.

        A turn has a price however little it finds to do: with 300 sessions that send at times of their own, one frame
        cost 50 us instead of 57.
        """
        if self.detect_queue.speakers >= CROWD:
            left_s = began + CROWD_TURN_S - self._clock.now()
            if left_s > 0:
                self._clock.sleep(left_s)

    def _advance(self, stream: Stream, now: float) -> None:
        try:
            # Nearly all that is ever to be done, at a third of the price.
            detection = stream.next_detection()
            if detection is not None:
                self.detect_queue.add(Job(stream, detection, now))
                return
            requests = stream.advance(now)
        except Exception as error:  # noqa: BLE001  the border of one session: its fault must not touch the others
            self._end_faulty(stream, error)
            return
        for request in requests:
            if isinstance(request, DetectRequest):
                self.detect_queue.add(Job(stream, request, now))
            elif isinstance(request, TranscribeRequest):
                self.transcribe[request.engine].put(Job(stream, request, now))
            else:
                self.judge_queue.add(Job(stream, request, now))
        if stream.ended:
            self._on_end(stream)

    def _deliver_detections(
        self, jobs: Sequence[Job[DetectRequest]], answers: Sequence[list[float] | AlfredVoiceError]
    ) -> None:
        """The detector's word to each of its sessions, and on with them: this is the busiest place of the house."""
        now = self._clock.now()
        times: list[tuple[int, float]] = []
        for job, answer in zip(jobs, answers, strict=True):
            stream = job.stream
            if not isinstance(answer, AlfredVoiceError):
                times.append((len(answer), now - job.queued_at))
            try:
                goes_on = stream.receive_detection(job.request, answer, now)
            except Exception as error:  # noqa: BLE001  as in _advance
                self._end_faulty(stream, error)
                continue
            if goes_on:
                self._advance(stream, now)
        self._metrics.record_windows(times)

    def _deliver(
        self,
        jobs: Sequence[Job[TranscribeRequest] | Job[JudgeRequest]],
        answers: Sequence[Answer],
    ) -> None:
        now = self._clock.now()
        for job, answer in zip(jobs, answers, strict=True):
            try:
                job.stream.receive(job.request, answer, now)
            except Exception as error:  # noqa: BLE001  as in _advance
                self._end_faulty(job.stream, error)
                continue
            self._advance(job.stream, now)

    def _end_faulty(self, stream: Stream, error: Exception) -> None:
        log.error("session_failed", exc_info=error, extra={"session": stream.session_id})
        if not isinstance(error, AlfredVoiceError):
            error = EngineFailure("the session met an internal fault and has ended")
        stream.fail(error)
        self._on_end(stream)

    def _kick(self) -> None:
        for lane in self.lanes:
            lane.kick()

    @property
    def lanes(self) -> tuple[Lane[Any, Any], ...]:
        """All lanes."""
        return self._lanes

    def free(self) -> int:
        """Let go of what recognisers have kept of open utterances, which they can hear again; returns the bytes."""
        return sum(
            work.free(is_busy=lane.is_busy)
            for lane in self.transcribe.values()
            for work in lane.works
            if isinstance(work, TranscribeWork)
        )

    def economise(self, measures: Measures) -> None:
        """Ration partials or let them go, and recognise finals by smaller models where there are two; or as usual."""
        self._is_reduced = measures.smaller_model
        for lane in self.transcribe.values():
            for work in lane.works:
                if isinstance(work, TranscribeWork):
                    work.reduce_quality(self._is_reduced)
        for queue in self.transcribe_queues:
            queue.partial_share = measures.partial_share
            if not measures.partial_factor:
                queue.drop_partials()

    def replace_engine(self, kind: str, engine: Any, build: Callable[[], Any] | None = None) -> None:
        """Put another engine behind a lane; no session and no job is lost.

        The batch that runs is finished with the old engine, the next goes to the new one, and the old one is closed.
        What the old one has kept of sessions, and its tokens, do not reach the new one.

        Args:
            kind: the lane: ``vad``, ``stt``, ``turn``, or ``stt-`` and the name of one more recogniser.
            engine: belongs to the lane from now on.
            build: makes such an engine anew after it has failed; without it, it is used again as it is.
        """
        lane = next((lane for lane in self.lanes if lane.name == kind), None)
        if lane is None:
            raise ValueError(f"Expected one of {', '.join(self.lane_metrics)}, but got {kind!r}")
        make: Callable[[Any], Work[Any, Any]] = {"vad": DetectWork, "turn": JudgeWork}.get(kind) or self._next_maker(
            kind
        )
        lane.replace(make, engine, build)
        self.far_lanes = self.far_lanes - {kind} | ({kind} if isinstance(engine, Closing) else set())
        self.roll = self.roll.with_engine(kind, engine)

    def _next_maker(self, lane: str) -> Callable[[SttEngine], TranscribeWork]:
        self._generations[lane] = self._generations.get(lane, 0) + 1
        return self._transcribe_maker(lane)

    @property
    def states(self) -> dict[str, str]:
        """Each lane's engine: ``up``, ``restarting``, or ``down``."""
        return {lane.name: lane.state for lane in self.lanes}

    async def close(self) -> None:
        """Take no more batches; what engines hold from outside is given back first, so that nobody waits for it."""
        for lane in self.lanes:
            lane.close_engine()
        await asyncio.gather(*(lane.close() for lane in self.lanes))


def _lane_name(engine: str) -> str:
    """Of a recogniser's lane, for figures and threads."""
    return f"{STT_LANE_PREFIX}{engine}" if engine else "stt"

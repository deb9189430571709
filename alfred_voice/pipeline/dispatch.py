"""From sessions to engines and back: who has something to do, and the lanes that do it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.errors import AlfredVoiceError, EngineFailure
from alfred_voice.models.engine import Closing, Engines
from alfred_voice.pipeline.engine_work import DetectWork, JudgeWork, TranscribeWork
from alfred_voice.pipeline.lane import Lane
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
        # Each recogniser has a lane of its own, so that a slow one, or a server far away, holds nobody else up.
        recognisers = {"": engines.stt, **engines.more_stt}
        self._transcribe_works = {name: TranscribeWork(engine, clock) for name, engine in recognisers.items()}
        transcribe_queues = {name: TranscribeQueue(options.stt_max_batch) for name in recognisers}
        self.transcribe_queues = tuple(transcribe_queues.values())
        self.far_lanes = frozenset(
            _lane_name(name) for name, engine in recognisers.items() if isinstance(engine, Closing)
        )
        """Lanes whose engine asks another machine: that they are busy says nothing about this one."""
        self._held = [engine for engine in recognisers.values() if isinstance(engine, Closing)]
        names = ("vad", *map(_lane_name, recognisers), "turn")
        self.lane_metrics = {name: LaneMetrics(name, metrics) for name in names}
        self.detect = Lane[DetectRequest, list[float]](
            "vad", self.detect_queue, DetectWork(engines.vad),
            self._deliver_detections, self._kick, clock, self.lane_metrics["vad"], threaded=False,
        )  # fmt: skip
        self.transcribe = {
            name: Lane[TranscribeRequest, Transcript](
                _lane_name(name), transcribe_queues[name], self._transcribe_works[name],
                self._deliver, self._kick, clock, self.lane_metrics[_lane_name(name)],
            )
            for name in recognisers
        }  # fmt: skip
        self.judge = Lane[JudgeRequest, TurnJudgement](
            "turn", self.judge_queue, JudgeWork(engines.turn),
            self._deliver, self._kick, clock, self.lane_metrics["turn"],
        )  # fmt: skip
        self._lanes: tuple[Lane[Any, Any], ...] = (self.detect, *self.transcribe.values(), self.judge)

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

    def economise(self, measures: Measures) -> None:
        """Ration partials or let them go, and recognise finals by smaller models where there are two; or as usual."""
        for work in self._transcribe_works.values():
            work.reduce_quality(measures.smaller_model)
        for queue in self.transcribe_queues:
            queue.partial_share = measures.partial_share
            if not measures.partial_factor:
                queue.drop_partials()

    async def close(self) -> None:
        """Take no more batches; what engines hold from outside is given back first, so that nobody waits for it."""
        for engine in self._held:
            engine.close()
        await asyncio.gather(*(lane.close() for lane in self.lanes))


def _lane_name(engine: str) -> str:
    """Of a recogniser's lane, for figures and threads."""
    return f"stt-{engine}" if engine else "stt"

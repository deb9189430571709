"""Carries out what the ladder says: what is given up, by whom, and who is told."""

from __future__ import annotations

import logging

from alfred_voice.audio.pcm import FRAME_MS
from alfred_voice.events import BackpressureRecovered, BackpressureTriggered
from alfred_voice.pipeline.backpressure import Ladder, LoadParts, Rung
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.measures import MEASURES, Measures
from alfred_voice.pipeline.metrics import Metrics
from alfred_voice.pipeline.options import BackpressureOptions, CoordinatorOptions, PipelineOptions
from alfred_voice.pipeline.partial_pace import PartialPace
from alfred_voice.pipeline.stream import Stream


log = logging.getLogger(__name__)

KEPT_FRAMES = 25
"""Frames that a silent session keeps when waiting ones are dropped: half a second, for an onset."""
LOST_FRAMES = 50
"""What a session loses at a time when it cannot hold any more: a second in one piece, not fifty holes in its words."""
FREE_RATE_AFTER_S = 10.0
"""Calm after which clients may send faster than real time again."""


class Degradation:
    """Goes up and down the ladder. Lives on the event loop; :meth:`update` is called about ten times a second."""

    def __init__(self, options: CoordinatorOptions, metrics: Metrics, now: float) -> None:
        self._backpressure: BackpressureOptions = options.backpressure
        self._pipeline: PipelineOptions = options.pipeline
        self._metrics = metrics
        self._ladder = Ladder(options.backpressure)
        self._dispatch: Dispatch | None = None
        self._busy_at: float | None = None
        self.pace = PartialPace(now)

    def watch(self, dispatch: Dispatch) -> None:
        """Degrade these lanes from now on."""
        self._dispatch = dispatch

    def reconfigure(self, options: CoordinatorOptions) -> None:
        """Go by other thresholds from now on."""
        self._backpressure, self._pipeline = options.backpressure, options.pipeline
        self._ladder.reconfigure(options.backpressure)

    @property
    def rung(self) -> Rung:
        """How far the daemon has gone."""
        return self._ladder.rung

    @property
    def measures(self) -> Measures:
        """What is given up now."""
        return MEASURES[self._ladder.rung]

    def admits(self, now: float) -> bool:
        """Whether new sessions are let in: not on the top rung, nor when it is about to be taken."""
        return self.measures.admits and not (self.rung >= Rung.RATIONED_PARTIALS and self._ladder.is_climbing(now))

    @property
    def limits_rates(self) -> bool:
        """Whether clients may not send faster than real time."""
        return self._busy_at is not None

    def apply(self, stream: Stream) -> None:
        """Let a session that has just been opened give up what is to be given up now."""
        stream.session.economise(self.measures.economy(self.pace.factor))
        if self.limits_rates:
            stream.limit_rate(self._pipeline.queue_frames)

    def update(self, parts: LoadParts, streams: list[Stream], now: float) -> None:
        """Take the load of this moment, and do what follows."""
        self._pace_partials(streams, now)
        self._limit_rates(parts.load, streams, now)
        was = self._ladder.rung
        rung = self._ladder.update(parts.load, now, is_idle=not streams)
        if self.measures.drops_frames:
            self._drop(streams, now, in_pauses=rung is was and parts.load >= self._backpressure.threshold)
        if rung is not was:
            self._change(was, rung, parts, streams)

    def _pace_partials(self, streams: list[Stream], now: float) -> None:
        if self._dispatch is None or not self.pace.update(self._dispatch.lane_metrics["stt"].busy_s, now):
            return
        self._metrics.partial_factor.set(self.pace.factor)
        economy = self.measures.economy(self.pace.factor)
        for stream in streams:
            stream.session.economise(economy)

    def _limit_rates(self, load: float, streams: list[Stream], now: float) -> None:
        """Hold back those who send faster than real time, before anybody else has to do without something."""
        was_limited = self.limits_rates
        if load >= self._backpressure.recovery:
            self._busy_at = now
        elif self._busy_at is not None and now - self._busy_at >= FREE_RATE_AFTER_S:
            self._busy_at = None
        if self.limits_rates is was_limited:
            return
        burst = self._pipeline.queue_frames if self.limits_rates else None
        for stream in streams:
            stream.limit_rate(burst)
        log.info("rates_limited" if self.limits_rates else "rates_free", extra={"load": round(load, 2)})

    def _drop(self, streams: list[Stream], now: float, *, in_pauses: bool) -> None:
        """Drop the silence of idle sessions; then, where that has not helped, that of pauses; speech at the very last.

        Speech is lost only where a session has as much waiting as it may have, and not because it came too fast.
        """
        limit_s = self._pipeline.queue_frames * FRAME_MS / 1000
        waiting = [stream for stream in streams if stream.frames_queued > KEPT_FRAMES]
        for stream in sorted(waiting, key=lambda one: one.waiting_s(now), reverse=True):
            stream.drop_quiet(KEPT_FRAMES, in_pauses=in_pauses)
            if stream.waiting_s(now) >= limit_s:
                stream.drop_oldest(LOST_FRAMES)

    def _change(self, was: Rung, rung: Rung, parts: LoadParts, streams: list[Stream]) -> None:
        metrics, load = self._metrics, parts.load
        metrics.backpressure_events += 1
        metrics.backpressure_steps.labels(rung.step).inc()
        metrics.step.set(rung.step_number)
        metrics.rung.set(rung)
        fields = {"step": rung.step, "rung": int(rung), "load": round(load, 2), "part": parts.worst}
        log.warning("backpressure", extra=fields)
        if self._dispatch is not None:
            self._dispatch.economise(self.measures)
        economy = self.measures.economy(self.pace.factor)
        for stream in streams:
            stream.session.economise(economy)
            if rung > was:
                stream.tell(BackpressureTriggered(rung.step, load, stream.buffered_ms, int(rung)))
            else:
                stream.tell(BackpressureRecovered(rung.step, load, int(rung)))

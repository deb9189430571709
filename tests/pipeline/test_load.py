"""Load and rates from what queues, lanes, loop and memory say. The dispatch is played; time is the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.pipeline.backpressure import LoadParts
from alfred_voice.pipeline.dispatch import Dispatch
from alfred_voice.pipeline.load import FRAME_TIME_WINDOW_S, LOOP_GRAIN_S, LOOP_LIMIT_S, LoadMeter
from alfred_voice.pipeline.memory import Memory
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics
from alfred_voice.pipeline.options import CoordinatorOptions, MemoryOptions, PipelineOptions
from alfred_voice.pipeline.stream import Stream
from alfred_voice.pipeline.work import DetectQueue, Job, JudgeQueue, TranscribeQueue
from alfred_voice.session.requests import Urgency


Make = Callable[..., Job[Any]]

TICK_S = 0.1


class PlayedLane:
    """A lane's name and queue."""

    def __init__(self, name: str, queue: Any) -> None:
        self.name = name
        self.queue = queue


class PlayedDispatch:
    """Queues without lanes."""

    def __init__(self, metrics: Metrics) -> None:
        self.detect_queue = DetectQueue(64, 10.0)
        self.transcribe_queue = TranscribeQueue(16)
        self.transcribe_queues = (self.transcribe_queue,)
        self.judge_queue = JudgeQueue()
        queues = {"vad": self.detect_queue, "stt": self.transcribe_queue, "turn": self.judge_queue}
        self.far_lanes = frozenset({"stt-far"})
        self.lane_metrics = {name: LaneMetrics(name, metrics) for name in (*queues, "stt-far")}
        self.lanes = tuple(PlayedLane(name, queue) for name, queue in queues.items())


class PlayedMemory:
    """Memory that a test fills."""

    def __init__(self) -> None:
        self.resident = 100.0
        self.reads = 0

    def resident_mb(self) -> float:
        self.reads += 1
        return self.resident


@dataclass
class Speaker:
    """What the meter asks a session."""

    is_speaking: bool = False


@dataclass
class Waiting:
    """What the meter asks a stream."""

    waited: float = 0.0
    frames_queued: int = 0
    sending: bool = False
    session: Speaker = field(default_factory=Speaker)

    def waiting_s(self, now: float) -> float:
        return self.waited

    def is_sending(self, now: float) -> bool:
        return self.sending


class Bench:
    """A meter over things that a test plays."""

    def __init__(self, clock: ManualClock, metrics: Metrics) -> None:
        self.clock = clock
        self.metrics = metrics
        self.memory = PlayedMemory()
        self.dispatch = PlayedDispatch(metrics)
        options = CoordinatorOptions(
            memory=MemoryOptions(gc_trigger_mb=200, limit_mb=300),
            pipeline=PipelineOptions(queue_frames=500, frame_target_ms=10, batch_deadline_ms=10),
        )
        self.meter = LoadMeter(options, clock, metrics, cast("Memory", self.memory))
        self.meter.watch(cast("Dispatch", self.dispatch))

    def measure(self, *streams: Waiting, lag_s: float = 0.0) -> LoadParts:
        self.clock.advance(TICK_S)
        return self.meter.measure(cast("list[Stream]", list(streams)), lag_s, self.clock.now())

    def part(self, name: str) -> float:
        return cast("float", asdict(self.measure())[name])

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def bench(clock: ManualClock, metrics: Metrics) -> Bench:
    return Bench(clock, metrics)


def test_an_idle_daemon_has_no_load_at_all(bench: Bench) -> None:
    for _ in range(5):
        assert bench.measure(lag_s=LOOP_GRAIN_S) == LoadParts()


def test_before_there_are_lanes_nothing_is_measured(clock: ManualClock, metrics: Metrics) -> None:
    meter = LoadMeter(CoordinatorOptions(), clock, metrics, cast("Memory", PlayedMemory()))
    assert meter.measure([], 9.0, clock.now()) == LoadParts()
    assert (meter.throughput, meter.frame_time_ms, meter.error_rate) == (0.0, 0.0, 0.0)


def test_a_full_queue_in_which_nothing_grows_old_is_no_load(bench: Bench) -> None:
    assert bench.measure(Waiting(waited=0.05, frames_queued=500)).load < 0.01


def test_audio_that_waits_counts_against_the_longest_queue_there_may_be(bench: Bench) -> None:
    assert bench.measure(Waiting(waited=1.0), Waiting(waited=5.0), Waiting()).queue == 0.5  # of 10 s


def test_windows_may_wait_up_to_the_batchs_deadline(bench: Bench, detect_job: Make) -> None:
    bench.dispatch.detect_queue.add(detect_job(at=bench.clock.now() + TICK_S - 0.010))
    assert bench.part("frame_time") == pytest.approx(0.0, abs=1e-9)


def test_windows_that_wait_four_targets_longer_are_full_load(bench: Bench, detect_job: Make) -> None:
    bench.dispatch.detect_queue.add(detect_job(at=bench.clock.now() + TICK_S - 0.050))
    assert bench.part("frame_time") == pytest.approx(1.0)
    bench.dispatch.detect_queue.take()
    assert bench.part("frame_time") == 0.0


@pytest.mark.parametrize(
    ("urgency", "part", "half_a_second"), [(Urgency.FINAL, "finals", 0.5), (Urgency.PARTIAL, "partials", 0.25)]
)
def test_finals_are_late_after_a_second_and_partials_after_two(
    bench: Bench, clip_job: Make, urgency: Urgency, part: str, half_a_second: float
) -> None:
    bench.dispatch.transcribe_queue.add(clip_job(at=bench.clock.now() + TICK_S - 0.5, urgency=urgency))
    parts = asdict(bench.measure())
    assert parts.pop(part) == pytest.approx(half_a_second)
    assert set(parts.values()) == {0.0}
    bench.dispatch.transcribe_queue.take()
    assert bench.part(part) == 0.0


def test_a_speaker_whose_partials_are_superseded_again_and_again_waits_all_the_same(
    bench: Bench, clip_job: Make, speaker: Callable[[], Any]
) -> None:
    stream, now = speaker(), bench.clock.now() + TICK_S
    for ago in (0.8, 0.6, 0.4, 0.2):
        bench.dispatch.transcribe_queue.add(clip_job(stream, now - ago, urgency=Urgency.PARTIAL))
    assert bench.part("partials") == pytest.approx(0.4)


def test_rationed_partials_wait_without_that_being_load(bench: Bench, clip_job: Make) -> None:
    bench.dispatch.transcribe_queue.add(clip_job(at=bench.clock.now(), urgency=Urgency.PARTIAL))
    bench.clock.advance(60)
    parts = bench.meter.measure([], 0.0, bench.clock.now(), rationed=True)
    assert parts.partials == 0.0


def real_time(bench: Bench, lane: str, share: float, *, is_urgent: bool = True, seconds: float = 10.0) -> float:
    """The load part after a lane has been busy for this share of the time."""
    parts = LoadParts()
    for _ in range(round(seconds / TICK_S)):
        bench.dispatch.lane_metrics[lane].record_batch(1, share * TICK_S, 0.0, is_urgent=is_urgent)
        parts = bench.measure(Waiting())
    return parts.real_time


def test_an_engine_that_only_just_keeps_up_is_full_load(bench: Bench) -> None:
    assert real_time(bench, "stt", 0.9) == pytest.approx(0.9, abs=0.03)


def test_partials_and_engines_far_away_do_not_count_as_its_time(bench: Bench) -> None:
    assert real_time(bench, "stt", 0.9, is_urgent=False) == 0.0
    assert real_time(bench, "stt-far", 1.0) == 0.0


def test_one_long_batch_after_a_rest_is_no_load(bench: Bench) -> None:
    assert real_time(bench, "stt", 1.0, seconds=1.5) == 0.0, "a first cluster of finals"
    for _ in range(60):
        bench.measure()
    assert real_time(bench, "turn", 1.0, seconds=1.5) < 0.5


def test_what_was_done_for_those_who_have_gone_is_no_load(bench: Bench) -> None:
    assert real_time(bench, "stt", 0.9) > 0.8
    assert bench.measure() == LoadParts()
    assert bench.measure(Waiting()).real_time > 0.8, "for somebody who has come, it is"


def test_turns_are_late_when_silence_has_ended_them(bench: Bench, turn_job: Make) -> None:
    bench.dispatch.judge_queue.add(turn_job(at=bench.clock.now() + TICK_S - 3))
    assert bench.part("turns") == pytest.approx(1.5)
    bench.dispatch.judge_queue.take()
    assert bench.part("turns") == 0.0


def test_one_late_turn_of_the_loop_is_no_load_however_late(bench: Bench) -> None:
    assert bench.measure(lag_s=30.0).loop < 0.5
    for _ in range(40):
        bench.measure()
    assert bench.part("loop") == pytest.approx(0.0, abs=1e-3)


def test_each_lag_of_the_loop_is_counted_as_it_was(bench: Bench) -> None:
    for lag_s in (0.0, 0.0015, 0.03, 2.0):
        bench.measure(lag_s=lag_s)
    for bound, count in (("0.001", 1), ("0.002", 2), ("0.05", 3), ("1.0", 3), ("+Inf", 4)):
        assert bench.gauge("alfred_event_loop_delay_seconds_bucket", le=bound) == count
    assert bench.gauge("alfred_event_loop_delay_seconds_sum") == pytest.approx(2.0315)


def test_a_loop_that_is_always_late_is_load(bench: Bench) -> None:
    for _ in range(30):
        parts = bench.measure(lag_s=LOOP_LIMIT_S + LOOP_GRAIN_S)
    assert parts.loop == pytest.approx(1.0, abs=0.01)
    assert bench.meter.describe(0)["event_loop_lag_ms"] == pytest.approx(100, abs=1)


@pytest.mark.parametrize(("resident", "part"), [(150.0, 0.0), (200.0, 0.0), (250.0, 0.5), (300.0, 1.0), (400.0, 2.0)])
def test_memory_counts_from_the_trigger_to_the_limit(bench: Bench, resident: float, part: float) -> None:
    bench.memory.resident = resident
    assert bench.part("memory") == pytest.approx(part)


def test_equal_trigger_and_limit_divide_by_nothing(clock: ManualClock, metrics: Metrics) -> None:
    options = CoordinatorOptions(memory=MemoryOptions(gc_trigger_mb=100, limit_mb=100))
    meter = LoadMeter(options, clock, metrics, cast("Memory", PlayedMemory()))
    meter.watch(cast("Dispatch", PlayedDispatch(metrics)))
    assert meter.measure([], 0.0, clock.now()).memory == 0.0


def test_memory_is_read_twice_a_second_not_at_every_tick(bench: Bench) -> None:
    before = bench.memory.reads
    for _ in range(20):  # 2 s
        bench.measure()
    assert 4 <= bench.memory.reads - before <= 5


def test_the_detector_waits_for_those_who_are_sending(bench: Bench) -> None:
    bench.measure(Waiting(sending=True), Waiting(), Waiting(sending=True))
    assert bench.dispatch.detect_queue.speakers == 2


def test_throughput_is_frames_a_second_of_the_last_two(bench: Bench) -> None:
    for _ in range(40):
        bench.metrics.frames_processed += 5
        bench.measure()
    assert bench.meter.throughput == pytest.approx(50.0)
    for _ in range(25):
        bench.measure()
    assert bench.meter.throughput == 0.0


def test_the_average_frame_time_is_the_recent_ones_and_nothing_when_idle(bench: Bench) -> None:
    bench.measure()
    bench.metrics.record_windows([(10, 0.5)])
    bench.metrics.record_windows([(1, 0.005)])
    bench.measure()
    assert bench.meter.frame_time_ms == pytest.approx(505 / 11)
    for _ in range(round(FRAME_TIME_WINDOW_S / TICK_S) + 2):
        bench.measure()
    assert bench.meter.frame_time_ms == 0.0, "an old burst must not raise an alert for ever"
    bench.metrics.record_windows([(2, 0.004)])
    bench.measure()
    assert bench.meter.frame_time_ms == pytest.approx(2.0)


def test_the_error_rate_is_the_last_minutes(bench: Bench) -> None:
    bench.measure()
    assert bench.meter.error_rate == 0.0
    bench.metrics.requests, bench.metrics.failed_requests = 50, 5
    bench.measure()
    assert bench.meter.error_rate == pytest.approx(10.0)
    for _ in range(620):
        bench.measure()
    assert bench.meter.error_rate == 0.0


def test_the_figures_are_there_for_operators(bench: Bench, turn_job: Make) -> None:
    bench.dispatch.judge_queue.add(turn_job(at=bench.clock.now() + TICK_S - 0.5))
    bench.measure(Waiting(frames_queued=3), Waiting(frames_queued=4))
    assert bench.gauge("alfred_load_ratio", part="turns") == pytest.approx(0.25)
    assert bench.gauge("alfred_load_ratio", part="total") == pytest.approx(0.25)
    assert bench.gauge("alfred_audio_queue_frames") == 7
    assert bench.gauge("alfred_lane_queue_age_seconds", lane="turn") == pytest.approx(0.5)
    assert bench.gauge("alfred_lane_queue_age_seconds", lane="stt") == 0.0
    others = {"demand", "event_loop_lag_ms", "event_loop_lag_p99_ms"}
    assert set(bench.meter.describe(2)) == {*asdict(LoadParts()), *others}


def test_what_speakers_will_ask_for_goes_by_what_speech_has_cost_the_busiest_engine(bench: Bench) -> None:
    streams = [Waiting(sending=True, session=Speaker(is_speaking=number < 4)) for number in range(10)]
    for _ in range(300):
        # Four speak: in a tenth of a second 0.4 s of speech, at a price of 0.1 s a second.
        bench.metrics.heard_s += 0.4
        bench.dispatch.lane_metrics["stt"].record_batch(1, 0.04, 0.0)
        bench.dispatch.lane_metrics["turn"].record_batch(1, 0.01, 0.0)
        bench.dispatch.lane_metrics["stt-far"].record_batch(1, 0.1, 0.0)
        bench.measure(*streams)
    assert bench.gauge("alfred_demand_ratio") == pytest.approx(0.4, rel=0.05)
    assert bench.meter.describe(20)["demand"] == pytest.approx(0.8, rel=0.05), "twice as many, of whom as many speak"

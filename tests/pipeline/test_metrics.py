"""What operators read: text that Prometheus can parse, and the figures that the daemon itself draws on."""

from __future__ import annotations

import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from alfred_voice.pipeline.families import FRAME_BUCKETS, LANE_BUCKETS, LOOP_BUCKETS
from alfred_voice.pipeline.metrics import LaneMetrics, Metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    text = generate_latest(metrics.registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_registry_is_text_that_prometheus_parses(metrics: Metrics) -> None:
    found = families(metrics)
    ours = {name for name in found if name.startswith("alfred_") and not name.endswith("_created")}
    assert ours == {
        "alfred_build_info", "alfred_sessions_active", "alfred_sessions", "alfred_sessions_refused",
        "alfred_requests_refused", "alfred_monitor_seconds",
        "alfred_audio_frames", "alfred_frame_processing_seconds", "alfred_stt_final_latency_seconds",
        "alfred_partial_interval_factor",
        "alfred_interruption_latency_seconds", "alfred_turns", "alfred_turns_unjudged", "alfred_turn_latency_seconds",
        "alfred_utterances", "alfred_errors",
        "alfred_backpressure_changes", "alfred_backpressure_step", "alfred_backpressure_rung", "alfred_load_ratio",
        "alfred_demand_ratio",
        "alfred_alert_active", "alfred_alerts", "alfred_audio_queue_frames",
        "alfred_event_loop_lag_seconds", "alfred_lane_queue_age_seconds", "alfred_lane_batch_jobs",
        "alfred_lane_batch_seconds", "alfred_lane_wait_seconds", "alfred_lane_failures",
        "alfred_lane_restarts", "alfred_lane_rows_failed", "alfred_lane_timeouts", "alfred_lane_up",
        "alfred_ws_close", "alfred_audio_seconds", "alfred_audio_frames_dropped", "alfred_interruptions",
        "alfred_sessions_detached", "alfred_sessions_resumed", "alfred_event_loop_delay_seconds",
        "alfred_tts_time_to_first_audio_seconds", "alfred_stt_real_time_factor_ratio", "alfred_recordings",
        "alfred_webhook_notices", "alfred_webrtc_connections", "alfred_webrtc_connect_seconds",
        "alfred_webrtc_packets", "alfred_webrtc_filled_seconds", "alfred_webrtc_jitter_seconds",
        "alfred_webrtc_underruns",
    }  # fmt: skip
    assert all(family.documentation for family in found.values())
    assert value(metrics, "alfred_build_info", version="1.2.3") == 1


def test_the_registry_is_openmetrics_too(metrics: Metrics) -> None:
    text = generate_openmetrics(metrics.registry).decode()  # type: ignore[no-untyped-call]
    names = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert "alfred_build" in names
    assert "alfred_audio_frames" in names


BASE_UNITS = ("_seconds", "_ratio", "_info", "_jobs", "_frames", "_total", "_bytes")
PLAIN = {
    "alfred_sessions_active", "alfred_lane_up", "alfred_alert_active", "alfred_backpressure_step",
    "alfred_backpressure_rung", "alfred_partial_interval_factor", "http_request_duration_seconds",
}  # fmt: skip
"""Numbers without a unit, and the one name that is the whole field's."""


def test_names_have_one_prefix_and_end_with_a_base_unit(metrics: Metrics) -> None:
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if family.type == "info":
            name = f"{family.name}_info"
        if not name.startswith(("process_", "python_")) and name not in PLAIN:
            assert name.startswith("alfred_"), name
            assert name.endswith(BASE_UNITS), name


def test_times_are_dense_below_the_20_ms_of_a_frame() -> None:
    for bounds in (FRAME_BUCKETS, LANE_BUCKETS, LOOP_BUCKETS):
        assert sum(bound < 0.02 for bound in bounds) >= 4
        assert 0.02 in bounds
    assert (min(LOOP_BUCKETS), max(LOOP_BUCKETS)) == (0.001, 1.0)


def test_a_lane_is_up_but_while_its_engine_is_not_there(metrics: Metrics) -> None:
    lane = LaneMetrics("stt", metrics)
    for state, up in (("up", 1), ("restarting", 0), ("down", 0)):
        lane.state = state
        assert value(metrics, "alfred_lane_up", lane="stt") == up
    lane.record_restart()
    assert value(metrics, "alfred_lane_up", lane="stt") == 1


def test_two_daemons_in_a_process_count_apart() -> None:
    one, other = Metrics("a"), Metrics("b")
    one.frames_processed += 3
    assert value(one, "alfred_audio_frames_total", fate="processed") == 3
    assert value(other, "alfred_audio_frames_total", fate="processed") == 0


def test_finals_turns_and_frames_are_counted_where_they_belong(metrics: Metrics) -> None:
    metrics.record_final(250.0, has_words=True)
    metrics.record_final(150.0, has_words=False)
    metrics.record_turn(300.0, "model")
    metrics.frames_processed += 5
    assert value(metrics, "alfred_utterances_total", outcome="words") == 1
    assert value(metrics, "alfred_utterances_total", outcome="empty") == 1
    assert value(metrics, "alfred_stt_final_latency_seconds_sum") == pytest.approx(0.4)
    assert value(metrics, "alfred_turns_total", reason="model") == 1
    assert value(metrics, "alfred_turn_latency_seconds_sum") == pytest.approx(0.3)
    assert value(metrics, "alfred_audio_frames_total", fate="processed") == 5
    assert metrics.frames_processed == 5
    assert metrics.final_ms.summary()["p50"] == 200.0


def test_a_windows_time_is_its_share_of_its_questions_time(metrics: Metrics) -> None:
    metrics.record_windows([(4, 0.020)])
    assert value(metrics, "alfred_frame_processing_seconds_sum") == pytest.approx(0.020)
    assert value(metrics, "alfred_frame_processing_seconds_bucket", le="0.005") == 4
    assert value(metrics, "alfred_frame_processing_seconds_bucket", le="0.002") == 0
    assert metrics.windows_timed == 4
    assert metrics.window_ms_total == pytest.approx(20.0)
    assert metrics.frame_ms.mean == 5.0


def test_a_lane_counts_its_batches_waits_and_failures(metrics: Metrics) -> None:
    lane = LaneMetrics("stt", metrics)
    lane.record_batch(3, 0.5, 0.3)
    lane.record_failures(0)
    lane.record_batch(1, 0.25, 0.0)
    lane.record_failures(1)
    lane.record_rows_failed(2)
    lane.record_timeout()
    lane.state = "down"
    assert lane.describe() == {
        "jobs": 4,
        "batches": 2,
        "failures": 1,
        "state": "down",
        "restarts": 0,
        "rows_failed": 2,
        "timeouts": 1,
        "busy_s": 0.75,
        "seconds_per_job": 0.175,
        "batch_size": {"count": 2, "p50": 2.0, "p95": 2.9, "max": 3},
        "wait_ms": {"count": 2, "p50": 150.0, "p95": 285.0, "max": 300.0},
    }
    assert (metrics.requests, metrics.failed_requests) == (4, 1)
    assert value(metrics, "alfred_lane_batch_jobs_sum", lane="stt") == 4
    assert value(metrics, "alfred_lane_wait_seconds_sum", lane="stt") == pytest.approx(0.3)
    assert value(metrics, "alfred_lane_failures_total", lane="stt") == 1
    assert value(metrics, "alfred_lane_rows_failed_total", lane="stt") == 2
    assert value(metrics, "alfred_lane_timeouts_total", lane="stt") == 1
    lane.record_restart()
    assert value(metrics, "alfred_lane_restarts_total", lane="stt") == 1
    assert (lane.restarts, lane.state) == (1, "up")


def test_a_lane_tells_what_was_urgent_from_what_there_may_be_less_of(metrics: Metrics) -> None:
    lane = LaneMetrics("stt", metrics)
    lane.record_batch(1, 0.5, 0.0)
    lane.record_batch(1, 0.25, 0.0, is_urgent=False)
    assert (lane.busy_s, lane.urgent_busy_s) == (0.75, 0.5)

"""Spans as OpenTelemetry takes them; skipped without its packages, but for what happens then."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import pytest

from alfred_voice.clock import ManualClock
from alfred_voice.errors import ConfigError
from alfred_voice.pipeline.otel import OtelTracing, QuietExporter
from alfred_voice.pipeline.tracing_options import TracingOptions
from alfred_voice.pipeline.turn_trace import RemoteParent, Span


HAS_OTEL = importlib.util.find_spec("opentelemetry") is not None
with_packages = pytest.mark.skipif(not HAS_OTEL, reason="the extra otel is not installed")

TURN = Span("conversation turn", 100.0, 102.0, {"utterance": 3}, (Span("stt", 101.0, 102.0, {"engine": "moonshine"}),))
PARENT = RemoteParent(0xABC, 0xDEF, is_sampled=True)


class Exported:
    """An exporter that keeps what it gets, or fails."""

    def __init__(self, answer: Any = None, error: Exception | None = None) -> None:
        self.spans: list[Any] = []
        self.answer = answer
        self.error = error

    def export(self, spans: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.spans += spans
        return self.answer

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


@with_packages
def test_a_turn_is_exported_with_its_parts_times_and_parent() -> None:
    exported = Exported()
    tracing = OtelTracing(TracingOptions(service_name="kitchen"), "9.9", ManualClock(50.0), exported)
    tracing.export(TURN, "call", PARENT)
    tracing.close()
    by_name = {span.name: span for span in exported.spans}
    turn, stt = by_name["conversation turn"], by_name["stt"]
    assert (turn.context.trace_id, turn.parent.span_id) == (0xABC, 0xDEF)
    assert (stt.context.trace_id, stt.parent.span_id) == (0xABC, turn.context.span_id)
    assert (turn.start_time, turn.end_time) == (100_000_000_000, 102_000_000_000)
    assert dict(turn.attributes) == {"alfred.utterance": 3, "session.id": "call"}
    assert turn.resource.attributes["service.name"] == "kitchen"
    assert turn.resource.attributes["service.version"] == "9.9"


@with_packages
@pytest.mark.parametrize(
    ("ratio", "parent", "expected"),
    [(0.0, None, 0), (1.0, None, 2), (0.0, PARENT, 2), (1.0, RemoteParent(1, 2, is_sampled=False), 0)],
)
def test_the_clients_trace_says_what_is_kept_and_the_share_where_it_does_not(
    ratio: float, parent: RemoteParent | None, expected: int
) -> None:
    exported = Exported()
    tracing = OtelTracing(TracingOptions(sample_ratio=ratio), "0", ManualClock(), exported)
    tracing.export(TURN, "call", parent)
    tracing.close()
    assert len(exported.spans) == expected


@with_packages
async def test_a_session_is_traced_from_its_events(house: Any, heard: Any, spoken: Callable[..., list[Any]]) -> None:
    exported = Exported()
    house.coordinator.tracing = OtelTracing(TracingOptions(), "0", house.clock, exported)
    stream = house.open("call")
    for frame in spoken(200, 600, 900):
        await stream.room()
        stream.put(frame)
    stream.stop()
    await heard(stream).to_the_end()
    house.coordinator.tracing.close()
    assert {span.name for span in exported.spans} == {"conversation turn", "vad", "stt", "turn"}


@pytest.mark.skipif(HAS_OTEL, reason="the extra otel is installed")
def test_without_the_packages_the_option_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[otel\]'"):
        OtelTracing(TracingOptions(enabled=True), "0", ManualClock())


@pytest.mark.parametrize("inner", [Exported("failed"), Exported(error=OSError("https://collector.example/secret"))])
def test_failures_are_told_once_until_one_goes_well(inner: Exported, caplog: pytest.LogCaptureFixture) -> None:
    exporter = QuietExporter(inner, "failed")
    with caplog.at_level(logging.WARNING):
        assert [exporter.export(["span"]) for _ in range(3)] == ["failed"] * 3
        assert [record.getMessage() for record in caplog.records] == ["traces_not_exported"]
        inner.answer, inner.error = "fine", None
        assert exporter.export(["span"]) == "fine"
        inner.answer = "failed"
        exporter.export(["span"])
    assert len(caplog.records) == 2
    assert all("secret" not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    "endpoint", ["ftp://h/v1/traces", "https://", "localhost:4318", "https://user:pass@h/v1/traces"]
)
def test_only_addresses_of_the_web_without_passwords_are_taken(endpoint: str) -> None:
    with pytest.raises(ValueError, match="endpoint"):
        TracingOptions(endpoint=endpoint)

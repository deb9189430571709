"""Turns as OpenTelemetry's spans. Only this file knows its packages, which come with the extra ``otel``.

Spans wait in a bounded queue and leave from a thread of their own; when they cannot be delivered they are lost, and
one record says so.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from alfred_voice.clock import Clock
from alfred_voice.errors import ConfigError
from alfred_voice.pipeline.tracing_options import TracingOptions
from alfred_voice.pipeline.turn_trace import RemoteParent, Span


log = logging.getLogger(__name__)

MOST_WAITING = 2048
BATCH_SPANS = 256
EVERY_MS = 2000
EXPORT_TIMEOUT_S = 5
CLOSE_WITHIN_S = 3.0
"""What waits at the daemon's end gets so long."""


class QuietExporter:
    """An exporter whose failures are told once, until one export goes well again."""

    def __init__(self, inner: Any, failure: Any) -> None:
        self._inner = inner
        self._failure = failure
        self._has_failed = False

    def export(self, spans: Any) -> Any:
        """Hand spans on, in the exporting thread."""
        try:
            result, reason = self._inner.export(spans), "not delivered"
        except Exception as error:  # noqa: BLE001  whatever the network and its library come up with
            result, reason = self._failure, type(error).__name__
        if result is self._failure and not self._has_failed:
            log.warning("traces_not_exported", extra={"reason": reason, "spans": len(spans)})
        self._has_failed = result is self._failure
        return result

    def shutdown(self) -> None:
        """No more spans come."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return bool(self._inner.force_flush(timeout_millis))


class OtelTracing:
    """Exports spans of turns; may be used from the event loop, where it never waits.

    Args:
        options: whose they are, and how many are kept.
        version: the daemon's.
        clock: tells what the spans' clock times are in the calendar.
        exporter: where they go; by OTLP to the options' endpoint when absent.

    Raises:
        ConfigError: the packages are not installed.
    """

    def __init__(self, options: TracingOptions, version: str, clock: Clock, exporter: Any = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ImportError as error:
            raise ConfigError(
                "tracing.enabled: expected OpenTelemetry's packages: .venv/bin/pip install -e '.[otel]'"
            ) from (error)
        exporter = exporter or OTLPSpanExporter(endpoint=options.endpoint, timeout=EXPORT_TIMEOUT_S)
        self._clock = clock
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(options.sample_ratio)),
            resource=Resource.create({"service.name": options.service_name, "service.version": version}),
            shutdown_on_exit=False,
        )
        self._processor = BatchSpanProcessor(
            QuietExporter(exporter, SpanExportResult.FAILURE),  # type: ignore[arg-type, unused-ignore]
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=BATCH_SPANS,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("alfred_voice", version)

    def export(self, span: Span, session_id: str, parent: RemoteParent | None) -> None:
        """Queue a turn; dropped where too many wait already."""
        # Spans are in clock time, and collectors want the calendar's.
        offset_s = self._clock.wall() - self._clock.now()
        self._start(span, {"session.id": session_id}, _context_of(parent), offset_s)

    def _start(self, span: Span, more: dict[str, Any], context: Any, offset_s: float) -> None:
        from opentelemetry.trace import set_span_in_context

        started = self._tracer.start_span(
            span.name,
            context=context,
            attributes={**{f"alfred.{name}": value for name, value in span.attributes.items()}, **more},
            start_time=_nanoseconds(span.start + offset_s),
        )
        for child in span.children:
            self._start(child, more, set_span_in_context(started), offset_s)
        started.end(_nanoseconds(span.end + offset_s))

    def close(self) -> None:
        """Let what waits go out, for a moment. Blocks for at most three seconds."""
        ending = threading.Thread(target=self._provider.shutdown, name="tracing-close", daemon=True)
        ending.start()
        ending.join(CLOSE_WITHIN_S)


def _context_of(parent: RemoteParent | None) -> Any:
    """The client's span as a context; an empty one where there is none."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)

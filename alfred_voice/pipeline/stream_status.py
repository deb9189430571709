"""One open session as people and tools want to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alfred_voice.pipeline.account import Account


if TYPE_CHECKING:
    from alfred_voice.pipeline.stream import Stream


def describe(stream: Stream, account: Account, now: float) -> dict[str, Any]:
    """State, counters, ages and latencies."""
    session, settings = stream.session, stream.settings
    stats = session.stats
    return {
        "session_id": stream.session_id,
        "state": state_of(stream),
        "transport": stream.transport,
        "sample_rate": settings.sample_rate,
        "encoding": settings.encoding,
        "language": settings.language,
        "age_s": round(now - stream.opened_at, 1),
        "idle_s": round(stream.idle_s(now), 1),
        "stream_ms": round(session.stream_ms, 1),
        "frames_received": stats.frames_received + stream.frames_queued,
        "frames_processed": stats.frames_processed,
        "frames_dropped": stats.frames_dropped,
        "frames_queued": stream.frames_queued,
        "buffered_ms": stream.buffered_ms,
        "utterances": stats.utterances,
        "speech_ms": round(stats.speech_ms, 1),
        "last_text": account.last_text,
        "latency_ms": account.latencies(),
        "events_waiting": len(stream.outbox),
        "events_superseded": stream.outbox.superseded,
        **({} if stream.more_status is None else stream.more_status()),
    }


def state_of(stream: Stream) -> str:
    """``listening``, ``speaking`` while the user does, ``detached`` without a connection, ``stopping``, ``ended``."""
    if stream.ended:
        return "ended"
    if stream.stopped_at is not None:
        return "stopping"
    if stream.detached_at is not None:
        return "detached"
    return "speaking" if stream.session.is_speaking else "listening"

"""Which keys of the configuration may change while the daemon runs, and for whom a change holds."""

from __future__ import annotations

from enum import StrEnum


class Reach(StrEnum):
    """From when a changed value holds."""

    NOW = "now"
    """At once, for everybody."""
    NEW_SESSIONS = "new sessions"
    """For sessions that are opened from now on; those that are open keep theirs."""
    MODEL = "model"
    """When the model that it asks for has been loaded; sessions go on with that one."""
    RESTART = "restart"
    """Only when the daemon is started again."""


_ROOMS = {
    "sessions": Reach.NOW,
    "backpressure": Reach.NOW,
    "memory": Reach.NOW,
    "alerts": Reach.NOW,
    "vad": Reach.NEW_SESSIONS,
    "stt": Reach.NEW_SESSIONS,
    "turn": Reach.NEW_SESSIONS,
    "tts": Reach.NOW,
    "interruption": Reach.NEW_SESSIONS,
    "recording": Reach.NEW_SESSIONS,
    "whisper": Reach.MODEL,
}
"""What holds for a room's keys; other rooms need a restart."""
_KEYS = {
    "sessions.resume_events": Reach.NEW_SESSIONS,
    "pipeline.queue_frames": Reach.NEW_SESSIONS,
    "pipeline.outbox_events": Reach.NEW_SESSIONS,
    "pipeline.max_batch": Reach.NOW,
    "pipeline.batch_deadline_ms": Reach.NOW,
    "pipeline.frame_target_ms": Reach.NOW,
    "pipeline.stt_max_batch": Reach.NOW,
    "pipeline.engine_timeout_s": Reach.NOW,
    "alerts.webhook_url": Reach.RESTART,
    "alerts.webhook_timeout_s": Reach.RESTART,
    "vad.engine": Reach.RESTART,
    "stt.engine": Reach.MODEL,
    "stt.final_model": Reach.MODEL,
    "stt.partial_model": Reach.MODEL,
    "stt.more_engines": Reach.RESTART,
    "turn.engine": Reach.MODEL,
    "tts.engine": Reach.RESTART,
    "tts.max_queued": Reach.NEW_SESSIONS,
    "tts.lead_ms": Reach.NEW_SESSIONS,
    "recording.folder": Reach.RESTART,
    "log.level": Reach.NOW,
}
"""What differs from the key's room."""


def reach_of(path: str) -> Reach:
    """From when a change of ``room.key`` holds."""
    return _KEYS.get(path) or _ROOMS.get(path.partition(".")[0], Reach.RESTART)

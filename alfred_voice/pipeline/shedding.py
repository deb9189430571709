"""What is dropped of one session's waiting audio when the daemon cannot keep up, and how the client reads of it."""

from __future__ import annotations

from alfred_voice.audio.level import rms_dbfs
from alfred_voice.audio.pcm import FRAME_MS
from alfred_voice.events import WarningRaised
from alfred_voice.pipeline.inbox import Inbox
from alfred_voice.session.session import Session


QUIET_DBFS = -60.0
"""Below this nobody speaks: an amplitude of 32 in 32768, the noise of a line on which nothing is said."""
ABOVE_NOISE_DB = 6.0
"""What is no louder than twice the amplitude of the silence before it is silence, too."""


def drop_quiet(inbox: Inbox, session: Session, keep: int, now: float, *, in_pauses: bool) -> WarningRaised | None:
    """Drop the oldest waiting frames but ``keep``, as long as nobody speaks in them.

    Args:
        inbox: where they wait.
        session: the clock goes on over what it never gets.
        keep: so many stay, for the beginning of a word.
        now: clock seconds.
        in_pauses: also while an utterance is open, when its speaker has paused.

    Returns:
        What to tell the client; None when nothing was dropped.
    """
    if session.has_open_utterance and not in_pauses:
        return None
    silence = session.quiet_audio()
    if silence is None:
        return None
    limit = max(QUIET_DBFS, rms_dbfs(silence) + ABOVE_NOISE_DB) if len(silence) else QUIET_DBFS
    return _lose(session, inbox.drop_quiet(keep, limit), "of silence were dropped under load", now)


def drop_oldest(inbox: Inbox, session: Session, frames: int, now: float) -> WarningRaised | None:
    """Drop the oldest waiting frames, speech or not: the session cannot hold any more."""
    return _lose(session, inbox.drop(frames), "were lost, as the daemon is too far behind", now)


def _lose(session: Session, frames: int, what: str, now: float) -> WarningRaised | None:
    if not frames:
        return None
    start_ms = session.stream_ms
    session.receive_gap(frames, now)
    end_ms = session.stream_ms
    message = f"{frames * FRAME_MS} ms {what}, from {start_ms:.0f} to {end_ms:.0f} ms"
    return WarningRaised("audio_dropped", message, start_ms, end_ms)

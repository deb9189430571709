"""What can go wrong with a whole recording only; the roots are in :mod:`alfred_voice.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alfred_voice.errors import AlfredVoiceError, AudioError, Fault


if TYPE_CHECKING:
    from alfred_voice.files.result import Transcription


class RecordingUnreadable(AudioError):
    """The system does not let the recording be read.

    Attributes:
        reason: why, without the recording's name.
    """

    code = "recording_unreadable"

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(f"{name}: {reason}" if name else reason)
        self.reason = reason


class RecordingTooLong(AudioError):
    """More audio than was allowed."""

    code = "recording_too_long"


class BrokenOff(AlfredVoiceError):
    """A recording of which some was transcribed before something went wrong; that is the exception's cause.

    Attributes:
        so_far: the result up to there.
    """

    code = "transcription_broken_off"
    fault = Fault.CLIENT

    def __init__(self, message: str, so_far: Transcription) -> None:
        super().__init__(message)
        self.so_far = so_far

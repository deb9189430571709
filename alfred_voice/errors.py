"""Every error that this package raises on purpose, but for those that only one room knows (``errors`` there).

* :exc:`AlfredVoiceError`

  * :exc:`ConfigError`: a setting is unknown, of the wrong type or out of range.

    * :exc:`RestartNeeded`: a setting that cannot change while the daemon runs.
    * :exc:`SwapRunning`: another model is being loaded; one at a time.

  * :exc:`LoadTestRunning`: a load test is going on; one at a time.
  * :exc:`RecordingUnreadable`: a recorded session that is cut short, damaged, or no recording at all.
  * :exc:`AudioError`: audio that the client sent cannot be used.

    * :exc:`UnsupportedAudio`: a rate, encoding, channel count or file format we do not read.
    * :exc:`MalformedAudio`: bytes that are not what they claim to be.
    * :exc:`EmptyAudio`: no sample at all.

  * :exc:`ModelError`: a model or its engine is not usable.

    * :exc:`ModelMissing`: files are not in the store.
    * :exc:`ModelCorrupt`: a file does not have the catalogue's hash or size.
    * :exc:`ModelFetchFailed`: no source could deliver a file.
    * :exc:`EngineFailure`: a model raised, or answered nonsense, while running.

      * :exc:`EngineFault`: what computes the model failed, or computed what is no number.
      * :exc:`OutOfMemory`
      * :exc:`RowFailure`: one question that the engine cannot bear, though it answers others.
      * :exc:`EngineDown`: the engine has failed and could not be started again yet.

  * :exc:`SpeechError`: a text cannot be spoken as asked.

    * :exc:`UnknownVoice`
    * :exc:`UnusableText`: empty or too long.

  * :exc:`SessionError`

    * :exc:`InvalidSettings`: a field of ``start`` has a value we cannot serve.
    * :exc:`UnknownSession`
    * :exc:`SessionBusy`: the session belongs to another connection or call.
    * :exc:`SessionEnded`: the session is over, nothing more can be put into it.
    * :exc:`ResumeRefused`: a lost connection cannot be taken up again.

  * :exc:`Overloaded`: try again later.

    * :exc:`StillLoading`: the models are being loaded.
    * :exc:`DaemonFailed`: the models could not be loaded.
    * :exc:`Draining`: the daemon is shutting down.
    * :exc:`TooManySessions`

      * :exc:`TooManySessionsOfKey`
      * :exc:`TooManySessionsOfAddress`

Each class has a stable ``code`` for machines (on the wire, in metrics) and a ``fault`` that says
whose it is, from which the server derives the HTTP status.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Fault(Enum):
    """Who has to change something for the call to succeed."""

    CLIENT = "client"
    SERVER = "server"
    MACHINE = "machine"


class AlfredVoiceError(Exception):
    """Root of all deliberate errors; ``str(error)`` is a sentence for people."""

    code: ClassVar[str] = "internal_error"
    fault: ClassVar[Fault] = Fault.SERVER


class ConfigError(AlfredVoiceError):
    """A setting is unknown, of the wrong type or out of range."""

    code = "config_invalid"
    fault = Fault.CLIENT


class RestartNeeded(ConfigError):
    """A setting that cannot change while the daemon runs."""

    code = "restart_needed"


class SwapRunning(ConfigError):
    """Another model is being loaded; one at a time."""

    code = "swap_running"


class LoadTestRunning(AlfredVoiceError):
    """A load test is going on; one at a time."""

    code = "load_test_running"
    fault = Fault.CLIENT


class RecordingUnreadable(AlfredVoiceError):
    """A recorded session that is cut short, damaged, or no recording at all."""

    code = "recording_unreadable"
    fault = Fault.CLIENT


class AudioError(AlfredVoiceError):
    """Audio that cannot be used."""

    code = "audio_invalid"
    fault = Fault.CLIENT


class UnsupportedAudio(AudioError):
    """A rate, encoding, channel count or file format that is not read here."""

    code = "audio_unsupported"


class MalformedAudio(AudioError):
    """Bytes that are not what they claim to be."""

    code = "audio_malformed"


class EmptyAudio(AudioError):
    """Not a single sample."""

    code = "audio_empty"


class ModelError(AlfredVoiceError):
    """A model or its engine is not usable."""

    code = "model_error"


class ModelMissing(ModelError):
    """Files of a model are not in the store."""

    code = "model_missing"


class ModelCorrupt(ModelError):
    """A file does not have the size or hash that the catalogue gives."""

    code = "model_corrupt"


class ModelFetchFailed(ModelError):
    """No source could deliver a file."""

    code = "model_fetch_failed"
    fault = Fault.MACHINE


class EngineFailure(ModelError):
    """A model raised, or answered nonsense, while it ran."""

    code = "engine_failure"


class EngineFault(EngineFailure):
    """What computes the model failed, or computed what is no number: another try, or a fresh engine, may help."""

    code = "engine_fault"


class RowFailure(EngineFailure):
    """The engine raised, or answered nonsense, to one question, though it answers others."""

    code = "row_failure"


class EngineDown(EngineFailure):
    """The engine has failed and has not been started again in time; later it may be there."""

    code = "engine_down"
    fault = Fault.MACHINE


class EngineBusy(EngineFailure):
    """An engine had no time for a question before the answer would have been of no use."""

    code = "engine_busy"
    fault = Fault.MACHINE


class EngineRests(EngineFailure):
    """An engine is not asked for a while, as it has failed too often; who decided that has said so in the log."""


class OutOfMemory(EngineFailure):
    """There was not enough memory for a batch; a smaller one may do."""

    code = "out_of_memory"


class SpeechError(AlfredVoiceError):
    """A text cannot be spoken as asked."""

    code = "speech_invalid"
    fault = Fault.CLIENT


class UnknownVoice(SpeechError):
    """No voice of that name; the message lists some that exist."""

    code = "voice_unknown"


class UnusableText(SpeechError):
    """Nothing to say, or too much of it."""

    code = "text_unusable"


class SessionError(AlfredVoiceError):
    """A session cannot be opened or used as asked."""

    code = "session_error"
    fault = Fault.CLIENT


class InvalidSettings(SessionError):
    """A setting of ``start`` has a value that cannot be served."""

    code = "settings_invalid"


class UnknownSession(SessionError):
    """No session of that name is open."""

    code = "session_unknown"


class SessionBusy(SessionError):
    """The session belongs to another connection, or another call works on it now."""

    code = "session_busy"


class SessionEnded(SessionError):
    """The session is over; nothing more can be put into it."""

    code = "session_ended"


class ResumeRefused(SessionError):
    """A session cannot be taken up again: it is gone, the token is wrong, or what was missed is gone."""

    code = "resume_refused"


class Overloaded(AlfredVoiceError):
    """The daemon cannot take this on now.

    Attributes:
        retry_after_s: when it is worth trying again, in whole seconds.
    """

    code = "overloaded"
    fault = Fault.MACHINE

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StillLoading(Overloaded):
    """The models are being loaded; in a moment it can be done."""

    code = "loading"


class DaemonFailed(Overloaded):
    """The daemon could not load its models, and will not work until it is started again."""

    code = "failed"


class Draining(Overloaded):
    """The daemon is shutting down and takes no new sessions."""

    code = "draining"


class TooManySessions(Overloaded):
    """The limit of open sessions is reached."""

    code = "too_many_sessions"


class TooManySessionsOfKey(TooManySessions):
    """As many sessions as the key may have are open."""

    code = "too_many_sessions_of_key"


class TooManySessionsOfAddress(TooManySessions):
    """As many sessions as one address may have are open."""

    code = "too_many_sessions_of_address"

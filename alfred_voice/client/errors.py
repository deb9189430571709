"""What can go wrong between a client and the daemon.

* :exc:`ClientError`

  * :exc:`DaemonUnreachable`: nothing answers at the address, or not in time.
  * :exc:`ConversationRefused`: the daemon answers, and does not open a session.
  * :exc:`SettingsRefused`: the daemon does not show or change its settings.
  * :exc:`ConversationLost`: the connection ended before, or otherwise than, it should.

    * :exc:`NotResumed`: and it could not be gone on with over another one.

  * :exc:`DaemonSilent`: a message was not taken, or none came, within the time allowed.
  * :exc:`UnreadableMessage`: the daemon sent something that is not its protocol.
  * :exc:`SoundDeviceMissing`: the microphone or the loudspeaker cannot be used.
"""

from __future__ import annotations

from alfred_voice.errors import AlfredVoiceError, Fault


class ClientError(AlfredVoiceError):
    """Something between the client and the daemon, seen from the client."""

    code = "client_error"
    fault = Fault.CLIENT


class DaemonUnreachable(ClientError):
    """Nothing answers at the address."""

    code = "daemon_unreachable"
    fault = Fault.MACHINE


class ConversationRefused(ClientError):
    """The daemon answers, and does not open a session.

    Attributes:
        status: the HTTP status.
        problem: the ``code`` of the problem document, or "" when there was none.
        retry_after_s: when the daemon says that it is worth trying again.
    """

    code = "conversation_refused"
    fault = Fault.SERVER

    def __init__(self, message: str, status: int, problem: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s


class SettingsRefused(ClientError):
    """The daemon does not show or change its settings.

    Attributes:
        status: the HTTP status.
        problem: the ``code`` of the problem document, or "" when there was none.
    """

    code = "settings_refused"

    def __init__(self, message: str, status: int, problem: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem


class ConversationLost(ClientError):
    """The connection ended otherwise than by a clean close.

    Attributes:
        close_code: of the WebSocket; 1006 when the connection just went away (RFC 6455, 7.4.1).
        reason: what the daemon said with it, or its last ``error``; "" when it said nothing.
    """

    code = "conversation_lost"
    fault = Fault.SERVER

    def __init__(self, close_code: int, reason: str = "") -> None:
        super().__init__(f"the daemon closed the connection with code {close_code}" + (f": {reason}" if reason else ""))
        self.close_code = close_code
        self.reason = reason


class NotResumed(ConversationLost):
    """The connection was lost, and the session cannot be gone on with over another one.

    Attributes:
        close_code: of the connection that was lost.
        reason: why there is no way back.
    """

    code = "conversation_not_resumed"

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(close_code, reason)
        self.args = (f"the connection was lost (code {close_code}), and the session cannot be resumed: {reason}",)


class DaemonSilent(ClientError):
    """A message was not taken, or none came, within the time allowed."""

    code = "daemon_silent"
    fault = Fault.MACHINE


class UnreadableMessage(ClientError):
    """The daemon sent something that is not its protocol."""

    code = "message_unreadable"
    fault = Fault.SERVER


class SoundDeviceMissing(ClientError):
    """The microphone or the loudspeaker cannot be used; the message says what to install or choose."""

    code = "sound_device_missing"
    fault = Fault.MACHINE

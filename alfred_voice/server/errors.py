"""What only the door raises; the roots are in :mod:`alfred_voice.errors`.

* :exc:`ProtocolError`: a message that breaks the wire protocol.

  * :exc:`MalformedMessage`: not JSON or MessagePack, wrong field, wrong type.
  * :exc:`UnknownMessage`: a ``type`` that the protocol does not have.
  * :exc:`OfferUnusable`: an offer of WebRTC that asks for what is not done here.
  * :exc:`UnexpectedMessage`: a known message at the wrong moment or in the wrong frame kind.
  * :exc:`MessageTooLarge`

* :exc:`NotOffered`: something that this daemon is set up without.
* :exc:`UnknownConnection`
* :exc:`NoPortFree`: no UDP port is left for media.
* :exc:`AccessError`: not allowed.

  * :exc:`KeyNeeded`: no key was given.
  * :exc:`KeyRefused`: the key that was given is none of ours.
  * :exc:`NotAllowed`: the key is known, and this is not for it.
  * :exc:`OriginRefused`: a page of another origin asks.
  * :exc:`HostRefused`: the daemon is addressed by a name that is not its own.
  * :exc:`RateLimited`: too often.

    * :exc:`TooManyAttempts`: too many wrong keys from one address.
"""

from __future__ import annotations

from alfred_voice.errors import AlfredVoiceError, Fault, Overloaded, SessionError


class ProtocolError(AlfredVoiceError):
    """A message that breaks the wire protocol."""

    code = "protocol_error"
    fault = Fault.CLIENT


class MalformedMessage(ProtocolError):
    """Not JSON or MessagePack, an unknown field, or a field of the wrong type."""

    code = "message_malformed"


class UnknownMessage(ProtocolError):
    """A ``type`` that the protocol does not have."""

    code = "message_unknown"


class OfferUnusable(ProtocolError):
    """An offer of WebRTC is well-formed, but asks for what is not done here."""

    code = "offer_unusable"


class UnexpectedMessage(ProtocolError):
    """A known message at the wrong moment, or in the wrong kind of WebSocket frame."""

    code = "message_unexpected"


class MessageTooLarge(ProtocolError):
    """More bytes in one message, upload or text than the limit."""

    code = "message_too_large"


class NotOffered(AlfredVoiceError):
    """Something that this daemon could do, and is set up without."""

    code = "not_offered"


class UnknownConnection(SessionError):
    """No connection of that name is open."""

    code = "connection_unknown"


class AccessError(AlfredVoiceError):
    """Who asks may not."""

    code = "access_refused"
    fault = Fault.CLIENT


class KeyNeeded(AccessError):
    """No key was given where one is needed."""

    code = "key_needed"


class KeyRefused(AccessError):
    """The key that was given is not among those that are configured."""

    code = "key_refused"


class NotAllowed(AccessError):
    """The key is known, but may not do this."""

    code = "not_allowed"


class OriginRefused(AccessError):
    """A page of an origin that is neither the daemon's own nor allowed asks."""

    code = "origin_refused"


class HostRefused(AccessError):
    """The request is addressed to a host that the daemon does not go by."""

    code = "host_refused"


class RateLimited(AccessError):
    """Too much in too little time.

    Attributes:
        retry_after_s: when it is worth trying again, in whole seconds.
    """

    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyAttempts(RateLimited):
    """Too many wrong keys have come from one address."""

    code = "too_many_attempts"


class NoPortFree(Overloaded):
    """All ports that media may come to are taken."""

    code = "no_port_free"

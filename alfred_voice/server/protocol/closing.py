"""Why a WebSocket is closed, as a close code (RFC 6455, section 7.4) and a word for people."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import WSCloseCode

from alfred_voice.errors import AlfredVoiceError, Fault, Overloaded, UnsupportedAudio
from alfred_voice.events import EndReason
from alfred_voice.server.errors import MessageTooLarge, RateLimited


class Closing(NamedTuple):
    """A close code and its reason, at most 123 bytes of it."""

    code: int
    reason: str


FAILED = Closing(WSCloseCode.INTERNAL_ERROR, "internal error")
GOING_AWAY = Closing(WSCloseCode.GOING_AWAY, "shutdown")
NOT_READ = Closing(WSCloseCode.TRY_AGAIN_LATER, "events were not read in time")
NOT_STARTED = Closing(WSCloseCode.POLICY_VIOLATION, "no session was started in time")
TAKEN_OVER = Closing(WSCloseCode.POLICY_VIOLATION, "the session goes on over another connection")
TOO_OFTEN = Closing(WSCloseCode.POLICY_VIOLATION, RateLimited.code)
TOO_BIG = Closing(WSCloseCode.MESSAGE_TOO_BIG, MessageTooLarge.code)

_REASON_CODES: dict[EndReason, int] = {
    "stop": WSCloseCode.OK,
    "idle": WSCloseCode.OK,
    "max_duration": WSCloseCode.OK,
    "shutdown": WSCloseCode.GOING_AWAY,
}


def closing_of_end(reason: EndReason, fatal_code: str | None) -> Closing:
    """How to close after ``sessionEnded``.

    Args:
        reason: the event's.
        fatal_code: the ``code`` of the fatal error that came before it, where one did.
    """
    if reason in _REASON_CODES:
        return Closing(_REASON_CODES[reason], reason)
    kind = None if fatal_code is None else _kinds().get(fatal_code)
    return FAILED if kind is None else Closing(_code_of_kind(kind), kind.code)


def _code_of_kind(kind: type[AlfredVoiceError]) -> int:
    if issubclass(kind, MessageTooLarge):
        return WSCloseCode.MESSAGE_TOO_BIG
    if issubclass(kind, UnsupportedAudio):
        return WSCloseCode.UNSUPPORTED_DATA
    if kind.fault is Fault.MACHINE or issubclass(kind, Overloaded):
        return WSCloseCode.TRY_AGAIN_LATER
    return WSCloseCode.POLICY_VIOLATION if kind.fault is Fault.CLIENT else WSCloseCode.INTERNAL_ERROR


def _kinds(root: type[AlfredVoiceError] = AlfredVoiceError) -> dict[str, type[AlfredVoiceError]]:
    """Every deliberate error by its ``code``."""
    kinds = {root.code: root}
    for kind in root.__subclasses__():
        kinds |= _kinds(kind)
    return kinds

"""Close codes, for every error there is."""

from __future__ import annotations

import pytest

from alfred_voice import errors
from alfred_voice.errors import AlfredVoiceError
from alfred_voice.pipeline.outbox import SlowReader
from alfred_voice.server.errors import MessageTooLarge
from alfred_voice.server.protocol.closing import (
    FAILED,
    GOING_AWAY,
    NOT_READ,
    NOT_STARTED,
    TOO_BIG,
    Closing,
    closing_of_end,
)


def every_error(root: type[AlfredVoiceError] = AlfredVoiceError) -> list[type[AlfredVoiceError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in every_error(child))]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (MessageTooLarge, 1009),
        (errors.UnsupportedAudio, 1003),
        (errors.MalformedAudio, 1008),
        (errors.InvalidSettings, 1008),
        (errors.SessionBusy, 1008),
        (errors.EngineFailure, 1011),
        (errors.ModelMissing, 1011),
        (errors.AlfredVoiceError, 1011),
        (errors.Overloaded, 1013),
        (errors.Draining, 1013),
        (errors.TooManySessions, 1013),
        (SlowReader, 1013),
    ],
)
def test_a_fatal_error_has_the_close_code_of_the_protocols_page(kind: type[AlfredVoiceError], code: int) -> None:
    assert closing_of_end("error", kind.code) == Closing(code, kind.code)


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_close_code_that_may_be_sent(kind: type[AlfredVoiceError]) -> None:
    assert closing_of_end("error", kind.code).code in (1003, 1008, 1009, 1011, 1013)


def test_an_end_by_error_that_nobody_explained_is_our_fault() -> None:
    assert closing_of_end("error", None) == FAILED
    assert closing_of_end("error", "no_such_code") == FAILED


def test_a_plain_end_is_not_changed_by_an_earlier_fatal_code() -> None:
    assert closing_of_end("stop", "engine_failure") == Closing(1000, "stop")
    assert closing_of_end("shutdown", None) == Closing(1001, "shutdown")


@pytest.mark.parametrize("closing", [FAILED, GOING_AWAY, NOT_READ, NOT_STARTED, TOO_BIG])
def test_reasons_fit_into_a_control_frame(closing: Closing) -> None:
    # RFC 6455, section 5.5: 125 bytes, two of which are the code.
    assert len(closing.reason.encode()) <= 123

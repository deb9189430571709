"""Offers of WebRTC that a stranger has scribbled in: they are answered or refused, and nothing else happens."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.server.errors import MalformedMessage
from alfred_voice.server.webrtc.event_channel import EventChannel
from alfred_voice.server.webrtc.ice_sockets import Berth
from alfred_voice.server.webrtc.negotiation import Negotiation
from alfred_voice.server.webrtc.offer import Offer, read_offer
from tests.server.webrtc.test_offer import AUDIO, CHANNEL, VIDEO, offer


WHOLE = offer(AUDIO, CHANNEL, VIDEO)
TIMES = 150


@given(st.text(max_size=400))
def test_any_text_is_an_offer_or_is_refused(text: str) -> None:
    with contextlib.suppress(MalformedMessage):
        assert isinstance(read_offer(text), Offer)


def scribbled(dice: random.Random) -> str:
    """The offer with a few lines gone, doubled, mixed up or damaged."""
    lines = WHOLE.split("\r\n")
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(lines))
        match dice.randrange(4):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[at])
            case 2:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case _ if lines[at]:
                cut = dice.randrange(len(lines[at]))
                lines[at] = lines[at][:cut] + dice.choice(["", "x", "9" * 12, ":", " "]) + lines[at][cut + 1 :]
    return "\r\n".join(lines)


async def test_a_scribbled_offer_is_answered_or_refused_and_leaves_no_fault_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dice = random.Random(1)
    answered = refused = 0
    for _ in range(TIMES):
        text = scribbled(dice)
        negotiation = Negotiation(Berth(("127.0.0.1",)), EventChannel())
        try:
            assert "m=" in await negotiation.answer(read_offer(text))
            answered += 1
        except MalformedMessage:
            refused += 1
        # What the library begins by itself is to fail here, if it does.
        await asyncio.sleep(0.01)
        await negotiation.close(5)
    assert answered > TIMES / 10
    assert refused > TIMES / 10
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []

"""What becomes of a peer connection when its library, or its peer, does not behave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alfred_voice.errors import SessionBusy
from alfred_voice.server.errors import MalformedMessage
from alfred_voice.server.webrtc.event_channel import EventChannel
from alfred_voice.server.webrtc.ice_sockets import Berth
from alfred_voice.server.webrtc.negotiation import Negotiation
from alfred_voice.server.webrtc.offer import read_offer
from tests.server.webrtc.test_offer import AUDIO, CHANNEL, offer


OFFER = read_offer(offer(AUDIO, CHANNEL))


@pytest.fixture
async def negotiation() -> Negotiation:
    return Negotiation(Berth(("127.0.0.1",)), EventChannel())


def sockets(negotiation: Negotiation) -> list[Any]:
    """The transports that media comes to."""
    return [protocol.transport for agent in negotiation._agents for protocol in agent._protocols]


async def test_an_answer_has_one_socket_for_everything(negotiation: Negotiation) -> None:
    await negotiation.answer(OFFER)
    assert negotiation.has_channel
    assert len(sockets(negotiation)) == 1
    await negotiation.close(5)


async def test_sockets_are_closed_though_the_library_stumbles(
    negotiation: Negotiation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await negotiation.answer(OFFER)
    (socket,) = sockets(negotiation)
    close = negotiation.connection.close

    async def stumble() -> None:
        raise RuntimeError("a fault of the test's")

    monkeypatch.setattr(negotiation.connection, "close", stumble)
    await negotiation.close(5)
    assert socket.is_closing()
    await close()


async def test_one_offer_is_answered_at_a_time(negotiation: Negotiation) -> None:
    first = asyncio.create_task(negotiation.answer(OFFER))
    await asyncio.sleep(0)
    with pytest.raises(SessionBusy):
        await negotiation.answer(OFFER)
    assert "a=sendrecv" in await first
    await negotiation.close(5)


async def test_after_an_offer_that_failed_another_one_may_come(
    negotiation: Negotiation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_: object) -> None:
        raise KeyError("a fault of the test's")

    with monkeypatch.context() as patched:
        patched.setattr(negotiation.connection, "setRemoteDescription", stumble)
        with pytest.raises(MalformedMessage, match="KeyError"):
            await negotiation.answer(OFFER)
    assert "a=sendrecv" in await negotiation.answer(OFFER)
    await negotiation.close(5)

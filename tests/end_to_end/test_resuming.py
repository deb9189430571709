"""Connections that are cut while people speak: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from alfred_voice.client import Mode, ReturnPlan
from tests.resuming import Event, Returning, Wire, let_in, wire_to
from tests.sounds import Int16, joined, silence
from tests.support import Daemon, words


PACE = 6.0


def said(session: Returning) -> list[tuple[str, float, float]]:
    """The finals: text, beginning and end."""
    return [(event["text"], event["start_ms"], event["end_ms"]) for event in session.of("finalTranscription")]


def boundaries(session: Returning) -> list[tuple[str, float]]:
    """Where speech begins and ends, and turns."""
    kinds = ("speechStart", "speechEnd", "turnComplete")
    return [(event["type"], event["at_ms"]) for event in session.events if event["type"] in kinds]


def accounts(session: Returning) -> Event:
    """The session's own count, which must come out."""
    (ended,) = session.of("sessionEnded")
    stats: Event = ended["stats"]
    assert stats["frames_received"] == stats["frames_processed"] + stats["frames_dropped"]
    assert stats["frames_received"] == len(session.audio) // 640
    return stats


def cuts_at(wire: Wire, places: list[int]) -> Callable[[int], None]:
    """Cuts the wire when so many bytes have been sent, every second time in the middle of a message."""
    left = sorted(places)
    count = 0

    def on_progress(sent: int) -> None:
        nonlocal count
        while left and sent >= left[0]:
            left.pop(0)
            count += 1
            if count % 2:
                wire.cut_in_the_next_message()
            else:
                wire.cut()

    return on_progress


async def cut_run(
    daemon: Daemon, name: str, audio: bytes, places: list[int], *, pace: float = PACE, **start: bool
) -> Returning:
    """Faster than real time the turn model's answers may come too late for a pause: ends are the clock's by default."""
    session = Returning(name, audio, pace, start={"turns": False, **start})
    async with wire_to(daemon.base) as wire:
        await session.run(f"ws://127.0.0.1:{wire.port}/ws", cuts_at(wire, places))
    return session


def pcm(reading: Int16) -> bytes:
    whole = joined(reading, silence(1.0))
    return whole[: len(whole) // 320 * 320].astype("<i2").tobytes()


async def test_a_conversation_that_is_cut_again_and_again_is_the_one_that_was_not(
    daemon: Daemon, reading: Int16
) -> None:
    audio = pcm(reading)
    uncut = await cut_run(daemon, "uncut", audio, [], partials=False)
    assert uncut.connections == 1
    places = [len(audio) * part // 9 for part in range(1, 9)]
    cut = await cut_run(daemon, "cut", audio, places, partials=False)
    assert cut.connections == 9
    assert said(cut) == said(uncut)
    assert boundaries(cut) == boundaries(uncut)
    assert accounts(cut) == accounts(uncut)
    assert len(cut.of("sessionResumed")) == 8


async def test_in_real_time_with_turns_the_words_are_the_same_too(daemon: Daemon, reading: Int16) -> None:
    audio = pcm(reading)
    places = [len(audio) * part // 5 for part in range(1, 5)]
    uncut, cut = await asyncio.gather(
        cut_run(daemon, "live", audio, [], pace=1.0, turns=True),
        cut_run(daemon, "live-cut", audio, places, pace=1.0, turns=True),
    )
    assert cut.connections == 5
    assert words(" ".join(text for text, _, _ in said(cut))) == words(" ".join(text for text, _, _ in said(uncut)))
    assert len(cut.of("turnComplete")) == len(cut.of("finalTranscription"))
    accounts(cut)


async def test_who_is_cut_off_behind_the_last_word_still_gets_the_final(daemon: Daemon, sentence: Int16) -> None:
    audio = pcm(sentence)
    session = Returning("tail", audio, pace=20.0)
    async with wire_to(daemon.base) as wire:
        running = asyncio.create_task(session.run(f"ws://127.0.0.1:{wire.port}/ws"))
        while session.sent < len(audio):  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0.005)
        wire.cut()
        await running
    assert session.connections >= 2
    assert [text for text, _, _ in said(session) if text]
    accounts(session)


@pytest.mark.parametrize("mode", ["json", "msgpack"])
async def test_who_goes_on_speaking_while_there_is_no_connection_is_heard_all_the_same(
    daemon: Daemon, reading: Int16, mode: Mode
) -> None:
    """As a microphone does, and with pauses before each attempt."""
    audio = pcm(reading)
    dice = random.Random(mode)
    places = [dice.randrange(640, len(audio)) for _ in range(12)]
    uncut, cut = (
        Returning(f"{mode}-{name}", audio, 3.0, start={"turns": False}, mode=mode) for name in ("through", "gaps")
    )
    cut.plan = ReturnPlan(first_wait_s=0.2, jitter=dice.random)
    cut.waits_for_return = False
    await uncut.run(daemon.ws)
    async with wire_to(daemon.base) as wire:
        await cut.run(f"ws://127.0.0.1:{wire.port}/ws", cuts_at(wire, places))
    assert cut.connections >= 5, "a cut while there is no connection changes nothing"
    assert len(cut.of("sessionResumed")) == cut.connections - 1
    assert [(words(text), *times) for text, *times in said(cut)] == [
        (words(text), *times) for text, *times in said(uncut)
    ]
    assert boundaries(cut) == boundaries(uncut)
    assert accounts(cut) == accounts(uncut)


async def test_a_text_that_was_sent_just_before_the_loss_is_said_and_not_twice(daemon: Daemon) -> None:
    """The first is cut off before it arrives, the next while it is said."""
    told: list[Event] = []
    async with (
        wire_to(daemon.base) as wire,
        asyncio.timeout(60),
        let_in(f"ws://127.0.0.1:{wire.port}/ws", resumable=True) as talk,
    ):
        assert (await anext(talk))["type"] == "sessionStarted"
        wire.cut_in_the_next_message()
        await talk.speak("Good morning.")
        async for event in talk:
            told.append(event)
            match event["type"], event.get("speech_id"):
                case "ttsEnd", 0:
                    await talk.speak("It was the best of times, it was the worst of times.")
                case "ttsEnd", 1:
                    await talk.stop()
                case "ttsStart", 1:
                    wire.cut()
    ends = [(event["speech_id"], event["cancelled"]) for event in told if event["type"] == "ttsEnd"]
    assert ends == [(0, False), (1, True)]
    assert [event["speech_id"] for event in told if event["type"] == "ttsStart"] == [0, 1]
    assert len([event for event in told if event["type"] == "sessionResumed"]) == 2


@pytest.mark.slow
async def test_two_hundred_cuts_at_random_lose_nothing_and_repeat_nothing(daemon: Daemon, reading: Int16) -> None:
    audio = pcm(reading)
    uncut = await cut_run(daemon, "none", audio, [])
    dice = random.Random(20)
    runs = [[dice.randrange(640, len(audio)) for _ in range(20)] for _ in range(10)]
    sessions = []
    for first in range(0, len(runs), 2):
        sessions += await asyncio.gather(
            *(cut_run(daemon, f"random-{number}", audio, runs[number]) for number in (first, first + 1))
        )
    assert sum(session.connections - 1 for session in sessions) >= 180, "two cuts may fall into one message"
    for session in sessions:
        # A partial may have told a word as "it" before the final would have had "It": that depends on its moment.
        assert [(words(text), *times) for text, *times in said(session)] == [
            (words(text), *times) for text, *times in said(uncut)
        ]
        assert boundaries(session) == boundaries(uncut)
        accounts(session)

"""The one place out: order, numbers, what gives way, and what happens when nothing does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.events import Event, PartialTranscription, PipelineHealth, Pong
from alfred_voice.pipeline.outbox import Numbered, Outbox, SlowReader, SpeechAudio


def partial(utterance: int, text: str) -> PartialTranscription:
    return PartialTranscription(utterance, text, "", 0.0, 1.0)


def events(items: list[Numbered | SpeechAudio]) -> list[Event]:
    return [item.event for item in items if isinstance(item, Numbered)]


def numbers(items: list[Numbered | SpeechAudio]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Numbered)]


def test_what_goes_in_comes_out_in_order_and_numbered_from_0() -> None:
    outbox = Outbox(10)
    for name in "abc":
        outbox.put(Pong(name))
    assert outbox.take_now() == [Numbered(0, Pong("a")), Numbered(1, Pong("b")), Numbered(2, Pong("c"))]


def test_the_first_number_can_be_given() -> None:
    outbox = Outbox(10, first_seq=7)
    outbox.put(Pong("a"))
    outbox.put(Pong("b"))
    assert numbers(outbox.take_now()) == [7, 8]


def test_audio_keeps_its_place_among_the_events_and_has_no_number() -> None:
    outbox = Outbox(10)
    outbox.put(Pong("before"))
    outbox.put(SpeechAudio(3, b"xx"))
    outbox.put(Pong("after"))
    assert outbox.take_now() == [Numbered(0, Pong("before")), SpeechAudio(3, b"xx"), Numbered(1, Pong("after"))]


def test_what_was_taken_is_gone() -> None:
    outbox = Outbox(10)
    outbox.put(Pong(1))
    assert len(outbox) == 1
    outbox.take_now()
    assert len(outbox) == 0
    assert outbox.take_now() == []


def test_a_newer_partial_replaces_an_unread_one_of_its_utterance() -> None:
    outbox = Outbox(10)
    for item in (partial(0, "a"), Pong(1), partial(0, "a b"), partial(0, "a b c")):
        outbox.put(item)
    items = outbox.take_now()
    assert events(items) == [Pong(1), partial(0, "a b c")]
    assert numbers(items) == [0, 1]
    assert outbox.superseded == 2


def test_partials_of_different_utterances_stay() -> None:
    outbox = Outbox(10)
    outbox.put(partial(0, "a"))
    outbox.put(partial(1, "b"))
    assert events(outbox.take_now()) == [partial(0, "a"), partial(1, "b")]


def test_a_partial_that_was_read_is_not_missed_when_a_newer_one_comes() -> None:
    outbox = Outbox(10)
    outbox.put(partial(0, "a"))
    outbox.take_now()
    outbox.put(partial(0, "a b"))
    assert len(outbox) == 1
    assert events(outbox.take_now()) == [partial(0, "a b")]
    assert outbox.superseded == 0


def test_only_the_newest_state_of_health_waits() -> None:
    outbox = Outbox(10)
    for load in range(5):
        outbox.put(PipelineHealth({"load": load}))
    assert events(outbox.take_now()) == [PipelineHealth({"load": 4})]


def test_a_full_outbox_makes_room_by_superseding_first() -> None:
    outbox = Outbox(2)
    outbox.put(partial(0, "a"))
    outbox.put(Pong(1))
    outbox.put(partial(0, "a b"))
    assert events(outbox.take_now()) == [Pong(1), partial(0, "a b")]


async def test_one_item_too_many_and_the_reader_is_told_that_it_is_slow() -> None:
    outbox = Outbox(2)
    for number in range(3):
        outbox.put(Pong(number))
    assert len(outbox) == 0, "what nobody will read takes no memory"
    with pytest.raises(SlowReader, match="more than 2"):
        await outbox.take()
    with pytest.raises(SlowReader):
        outbox.take_now()


async def test_a_full_outbox_that_is_closed_still_says_so() -> None:
    outbox = Outbox(1)
    outbox.put(Pong(1))
    outbox.put(Pong(2))
    outbox.close()
    with pytest.raises(SlowReader):
        await outbox.take()


async def test_a_reader_that_waits_is_woken_by_the_first_item() -> None:
    outbox = Outbox(10)
    reader = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not reader.done()
    outbox.put(Pong(1))
    assert events(await asyncio.wait_for(reader, 5)) == [Pong(1)]


async def test_a_reader_does_not_wake_for_what_was_taken_meanwhile() -> None:
    outbox = Outbox(10)
    reader = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put(SpeechAudio(0, b"x"))
    outbox.drop_audio()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reader.done()
    outbox.put(Pong(1))
    assert events(await asyncio.wait_for(reader, 5)) == [Pong(1)]


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    outbox = Outbox(10)
    reader = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.put(Pong(1))
    reader.cancel()
    await asyncio.wait((reader,))
    assert events(outbox.take_now()) == [Pong(1)]


async def test_a_closed_outbox_gives_what_it_has_and_then_nothing_for_ever() -> None:
    outbox = Outbox(10)
    outbox.put(Pong(1))
    outbox.close()
    outbox.put(Pong("late"))
    assert events(await outbox.take()) == [Pong(1)]
    assert await outbox.take() == []
    assert await outbox.take() == []


async def test_closing_wakes_a_reader_that_waits() -> None:
    outbox = Outbox(10)
    reader = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    outbox.close()
    assert await asyncio.wait_for(reader, 5) == []


def test_audio_can_be_dropped_and_the_rest_keeps_its_order() -> None:
    outbox = Outbox(10)
    for item in (Pong(1), SpeechAudio(0, b"ab"), Pong(2), SpeechAudio(1, b"c")):
        outbox.put(item)
    assert outbox.drop_audio() == [SpeechAudio(0, b"ab"), SpeechAudio(1, b"c")]
    assert len(outbox) == 2
    assert outbox.take_now() == [Numbered(0, Pong(1)), Numbered(1, Pong(2))]


def test_a_partial_that_waited_through_dropped_audio_can_still_be_superseded() -> None:
    outbox = Outbox(10)
    for item in (partial(0, "a"), SpeechAudio(0, b"ab")):
        outbox.put(item)
    outbox.drop_audio()
    outbox.put(partial(0, "a b"))
    assert events(outbox.take_now()) == [partial(0, "a b")]


async def test_a_discarded_outbox_is_empty_and_over() -> None:
    outbox = Outbox(10)
    outbox.put(Pong(1))
    outbox.discard()
    outbox.put(Pong(2))
    assert len(outbox) == 0
    assert await outbox.take() == []


ITEMS = st.one_of(
    st.integers(0, 9).map(Pong),
    st.tuples(st.integers(0, 2), st.text("ab", max_size=2)).map(lambda pair: partial(*pair)),
    st.integers(0, 9).map(lambda n: PipelineHealth({"n": n})),
    st.binary(min_size=1, max_size=2).map(lambda data: SpeechAudio(0, data)),
    st.just("take"),
    st.just("drop"),
)


@given(st.lists(ITEMS, max_size=60))
def test_whatever_happens_numbers_have_no_gaps_and_nothing_but_the_superseded_is_lost(script: list[object]) -> None:
    outbox = Outbox(1_000)
    got: list[Numbered | SpeechAudio] = []
    pings = [item for item in script if isinstance(item, Pong)]
    told = 0
    for item in script:
        if item == "take":
            got += outbox.take_now()
        elif item == "drop":
            outbox.drop_audio()
        else:
            assert isinstance(item, (Pong, PartialTranscription, PipelineHealth, SpeechAudio))
            told += not isinstance(item, SpeechAudio)
            outbox.put(item)
    waiting = len(outbox)
    rest = outbox.take_now()
    assert waiting == len(rest)
    got += rest
    assert numbers(got) == list(range(len(events(got))))
    assert [event for event in events(got) if isinstance(event, Pong)] == pings
    assert len(events(got)) == told - outbox.superseded

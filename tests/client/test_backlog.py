"""What is kept until it is known to have arrived."""

from __future__ import annotations

import random
from typing import Any

import pytest

from alfred_voice.client.backlog import Audio, Backlog, Control, sign_of_control


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


def taken(backlog: Backlog) -> list[Any]:
    """Everything that is to be sent now, as its data."""
    items = []
    while (item := backlog.take()) is not None:
        items.append(item.data)
    return items


def of(*items: bytes | str, limit: int = 1_000, controls: int = 64) -> Backlog:
    """A backlog with audio (bytes) and control messages (text) that have not been sent."""
    backlog = Backlog(limit, controls)
    for item in items:
        if isinstance(item, bytes):
            backlog.add_audio(item)
        else:
            backlog.add_control(item)
    return backlog


def sent(*items: bytes | str, limit: int = 1_000, controls: int = 64) -> Backlog:
    backlog = of(*items, limit=limit, controls=controls)
    taken(backlog)
    return backlog


def test_all_is_sent_once_in_its_order_with_its_place() -> None:
    backlog = of(b"abc", "flush", b"de")
    assert backlog.unsent == 3
    assert [backlog.take() for _ in range(4)] == [Audio(0, b"abc"), Control(3, "flush", None), Audio(3, b"de"), None]
    assert (backlog.unsent, backlog.bytes, backlog.end) == (0, 10, 5)


def test_nothing_that_was_sent_is_sent_again_before_another_connection_begins() -> None:
    backlog = sent(b"abc")
    backlog.add_audio(b"de")
    assert taken(backlog) == [b"de"]


def test_what_is_acknowledged_is_let_go_of() -> None:
    backlog = sent(b"abc", b"def", b"ghi")
    backlog.acknowledge(6)
    assert backlog.bytes == 3
    backlog.rewind(6)
    assert taken(backlog) == [b"ghi"]


def test_a_message_of_which_a_part_is_acknowledged_is_sent_from_there() -> None:
    backlog = sent(b"abc", b"def", b"ghi")
    backlog.rewind(4)
    assert backlog.bytes == 5
    assert [backlog.take(), backlog.take(), backlog.take()] == [Audio(4, b"ef"), Audio(6, b"ghi"), None]


def test_messages_keep_their_borders_when_they_are_sent_again() -> None:
    backlog = sent(b"a", b"bcd", b"e")
    backlog.rewind(0)
    assert taken(backlog) == [b"a", b"bcd", b"e"]


def test_what_was_not_yet_sent_follows_what_is_sent_again() -> None:
    backlog = sent(b"abc")
    backlog.add_audio(b"de")
    backlog.rewind(0)
    assert taken(backlog) == [b"abc", b"de"]


@pytest.mark.parametrize(
    ("audio_bytes", "again"),
    [
        (0, [b"ab", "one", b"cd", "two", b"ef"]),
        (1, [b"b", "one", b"cd", "two", b"ef"]),
        (2, ["one", b"cd", "two", b"ef"]),
        (3, [b"d", "two", b"ef"]),
        (4, ["two", b"ef"]),
        (5, [b"f"]),
        (6, []),
    ],
)
def test_the_byte_behind_a_control_message_shows_that_it_has_arrived(
    audio_bytes: int, again: list[bytes | str]
) -> None:
    backlog = sent(b"ab", "one", b"cd", "two", b"ef")
    backlog.rewind(audio_bytes)
    assert taken(backlog) == again


@pytest.mark.parametrize(
    ("message", "shown_by", "not_by"),
    [
        ({"type": "ping"}, event("pong", id=None), event("pong", id=1)),
        ({"type": "ping", "id": "p"}, event("pong", id="p"), event("pong", id=None)),
        (
            {"type": "speak", "text": "a", "speech_id": 3},
            event("ttsStart", speech_id=3),
            event("ttsStart", speech_id=2),
        ),
        ({"type": "speak", "text": "a", "speech_id": 3}, event("ttsEnd", speech_id=3), event("pong", id=3)),
    ],
    ids=["ping", "named-ping", "start", "end"],
)
def test_what_a_control_message_brings_about_shows_that_it_and_all_before_it_have_arrived(
    message: dict[str, Any], shown_by: dict[str, Any], not_by: dict[str, Any]
) -> None:
    backlog = Backlog(1_000)
    backlog.add_audio(b"ab")
    backlog.add_control("flush")
    backlog.add_control("it", sign_of_control(message))
    backlog.add_control("stop")
    taken(backlog)
    backlog.note(not_by)
    assert backlog.bytes == 13
    backlog.note(shown_by)
    backlog.rewind(2)
    assert taken(backlog) == ["stop"]


@pytest.mark.parametrize("kind", ["flush", "stop", "stopSpeaking", "later"])
def test_no_event_shows_that_other_messages_have_arrived(kind: str) -> None:
    assert sign_of_control({"type": kind, "id": 1}) is None


def test_the_first_of_two_like_pings_is_the_one_that_is_answered_first() -> None:
    backlog = Backlog(1_000)
    for name in ("first", "second"):
        backlog.add_control(name, ("pong", None))
    taken(backlog)
    backlog.note(event("pong", id=None))
    backlog.rewind(0)
    assert taken(backlog) == ["second"]


def test_what_has_not_been_sent_has_not_arrived_whatever_comes() -> None:
    backlog = Backlog(1_000)
    backlog.add_control("ping", ("pong", None))
    backlog.note(event("pong", id=None))
    assert taken(backlog) == ["ping"]


def test_more_than_was_sent_is_not_acknowledged() -> None:
    backlog = sent(b"abc")
    backlog.add_audio(b"de")
    with pytest.raises(ValueError, match="5 bytes of audio are acknowledged, of 3"):
        backlog.acknowledge(5)
    with pytest.raises(ValueError, match="4 bytes"):
        backlog.rewind(4)


def test_what_was_let_go_of_cannot_be_sent_again() -> None:
    backlog = sent(b"abc", b"de")
    backlog.acknowledge(3)
    with pytest.raises(ValueError, match="from byte 2 on; it is kept from byte 3 on"):
        backlog.rewind(2)


def test_an_older_acknowledgement_changes_nothing() -> None:
    backlog = sent(b"abc", b"de")
    backlog.acknowledge(3)
    backlog.acknowledge(1)
    assert backlog.bytes == 2


def test_there_is_room_for_so_many_bytes_and_again_when_some_have_arrived() -> None:
    backlog = sent(b"abcd", limit=6)
    assert backlog.has_room(2)
    assert not backlog.has_room(3)
    backlog.acknowledge(4)
    assert backlog.has_room(6)


def test_a_message_larger_than_all_the_room_may_be_kept_alone() -> None:
    assert Backlog(6).has_room(100)
    assert not sent(b"a", limit=6).has_room(100)


def test_of_too_many_control_messages_the_oldest_that_was_sent_is_taken_to_have_arrived() -> None:
    backlog = sent("one", b"ab", "two", controls=2)
    assert backlog.has_room(5, is_control=True)
    backlog.add_control("three")
    backlog.rewind(0)
    assert taken(backlog) == [b"ab", "two", "three"]


def test_control_messages_that_were_not_sent_are_not_let_go_of() -> None:
    backlog = of("one", "two", controls=2)
    assert not backlog.has_room(5, is_control=True)
    assert backlog.has_room(5), "audio is not counted among them"
    backlog.take()
    assert backlog.has_room(5, is_control=True)


def test_who_need_not_come_back_keeps_nothing_that_was_sent() -> None:
    backlog = sent(b"abc", "flush")
    backlog.add_audio(b"de")
    backlog.keep_nothing()
    assert backlog.bytes == 2
    assert taken(backlog) == [b"de"]
    assert (backlog.bytes, backlog.unsent) == (0, 0)


class Daemon:
    """Hears what a backlog gives, over connections that are lost, and knows how much it has."""

    def __init__(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.heard = b""
        self.controls: list[tuple[int, Any]] = []

    def hear(self, messages: int) -> None:
        for _ in range(messages):
            match self.backlog.take():
                case Audio(at, data):
                    assert at == len(self.heard)
                    self.heard += data
                case Control(at, name):
                    assert at == len(self.heard)
                    self.controls.append((at, name))

    def lose(self, messages: int) -> None:
        """So many are sent and do not arrive; then another connection begins."""
        for _ in range(messages):
            self.backlog.take()
        self.backlog.rewind(len(self.heard))


@pytest.mark.parametrize("seed", range(20))
def test_however_often_it_is_lost_each_byte_arrives_once_and_controls_where_they_belong(seed: int) -> None:
    dice = random.Random(seed)
    backlog = Backlog(10_000)
    daemon = Daemon(backlog)
    given, controls = b"", []
    for number in range(300):
        if dice.random() < 0.2:
            controls.append((len(given), str(number)))
            backlog.add_control(str(number))
        else:
            data = dice.randbytes(dice.randrange(1, 40))
            given += data
            backlog.add_audio(data)
        daemon.hear(dice.randrange(3))
        if dice.random() < 0.3:
            backlog.acknowledge(len(daemon.heard))
        if dice.random() < 0.2:
            daemon.lose(dice.randrange(3))
    daemon.hear(300)
    assert daemon.heard == given
    assert list(dict.fromkeys(daemon.controls)) == controls
    assert len(daemon.controls) > len(controls), "what nothing shows to have arrived is sent again"

"""Ten speakers at once."""

from __future__ import annotations

from tests.sounds import Int16
from tests.support import Daemon, check_session, staggered, stream, word_error_rate, words


async def test_ten_clients_at_once_get_the_text_that_one_gets(
    daemon: Daemon, reading: Int16, reading_text: str
) -> None:
    alone = await stream(daemon.ws, reading, tail_s=1.0)
    together = await staggered(
        [
            stream(
                daemon.ws, reading, mode="msgpack" if n % 2 else "json", start={"session_id": f"ten-{n}"}, tail_s=1.0
            )
            for n in range(10)
        ]
    )

    assert word_error_rate(reading_text, alone.text) <= 0.1, alone.text
    # Where turns end depends on how soon the turn model answers, so full stops may differ; words may not.
    assert [words(heard.text) for heard in together] == [words(alone.text)] * 10
    for n, heard in enumerate(together):
        check_session(heard)
        assert heard.stats["frames_received"] == heard.frames_sent
        assert {event["session_id"] for event in heard.events} == {f"ten-{n}"}
        assert heard.close_code == 1000


async def test_ten_clients_in_unison_are_all_heard(daemon: Daemon, sentence: Int16, sentence_text: str) -> None:
    """They all pause in the same instant: the worst case, in which order and words hold, and latency may not."""
    together = await staggered([stream(daemon.ws, sentence, tail_s=1.0) for _ in range(10)], gap_s=0.0)
    for heard in together:
        check_session(heard)
        assert word_error_rate(sentence_text, heard.text) <= 0.1, heard.text
        assert heard.stats["frames_received"] == heard.frames_sent

"""Ten speakers at once."""

from __future__ import annotations

import asyncio

from tests.sounds import Int16
from tests.support import Daemon, check_session, stream, word_error_rate


async def test_ten_clients_at_once_get_the_text_that_one_gets(
    daemon: Daemon, beckett: Int16, beckett_text: str
) -> None:
    alone = await stream(daemon.ws, beckett, pace=2, tail_s=1.0)
    together = await asyncio.gather(
        *[
            stream(
                daemon.ws, beckett, mode="msgpack" if n % 2 else "json", start={"session_id": f"ten-{n}"}, tail_s=1.0
            )
            for n in range(10)
        ]
    )

    assert word_error_rate(beckett_text, alone.text) <= 0.1, alone.text
    assert [heard.text for heard in together] == [alone.text] * 10
    for n, heard in enumerate(together):
        check_session(heard)
        assert heard.stats["frames_received"] == heard.frames_sent
        assert {event["session_id"] for event in heard.events} == {f"ten-{n}"}
        assert heard.close_code == 1000

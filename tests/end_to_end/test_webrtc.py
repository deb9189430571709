"""A real daemon and a second peer that speaks to it over WebRTC: real speech, lost packets, peers that vanish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiortc import RTCSessionDescription

from tests.end_to_end.conftest import Say, StartDaemon
from tests.rtc_client import Caller, Int16, calling, on_this_machine
from tests.support import Daemon, word_error_rate


__all__ = ["on_this_machine"]  # a fixture

pytestmark = pytest.mark.usefixtures("on_this_machine")

PAUSE = np.zeros(16_000 * 3 // 2, np.int16)
SDP = {"Content-Type": "application/sdp"}


def status_of(caller: Caller) -> Any:
    return caller.http.get(f"{caller.base}/session/{caller.session_id}/status")


async def read_status(caller: Caller) -> dict[str, Any]:
    async with status_of(caller) as response:
        assert response.status == 200
        status: dict[str, Any] = await response.json()
        return status


async def sessions_of(daemon: Daemon) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{daemon.base}/sessions") as response:
        return int((await response.json())["count"])


async def until_no_session(daemon: Daemon, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while await sessions_of(daemon):  # noqa: ASYNC110  what is waited for knows of no event
            await asyncio.sleep(0.1)


async def end_of_speech(caller: Caller) -> None:
    """Returns when all has been said and its utterances are over."""
    await caller.until(lambda: caller.microphone.spoken.is_set())
    await caller.until(
        lambda: (
            len(caller.of("turnComplete")) == len(caller.of("finalTranscription")) > 0
            and caller.of("speechEnd")
            and caller.at(caller.of("finalTranscription")[-1]) >= caller.at(caller.of("speechEnd")[-1])
        )
    )
    caller.send(type="stop")
    await caller.wait_for("sessionEnded")


async def test_real_speech_is_recognised_while_it_goes_on(daemon: Daemon, reading: Int16, reading_text: str) -> None:
    async with calling(daemon.base, np.concatenate([reading, PAUSE])) as caller:
        await caller.wait_for("partialTranscription", count=3)
        assert not caller.microphone.spoken.is_set(), "partials came only when all had been said"
        await end_of_speech(caller)
        assert word_error_rate(reading_text, caller.text) <= 0.1, caller.text
        assert [event["seq"] for event in caller.events] == list(range(len(caller.events)))
        stats = caller.of("sessionEnded")[0]["stats"]
        assert stats["frames_received"] == stats["frames_processed"]
        # The session's clock went with the speaker's: 20 ms for each packet, and none was lost.
        assert stats["frames_received"] * 0.02 > len(reading) / 16_000


async def test_speech_is_recognised_though_every_twentieth_packet_is_lost(
    daemon: Daemon, reading: Int16, reading_text: str
) -> None:
    async with calling(daemon.base) as caller:
        await caller.wait_for("sessionStarted")
        caller.lose(0.05)
        begun = (await read_status(caller))["stream_ms"]
        caller.microphone.say(np.concatenate([reading, PAUSE]))
        await caller.until(lambda: caller.microphone.spoken.is_set())
        status = await read_status(caller)
        await end_of_speech(caller)
        assert caller.dropped > 10
        assert word_error_rate(reading_text, caller.text) <= 0.1, caller.text
        told = status["webrtc"]
        # The newest ones may not have been missed yet.
        assert caller.dropped - 5 <= told["packets_lost"] <= caller.dropped
        assert told["filled_ms"] == pytest.approx(told["packets_lost"] * 20, abs=60)
        # Time went on over what was lost.
        assert status["stream_ms"] - begun == pytest.approx((len(reading) + len(PAUSE)) / 16, abs=1_000)
    async with aiohttp.ClientSession() as http:
        answer = await http.get(f"{daemon.base}/metrics", headers={"Accept": "text/plain"})
        lines = dict(line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if not line.startswith("#"))
    assert float(lines['alfred_webrtc_packets_total{fate="lost"}']) >= caller.dropped - 5
    assert float(lines["alfred_webrtc_filled_seconds_total"]) > 0.1
    assert float(lines["alfred_webrtc_jitter_seconds_count"]) >= 5


async def test_the_daemon_speaks_on_the_track_and_is_understood(daemon: Daemon) -> None:
    text = "The answer to your question is forty two."
    async with calling(daemon.base) as caller:
        await caller.wait_for("sessionStarted")
        caller.send(type="speak", text=text)
        ended = await caller.wait_for("ttsEnd")
        await asyncio.sleep(0.5)
        spoken_s = len(caller.loud_after(0)) * 0.02
        assert not ended["cancelled"]
        assert 0.5 * ended["duration_ms"] < spoken_s * 1000 <= ended["duration_ms"] + 100
        assert (await read_status(caller))["webrtc"]["speech_underruns"] == 0


async def test_who_speaks_over_the_daemon_silences_it_at_once(daemon: Daemon, sentence: Int16) -> None:
    async with calling(daemon.base) as caller:
        await caller.wait_for("sessionStarted")
        caller.send(type="speak", text="I would like to tell you a very long story about many things. " * 5)
        await caller.until(lambda: len(caller.loud_after(0)) > 25)
        caller.microphone.say(np.concatenate([sentence, PAUSE]))
        interruption = await caller.wait_for("interruption")
        ended = await caller.wait_for("ttsEnd")
        assert ended["cancelled"]
        await end_of_speech(caller)
        # What is on its way and in this client's own buffer is still heard, and no more.
        assert caller.loud_after(0)[-1] - caller.at(interruption) < 0.3
        assert ended["duration_ms"] == pytest.approx(interruption["spoken_ms"], abs=150)


async def test_a_call_goes_on_when_it_is_negotiated_again(daemon: Daemon, sentence: Int16, sentence_text: str) -> None:
    async with calling(daemon.base) as caller:
        caller.connection.getTransceivers()[0].direction = "inactive"
        assert await caller.offer(connection_id=caller.connection_id) == 200
        await asyncio.sleep(0.5)
        caller.connection.getTransceivers()[0].direction = "sendrecv"
        assert await caller.offer(connection_id=caller.connection_id) == 200
        caller.microphone.say(np.concatenate([sentence, PAUSE]))
        await end_of_speech(caller)
        assert word_error_rate(sentence_text, caller.text) <= 0.1, caller.text


async def test_an_utterance_ends_though_its_speaker_falls_silent_without_a_packet(
    daemon: Daemon, sentence: Int16, sentence_text: str
) -> None:
    async with calling(daemon.base, sentence) as caller:
        await caller.wait_for("speechStart")
        await caller.until(lambda: caller.microphone.spoken.is_set())
        caller.lose(1.0)
        assert word_error_rate(sentence_text, (await caller.wait_for("finalTranscription"))["text"]) <= 0.2
        await caller.wait_for("turnComplete")


async def test_deleting_a_call_tells_its_last_words(daemon: Daemon, sentence: Int16) -> None:
    async with calling(daemon.base, sentence) as caller:
        await caller.wait_for("partialTranscription")
        assert await caller.delete() == 204
        assert (await caller.wait_for("sessionEnded"))["reason"] == "stop"
        assert caller.of("finalTranscription")[0]["text"]
        assert await sessions_of(daemon) == 0


async def test_a_peer_that_hangs_up_is_let_go_of_at_once(daemon: Daemon) -> None:
    async with calling(daemon.base) as caller:
        await caller.wait_for("sessionStarted")
        assert await sessions_of(daemon) == 1
    await until_no_session(daemon, 3)


async def test_a_peer_that_vanishes_is_let_go_of_after_a_while(start_daemon: StartDaemon) -> None:
    with start_daemon("--set", "webrtc.disconnect_grace_s=8") as daemon:
        async with calling(daemon.base) as caller:
            await caller.wait_for("sessionStarted")
            caller.vanish()
            await asyncio.sleep(4)
            assert await sessions_of(daemon) == 1
            await until_no_session(daemon, 15)
        assert "outcome=lost" in daemon.log_tail()


async def test_a_daemon_that_is_stopped_ends_its_calls_with_their_finals(
    start_daemon: StartDaemon, sentence: Int16
) -> None:
    with start_daemon() as daemon:
        async with calling(daemon.base, np.concatenate([sentence, sentence])) as caller:
            await caller.wait_for("partialTranscription")
            leaving = asyncio.get_running_loop().run_in_executor(None, daemon.terminate)
            assert (await caller.wait_for("sessionEnded"))["reason"] == "shutdown"
            assert caller.of("finalTranscription")[0]["text"]
            assert await leaving == 0
        log = daemon.log.read_text()
        assert "outcome=ended" in log
        for unwanted in ("never retrieved", "Traceback", "was destroyed", "connections_cut", "ERROR"):
            assert unwanted not in log, log


async def test_whip_is_recognised(daemon: Daemon, sentence: Int16, sentence_text: str) -> None:
    audio = np.concatenate([sentence, PAUSE])
    async with calling(daemon.base, audio, channel=None, listens=False, offers=False) as caller:
        connection = caller.connection
        await connection.setLocalDescription(await connection.createOffer())
        async with caller.http.post(f"{daemon.base}/whip", data=connection.localDescription.sdp, headers=SDP) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
            caller.answer = {"session_id": answer.headers["X-Session-Id"]}
            await connection.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
        async with asyncio.timeout(20):
            while not (status := await read_status(caller))["last_text"]:
                await asyncio.sleep(0.1)
        assert word_error_rate(sentence_text, status["last_text"]) <= 0.1, status["last_text"]
        async with caller.http.delete(f"{daemon.base}{location}") as response:
            assert response.status == 200
    assert await sessions_of(daemon) == 0


@pytest.fixture
async def three_calls(daemon: Daemon, sentence: Int16) -> AsyncIterator[list[Caller]]:
    async with calling(daemon.base, sentence) as one, calling(daemon.base) as two, calling(daemon.base) as three:
        yield [one, two, three]


async def test_calls_do_not_hear_each_other(three_calls: list[Caller], sentence_text: str) -> None:
    one, two, three = three_calls
    final = await one.wait_for("finalTranscription")
    assert word_error_rate(sentence_text, final["text"]) <= 0.1
    two.send(type="speak", text="only for you")
    await two.wait_for("ttsEnd")
    for other in (one, three):
        assert other.loud_after(0) == []
    assert three.of("speechStart") == two.of("speechStart") == []


async def test_with_keys_a_call_needs_one(start_daemon: StartDaemon, tmp_path: Path, say: Say) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('[keys.alice]\nkey = "alices-key-of-16-and-more"\n')
    keys.chmod(0o600)
    headers = {"Authorization": "Bearer alices-key-of-16-and-more"}
    with start_daemon("--set", f"security.keys_file={keys}") as daemon:
        async with calling(daemon.base, offers=False) as stranger:
            assert await stranger.offer() == 401
            assert stranger.answer["code"] == "key_needed"
        async with calling(daemon.base, np.concatenate([say("good morning"), PAUSE]), headers=headers) as caller:
            assert "morning" in (await caller.wait_for("finalTranscription"))["text"].lower()

"""The daemon's logic over recordings, with engines that answer by a script and calls that take what they are told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alfred_voice.bench.replay import Replay, Replayed
from alfred_voice.bench.stopwatch import Effort, Stopwatch
from alfred_voice.clock import ManualClock
from alfred_voice.models.engine import Clip, Int16
from alfred_voice.models.scripted import ScriptedStt, ScriptedTurn, ScriptedVad
from alfred_voice.session.options import SessionOptions
from alfred_voice.session.requests import Urgency


def counting_words(clip: Clip) -> str:
    """A word for each 200 ms."""
    return " ".join(f"w{number}" for number in range(len(clip.samples) // 3200))


def sound(*parts_s: float) -> Int16:
    """Silence and speech by turns."""
    rng = np.random.default_rng(0)
    return np.concatenate(
        [rng.normal(0, 1500 if at % 2 else 0, round(s * 16_000)).astype(np.int16) for at, s in enumerate(parts_s)]
    )


class SlowWatch(Stopwatch):
    """Every call keeps its thread busy for the same time."""

    def __init__(self, busy_s: float) -> None:
        super().__init__(ManualClock(), lambda: 0.0)
        self.busy_s = busy_s

    def time(self, call: Callable[[], object]) -> tuple[object, Effort]:  # type: ignore[override]
        return call(), Effort(self.busy_s, self.busy_s)


def replayed(
    *speakers: Int16, busy_s: float = 0.0, starts_s: float = 0.0, stt: ScriptedStt | None = None
) -> tuple[Replayed, ScriptedStt]:
    stt = stt or ScriptedStt(counting_words)
    replay = Replay(ScriptedVad(), stt, ScriptedTurn(), SessionOptions(), 16, SlowWatch(busy_s))
    for number, samples in enumerate(speakers):
        replay.add(samples, number * starts_s)
    return replay.run(), stt


def partials(result: Replayed) -> list[int]:
    return [call.rows for call in result.calls if call.urgency is Urgency.PARTIAL]


def test_each_utterance_is_told_once_and_its_length_is_the_speech() -> None:
    result, _ = replayed(sound(0.5, 2.0, 1.0, 1.5, 1.0))
    (speaker,) = result.speakers
    assert [final.utterance for final in speaker.finals] == [0, 1]
    # The pre-roll of 300 ms belongs to an utterance.
    assert result.speech_s == pytest.approx(2.3 + 1.8, abs=0.1)
    assert [len(final.text.split()) for final in speaker.finals] == [pytest.approx(11, abs=1), pytest.approx(9, abs=1)]


def test_a_partial_is_asked_for_every_200_ms_of_speech() -> None:
    result, stt = replayed(sound(0.5, 3.0, 1.0))
    asked = [len(clip.samples) for clip in stt.clips if not clip.is_final]
    # Windows are 32 ms long, so that a question comes every 7th of them: 224 ms.
    assert set(np.diff(asked)) == {7 * 512}
    assert len(asked) == len(partials(result)) == pytest.approx((3.0 - 0.5) / 0.224, abs=1)
    assert result.superseded == 0
    assert result.speakers[0].partials > 0


def test_what_a_busy_recogniser_cannot_answer_is_superseded_but_no_final_is() -> None:
    easy, _ = replayed(sound(0.5, 3.0, 1.0))
    busy, _ = replayed(sound(0.5, 3.0, 1.0), busy_s=0.7)
    assert busy.superseded > 0
    assert len(partials(busy)) < len(partials(easy)) / 2
    assert sum(partials(busy)) + busy.superseded == pytest.approx(sum(partials(easy)), abs=1)
    assert [final.text for final in busy.speakers[0].finals] == [final.text for final in easy.speakers[0].finals]


def test_a_final_is_later_by_what_the_recogniser_takes() -> None:
    quick, _ = replayed(sound(0.5, 1.0, 3.0))
    slow, _ = replayed(sound(0.5, 1.0, 3.0), busy_s=1.0)
    later_ms = slow.speakers[0].finals[0].latency_ms - quick.speakers[0].finals[0].latency_ms
    assert 700 <= later_ms <= 1900


def test_speakers_who_wait_for_a_busy_recogniser_share_its_calls() -> None:
    speech = sound(0.5, 3.0, 1.0)
    result, _ = replayed(speech, speech, speech, busy_s=0.3, starts_s=0.06)
    assert max(partials(result)) > 1
    assert [len(speaker.finals) for speaker in result.speakers] == [1, 1, 1]


def test_a_later_speaker_has_a_clock_of_his_own() -> None:
    speech = sound(0.5, 1.0, 1.0)
    result, _ = replayed(speech, speech, starts_s=5.0)
    one, other = (speaker.finals[0] for speaker in result.speakers)
    assert one.start_ms == other.start_ms


def test_all_calls_are_summed_up() -> None:
    result, _ = replayed(sound(0.5, 1.5, 1.0), busy_s=0.01)
    assert result.cpu_s == pytest.approx(0.01 * len(result.calls))


def test_in_silence_the_recogniser_is_not_asked() -> None:
    result, stt = replayed(sound(3.0))
    assert (result.calls, stt.clips, result.speech_s) == ((), [], 0)


def test_nobody_says_nothing() -> None:
    result, _ = replayed()
    assert result == Replayed((), (), 0, 0.0)

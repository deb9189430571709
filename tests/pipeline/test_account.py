"""One session's figures, and their share in the daemon's."""

from __future__ import annotations

from typing import Any

import pytest

from alfred_voice.events import (
    ErrorRaised,
    FinalTranscription,
    Interrupted,
    Pong,
    SessionResumed,
    SessionStats,
    SpeechOutputEnded,
    TurnCompleted,
)
from alfred_voice.pipeline.account import NEWEST, Account
from alfred_voice.pipeline.metrics import Metrics


def final(text: str, latency_ms: float = 100.0) -> FinalTranscription:
    return FinalTranscription(0, text, 0.0, 1.0, (), "en", "scripted", 0.9, 1.0, latency_ms)


@pytest.fixture
def account(metrics: Metrics) -> Account:
    return Account(metrics)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_the_newest_text_with_words_is_kept(account: Account) -> None:
    for text in ("one", "two", ""):
        account.note(final(text))
    assert account.last_text == "two"


def test_latencies_are_the_sessions_own_and_the_daemons(account: Account, metrics: Metrics) -> None:
    other = Account(metrics)
    account.note(final("one", 100.0))
    account.note(TurnCompleted(0, 0.9, 0.0, 200.0, "model", 300.0))
    other.note(final("two", 500.0))
    nothing: dict[str, Any] = {"count": 0, "p50": 0.0, "p95": 0.0, "max": 0.0}
    assert account.latencies()["final"] == {"count": 1, "p50": 100.0, "p95": 100.0, "max": 100.0}
    assert account.latencies()["turn"]["p50"] == 300.0
    assert other.latencies()["turn"] == nothing
    assert metrics.final_ms.summary()["count"] == 2
    assert metrics.turn_ms.summary()["count"] == 1


def test_only_the_newest_latencies_count(account: Account) -> None:
    for number in range(NEWEST + 10):
        account.note(final("x", float(number)))
    assert account.latencies()["final"]["count"] == NEWEST
    assert account.latencies()["final"]["max"] == NEWEST + 9


def test_errors_are_counted_by_code_and_interruptions_timed(account: Account, metrics: Metrics) -> None:
    account.note(ErrorRaised("audio_malformed", "no", fatal=False))
    account.note(Interrupted(0.0, 0, 0.0, 250.0))
    account.note(Interrupted(0.0, 0, 0.0, -1.0))
    account.note(Pong(1))
    assert value(metrics, "alfred_errors_total", code="audio_malformed") == 1
    assert value(metrics, "alfred_interruptions_total") == 2
    assert value(metrics, "alfred_interruption_latency_seconds_count") == 2
    assert value(metrics, "alfred_interruption_latency_seconds_sum") == pytest.approx(0.25)


def test_every_frame_is_counted_once_however_often_it_is_told(account: Account, metrics: Metrics) -> None:
    for processed in (0, 3, 3, 7):
        account.note_processed(processed)
    account.note_dropped(2, "load")
    account.note_dropped(2, "load")
    account.note_dropped(3, "lost")
    for _ in range(2):
        account.close(SessionStats(15, 10, 5, 1, 0.0))
    assert value(metrics, "alfred_audio_frames_total", fate="processed") == 10
    assert value(metrics, "alfred_audio_frames_total", fate="dropped") == 5
    assert metrics.frames_processed == 10
    assert metrics.dropped == {"load": 2, "lost": 1, "ended": 2}
    for reason, count in metrics.dropped.items():
        assert value(metrics, "alfred_audio_frames_dropped_total", reason=reason) == count
    assert value(metrics, "alfred_audio_seconds_total", direction="in") == pytest.approx(0.3)


def test_recognition_is_measured_against_the_length_of_what_was_said(account: Account, metrics: Metrics) -> None:
    for end_ms in (2000.0, 0.0):
        account.note(FinalTranscription(0, "x", 0.0, end_ms, (), "en", "scripted", 0.9, 200.0, 1.0))
    assert value(metrics, "alfred_stt_real_time_factor_ratio_count", engine="scripted") == 1
    assert value(metrics, "alfred_stt_real_time_factor_ratio_sum", engine="scripted") == pytest.approx(0.1)


def test_speeches_count_as_far_as_they_were_sent(account: Account, metrics: Metrics) -> None:
    account.note(SpeechOutputEnded(0, 1500.0, cancelled=False))
    account.note(SpeechOutputEnded(1, 250.0, cancelled=True))
    assert value(metrics, "alfred_audio_seconds_total", direction="out") == pytest.approx(1.75)


def test_sessions_are_counted_when_they_lose_their_client_and_when_it_comes_back(
    account: Account, metrics: Metrics
) -> None:
    account.note_detached()
    account.note_detached()
    account.note(SessionResumed(0))
    assert value(metrics, "alfred_sessions_detached_total") == 2
    assert value(metrics, "alfred_sessions_resumed_total") == 1

"""What ``alfred-voice talk`` prints for each event."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from alfred_voice.client import Absence
from alfred_voice.commands.talk_view import (
    JsonView,
    LineView,
    TerminalView,
    describe,
    describe_absence,
    moment,
    printable,
    width,
)
from alfred_voice.events import EVENT_TYPES


HEAD = {"session_id": "s", "seq": 1}
STATS = {"frames_received": 500, "frames_processed": 498, "frames_dropped": 2, "utterances": 3, "speech_ms": 4200.0}
HEALTH = {"health": "healthy", "processingLoad": 12.4, "memoryUsage": 187.2}
EVENTS: dict[str, dict[str, Any]] = {
    "sessionStarted": {"sample_rate": 16000, "encoding": "pcm_s16le", "engines": {"stt": "moonshine"}, "limits": {}},
    "sessionResumed": {"audio_bytes": 64_000},
    "audioAcknowledged": {"audio_bytes": 64_000},
    "speechStart": {"at_ms": 320.0, "probability": 0.93},
    "speechEnd": {"at_ms": 2880.0, "duration_ms": 2560.0},
    "partialTranscription": {
        "utterance": 0, "text": "Ever tried, ever", "stable_text": "Ever tried,", "start_ms": 320.0, "end_ms": 1400.0,
    },
    "finalTranscription": {
        "utterance": 0, "text": "Ever tried, ever failed.", "start_ms": 320.0, "end_ms": 2880.0, "words": [],
        "language": "en", "engine": "moonshine", "confidence": 0.91, "processing_ms": 70.0, "latency_ms": 143.2,
    },
    "turnPending": {"probability": 0.12, "silence_ms": 200.0},
    "turnComplete": {
        "utterance": 0, "probability": 0.97, "at_ms": 3080.0, "silence_ms": 200.0, "reason": "model",
        "latency_ms": 61.0,
    },
    "interruption": {"at_ms": 4000.0, "speech_id": 2, "spoken_ms": 640.0, "latency_ms": 180.0},
    "ttsStart": {
        "speech_id": 2, "text": "Good morning.", "sample_rate": 16000, "encoding": "pcm_s16le", "voice": "en-us",
    },
    "ttsEnd": {"speech_id": 2, "duration_ms": 640.0, "cancelled": True},
    "frameProcessed": {
        "frame": 7, "at_ms": 140.0, "speech_probability": 0.01, "is_speech": False, "processing_ms": 1.5,
    },
    "pipelineHealth": {"pipelineState": HEALTH, "performanceMetrics": {}, "resourceOptimization": {}},
    "backpressureTriggered": {"step": "drop_frames", "load": 0.9, "buffered_ms": 120.0},
    "backpressureRecovered": {"step": "none", "load": 0.4},
    "warning": {"code": "partial_skipped", "message": "a partial was skipped"},
    "error": {"code": "voice_unknown", "message": "no voice 'x'", "fatal": False},
    "pong": {"id": "p1"},
    "sessionEnded": {"reason": "stop", "stats": STATS},
}  # fmt: skip
EXPECTED = {
    "sessionStarted": "session s: 16000 Hz pcm_s16le (stt moonshine)",
    "sessionResumed": "sessionResumed audio_bytes=64000",
    "audioAcknowledged": "audioAcknowledged audio_bytes=64000",
    "speechStart": "speech starts (p 0.93)",
    "speechEnd": "speech ends (2560 ms)",
    "partialTranscription": "… Ever tried, ever",
    "finalTranscription": "Ever tried, ever failed.  (utterance 0, 0.32 to 2.88 s, 143 ms)",
    "turnPending": "turn goes on (p 0.12, 200 ms of silence)",
    "turnComplete": "turn complete (model, p 0.97, 200 ms of silence, 61 ms)",
    "interruption": "speech 2 interrupted after 640 ms (180 ms)",
    "ttsStart": "speech 2 begins (en-us): Good morning.",
    "ttsEnd": "speech 2 cancelled (640 ms)",
    "frameProcessed": ("frameProcessed frame=7 at_ms=140.0 speech_probability=0.01 is_speech=false processing_ms=1.5"),
    "pipelineHealth": "healthy, load 12 %, 187 MB",
    "backpressureTriggered": "backpressureTriggered step=drop_frames load=0.9 buffered_ms=120.0",
    "backpressureRecovered": "backpressureRecovered step=none load=0.4",
    "warning": "warning: a partial was skipped (partial_skipped)",
    "error": "error: no voice 'x' (voice_unknown)",
    "pong": "pong id=p1",
    "sessionEnded": "session over (stop): 500 frames, 2 dropped, 3 utterances, 4.2 s of speech",
}


def event(name: str, **changes: Any) -> dict[str, Any]:
    return {"type": name, **HEAD, **EVENTS[name], **changes}


def test_the_tables_above_hold_every_event_of_the_protocol() -> None:
    assert set(EVENTS) == set(EXPECTED) == set(EVENT_TYPES.values())


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_is_told_in_one_line(name: str) -> None:
    assert describe(event(name)) == EXPECTED[name]


def test_a_final_without_words_says_so() -> None:
    assert describe(event("finalTranscription", text="")).startswith("[no words]  (utterance 0")


def test_a_speech_that_was_heard_out_is_over() -> None:
    assert describe(event("ttsEnd", cancelled=False)) == "speech 2 over (640 ms)"


def test_an_event_that_is_not_known_yet_is_told_all_the_same() -> None:
    later = {"type": "later", **HEAD, "level": 3, "audio": b"\0"}
    assert describe(later) == "later level=3"


def test_the_moment_is_on_the_sessions_clock_and_blank_without_one() -> None:
    assert moment(event("speechStart")) == "    0.32 s  "
    assert moment(event("finalTranscription")) == "    2.88 s  "
    assert moment(event("pong")) == " " * 12
    assert moment({"type": "x", "at_ms": None}) == " " * 12


def test_what_the_daemon_says_cannot_steer_the_terminal() -> None:
    assert describe(event("error", message="a\x1b[2Jb\nc\u202ed\x9b")) == (
        "error: a\\x1b[2Jb\\nc\\u202ed\\x9b (voice_unknown)"
    )
    assert printable("naïve 日本 🙂") == "naïve 日本 🙂"


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("🙂", 2)])
def test_width_is_counted_in_columns(text: str, columns: int) -> None:
    assert width(text) == columns


def test_lines_hide_what_nobody_asked_for() -> None:
    out = io.StringIO()
    view = LineView(out)
    for name in EVENTS:
        view.show(event(name))
    view.show({"type": "ttsAudio", "speech_id": 2, "audio": b"\0\0"})
    lines = out.getvalue().splitlines()

    assert len(lines) == len(EVENTS) - 4
    assert not [
        line
        for line in lines
        if "frameProcessed" in line or "healthy" in line or "ttsAudio" in line or "Acknowledged" in line
    ]
    assert not [line for line in lines if "Resumed" in line]
    assert lines[1] == "    0.32 s  speech starts (p 0.93)"


def test_a_lost_connection_and_the_return_are_a_line_each() -> None:
    assert describe_absence(Absence("closed with code 1006")) == "connection lost; coming back…"
    assert describe_absence(Absence("closed with code 1006", 1.23, 2)) == "back after 1.2 s, nothing lost"


def test_json_keeps_the_key_to_the_session_to_itself() -> None:
    out = io.StringIO()
    JsonView(out, io.StringIO()).show(event("sessionStarted", resume={"token": "secret", "grace_s": 30.0}))
    assert json.loads(out.getvalue()) == event("sessionStarted")


def test_lines_show_hidden_events_that_are_asked_for() -> None:
    out = io.StringIO()
    view = LineView(out, ["pipelineHealth"])
    view.show(event("pipelineHealth"))
    view.show(event("frameProcessed"))
    view.note("a remark")
    view.close()

    assert out.getvalue() == f"{' ' * 12}healthy, load 12 %, 187 MB\n{' ' * 12}a remark\n"


def test_json_prints_each_event_as_it_came_and_remarks_elsewhere() -> None:
    out, errors = io.StringIO(), io.StringIO()
    view = JsonView(out, errors)
    view.show(event("finalTranscription", text="naïve"))
    view.show(event("pipelineHealth"))
    view.show({"type": "ttsAudio", "speech_id": 2, "audio": bytes(640)})
    view.note("a remark")
    view.close()

    lines = out.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [
        event("finalTranscription", text="naïve"),
        event("pipelineHealth"),
        {"type": "ttsAudio", "speech_id": 2, "audio": 640},
    ]
    assert "naïve" in lines[0]
    assert errors.getvalue() == "a remark\n"


class TestTerminal:
    """Partials on one line, the rest above it."""

    @staticmethod
    def shown(*events: dict[str, Any], columns: int = 80, close: bool = True, colours: bool = True) -> str:
        out = io.StringIO()
        view = TerminalView(out, lambda: columns, colours=colours)
        for one in events:
            view.show(one)
        if close:
            view.close()
        return out.getvalue()

    def test_a_partial_is_written_over_the_one_before_with_its_stable_part_bold(self) -> None:
        text = self.shown(event("partialTranscription"), event("partialTranscription", text="Ever tried."), close=False)
        assert "\n" not in text
        assert text.split("\r\x1b[K")[1] == "    1.40 s  \x1b[1mEver tried,\x1b[0m\x1b[2m ever\x1b[0m"
        assert text.count("\r\x1b[K") == 2

    def test_a_final_replaces_the_live_line_and_stays(self) -> None:
        text = self.shown(event("partialTranscription"), event("finalTranscription"))
        final = text.split("\r\x1b[K")[2]
        assert final == (
            "    2.88 s  \x1b[1mEver tried, ever failed.\x1b[0m\x1b[2m  (utterance 0, 0.32 to 2.88 s, 143 ms)\x1b[0m\n"
        )

    def test_lines_without_a_partial_before_erase_nothing(self) -> None:
        assert self.shown(event("turnComplete")) == f"    3.08 s  {EXPECTED['turnComplete']}\n"

    def test_a_final_with_brackets_in_its_words_keeps_them(self) -> None:
        text = self.shown(event("finalTranscription", text="one  (two) three"), colours=False)
        assert text == "    2.88 s  one  (two) three  (utterance 0, 0.32 to 2.88 s, 143 ms)\n"

    @pytest.mark.parametrize("stable", ["", "word " * 3, "word " * 20, "word " * 40], ids=len)
    @pytest.mark.parametrize("columns", [40, 41, 80])
    def test_a_long_partial_shows_its_end_within_the_line(self, stable: str, columns: int) -> None:
        partial = event("partialTranscription", text="word " * 40 + "END", stable_text=stable)
        line = self.shown(partial, columns=columns, close=False, colours=False).split("\r\x1b[K")[1]
        assert width(line) == columns - 1
        assert line[12] == "…"
        assert line.endswith("END")

    def test_wide_characters_are_cut_to_fit(self) -> None:
        partial = event("partialTranscription", text="日本語" * 30, stable_text="日本語" * 15)
        line = self.shown(partial, columns=40, close=False, colours=False).split("\r\x1b[K")[1]
        assert 37 <= width(line) <= 39

    def test_closing_takes_the_live_line_away_once(self) -> None:
        assert self.shown(event("partialTranscription")).endswith("\r\x1b[K")
        assert self.shown() == ""

    def test_without_colours_nothing_but_the_line_is_steered(self) -> None:
        text = self.shown(event("partialTranscription"), event("finalTranscription"), event("warning"), colours=False)
        assert "\x1b" not in text.replace("\r\x1b[K", "")

    def test_a_remark_stands_on_its_own_line(self) -> None:
        out = io.StringIO()
        view = TerminalView(out, lambda: 80, colours=False)
        view.show(event("partialTranscription"))
        view.note("remark")
        view.close()
        assert out.getvalue().endswith(f"\r\x1b[K{' ' * 12}remark\n")

"""Recordings in one line of Python."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import alfred_voice
from alfred_voice import recordings, transcribe, transcribe_stream, workshop
from alfred_voice.audio.wav import write_wav
from alfred_voice.errors import EmptyAudio, EngineFailure, InvalidSettings, UnsupportedAudio
from alfred_voice.files.errors import RecordingUnreadable
from alfred_voice.models.engine import Clip
from alfred_voice.models.scripted import ScriptedVad, speech_above
from alfred_voice.models.silero_run import RecordingSilero
from alfred_voice.models.store import Store
from alfred_voice.recordings import BrokenOff, Progress, Recordings, Wishes
from alfred_voice.results import Transcript, Word


class SpellingStt:
    """Answers each clip with one word; fails from a certain clip on, if it is told to."""

    name = "spelling"
    fails_from = 10**9

    def __init__(self) -> None:
        self.clips: list[Clip] = []

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self.clips += clips
        if len(self.clips) >= self.fails_from:
            raise EngineFailure("the recogniser gave up")
        words = (Word("hello", 300.0, 700.0, 0.9),)
        return [Transcript("hello", confidence=0.9, words=words if clip.wants_words else ()) for clip in clips]


@pytest.fixture
def stt(monkeypatch: pytest.MonkeyPatch) -> SpellingStt:
    stt = SpellingStt()
    monkeypatch.setattr(workshop, "build_recording_vad", lambda _config, _store: ScriptedVad(speech_above(0.1)))
    monkeypatch.setattr(workshop, "build_stt", lambda _config, _store: stt)
    return stt


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Noise from 1 to 3 s and from 5 to 6 s, of 7 s."""
    samples = np.random.default_rng(0).integers(-20_000, 20_000, 7 * 16_000).astype(np.int16)
    samples[:16_000] = samples[48_000:80_000] = samples[96_000:] = 0
    path = tmp_path / "noise.wav"
    write_wav(path, samples, 16_000)
    return path


def test_one_line_is_enough(stt: SpellingStt, recording: Path) -> None:
    assert transcribe(recording).text == "hello hello"


def test_a_path_bytes_and_a_file_are_the_same(stt: SpellingStt, recording: Path) -> None:
    expected = transcribe(str(recording)).segments
    assert transcribe(recording.read_bytes()).segments == expected
    assert transcribe(io.BytesIO(recording.read_bytes())).segments == expected
    with recording.open("rb") as file:
        assert transcribe(file).segments == expected


def test_the_result_has_times_words_and_what_it_is_of(stt: SpellingStt, recording: Path) -> None:
    result = transcribe(recording, workers=1)
    assert result.duration_ms == 7000
    assert [word.start_ms for word in result.words] == [segment.start_ms + 300 for segment in result.segments]
    assert result.metadata == {
        "name": str(recording),
        "bytes": recording.stat().st_size,
        "vad": "scripted",
        "stt": "spelling",
        "workers": 1,
    }


def test_wishes_reach_the_recogniser(stt: SpellingStt, recording: Path) -> None:
    result = transcribe(recording, words=False, language="en-GB", prompt="Becket")
    assert result.words == ()
    clip = stt.clips[0]
    assert (clip.language, clip.prompt, clip.wants_words) == ("en-GB", "Becket", False)


def test_a_recording_that_is_not_there_is_named(stt: SpellingStt, tmp_path: Path) -> None:
    for use in (transcribe, lambda path: list(transcribe_stream(path))):
        with pytest.raises(RecordingUnreadable, match=f"^{tmp_path / 'nosuch'}: No such file or directory$"):
            use(tmp_path / "nosuch")
    with pytest.raises(RecordingUnreadable, match=f"^{tmp_path}: expected a recording, got a folder$"):
        transcribe(tmp_path)


def test_what_has_been_closed_says_so(stt: SpellingStt, recording: Path) -> None:
    with Recordings(workers=2) as recordings:
        begun = recordings.start(recording)
    with pytest.raises(RuntimeError, match="these Recordings have been closed"):
        recordings.transcribe(recording)
    with pytest.raises(RuntimeError, match="these Recordings have been closed"):
        list(begun)


def test_what_is_no_language_is_an_error(stt: SpellingStt, recording: Path) -> None:
    with pytest.raises(InvalidSettings, match="language: expected a code such as en, de-CH or auto, got 'klingonish'"):
        transcribe(recording, language="klingonish")


def test_segments_can_be_had_one_by_one(stt: SpellingStt, recording: Path) -> None:
    assert [segment.text for segment in transcribe_stream(recording)] == ["hello", "hello"]


def test_who_wants_no_more_segments_ends_the_work(stt: SpellingStt, recording: Path) -> None:
    segments = transcribe_stream(recording)
    next(segments)
    threads = threading.active_count()
    segments.close()  # type: ignore[attr-defined]
    assert threading.active_count() <= threads


def test_progress_is_told(stt: SpellingStt, recording: Path) -> None:
    told: list[Progress] = []
    transcribe(recording, on_progress=told.append)
    assert [progress.heard_ms for progress in told][-2:] == [7000, 7000]


def test_errors_come_as_they_are_when_nothing_was_done(stt: SpellingStt) -> None:
    with pytest.raises(UnsupportedAudio):
        transcribe(b"this is no recording")
    with pytest.raises(EmptyAudio):
        transcribe(b"")


def test_what_was_done_before_an_error_comes_with_it(stt: SpellingStt, recording: Path) -> None:
    with pytest.raises(BrokenOff, match=r"at most 4 s of audio, but more came; what was said until 0:00:03") as broken:
        transcribe(recording, max_duration_s=4)
    assert broken.value.so_far.text == "hello"
    assert broken.value.__cause__ is not None
    assert broken.value.code == "transcription_broken_off"


def test_loaded_engines_serve_many_recordings_from_many_threads(stt: SpellingStt, recording: Path) -> None:
    with Recordings(workers=2) as many:
        texts: list[str] = []
        threads = [threading.Thread(target=lambda: texts.append(many.transcribe(recording).text)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["hello hello"] * 6


def test_a_recording_tells_how_much_of_its_file_has_been_read(stt: SpellingStt, recording: Path) -> None:
    with Recordings(workers=1) as many:
        going = many.start(recording, Wishes())
        assert going.share_read == 0
        assert going.result().text == ""
        list(going)
        assert going.share_read == 1
        assert going.result().text == "hello hello"


def test_a_number_of_workers_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        Recordings(workers=0)


def test_without_a_wish_there_is_a_worker_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3, 5}, raising=False)
    assert recordings.default_workers() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(200)), raising=False)
    assert recordings.default_workers() == 16


def test_the_package_is_light_until_something_is_asked_of_it() -> None:
    code = (
        "import sys, alfred_voice; assert 'numpy' not in sys.modules; "
        "alfred_voice.transcribe; assert 'numpy' in sys.modules; assert 'aiohttp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_packages_names_are_those_of_its_stub() -> None:
    stub = Path(alfred_voice.__file__).with_suffix(".pyi").read_text("utf-8")
    for name in alfred_voice.__all__:
        assert getattr(alfred_voice, name) is not None
        assert name in stub
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        alfred_voice.nonsense  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.models
def test_real_speech_has_its_words_in_their_places(models: Store, beckett: NDArray[np.int16], tmp_path: Path) -> None:
    alone, placed = tmp_path / "alone.wav", tmp_path / "placed.wav"
    write_wav(alone, np.concatenate([np.zeros(16_384, np.int16), beckett]), 16_000)
    pause = np.zeros(40 * 512 + -len(beckett) % 512, np.int16)  # the second one begins with a window, as the first does
    write_wav(placed, np.concatenate([np.zeros(16_384, np.int16), beckett, pause, beckett]), 16_000)
    first, both = transcribe(alone), transcribe(placed)
    assert "ever tried" in first.text.lower()
    assert " ".join(word.word for word in first.words) == first.text
    starts = [word.start_ms for word in both.words]
    assert starts == sorted(starts)
    offset_ms = (len(beckett) + len(pause)) / 16
    assert [word.word for word in both.words] == [word.word for word in first.words] * 2
    for word, same in zip(both.words[len(first.words) :], first.words, strict=True):
        assert word.start_ms == pytest.approx(same.start_ms + offset_ms, abs=100)


@pytest.mark.models
def test_recordings_have_the_quicker_detector(models: Store) -> None:
    with Recordings(workers=1) as many:
        assert isinstance(many.take_transcriber().vad, RecordingSilero)

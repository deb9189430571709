from __future__ import annotations

import io
import json
import re
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice import workshop
from alfred_voice.audio.wav import write_wav
from alfred_voice.cli import main
from alfred_voice.errors import EngineFailure
from alfred_voice.models.scripted import ScriptedVad, speech_above
from alfred_voice.models.store import Store
from alfred_voice.results import Transcript, Word


Int16 = NDArray[np.int16]


class NumberingStt:
    """Tells the clips of a file by their lengths; two may ask at once."""

    name = "numbering"

    def __init__(self) -> None:
        self.count = 0
        self.fails_from = 10**6
        self._lock = threading.Lock()

    def transcribe(self, clips: Any) -> list[Transcript]:
        with self._lock:
            return [self._transcript(clip) for clip in clips]

    def _transcript(self, clip: Any) -> Transcript:
        """Numbered by its length, which tells the two clips of the recording: 2.4 and 1.4 s."""
        self.count += 1
        if self.count >= self.fails_from:
            raise EngineFailure("the recogniser gave up")
        name = "clip 1" if len(clip.samples) > 32_000 else "clip 2"
        words = tuple(Word(word, at * 500.0, at * 500.0 + 400, 0.5) for at, word in enumerate(name.split()))
        return Transcript(name, confidence=0.25, words=words if clip.wants_words else ())


@pytest.fixture
def stt(monkeypatch: pytest.MonkeyPatch) -> NumberingStt:
    """Loudness instead of the detector, and numbers instead of words."""
    stt = NumberingStt()
    monkeypatch.setattr(workshop, "build_recording_vad", lambda _config, _store: ScriptedVad(speech_above(0.1)))
    monkeypatch.setattr(workshop, "build_stt", lambda _config, _store: stt)
    return stt


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Noise from 1 to 3 s and from 5 to 6 s, of 7 s."""
    rng = np.random.default_rng(0)
    samples = rng.integers(-20_000, 20_000, 7 * 16_000).astype(np.int16)
    samples[:16_000] = samples[48_000:80_000] = samples[96_000:] = 0
    path = tmp_path / "noise.wav"
    write_wav(path, samples, 16_000)
    return path


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    path = tmp_path / "silence.wav"
    write_wav(path, np.zeros(16_000, np.int16), 16_000)
    return path


def test_each_segment_is_a_line(stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(recording)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "clip 1\nclip 2\n"
    assert captured.err == ""  # no progress where there is no terminal


def test_times_stand_before_the_text(stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--timestamps", str(recording)]) == 0
    lines = capsys.readouterr().out.splitlines()
    times = [re.fullmatch(r"\[0:00:0(\d\.\d{3}) - 0:00:0(\d\.\d{3})\] clip \d", line) for line in lines]
    found = [[float(edge) for edge in match.groups()] for match in times if match]
    np.testing.assert_allclose(found, [[0.7, 3.096], [4.7, 6.096]], atol=0.033)


def test_json_is_one_object_for_a_file(
    stt: NumberingStt, recording: Path, silence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", "--json", str(recording), str(silence)]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["file"] == str(recording)
    assert first["duration_ms"] == 7000
    assert first["text"] == "clip 1 clip 2"
    assert [segment["text"] for segment in first["segments"]] == ["clip 1", "clip 2"]
    assert first["segments"][0].keys() == {"start_ms", "end_ms", "text", "confidence", "words"}
    assert first["segments"][0]["confidence"] == 0.25
    assert first["segments"][1]["words"][0]["start_ms"] == first["segments"][1]["start_ms"]
    assert first["metadata"]["name"] == str(recording)
    assert 0 < first["real_time_factor"] == pytest.approx(first["timing"]["total_s"] / 7, abs=1e-3)
    assert (second["file"], second["duration_ms"], second["text"], second["segments"]) == (str(silence), 1000, "", [])


def test_words_can_be_left_out(stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", "--json", "--no-words", str(recording)]) == 0
    assert "words" not in json.loads(capsys.readouterr().out)["segments"][0]


def test_several_files_have_titles(
    stt: NumberingStt, recording: Path, silence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = recording.with_name("again.wav")
    again.write_bytes(recording.read_bytes())
    assert main(["transcribe", str(recording), str(silence), str(again)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *(f"== {recording}", "clip 1", "clip 2"),
        f"== {silence}",
        *(f"== {again}", "clip 1", "clip 2"),
    ]


@pytest.mark.parametrize("is_json", [False, True])
def test_files_that_fail_are_told_and_the_others_done(
    is_json: bool, stt: NumberingStt, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, text, empty = tmp_path / "missing.wav", tmp_path / "text.wav", tmp_path / "empty.wav"
    text.write_text("this is no sound")
    empty.write_bytes(b"")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    files = [str(path) for path in (missing, text, empty, broken, recording)]
    assert main(["transcribe", *files, *(["--json"] if is_json else [])]) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    assert errors[0] == f"error: {missing}: No such file or directory"
    assert [line.startswith(f"error: {file}: ") for line, file in zip(errors, files[:4], strict=False)] == [True] * 4
    assert re.fullmatch(r"5 files, 0:00:07 of audio in .* s, \d+ times as fast; 4 could not be transcribed", errors[4])
    if is_json:
        objects = list(map(json.loads, captured.out.splitlines()))
        assert [found["file"] for found in objects] == files
        assert ["error" in found for found in objects] == [True] * 4 + [False]
    else:
        assert captured.out == f"== {recording}\nclip 1\nclip 2\n"


def test_a_recogniser_that_fails_fails_the_file(
    stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stt.fails_from = 1
    assert main(["transcribe", str(recording), "--workers", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"error: {recording}: the recogniser gave up" in captured.err


def test_a_terminal_sees_how_far_it_is(
    stt: NumberingStt, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["transcribe", str(recording)]) == 0
    drawn = capsys.readouterr().err
    assert re.search(r"\[#+-*\] +\d+%  0:00:0\d of audio", drawn)
    assert drawn.endswith("\r")
    assert "\n" not in drawn


def test_standard_input_is_a_recording(
    stt: NumberingStt, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with recording.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert main(["transcribe", "-", "--format", "srt"]) == 0
    assert "clip 2" in capsys.readouterr().out


def test_several_workers_are_asked_for_by_number(
    stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(recording), "--json", "--workers", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["workers"] == 3


def test_a_recording_that_is_too_long_is_refused_behind_what_was_allowed(
    stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(recording), "--max-minutes", "0.06"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "clip 1\n"
    assert "expected at most 3.6 s of audio, but more came" in captured.err


def test_models_that_are_missing_are_told(tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(recording), "--set", f"models.cache_dir={tmp_path / 'empty'}"]) == 1
    assert "alfred-voice models pull" in capsys.readouterr().err


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["transcribe", "--help"])
    assert left.value.code == 0
    assert "alfred-voice transcribe film.mkv --format srt" in capsys.readouterr().out


@pytest.mark.models
def test_real_speech_in_several_formats_gives_the_same_text(
    models: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = models.path("moonshine-tiny-en", "beckett.wav")
    flac = tmp_path / "beckett.flac"
    _convert(source, flac)
    assert main(["transcribe", str(source), str(flac), "--json"]) == 0
    texts = [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()]
    assert texts[0] == texts[1]
    assert "ever tried" in texts[0].lower()
    assert "no matter" in texts[0].lower()
    assert "try again" in texts[0].lower()


def _convert(source: Path, target: Path) -> None:
    """The same sound in the format that the target's name tells."""
    import av

    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream("flac", rate=reader.streams.audio[0].rate, layout="mono")
        for frame in reader.decode(audio=0):
            frame.pts = None
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("srt", "1\n00:00:01,000 --> 00:00:03,"),
        ("vtt", "WEBVTT\n\n00:00:01."),
        ("tsv", "start\tend\ttext\n"),
        ("text", "clip 1\nclip 2\n"),
        ("json", '{"file": '),
    ],
)
def test_each_format_is_printed(
    stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str], kind: str, expected: str
) -> None:
    assert main(["transcribe", str(recording), "--format", kind]) == 0
    out = capsys.readouterr().out
    assert "clip 1" in out
    assert out.startswith(expected) or kind in {"srt", "vtt"}
    if kind in {"srt", "vtt"}:
        assert re.search(r"00:00:0[01][.,]\d{3} --> 00:00:01[.,]\d{3}\nclip 1\n", out)


def test_files_are_written_beside_each_other(
    stt: NumberingStt, recording: Path, silence: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "subtitles"
    assert main(["transcribe", str(recording), str(silence), "--format", "vtt", "--output-dir", str(folder)]) == 0
    assert capsys.readouterr().out == ""
    assert "clip 2" in (folder / "noise.vtt").read_text("utf-8")
    assert (folder / "silence.vtt").read_text("utf-8") == "WEBVTT\n\n"


def test_text_is_written_without_titles(stt: NumberingStt, recording: Path, silence: Path, tmp_path: Path) -> None:
    assert main(["transcribe", str(recording), str(silence), "--output-dir", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "noise.txt").read_text("utf-8") == "clip 1\nclip 2\n"


def test_what_was_heard_before_a_failure_is_written(
    stt: NumberingStt, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stt.fails_from = 1
    assert main(["transcribe", str(recording), "--format", "vtt", "--workers", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "WEBVTT\n\n"
    assert "the recogniser gave up" in captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a.wav", "--json", "--format", "srt"], "expected one of the two"),
        (["a.wav", "--timestamps", "--format", "srt"], "--timestamps is for text; srt has its times"),
        (["a.wav", "b.wav", "--format", "srt"], "expected --output-dir for several files"),
        (["x/a.wav", "y/a.wav", "--output-dir", "out"], "several of the recordings would be written to"),
        (["a.txt", "--output-dir", "."], "would be written over the recording itself"),
        (["a.wav", "--output-dir", "file/out"], "cannot be made"),
        (["a.wav", "--resume"], "--resume: expected --output-dir"),
        (["a.wav", "--save-intermediates"], "--save-intermediates: expected --output-dir"),
        (["-", "--resume", "--output-dir", "out"], "standard input cannot be read again"),
        (["-", "-"], "can be read once only"),
        (["a.wav", "--workers", "0"], "--workers: expected at least 1"),
        (["a.wav", "--max-minutes", "0"], "--max-minutes: expected more than 0"),
        (["empty"], "expected recordings in this folder"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", "utf-8")
    (tmp_path / "empty").mkdir()
    assert main(["transcribe", *options]) != 0
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told(
    stt: NumberingStt, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "noise.srt").mkdir(parents=True)
    assert main(["transcribe", str(recording), "--format", "srt", "--output-dir", str(tmp_path / "out")]) != 0
    assert "noise.srt cannot be written" in capsys.readouterr().err

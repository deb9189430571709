"""Many recordings at once, and batches that are interrupted and go on."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from alfred_voice import recordings, workshop
from alfred_voice.audio.wav import write_wav
from alfred_voice.cli import main
from alfred_voice.errors import EngineFailure
from alfred_voice.models.engine import Clip
from alfred_voice.models.scripted import ScriptedVad, speech_above
from alfred_voice.results import Transcript
from tests.files.odd_files import SCRATCHED


class LengthStt:
    """Answers each clip with its length; breaks off after so many clips, if it is told to."""

    name = "length"

    def __init__(self) -> None:
        self.lengths: list[str] = []
        self.most = 10**9
        self._lock = threading.Lock()

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        with self._lock:
            found = [f"{len(clip.samples) / 16_000:.1f}" for clip in clips]
            if len(self.lengths) + len(found) > self.most:
                raise EngineFailure("the machine was switched off")
            self.lengths += found
            return [Transcript(text, confidence=0.5) for text in found]


@pytest.fixture
def stt(monkeypatch: pytest.MonkeyPatch) -> LengthStt:
    stt = LengthStt()
    monkeypatch.setattr(workshop, "build_recording_vad", lambda _config, _store: ScriptedVad(speech_above(0.1)))
    monkeypatch.setattr(workshop, "build_stt", lambda _config, _store: stt)
    return stt


def write(path: Path, *lengths_s: float) -> Path:
    """A recording of so many stretches of noise with two seconds between them."""
    rng = np.random.default_rng(0)
    parts = []
    for length in lengths_s:
        noise = rng.integers(-20_000, 20_000, round(length * 16_000)).astype(np.int16)
        parts += [np.zeros(32_000, np.int16), noise]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, np.concatenate([*parts, np.zeros(32_000, np.int16)]), 16_000)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder with a folder in it, four recordings in all and something else."""
    for number, name in enumerate(("a.wav", "b.wav", "old/a.wav", "old/c.wav")):
        write(tmp_path / "archive" / name, 1 + 0.5 * number, 4)
    (tmp_path / "archive" / "notes.txt").write_text("no recording", "utf-8")
    return tmp_path / "archive"


def test_a_folder_is_transcribed_with_all_that_is_in_it(stt: LengthStt, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["transcribe", str(archive), "--output-dir", str(out)]) == 0
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "a.txt", "b.txt", "old/a.txt", "old/c.txt",
    ]  # fmt: skip
    assert (out / "old" / "c.txt").read_text("utf-8").splitlines() == ["2.9", "4.4"]


def test_printed_texts_come_in_the_order_of_their_names(
    stt: LengthStt, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(archive), "--workers", "4"]) == 0
    captured = capsys.readouterr()
    titles = [line for line in captured.out.splitlines() if line.startswith("==")]
    assert titles == [f"== {archive / name}" for name in ("a.wav", "b.wav", "old/a.wav", "old/c.wav")]
    assert captured.err.startswith("4 files, 0:00:4")


def test_a_batch_goes_on_where_it_was_interrupted(
    stt: LengthStt, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["transcribe", str(archive), "--output-dir", str(out), "--resume"]
    stt.most = 5
    assert main([*command, "--workers", "1"]) == 1
    complete = {path for path in out.rglob("*.txt") if path.name.endswith(".txt")}
    assert 0 < len(complete) < 4
    before = {path: path.stat().st_mtime_ns for path in complete}
    stt.most = 10**9
    stt.lengths.clear()
    capsys.readouterr()
    assert main(command) == 0
    assert f"{len(complete)} were complete already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in complete} == before
    assert len(stt.lengths) == 2 * (4 - len(complete))
    assert len(list(out.rglob("*.txt"))) == 4


def test_what_is_half_written_is_not_taken_for_complete(stt: LengthStt, tmp_path: Path) -> None:
    recording, out = write(tmp_path / "long.wav", *[1.0] * 20), tmp_path / "out"
    stt.most = 16
    assert main(["transcribe", str(recording), "--output-dir", str(out), "--workers", "1"]) == 1
    assert not (out / "long.txt").exists()
    stt.most = 10**9
    assert main(["transcribe", str(recording), "--output-dir", str(out), "--resume"]) == 0
    assert len((out / "long.txt").read_text("utf-8").splitlines()) == 20


def test_a_recording_that_is_newer_than_its_text_is_done_again(stt: LengthStt, tmp_path: Path) -> None:
    recording, out = write(tmp_path / "a.wav", 1), tmp_path / "out"
    command = ["transcribe", str(recording), "--output-dir", str(out), "--resume"]
    assert main(command) == 0
    assert main(command) == 0
    assert len(stt.lengths) == 1
    newer = (out / "a.txt").stat().st_mtime + 10
    os.utime(recording, (newer, newer))
    assert main(command) == 0
    assert len(stt.lengths) == 2


def test_without_being_asked_to_resume_everything_is_done_again(stt: LengthStt, tmp_path: Path) -> None:
    command = ["transcribe", str(write(tmp_path / "a.wav", 1)), "--output-dir", str(tmp_path / "out")]
    assert [main(command), main(command)] == [0, 0]
    assert len(stt.lengths) == 2


def test_a_long_recording_goes_on_from_its_last_segment(stt: LengthStt, tmp_path: Path) -> None:
    # Two rounds of a minute and more, of which the second does not come about.
    recording, out = write(tmp_path / "long.wav", *[9.0 + 0.1 * number for number in range(16)]), tmp_path / "out"
    command = ["transcribe", str(recording), "--save-intermediates", "--resume", "--workers", "1"]
    assert main([*command, "--output-dir", str(tmp_path / "whole"), "--format", "json"]) == 0
    stt.lengths.clear()
    stt.most = 8
    assert main([*command, "--output-dir", str(out), "--format", "json"]) == 1
    noted = (out / "long.segments.jsonl").read_text("utf-8").splitlines()
    done = len(noted) - 1
    assert 0 < done < 16
    stt.most = 10**9
    stt.lengths.clear()
    assert main([*command, "--output-dir", str(out), "--format", "json"]) == 0
    assert len(stt.lengths) == 16 - done
    whole, resumed = (json.loads((tmp_path / name / "long.json").read_text("utf-8")) for name in ("whole", "out"))
    assert resumed["segments"] == whole["segments"]
    assert resumed["duration_ms"] == whole["duration_ms"]
    lines = [json.loads(line) for line in (out / "long.segments.jsonl").read_text("utf-8").splitlines()]
    assert [line["type"] for line in lines] == ["recording", *["segment"] * 16, "result"]
    assert lines[-1]["timing"].keys() == {"decode_s", "detect_s", "recognise_s", "total_s"}


def test_notes_of_another_recording_are_not_taken_up(stt: LengthStt, tmp_path: Path) -> None:
    recording, out = write(tmp_path / "a.wav", 1, 2), tmp_path / "out"
    command = ["transcribe", str(recording), "--save-intermediates", "--output-dir", str(out), "--resume"]
    assert main(command) == 0
    (out / "a.txt").unlink()
    write(recording, 3, 4)
    assert main(command) == 0
    assert (out / "a.txt").read_text("utf-8").splitlines() == ["3.4", "4.4"]


def test_a_device_that_is_missing_is_told_once_with_its_reason(
    stt: LengthStt, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "device_warning", lambda _config: "cuda cannot be used: there is none here.")
    assert main(["transcribe", str(write(tmp_path / "a.wav", 1)), "--workers", "3"]) == 0
    assert capsys.readouterr().err == "warning: whisper.device: cuda cannot be used: there is none here.\n"


def test_a_language_that_cannot_be_done_is_a_warning_told_once(
    stt: LengthStt, archive: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LengthStt, "languages", frozenset({"en"}), raising=False)
    assert main(["transcribe", str(archive), "--language", "de", "--json"]) == 0
    out, err = capsys.readouterr()
    warning = "length knows no language but en: what is said is heard as that, not as de"
    assert err.count("warning") == 1
    assert err.startswith(f"warning: {warning}\n")
    assert [json.loads(line)["warnings"] for line in out.splitlines()] == [[warning]] * 4
    assert {json.loads(line)["language"] for line in out.splitlines()} == {"en"}


def test_what_is_no_language_is_refused(stt: LengthStt, archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", str(archive), "--language", "klingonish"]) == 2
    expected = "error: --language: expected a code such as en, de-CH or auto, got 'klingonish'\n"
    assert capsys.readouterr().err == expected
    assert stt.lengths == []


def test_a_text_that_cannot_be_written_fails_alone(
    stt: LengthStt, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "a.txt").mkdir(parents=True)
    (out / "old").write_text("in the way", "utf-8")
    assert main(["transcribe", str(archive), "--output-dir", str(out), "--workers", "1"]) == 1
    assert (out / "b.txt").read_text("utf-8").splitlines() == ["1.9", "4.4"]
    assert sorted(path.name for path in out.iterdir()) == ["a.txt", "b.txt", "old"]
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 3
    assert errors[0] == f"error: {archive / 'a.wav'}: {out / 'a.txt'} cannot be written: Is a directory"
    assert all("cannot be written" in line for line in errors)


def test_notes_that_cannot_be_written_fail_their_recording_alone(
    stt: LengthStt, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "a.segments.jsonl").mkdir(parents=True)
    assert main(["transcribe", str(archive), "--output-dir", str(out), "--save-intermediates"]) == 1
    assert not (out / "a.txt").exists()
    assert (out / "b.txt").exists()
    assert not list(out.rglob("*.part"))
    assert f"{out / 'a.segments.jsonl'} cannot be written" in capsys.readouterr().err


def test_what_is_no_recording_leaves_no_notes(stt: LengthStt, archive: Path, tmp_path: Path) -> None:
    (archive / "b.wav").write_bytes(b"This is no recording.")
    out = tmp_path / "out"
    assert main(["transcribe", str(archive), "--output-dir", str(out), "--save-intermediates"]) == 1
    assert sorted(path.name for path in out.rglob("*.jsonl")) == [
        "a.segments.jsonl", "a.segments.jsonl", "c.segments.jsonl",
    ]  # fmt: skip


def test_names_that_differ_in_their_endings_only_are_kept_whole(stt: LengthStt, tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "b.wav"):
        write(tmp_path / name, 1)
    out = tmp_path / "out"
    command = ["transcribe", str(tmp_path), "--output-dir", str(out), "--save-intermediates"]
    assert main(command) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "a.flac.segments.jsonl", "a.flac.txt", "a.wav.segments.jsonl", "a.wav.txt", "b.segments.jsonl", "b.txt",
    ]  # fmt: skip


def test_two_that_would_be_written_to_the_same_file_are_refused(
    stt: LengthStt, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(archive / "a.wav"), str(archive / "old" / "a.wav")]
    assert main(["transcribe", *files, "--output-dir", str(tmp_path / "out")]) == 2
    assert "several of the recordings would be written to" in capsys.readouterr().err


def test_what_is_named_twice_is_done_once(
    stt: LengthStt, archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(archive)
    assert main(["transcribe", "a.wav", "./a.wav", str(archive / "a.wav"), "."]) == 0
    assert len(stt.lengths) == 8
    assert capsys.readouterr().out.count("== ") == 4


def test_damage_that_is_stepped_over_is_told(
    stt: LengthStt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(SCRATCHED["m4a"]())
    assert main(["transcribe", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    (warning,) = json.loads(out)["warnings"]
    assert warning.startswith("damaged: ")
    assert err == f"warning: {path}: {warning}\n"


def test_an_empty_path_is_refused(stt: LengthStt, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", ""]) == 2
    assert capsys.readouterr().err == "error: expected a recording, a folder or -, got an empty path\n"


def test_where_an_error_arises_is_told_when_that_is_asked_for(
    stt: LengthStt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"This is no recording.")
    assert main(["transcribe", str(path)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main(["transcribe", str(path), "--verbose"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {path}: expected a sound file of a known format")
    assert "Traceback" in told
    assert "decode.py" in told


def test_a_recording_that_is_not_there_is_named_once(
    stt: LengthStt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nosuch"
    assert main(["transcribe", str(path)]) == 1
    assert capsys.readouterr().err == f"error: {path}: No such file or directory\n"


@pytest.mark.parametrize("other", ["stt.language=de", "openai.model=another", "openai.base_url=http://elsewhere/v1"])
def test_notes_of_other_settings_are_left_aside_and_that_is_told(
    stt: LengthStt, tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    recording, out = write(tmp_path / "a.wav", 1, 2), tmp_path / "out"
    command = ["transcribe", str(recording), "--save-intermediates", "--output-dir", str(out), "--resume"]
    command += ["--set", "stt.engine=openai"]
    assert main(command) == 0
    (out / "a.txt").unlink()
    capsys.readouterr()
    assert main([*command, "--set", other]) == 0
    assert len(stt.lengths) == 4
    told = f"note: {recording}: notes of other settings are left aside: it begins anew\n"
    assert capsys.readouterr().err == told
    (out / "a.txt").unlink()
    assert main([*command, "--set", other, "--set", "openai.timeout_s=30"]) == 0
    assert len(stt.lengths) == 4
    assert capsys.readouterr().err == ""


def test_what_came_of_a_failed_recording_is_kept_beside_and_told(
    stt: LengthStt, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording, out = write(tmp_path / "a.wav", 1, 2), tmp_path / "out"
    assert main(["transcribe", str(recording), "--output-dir", str(out), "--max-minutes", "0.1"]) == 1
    assert (out / "a.txt.part").read_text("utf-8").startswith("1.4\n")
    assert f"what was heard until then is in {out / 'a.txt.part'}" in capsys.readouterr().err
    assert not (out / "a.txt").exists()

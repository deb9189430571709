from __future__ import annotations

import io
import subprocess
import sys
import types
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.audio.wav import parse_wav
from alfred_voice.cli import main
from alfred_voice.models.espeak import EspeakTts


Int16 = NDArray[np.int16]


def read(path: Path) -> tuple[int, Int16]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


class Speaker:
    """Stands in for the package ``sounddevice``: keeps what it is to play."""

    def __init__(self) -> None:
        self.rate = 0
        self.played: list[Int16] = []
        self.is_open = False
        self.failure: Exception | None = None

    def module(self) -> types.ModuleType:
        module: Any = types.ModuleType("sounddevice")
        module.OutputStream = self
        module.PortAudioError = type("PortAudioError", (Exception,), {})
        return module  # type: ignore[no-any-return]

    def __call__(self, *, samplerate: int, channels: int, dtype: str) -> Speaker:
        assert (channels, dtype) == (1, "int16")
        if self.failure:
            raise self.failure
        self.rate = samplerate
        return self

    def __enter__(self) -> Speaker:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def write(self, samples: Int16) -> None:
        assert self.is_open
        assert samples.shape[1] == 1
        self.played.append(samples[:, 0].copy())


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Speaker:
    speaker = Speaker()
    monkeypatch.setitem(sys.modules, "sounddevice", speaker.module())
    return speaker


class TestFile:
    def test_it_holds_the_speech_at_the_engines_rate(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out.wav"
        assert main(["say", "Hello there. How are you?", "-o", str(out)]) == 0
        rate, samples = read(out)
        assert rate == 22_050
        assert 1.0 < len(samples) / rate < 4.0
        assert np.abs(samples).max() > 5000
        said = capsys.readouterr().out
        assert said.startswith(f"{len(samples) / rate:.2f} s of audio in ")
        assert "ms" in said

    def test_its_header_tells_its_true_length(self, tmp_path: Path) -> None:
        out = tmp_path / "out.wav"
        main(["say", "Hello.", "-o", str(out)])
        data = out.read_bytes()
        assert int.from_bytes(data[4:8], "little") == len(data) - 8
        assert int.from_bytes(data[40:44], "little") == len(data) - 44

    def test_voice_and_speed_change_it(self, tmp_path: Path) -> None:
        lengths = []
        for name, more in (("a", []), ("b", ["--speed", "2"]), ("c", ["--voice", "de"])):
            out = tmp_path / name
            assert main(["say", "One two three four five six", "-o", str(out), *more]) == 0
            lengths.append(len(read(out)[1]))
        assert lengths[0] == pytest.approx(2 * lengths[1], rel=0.3)
        assert lengths[0] != lengths[2]

    def test_voice_and_speed_come_from_the_configuration(self, tmp_path: Path) -> None:
        slow, fast = tmp_path / "slow", tmp_path / "fast"
        main(["say", "One two three four five six", "-o", str(slow)])
        main(["say", "One two three four five six", "-o", str(fast), "--set", "tts.speed=2.0"])
        assert len(read(slow)[1]) > 1.5 * len(read(fast)[1])

    def test_a_text_is_spoken_sentence_by_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spoken: list[str] = []
        original = EspeakTts.synthesise

        def listen(self: EspeakTts, text: str, voice: str, speed: float, sink: Any) -> None:
            spoken.append(text)
            original(self, text, voice, speed, sink)

        monkeypatch.setattr(EspeakTts, "synthesise", listen)
        main(["say", "Mr. Smith came. He left!\nThe end", "-o", str(tmp_path / "out.wav")])
        assert spoken == ["Mr. Smith came.", "He left!", "The end"]

    def test_text_comes_from_standard_input(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("Hello from a pipe.\n"))
        assert main(["say", "-", "-o", str(tmp_path / "out.wav")]) == 0
        assert len(read(tmp_path / "out.wav")[1]) > 10_000

    def test_input_that_is_no_text_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\xfd"), encoding="utf-8"))
        assert main(["say", "-", "-o", str(tmp_path / "out.wav")]) == 2
        assert "standard input" in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [[], [""], ["  \n "]])
    def test_nothing_to_say_is_refused(
        self, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out.wav"
        assert main(["say", *arguments, "-o", str(out)]) == 2
        assert "error: Expected a text" in capsys.readouterr().err
        assert not out.exists()

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [("--voice", "en-uss", "en-us"), ("--speed", "9", "0.25 to 4.0"), ("--speed", "nan", "0.25 to 4.0")],
    )
    def test_a_wrong_voice_or_speed_is_told_before_a_file_is_touched(
        self, option: str, value: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out.wav"
        out.write_bytes(b"precious")
        assert main(["say", "hello", "-o", str(out), option, value]) == 2
        assert message in capsys.readouterr().err
        assert out.read_bytes() == b"precious"

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "none" / "out.wav"
        assert main(["say", "hello", "-o", str(out)]) == 1
        assert capsys.readouterr().err == f"error: {out}: No such file or directory\n"

    def test_a_file_that_does_not_get_whole_is_removed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = tmp_path / "out.wav"

        def fail(_self: EspeakTts, _text: str, _voice: str, _speed: float, sink: Any) -> None:
            sink(np.zeros(100, np.int16))
            assert out.stat().st_size == 44 + 200  # written as it is made
            raise KeyboardInterrupt

        monkeypatch.setattr(EspeakTts, "synthesise", fail)
        assert main(["say", "hello", "-o", str(out)]) == 130
        assert not out.exists()


class TestPipe:
    def say(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "alfred_voice", "say", *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=60)

    @pytest.mark.parametrize("arguments", [["-o", "-"], []])
    def test_a_pipe_gets_a_wav_stream_and_nothing_else(self, arguments: list[str]) -> None:
        done = self.say("Hello there.", *arguments)
        assert done.returncode == 0
        audio_format, payload = parse_wav(done.stdout)
        assert (audio_format.sample_rate, audio_format.channels) == (22_050, 1)
        assert np.abs(np.frombuffer(payload, "<i2")).max() > 5000
        assert b"s of audio in" in done.stderr

    def test_a_reader_that_leaves_early_is_no_crash(self) -> None:
        command = [sys.executable, "-m", "alfred_voice", "say", "a long text, " * 500, "-o", "-"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.read(4) == b"RIFF"
            process.stdout.close()
            errors = process.stderr.read()
            assert process.wait(30) == 1
        assert b"Traceback" not in errors

    def test_a_terminal_is_not_filled_with_samples(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert main(["say", "hello", "-o", "-"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "terminal" in captured.err


class TestPlaying:
    def test_without_a_file_it_is_played(self, speaker: Speaker, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["say", "Hello there."]) == 0
        assert speaker.rate == 22_050
        assert len(speaker.played) > 5
        assert sum(map(len, speaker.played)) / 22_050 == pytest.approx(
            float(capsys.readouterr().out.split()[0]), abs=0.01
        )

    def test_a_file_is_played_too_when_asked(self, speaker: Speaker, tmp_path: Path) -> None:
        out = tmp_path / "out.wav"
        assert main(["say", "Hello there.", "-o", str(out), "--play"]) == 0
        np.testing.assert_array_equal(np.concatenate(speaker.played), read(out)[1])

    def test_a_file_alone_is_not_played(self, speaker: Speaker, tmp_path: Path) -> None:
        assert main(["say", "Hello there.", "-o", str(tmp_path / "out.wav")]) == 0
        assert speaker.played == []

    @pytest.mark.parametrize("arguments", [[], ["--play"]])
    def test_without_the_package_it_says_what_to_do(
        self, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        assert main(["say", "hello", *arguments]) == 2
        message = capsys.readouterr().err
        assert "pip install -e '.[mic]'" in message
        assert "-o out.wav" in message

    def test_a_loudspeaker_that_fails_is_told(self, speaker: Speaker, capsys: pytest.CaptureFixture[str]) -> None:
        speaker.failure = sys.modules["sounddevice"].PortAudioError("no default device")
        assert main(["say", "hello"]) == 2
        assert "no default device" in capsys.readouterr().err


class TestVoices:
    def rows(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], str]:
        assert main(["say", "--voices", *arguments]) == 0
        table, _, rest = capsys.readouterr().out.partition("\n\n")
        head, *rows = table.splitlines()
        assert head.split() == ["NAME", "LANGUAGE", "GENDER", "DESCRIPTION"]
        return rows, rest

    def test_all_are_listed_in_columns(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows, rest = self.rows(capsys)
        engine = EspeakTts()
        assert [row.split()[0] for row in rows] == [voice.name for voice in engine.voices()]
        assert len({row.index(" male ") for row in rows if " male " in row}) == 1
        assert f"{len(rows)} of {len(rows)} voices and {len(engine.variants())} variants" in rest

    @pytest.mark.parametrize(
        ("wanted", "name"),
        [("german", "de"), ("EN-US", "en-us"), ("klatt", "+klatt"), ("female", "+f3"), ("+f", "+f1")],
    )
    def test_a_filter_looks_at_the_whole_row(self, wanted: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        rows, _ = self.rows(capsys, wanted)
        assert name in [row.split()[0] for row in rows]
        assert all(wanted.lower() in row.lower() for row in rows)

    def test_plus_lists_the_variants(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows, _ = self.rows(capsys, "+")
        assert [row.split("  ")[0] for row in rows] == [variant.name for variant in EspeakTts().variants()]

    def test_male_does_not_find_female(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows, _ = self.rows(capsys, "male")
        assert not any("female " in row for row in rows)

    def test_nothing_found_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["say", "--voices", "no such voice"]) == 1
        assert "'no such voice'" in capsys.readouterr().err

    def test_an_engine_without_variants_lists_its_voices(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["say", "--voices", "--set", "tts.engine=scripted"]) == 0
        assert "0 variants" in capsys.readouterr().out


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["say", "--help"])
    assert left.value.code == 0
    assert "example: alfred-voice say" in capsys.readouterr().out

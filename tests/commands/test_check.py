from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice import recognisers, workshop
from alfred_voice.cli import main
from alfred_voice.clock import SystemClock
from alfred_voice.commands import check
from alfred_voice.commands.check import BEGINNING, SENTENCE, word_error_rate
from alfred_voice.errors import EngineFailure, SpeechError
from alfred_voice.models.espeak import EspeakTts
from alfred_voice.models.store import Store
from alfred_voice.results import Transcript, TurnJudgement, Voice


Int16 = NDArray[np.int16]
STEPS = [
    "verify silero-vad",
    "verify moonshine-tiny-en",
    "verify smart-turn-v3.2",
    "load tts",
    "load vad",
    "load stt",
    "load turn",
    "synthesise a sentence",
    "find the speech",
    "recognise it",
    "judge a whole turn",
    "judge half a turn",
]


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the steps by name."""
    code = main(["check", "--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is (code == 0)
    assert [step["step"] for step in found["steps"]] == STEPS
    return code, {step["step"]: step for step in found["steps"]}


def results(steps: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: step["result"] for name, step in steps.items() if step["result"] != "ok"}


@pytest.mark.models
class TestRealInstallation:
    def test_everything_is_well(self, models: Store, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check"]) == 0
        printed = capsys.readouterr().out
        head, *rows = printed.partition("\n\n")[0].splitlines()
        assert head.split() == ["STEP", "RESULT", "TIME", "DETAIL"]
        assert [row[: head.index("RESULT")].strip() for row in rows] == STEPS
        assert all(re.search(r" ok +\d+ ms  \S", row) for row in rows)
        assert printed.endswith("\nAll is well.\n")

    def test_the_report_names_versions_cores_and_memory(
        self, models: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["check", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert {"alfred-voice", "python", "platform", "runtime", "numpy", "cores", "memory"} <= found["system"].keys()
        assert found["system"]["runtime"].startswith("onnxruntime")
        assert found["system"]["numpy"] == np.__version__

    def test_details_tell_what_was_found(self, models: Store, capsys: pytest.CaptureFixture[str]) -> None:
        _, steps = report(capsys)
        assert "7 files" in steps["verify moonshine-tiny-en"]["detail"]
        assert "children" in steps["recognise it"]["detail"]
        whole, half = (float(steps[name]["detail"].split()[-1]) for name in ("judge a whole turn", "judge half a turn"))
        assert half < 0.5 <= whole
        assert all(step["ms"] >= 0 for step in steps.values())

    def test_another_language_of_the_daemon_is_no_failure(
        self, models: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert report(capsys, "--set", "tts.voice=de")[0] == 0

    def test_a_voice_that_the_daemon_could_not_use_is_one(
        self, models: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, steps = report(capsys, "--set", "tts.voice=nobody")
        assert code == 1
        assert results(steps)["load tts"] == "FAILED"
        assert "nobody" in steps["load tts"]["detail"]

    def test_silence_from_the_synthesiser_is_noticed(
        self, models: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _speak(monkeypatch, lambda _text: np.zeros(20_000, np.int16))
        code, steps = report(capsys)
        assert code == 1
        assert {
            "synthesise a sentence": "FAILED",
            "find the speech": "skipped",
            "recognise it": "skipped",
            "judge a whole turn": "skipped",
        }.items() <= results(steps).items()
        assert "silence" in steps["synthesise a sentence"]["detail"]

    def test_noise_from_the_synthesiser_is_noticed(
        self, models: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        noise = np.random.default_rng(0).normal(0, 500, 40_000).astype(np.int16)
        _speak(monkeypatch, lambda _text: noise)
        code, steps = report(capsys)
        assert code == 1
        assert results(steps)["find the speech"] == "FAILED"
        assert results(steps)["recognise it"] == "skipped"

    def test_other_words_than_were_said_are_noticed(
        self, models: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Mishearing:
            name = "mishearing"

            def transcribe(self, clips: list[Any]) -> list[Transcript]:
                return [Transcript("Thank you for watching.") for _ in clips]

        monkeypatch.setattr(recognisers, "build_stt", lambda _config, _store: Mishearing())
        code, steps = report(capsys)
        assert code == 1
        assert results(steps) == {"recognise it": "FAILED"}
        assert "Thank you for watching." in steps["recognise it"]["detail"]
        assert SENTENCE in steps["recognise it"]["detail"]

    @pytest.mark.parametrize(
        ("probability", "failed"),
        [(0.0, "judge a whole turn"), (0.4999, "judge a whole turn"), (0.5, "judge half a turn")],
    )
    def test_a_turn_model_that_always_says_the_same_is_noticed(
        self,
        probability: float,
        failed: str,
        models: Store,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        class Stubborn:
            name = "stubborn"

            def judge(self, turns: list[Any]) -> list[TurnJudgement]:
                return [TurnJudgement(probability) for _ in turns]

        monkeypatch.setattr(workshop, "build_turn", lambda _config, _store: Stubborn())
        code, steps = report(capsys)
        assert code == 1
        assert results(steps) == {failed: "FAILED"}

    def test_an_engine_that_cannot_be_loaded_is_told_and_the_rest_goes_on(
        self, models: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(_config: Any, _store: Any) -> Any:
            raise EngineFailure("no such instruction")

        monkeypatch.setattr(recognisers, "build_stt", fail)
        code, steps = report(capsys)
        assert code == 1
        assert results(steps) == {"load stt": "FAILED", "find the speech": "skipped", "recognise it": "skipped"}
        assert steps["load stt"]["detail"] == "no such instruction"


def test_without_models_all_that_needs_none_is_still_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, steps = report(capsys, "--set", f"models.cache_dir={tmp_path}")
    assert code == 1
    assert steps["load tts"]["result"] == "ok"
    assert steps["synthesise a sentence"]["result"] == "ok"
    assert steps["load vad"]["result"] == steps["verify silero-vad"]["result"] == "FAILED"
    assert "alfred-voice models pull silero-vad" in steps["verify silero-vad"]["detail"]
    assert steps["find the speech"]["result"] == "skipped"


def test_the_table_counts_what_did_not_go_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--set", f"models.cache_dir={tmp_path}"]) == 1
    printed = capsys.readouterr().out
    bad = len(re.findall(r" FAILED | skipped ", printed))
    assert printed.endswith(f"\n{bad} of {len(STEPS)} steps did not go well.\n")


def test_an_engine_without_our_voice_speaks_with_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    test = check.SelfTest(_config("scripted"), Store(Path()), _no_builders(), SystemClock())
    assert test._voice(EspeakTts()) == check.VOICE

    class Other:
        name, sample_rate = "other", 8000

        def voices(self) -> list[Voice]:
            return []

        def check(self, voice: str, speed: float) -> None:
            raise SpeechError(f"no {voice} at {speed}")

        def synthesise(self, text: str, voice: str, speed: float, sink: Callable[[Int16], bool]) -> None:
            raise AssertionError

    assert test._voice(Other()) == "en-us"


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", "--help"])
    assert left.value.code == 0
    assert "example: alfred-voice check" in capsys.readouterr().out


class TestWordErrorRate:
    @pytest.mark.parametrize(
        ("expected", "heard", "rate"),
        [
            ("one two three four", "one two three four", 0.0),
            ("One, two. Three four!", "one TWO three... four", 0.0),
            ("one two three four", "one two four", 0.25),
            ("one two three four", "one two and three four", 0.25),
            ("one two three four", "one too three four", 0.25),
            ("one two three four", "", 1.0),
            ("one two", "a b c d", 2.0),
            ("it's here", "its here", 0.5),
            ("", "", 0.0),
            ("", "a", 1.0),
        ],
    )
    def test_by_values(self, expected: str, heard: str, rate: float) -> None:
        assert word_error_rate(expected, heard) == rate

    @given(
        expected=st.lists(st.sampled_from("abc"), min_size=1, max_size=7),
        heard=st.lists(st.sampled_from("abc"), max_size=7),
    )
    def test_against_a_plain_recursion(self, expected: list[str], heard: list[str]) -> None:
        def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
            if not a or not b:
                return len(a) + len(b)
            if a[0] == b[0]:
                return distance(a[1:], b[1:])
            return 1 + min(distance(a[1:], b), distance(a, b[1:]), distance(a[1:], b[1:]))

        errors = distance(tuple(expected), tuple(heard))
        assert word_error_rate(" ".join(expected), " ".join(heard)) == errors / len(expected)


def _speak(monkeypatch: pytest.MonkeyPatch, samples: Callable[[str], Int16]) -> None:
    """Let the synthesiser say something else."""

    def synthesise(_self: EspeakTts, text: str, _voice: str, _speed: float, sink: Callable[[Int16], bool]) -> None:
        assert text in (SENTENCE, BEGINNING)
        sink(samples(text))

    monkeypatch.setattr(EspeakTts, "synthesise", synthesise)


def _config(engine: str) -> Any:
    from alfred_voice.config import load

    return load(sets=[f"tts.engine={engine}"], environ={}).config


def _no_builders() -> check.Builders:
    def none() -> Any:
        raise AssertionError

    return check.Builders(none, none, none, none)

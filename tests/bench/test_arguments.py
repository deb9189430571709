"""Numbers that make no sense are refused before anything is measured."""

from __future__ import annotations

import argparse

import pytest

from alfred_voice.bench.arguments import positive, whole
from alfred_voice.cli import main


def test_whole_numbers_from_the_least_on_are_taken() -> None:
    assert [whole(2)(text) for text in ("2", "30")] == [2, 30]


@pytest.mark.parametrize(("text", "message"), [("1", "at least 2, got 1"), ("-3", "got -3"), ("x", "got 'x'"),
                                               ("2.5", "got '2.5'"), ("", "got ''")])  # fmt: skip
def test_others_are_refused(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        whole(2)(text)


def test_positive_numbers_are_taken() -> None:
    assert [positive(text) for text in ("0.5", "3")] == [0.5, 3]


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "x", ""])
def test_what_is_not_above_nothing_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number"):
        positive(text)


@pytest.mark.parametrize(
    "words",
    [
        "vad --runs 0", "stt --streams 0", "stt --runs 0", "stt --threads 0", "stt --seconds 0", "turn --runs -1",
        "tts --runs 0", "start --runs 0", "latency --speakers 0", "latency --repeats 0", "latency --passages 0",
        "memory --churn 0", "memory --minutes 0",
    ],
)  # fmt: skip
def test_every_benchmark_refuses_to_measure_nothing(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["bench", *words.split()])
    assert left.value.code == 2
    assert f"argument {words.split()[1]}: expected" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tts", "latency", "start", "peers"])
def test_a_benchmark_without_curves_does_not_offer_to_draw_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", name, "--help"])
    assert "--plot" not in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_file_is_refused_at_once(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "vad", "--json", str(tmp_path)]) == 1
    assert "expected a file, but it is a folder" in capsys.readouterr().err

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alfred_voice.config import Loaded, load
from alfred_voice.config_file import as_yaml
from alfred_voice.errors import ConfigError


def load_text(folder: Path, text: str) -> Loaded:
    path = folder / "alfred.yaml"
    path.write_text(text, "utf-8")
    return load(file=path)


def problems_of(folder: Path, text: str) -> list[str]:
    """The lines of the error that a file gives, with the folder cut away."""
    with pytest.raises(ConfigError) as refused:
        load_text(folder, text)
    lines = str(refused.value).replace(f"{folder}{os.sep}", "").splitlines()
    return [line.removeprefix("- ") for line in lines if not line.endswith("settings are wrong:")]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n", "---\n", "{}", "stt:\n", "stt:\n  # engine: x\n", "stt: {}", "null", "\ufeff"]
)
def test_a_file_that_sets_nothing_is_fine(tmp_path: Path, text: str) -> None:
    assert load_text(tmp_path, text).changed() == []


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    assert load_text(tmp_path, "\ufeffstt:\r\n  language: fr\r\n").config.stt.language == "fr"


@pytest.mark.parametrize(
    ("room", "name", "text", "value"),
    [
        ("stt", "language", '"no"', "no"),
        ("stt", "language", "'on'", "on"),
        ("stt", "language", "!!str no", "no"),
        ("stt", "language", "nb", "nb"),
        ("tts", "voice", "y", "y"),
        ("tts", "voice", '"1"', "1"),
        ("tts", "voice", "none", "none"),
        ("interruption", "enabled", "no", False),
        ("interruption", "enabled", "Off", False),
        ("interruption", "enabled", "yes", True),
        ("interruption", "enabled", "true", True),
        ("server", "port", "1_024", 1024),
        ("server", "grace_s", "1e1", 10.0),
        ("server", "grace_s", "3", 3.0),
        ("server", "grace_s", ".5", 0.5),
        ("vad", "negative_threshold", "null", None),
        ("vad", "negative_threshold", "~", None),
        ("vad", "negative_threshold", "", None),
        ("vad", "negative_threshold", "0.25", 0.25),
        ("log", "file", '"null"', "null"),
        ("log", "file", '"none"', "none"),
        ("log", "level", "debug", "debug"),
        ("server", "port", "&p 99", 99),
    ],
)
def test_a_value_in_a_file_is_read_by_the_type_of_its_key(
    tmp_path: Path, room: str, name: str, text: str, value: object
) -> None:
    read = load_text(tmp_path, f"{room}:\n  {name}: {text}\n").value(f"{room}.{name}")

    assert read == value
    assert type(read) is type(value)


def test_a_key_beside_the_rooms_is_not_passed_over(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "stt.engine: whisper\n")

    assert (
        problem == "stt.engine: expected the key inside its room, as in stt: {engine: ...} (file alfred.yaml, line 1)"
    )


@pytest.mark.parametrize("word", ["no", "on", "off", "Yes", "true", "12", "1.5", "2026-01-01", "0x10"])
def test_a_bare_word_that_is_no_text_to_yaml_must_be_quoted(tmp_path: Path, word: str) -> None:
    (problem,) = problems_of(tmp_path, f"stt:\n  language: {word}\n")

    assert problem.startswith(f"stt.language: expected text (such as en, de-CH or auto), got the bare word {word}, ")
    assert problem.endswith(f'which YAML does not take for text: write "{word}" (file alfred.yaml, line 2)')


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("port: '80'", "expected a whole number (0 to 65535), got the text '80'; leave out the quotes"),
        ("port: 0o17", "expected a whole number (0 to 65535), got '0o17'"),
        ("port: 08015", "expected a whole number (0 to 65535), got '08015'"),
        ("port: 010", "expected a whole number (0 to 65535), got '010'"),
        ("port: 2:00", "expected a whole number (0 to 65535), got '2:00'"),
        ("port: 65536", "expected a whole number (0 to 65535), got '65536'"),
        ("port: -1", "expected a whole number (0 to 65535), got '-1'"),
        ("port: 80.5", "expected a whole number (0 to 65535), got '80.5'"),
        ("port: true", "expected a whole number (0 to 65535), got 'true'"),
        ("port: ~", "expected a whole number (0 to 65535), got nothing"),
        ("port:", "expected a whole number (0 to 65535), got nothing"),
        ("port: [80]", "expected a whole number (0 to 65535), got a list"),
        ("port: {a: 1}", "expected a whole number (0 to 65535), got a map"),
        ("port: !!int 'x'", "expected a whole number (0 to 65535), got the text 'x'; leave out the quotes"),
        ("grace_s: .inf", "expected a number (0 to 600), got '.inf'"),
        ("grace_s: .nan", "expected a number (0 to 600), got '.nan'"),
        ("grace_s: 2026-13-45", "expected a number (0 to 600), got '2026-13-45'"),
        ("host: ''", "expected text (not empty), got ''"),
    ],
)
def test_a_wrong_value_names_what_was_expected_and_what_came(tmp_path: Path, line: str, problem: str) -> None:
    key = line.partition(":")[0]

    assert problems_of(tmp_path, f"server:\n  {line}\n") == [f"server.{key}: {problem} (file alfred.yaml, line 2)"]


def test_a_number_is_no_answer_to_a_yes_or_no_question_in_a_file(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "interruption: {enabled: 1}") == [
        "interruption.enabled: expected true or false, got '1' (file alfred.yaml, line 1)"
    ]


def test_a_choice_lists_its_values(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "log: {format: xml}") == [
        "log.format: expected one of text, json, got 'xml' (file alfred.yaml, line 1)"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- stt\n", "top level: expected a map of rooms, got a list (file alfred.yaml, line 1)"),
        ("stt\n", "top level: expected a map of rooms, got 'stt' (file alfred.yaml, line 1)"),
        ("\nstt: [1]\n", "stt: expected a map of keys and values, got a list (file alfred.yaml, line 2)"),
        ("stt: moonshine\n", "stt: expected a map of keys and values, got 'moonshine' (file alfred.yaml, line 1)"),
        ("[a]: 1\n", "top level: expected a name, got a list (file alfred.yaml, line 1)"),
        ("tts:\n  ? {a: 1}\n  : 2\n", "tts: expected a name, got a map (file alfred.yaml, line 2)"),
        ("tts:\n  speed: 1\n  speed: 2\n", "tts.speed: given twice, first in line 2 (file alfred.yaml, line 3)"),
        ("tts:\n  speed: 1\n\ntts:\n", "tts: given twice, first in line 1 (file alfred.yaml, line 4)"),
        ("tts: {speed: 1, speed: 1}", "tts.speed: given twice, first in line 1 (file alfred.yaml, line 1)"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert problems_of(tmp_path, text) == [problem]


@pytest.mark.parametrize(
    ("text", "line"),
    [("stt: [1\nvad: 2", 2), ("tts:\n\tspeed: 1", 2), ("stt: {}\n---\nvad: {}", 2), ("stt: *gone", 1), ("a: b: c", 1)],
)
def test_what_is_not_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (problem,) = problems_of(tmp_path, text)

    assert problem.startswith(f"file alfred.yaml: line {line} is not YAML: ")


def test_control_characters_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "a: \x00")[0].startswith("file alfred.yaml: not YAML: unacceptable character #x0000")
    assert problems_of(tmp_path, "[" * 20_000) == ["file alfred.yaml: nested too deeply; expected rooms with keys"]


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("stt:\n  language: fr # fran\xe7ais\n".encode("latin-1"))

    with pytest.raises(ConfigError, match="expected UTF-8 text, got byte 0xe7 in line 2"):
        load(file=path)


def test_a_file_that_is_missing_or_a_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"file .*gone\.yaml: cannot be read: No such file"):
        load(file=tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(file=tmp_path)


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="stvad:-? \n\t[]{}'\"!&*<|>#%@`,.019", max_size=60)))
@example(b"stt: !!python/object/apply:os.system ['true']")
@example("<<: *a")
@example("stt: &a {<<: *a}")
@example("=: =")
def test_no_file_whatsoever_gives_another_error(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with suppress(ConfigError):
            load(file=path)


# Values as YAML


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (8015, "8015"), (10.0, "10.0"), ("en-us", "en-us"), ("no", "'no'"), ("", '""')],
)
def test_a_value_is_written_on_one_line(value: object, text: str) -> None:
    assert as_yaml(value) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=35))
@example("no")
@example("1e3")
@example("a: b # c")
@example("line\nbreak\u2028and\x85more")
@example("\U0001f600\x7f\x00")
@example("01:30")
def test_any_text_survives_the_way_through_a_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = as_yaml(text)

        assert "\n" not in written
        assert load_text(Path(folder), f"whisper:\n  prompt: {written}  # comment\n").config.whisper.prompt == text

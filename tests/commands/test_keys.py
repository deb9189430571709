"""``alfred-voice keys``."""

from __future__ import annotations

import argparse
import re

import pytest

from alfred_voice import cli
from alfred_voice.commands.keys import add_parser, run
from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.keyring import Keyring, read_keys_file


def run_command(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    return run(parser.parse_args(["keys", *words]))


@pytest.mark.parametrize(("words", "is_admin"), [((), False), (("--admin",), True)])
def test_a_new_key_is_shown_once_and_its_entry_holds_its_hash_only(
    words: tuple[str, ...], is_admin: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("new", "tablet", *words) == 0

    shown = capsys.readouterr()
    (key,) = re.findall(r"^    ([\w-]{43})$", shown.err, re.MULTILINE)
    assert key not in shown.out
    found = Keyring(read_keys_file(shown.out, "output")).find(key)
    assert found is not None
    assert (found.name, found.is_admin) == ("tablet", is_admin)


def test_entries_can_be_added_to_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("new", "a")
    run_command("new", "b.c", "--admin")

    assert [key.name for key in read_keys_file(capsys.readouterr().out, "output")] == ["a", "b.c"]


def test_a_name_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="NAME: expected"):
        run_command("new", "a b")
    assert capsys.readouterr().out == ""


def test_limits_that_are_asked_for_stand_in_the_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "new", "tablet", "--max-sessions", "4", "--requests-per-minute", "600"]) == 0
    (key,) = read_keys_file(capsys.readouterr().out, "test")
    assert (key.max_sessions, key.requests_per_minute, key.is_admin) == (4, 600, False)


@pytest.mark.parametrize("limit", [["--max-sessions", "-1"], ["--requests-per-minute", "0"], ["--max-sessions", "x"]])
def test_limits_that_are_none_are_refused(limit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["keys", "new", "tablet", *limit])
    assert "expected a whole number" in capsys.readouterr().err

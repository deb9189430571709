from __future__ import annotations

from pathlib import Path

from alfred_voice.commands.config import TABLE_BEGIN, reference_env, reference_markdown
from alfred_voice.config import Config, load, reference


ROOT = Path(__file__).parents[1]


def test_every_key_has_a_description_and_a_default_that_is_valid() -> None:
    for key in reference():
        assert key.description, key.path
        text = "" if key.default is None else str(key.default)
        assert key.read(text) == key.default, key.path


def test_the_document_ends_with_the_table_of_all_keys() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text("utf-8")

    assert text.partition(TABLE_BEGIN)[2].strip() == reference_markdown().strip(), (
        "run: alfred-voice config reference --into docs/configuration.md"
    )


def test_the_example_of_the_environment_lists_all_keys() -> None:
    text = (ROOT / ".env.example").read_text("utf-8")

    assert text == reference_env(), "run: alfred-voice config reference --env > .env.example"


def test_the_example_of_the_environment_is_a_set_of_valid_defaults() -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    environ = dict(line.removeprefix("#").split("=", 1) for line in lines if line.startswith("#ALFRED_"))

    loaded = load(environ=environ)

    assert set(loaded.changed()) == {key.path for key in reference()}
    assert loaded.config == Config()

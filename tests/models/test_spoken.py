"""Names of languages, and recognisers that do not know them."""

from __future__ import annotations

import pytest

from alfred_voice.models.spoken import is_language, only_language, primary, unknown_language


class Knowing:
    def __init__(self, *languages: str) -> None:
        self.languages = frozenset(languages)


@pytest.mark.parametrize("text", ["en", "de-CH", "de_CH", "DE-ch", "auto", "yue", "zh-Hant-TW", "sl-rozaj-biske"])
def test_these_name_languages(text: str) -> None:
    assert is_language(text)


@pytest.mark.parametrize(
    "text", ["klingonish", "german", "", "e", "en-", "en us", "en-" + "a" * 9, "12", "en\n", "é-" * 20]
)
def test_these_do_not(text: str) -> None:
    assert not is_language(text)


@pytest.mark.parametrize(("text", "language"), [("de-CH", "de"), ("DE_ch", "de"), ("en", "en"), ("auto", "auto")])
def test_a_region_is_left_out(text: str, language: str) -> None:
    assert primary(text) == language


def test_what_becomes_of_a_language_is_told_where_it_is_not_known() -> None:
    assert unknown_language("en-GB", Knowing("en"), "ear") == ""
    assert unknown_language("auto", Knowing("en"), "ear") == ""
    assert unknown_language("de", object(), "ear") == ""
    assert unknown_language("de", Knowing("en"), "ear").startswith("ear knows no language but en")
    assert unknown_language("de", Knowing("en", "fr"), "ear").startswith("ear does not know the language de")


def test_one_language_alone_is_told() -> None:
    assert only_language(Knowing("en")) == "en"
    assert only_language(Knowing("en", "fr")) is None
    assert only_language(object()) is None

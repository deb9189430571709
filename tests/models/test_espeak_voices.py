from __future__ import annotations

import pytest

from alfred_voice.errors import UnknownVoice
from alfred_voice.models.espeak_voices import ListedVoice, VoiceIndex
from alfred_voice.results import Voice


BASES = [
    ListedVoice("English (Great Britain)", ((2, "en-gb"), (2, "en")), "gmw/en", "male"),
    ListedVoice("English (Scotland)", ((5, "en-gb-scotland"), (4, "en")), "gmw/en-GB-scotland", "male"),
    ListedVoice("English (America)", ((2, "en-us"), (3, "en")), "gmw/en-US", "male"),
    ListedVoice("German ", ((5, "de"),), "gmw/de", ""),
    ListedVoice("Cantonese", ((5, "yue"), (8, "zh")), "sit/yue", "male"),
    ListedVoice("Cantonese (Jyutping)", ((5, "yue"), (8, "zh")), "sit/yue-Latn-jyutping", "male"),
    ListedVoice("Mandarin", ((5, "cmn"), (5, "zh")), "sit/cmn", "female"),
]
VARIANTS = [
    ListedVoice("female3", ((5, "variant"),), "!v/f3", "female"),
    ListedVoice("female2", ((5, "variant"),), "!v/f2", "female"),
    ListedVoice("Mr_Serious", ((5, "variant"),), "!v/Mr serious", "male"),
]
INDEX = VoiceIndex(BASES, VARIANTS)


@pytest.mark.parametrize(
    ("asked", "identifier"),
    [
        pytest.param("en-us", "gmw/en-US", id="language code"),
        pytest.param("EN_us", "gmw/en-US", id="any case and underscores"),
        pytest.param(" de ", "gmw/de", id="spaces around"),
        pytest.param("en", "gmw/en", id="the best of several"),
        pytest.param("zh", "sit/cmn", id="the best, though listed last"),
        pytest.param("en-gb-scotland", "gmw/en-GB-scotland", id="its own code, not its best for another"),
        pytest.param("English (America)", "gmw/en-US", id="name"),
        pytest.param("german", "gmw/de", id="name with a stray space in the list"),
        pytest.param("gmw/en", "gmw/en", id="identifier"),
        pytest.param("yue", "sit/yue", id="first of two with a code"),
        pytest.param("yue-latn-jyutping", "sit/yue-Latn-jyutping", id="second of two with a code"),
        pytest.param("en-us+f3", "gmw/en-US+f3", id="variant's file"),
        pytest.param("DE+Female2", "gmw/de+f2", id="variant's name"),
        pytest.param("de+mr serious", "gmw/de+Mr serious", id="variant with a space"),
        pytest.param("de+Mr_Serious", "gmw/de+Mr serious", id="variant's name with an underscore"),
    ],
)
def test_a_voice_is_found_by_any_of_its_names(asked: str, identifier: str) -> None:
    assert INDEX.resolve(asked) == identifier


def test_voices_are_listed_by_public_name() -> None:
    assert [voice.name for voice in INDEX.voices()] == [
        "cmn",
        "de",
        "en-gb",
        "en-gb-scotland",
        "en-us",
        "yue",
        "yue-latn-jyutping",
    ]
    assert INDEX.voices()[1] == Voice("de", "de", "", "German")


def test_variants_are_listed_as_they_are_put_after_a_voice() -> None:
    assert [variant.name for variant in INDEX.variants()] == ["+f2", "+f3", "+mr serious"]
    assert INDEX.variants()[1] == Voice("+f3", "", "female", "female3")


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("en-uss", "en-us"),
        ("germn", "de"),
        ("de-de", "de"),
        ("zh-tw", "cmn"),
        ("mandarin chinese", "cmn"),
        ("english", "en-gb"),
    ],
)
def test_an_unknown_voice_gets_near_ones_their_number_and_how_to_list_them(asked: str, near: str) -> None:
    with pytest.raises(UnknownVoice) as caught:
        INDEX.resolve(asked)
    message = str(caught.value)
    assert repr(asked) in message
    assert near in message.partition("near: ")[2].partition(")")[0].split(", ")
    assert "there are 7" in message
    assert "alfred-voice say --voices" in message


def test_an_unknown_variant_gets_near_ones_and_their_number() -> None:
    with pytest.raises(UnknownVoice) as caught:
        INDEX.resolve("de+f9")
    message = str(caught.value)
    assert "'f9'" in message
    assert "+f2" in message
    assert "there are 3" in message


@pytest.mark.parametrize("asked", ["", "   ", "+", "+f3", "de+", "de+f3+f2"])
def test_an_incomplete_name_is_unknown(asked: str) -> None:
    with pytest.raises(UnknownVoice):
        INDEX.resolve(asked)


def test_a_very_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(UnknownVoice) as caught:
        INDEX.resolve("x" * 100_000)
    assert len(str(caught.value)) < 250

"""The Whispers that are known by name."""

from __future__ import annotations

import re

import pytest

from alfred_voice.errors import ModelMissing
from alfred_voice.models.whisper_catalog import ALIASES, PUBLISHED, PublishedWhisper, published


LAYERS_AND_HEADS = {
    "tiny": (4, 6), "base": (6, 8), "small": (12, 12), "medium": (24, 16), "large": (32, 20), "turbo": (4, 20),
}  # fmt: skip


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.name)
class TestPublished:
    def test_it_is_found_by_its_name_with_and_without_the_house(self, one: PublishedWhisper) -> None:
        assert published(one.name) is one
        assert published(f"whisper-{one.name}") is one

    def test_its_address_tells_its_hash(self, one: PublishedWhisper) -> None:
        assert re.fullmatch("[0-9a-f]{64}", one.sha256)
        assert one.address.url.endswith(f"/{one.sha256}/{one.name}.pt")
        assert one.address.url.startswith("https://")

    def test_its_heads_are_in_its_decoder_each_once(self, one: PublishedWhisper) -> None:
        size = "turbo" if "turbo" in one.name else re.split(r"[.-]", one.name)[0]
        layers, heads = LAYERS_AND_HEADS[size]
        assert one.heads
        assert list(one.heads) == sorted(set(one.heads))
        assert all(0 <= layer < layers and 0 <= head < heads for layer, head in one.heads)


def test_no_two_are_the_same() -> None:
    assert len({one.name for one in PUBLISHED}) == len(PUBLISHED)
    assert len({one.sha256 for one in PUBLISHED}) == len(PUBLISHED)


def test_an_alias_is_the_one_that_it_stands_for() -> None:
    assert {name: published(name).name for name in ALIASES} == ALIASES
    assert published("whisper-turbo").name == "large-v3-turbo"


def test_a_stranger_is_told_who_is_known() -> None:
    with pytest.raises(ModelMissing, match=r"no Whisper 'huge'; there are whisper-tiny\.en, .*by its path"):
        published("huge")

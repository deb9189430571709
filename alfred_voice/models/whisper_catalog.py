"""The Whispers that openai-whisper knows by name, and where their checkpoints are (openai/whisper, __init__.py)."""

from __future__ import annotations

from dataclasses import dataclass

from alfred_voice.errors import ModelMissing
from alfred_voice.models.catalog import Address
from alfred_voice.models.whisper_graphs import Head


PREFIX = "whisper-"
"""Begins the id of each of them in the model store."""
_SERVER = "https://openaipublic.azureedge.net/main/whisper/models"


@dataclass(frozen=True, slots=True)
class PublishedWhisper:
    """One size of Whisper, as it was published."""

    name: str
    sha256: str
    """Of the checkpoint."""
    heads: tuple[Head, ...]
    """Those of the decoder's cross-attention that follow the speaker."""
    parameters_m: int
    """Millions of parameters: as many megabytes in int8."""

    @property
    def address(self) -> Address:
        """Where the checkpoint can be had."""
        return Address(f"{_SERVER}/{self.sha256}/{self.name}.pt")


def _published(name: str, parameters_m: int, sha256: str, heads: str) -> PublishedWhisper:
    """An entry; ``heads`` in the form "layer.head layer.head"."""
    pairs = (pair.split(".") for pair in heads.split())
    return PublishedWhisper(name, sha256, tuple((int(layer), int(head)) for layer, head in pairs), parameters_m)


PUBLISHED = (
    _published(
        "tiny.en",
        39,
        "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
        "1.0 2.0 2.5 3.0 3.1 3.2 3.3 3.4",
    ),
    _published(
        "tiny",
        39,
        "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        "2.2 3.0 3.2 3.3 3.4 3.5",
    ),
    _published(
        "base.en",
        74,
        "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
        "3.3 4.7 5.1 5.5 5.7",
    ),
    _published(
        "base",
        74,
        "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        "3.1 4.2 4.3 4.7 5.1 5.2 5.4 5.6",
    ),
    _published(
        "small.en",
        244,
        "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
        "6.6 7.0 7.3 7.8 8.2 8.5 8.7 9.0 9.4 9.8 9.10 10.0 10.1 10.2 10.3 10.6 10.11 11.2 11.4",
    ),
    _published(
        "small",
        244,
        "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        "5.3 5.9 8.0 8.4 8.7 8.8 9.0 9.7 9.9 10.5",
    ),
    _published(
        "medium.en",
        769,
        "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
        "11.4 14.1 14.12 14.14 15.4 16.0 16.4 16.9 17.12 17.14 18.7 18.10 18.15 20.0 20.3 20.9 20.14 21.12",
    ),
    _published(
        "medium",
        769,
        "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
        "13.15 15.4 15.15 16.1 20.0 23.4",
    ),
    _published(
        "large-v1",
        1550,
        "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
        "9.19 11.2 11.4 11.17 22.7 22.11 22.17 23.2 23.15",
    ),
    _published(
        "large-v2",
        1550,
        "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
        "10.12 13.17 16.11 16.12 16.13 17.15 17.16 18.4 18.11 18.19 19.11 21.2 21.3 22.3 22.9 22.12 23.5 23.7 "
        "23.13 25.5 26.1 26.12 27.15",
    ),
    _published(
        "large-v3",
        1550,
        "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
        "7.0 10.17 12.18 13.12 16.1 17.14 19.11 21.4 24.1 25.6",
    ),
    _published(
        "large-v3-turbo",
        809,
        "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        "2.4 2.11 3.3 3.6 3.11 3.14",
    ),
)

ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}


def published(name: str) -> PublishedWhisper:
    """The Whisper of that name, with or without ``whisper-`` before it.

    Raises:
        ModelMissing: there is none.
    """
    wanted = name.removeprefix(PREFIX)
    wanted = ALIASES.get(wanted, wanted)
    for one in PUBLISHED:
        if one.name == wanted:
            return one
    known = ", ".join(f"{PREFIX}{one.name}" for one in PUBLISHED)
    raise ModelMissing(
        f"There is no Whisper {name!r}; there are {known}. A checkpoint of your own is named by its path."
    )


def heads_of(sha256: str) -> tuple[Head, ...]:
    """The heads that follow the speaker in a checkpoint of that hash, which somebody has brought; empty for others."""
    return next((one.heads for one in PUBLISHED if one.sha256 == sha256), ())

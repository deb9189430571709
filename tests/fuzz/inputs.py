"""Inputs that nobody would send on purpose, and the count of those that each parser saw."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from alfred_voice.errors import AlfredVoiceError


SEEN: Counter[str] = Counter()
"""Inputs by parser, over the whole run."""

HUGE = (
    "9" * 400,
    "9" * 5000,
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-0",
    "0x10",
    "1_000",
    "\u0661\u0662",
    "18446744073709551616",
)
"""Numbers that some readers choke on."""

values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53, -(2**63), 2**64, 10**400])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\x00", "\ufeff", "a" * 2000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
"""Whatever JSON can say, and a little more."""

depths = st.builds(
    lambda pair, depth, closed: pair[0] * depth + (pair[1] * depth if closed else b""),
    st.sampled_from([(b"[", b"]"), (b'{"a":', b"}"), (b"\x91", b"\xc0"), (b"\x81\xa1a", b"\xc0")]),
    st.sampled_from([10, 500, 990, 1100, 60_000]),
    st.booleans(),
)
"""Nested deeper than any stack."""


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 4) -> bytes:
    """One of these, with a few things done to it."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, most))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "cut", "insert", "repeat", "huge", "drop"])):
            case "flip" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 64))] * draw(st.integers(1, 4))
            case "huge":
                data[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, b"\x00" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"])
                )
            case _:
                del data[at : at + draw(st.integers(1, 16))]
    return bytes(data)


def cut(data: bytes) -> set[bytes]:
    """The whole, and what is left of it when it is cut at several places."""
    return {data, *(data[: len(data) * part // 12] for part in range(12))}


def junk(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, depths, and these seeds damaged, mostly the last."""
    return st.one_of(st.binary(max_size=300), depths, damaged(seeds), damaged(seeds), damaged(seeds, most=12))


@contextlib.contextmanager
def deliberate(parser: str) -> Iterator[None]:
    """Count an input of this parser, which may refuse it with an error of the tree and with nothing else."""
    SEEN[parser] += 1
    refusal: AlfredVoiceError | None = None
    try:
        yield
    except AlfredVoiceError as error:
        refusal = error
    assert type(refusal) is not AlfredVoiceError, "an error without a kind"
    assert refusal is None or str(refusal), "an error without a sentence"


def as_json(value: Any) -> bytes:
    """With NaN, lone surrogates and all."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def share(part: int) -> settings:
    """For a test whose inputs take their time: that part of the examples which others get."""
    return settings(max_examples=max(10, settings().max_examples // part))

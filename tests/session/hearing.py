"""What tests of a session look at: questions, and the audio that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alfred_voice.session.requests import Urgency


MakeSpeaker = Callable[..., Any]
FINAL, CUT, PARTIAL = Urgency.FINAL, Urgency.CUT, Urgency.PARTIAL


def sample(index: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (index * 7919) % 2001 - 1000


def assert_heard(request: Any, start: int, end: int) -> None:
    """The question carries exactly this stretch of the stream."""
    assert (request.start_sample, request.end_sample) == (start, end)
    np.testing.assert_array_equal(request.samples, sample(np.arange(start, end, dtype=np.int64)))


def commit(one: Any, text: str) -> None:
    """Four hypotheses of one text, of which all but the last three words are committed."""
    for _ in range(4):
        one.say("#" * 16)
        while one.questions(PARTIAL):
            one.partial(text)


def long_speech(one: Any, windows: int, answer: Callable[[Any], str]) -> list[Any]:
    """Speak on; each question is answered at once by what lies in its audio. Returns the cuts' questions."""
    cuts = []
    for _ in range(windows):
        one.say("#")
        while one.asked:
            request = one.asked[0]
            cuts += [request] if request.urgency is CUT else []
            one.answer(request.urgency, answer(request))
    return cuts


def words_of(request: Any) -> str:
    """A word for each half second that begins in the clip, named by its place in the stream."""
    first, last = -(-request.start_sample // 8_000), (request.end_sample - 1) // 8_000
    return " ".join(f"w{n}" for n in range(first, last + 1))

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.session.detector import Change, SpeechDetector, SpeechState
from alfred_voice.session.options import VadOptions


WINDOW = 512
LETTERS = {
    Change.NONE: ".",
    Change.STARTED: "S",
    Change.PAUSED: "p",
    Change.RESUMED: "r",
    Change.ENDED: "E",
}
LEVELS = {"#": 0.9, "~": 0.4, " ": 0.0}
"""Speech, between the two thresholds, silence."""


def detector(**options: float) -> SpeechDetector:
    return SpeechDetector(VadOptions(**options))  # type: ignore[arg-type]


def changes(subject: SpeechDetector, sound: str) -> str:
    return "".join(LETTERS[subject.receive(LEVELS[c], index * WINDOW)] for index, c in enumerate(sound))


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        pytest.param("   ", "...", id="silence"),
        pytest.param("~~~", "...", id="never above the upper threshold"),
        pytest.param("##", "..", id="too short"),
        pytest.param("###", "..S", id="96 ms are three windows"),
        pytest.param("#~~", "..S", id="between the thresholds speech goes on"),
        pytest.param("# # #", "....S", id="a short dip does not begin the count anew"),
        pytest.param("##        #", "...........", id="noise that is over is forgotten"),
        pytest.param("###       ", "..Sp......", id="not yet 200 ms after the first window"),
        pytest.param("###        ", "..Sp......E", id="the end"),
        pytest.param("###      #", "..Sp.....r", id="resumed"),
        pytest.param("###  ~~   ", "..Sp......", id="between the thresholds the silence goes on"),
        pytest.param("###  ~~~~~ ", "..Sp......E", id="but only a window below the lower one ends it"),
        pytest.param("###  ~~~~~~", "..Sp.......", id="and without one it does not end"),
        pytest.param("###   #       ~ ", "..Sp..rp.......E", id="a silence is counted from its own beginning"),
        pytest.param("###         ###", "..Sp......E...S"[:15], id="again"),
    ],
)
def test_sounds_change_the_state(sound: str, expected: str) -> None:
    assert changes(detector(), sound) == expected


@pytest.mark.parametrize(("ms", "windows"), [(0, 1), (1, 1), (32, 1), (33, 2), (64, 2), (96, 3), (97, 4)])
def test_speech_is_told_with_the_window_that_fills_min_speech(ms: int, windows: int) -> None:
    assert changes(detector(min_speech_ms=ms), "#" * 5).index("S") == windows - 1


@pytest.mark.parametrize(("ms", "windows"), [(32, 2), (33, 3), (64, 3), (200, 8), (224, 8), (225, 9)])
def test_speech_is_over_with_the_window_that_fills_min_silence_after_the_first(ms: int, windows: int) -> None:
    heard = changes(detector(min_speech_ms=0, min_silence_ms=ms), "#" + " " * 12)

    assert heard.index("E") == windows


def test_it_says_where_speech_began_and_where_it_ended() -> None:
    subject = detector()
    changes(subject, "  #~#### ~      ")

    assert subject.onset == 2 * WINDOW
    assert subject.silence_start == 8 * WINDOW
    assert subject.state is SpeechState.QUIET
    assert not subject.in_speech


def test_voiced_windows_are_those_of_the_present_speech_without_its_silences() -> None:
    subject = detector()
    changes(subject, "##          ##  ~~ #~")

    assert subject.voiced_windows == 4


def test_the_very_threshold_is_speech_and_the_very_lower_one_is_not_silence() -> None:
    subject = detector(threshold=0.6, negative_threshold=0.3, min_speech_ms=0)

    assert subject.receive(0.5999, 0) is Change.NONE
    assert subject.receive(0.6, 512) is Change.STARTED
    assert subject.receive(0.3, 1024) is Change.NONE
    assert subject.receive(0.2999, 1536) is Change.PAUSED


def test_a_window_is_voiced_while_speech_is_heard_and_not_in_a_dip_before_it_is_told() -> None:
    subject = detector()
    voiced = []
    for index, c in enumerate(" #  #~# ##"):
        subject.receive(LEVELS[c], index * WINDOW)
        voiced.append(subject.is_voiced)

    assert voiced == [False, True, False, False, True, True, True, False, True, True]


@pytest.mark.parametrize(
    ("sound", "change", "end"),
    [
        pytest.param("", Change.NONE, 0, id="nothing"),
        pytest.param("##", Change.NONE, 0, id="speech that was not told"),
        pytest.param("####", Change.ENDED, 2048, id="mid-speech"),
        pytest.param("### ", Change.ENDED, 1536, id="in a dip"),
    ],
)
def test_speech_can_be_ended_at_once(sound: str, change: Change, end: int) -> None:
    subject = detector()
    changes(subject, sound)

    assert subject.end_now(2048) is change
    assert subject.silence_start == end
    assert subject.state is SpeechState.QUIET
    assert changes(subject, "###") == "..S"


class StockIterator:
    """The published rule, written anew from its description: events are (kind, sample)."""

    def __init__(self, threshold: float, min_silence_samples: int) -> None:
        self.threshold, self.min_silence = threshold, min_silence_samples
        self.triggered = False
        self.temp_end: int | None = None
        self.seen = 0

    def __call__(self, probability: float) -> tuple[str, int] | None:
        self.seen += WINDOW
        if probability >= self.threshold:
            self.temp_end = None
            if not self.triggered:
                self.triggered = True
                return ("start", self.seen - WINDOW)
        elif probability < self.threshold - 0.15 and self.triggered:
            self.temp_end = self.seen if self.temp_end is None else self.temp_end
            if self.seen - self.temp_end >= self.min_silence:
                end, self.temp_end, self.triggered = self.temp_end - WINDOW, None, False
                return ("end", end)
        return None


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.34, 0.36, 0.49, 0.5, 0.51, 1.0]), max_size=120),
    st.sampled_from([32, 64, 100, 200, 300]),
)
def test_without_a_minimum_of_speech_it_is_the_stock_rule(probabilities: list[float], min_silence_ms: int) -> None:
    subject = SpeechDetector(VadOptions(min_speech_ms=0, min_silence_ms=min_silence_ms))
    stock = StockIterator(0.5, min_silence_ms * 16)

    for index, probability in enumerate(probabilities):
        change = subject.receive(probability, index * WINDOW)
        told = None
        if change is Change.STARTED:
            told = ("start", subject.onset)
        elif change is Change.ENDED:
            told = ("end", subject.silence_start)
        assert told == stock(probability)


@given(st.text(alphabet="#~ ", max_size=200), st.sampled_from([0, 64, 96, 250]))
def test_starts_and_ends_alternate_and_pauses_lie_between_them(sound: str, min_speech_ms: int) -> None:
    told = changes(detector(min_speech_ms=min_speech_ms), sound).replace(".", "")

    allowed = {"": "S", "S": "p", "p": "rE", "r": "p", "E": "S"}
    previous = ""
    for letter in told:
        assert letter in allowed[previous]
        previous = letter

"""Which texts are taken for inventions."""

from __future__ import annotations

from math import log

import pytest

from alfred_voice.models.hallucination import HallucinationGuard, HallucinationOptions


SECOND = 1000.0


def rejects(
    text: str, *probabilities: float, voiced_ms: float = SECOND, options: HallucinationOptions | None = None
) -> bool:
    return HallucinationGuard(options).rejects(text, [log(value) for value in probabilities], voiced_ms)


@pytest.mark.parametrize(
    ("text", "probabilities"),
    [
        # The decoder's own figures on noise, rounded.
        pytest.param("Thank you for watching.", (0.29, 0.9, 0.8, 0.97, 0.96, 0.99), id="thanks to the viewers"),
        pytest.param("Thank you for watching!", (0.14, 0.9, 0.8, 0.97, 0.6, 0.98), id="with an exclamation mark"),
        pytest.param("Thank you.", (0.29, 0.8, 0.6, 0.98), id="thanks"),
        pytest.param("You", (0.92, 0.99), id="you, from clicks"),
        pytest.param("You", (0.15, 0.32), id="you, from wind"),
        pytest.param("Mm-Hmm", (0.17, 0.9, 0.9, 0.8, 0.7, 0.98), id="humming"),
        pytest.param("Uh, uh, uh,", (0.17, 0.8, 0.7, 0.6, 0.8, 0.8, 0.7, 0.7), id="buzzing"),
        pytest.param("\u266a", (0.9, 0.9, 0.9, 1.0), id="a note"),
        pytest.param("\u266a And I'm gonna be the one \u266a", (0.9,) * 9, id="singing"),
        pytest.param("2-3\u0e15\u0e27\u0e1a", (0.9,) * 6, id="another script"),
        pytest.param("...", (0.9, 0.9), id="no words"),
        pytest.param("", (0.9,), id="nothing"),
        pytest.param("And I'm going to go", (0.09, 0.3, 0.4, 0.3, 0.2, 0.5), id="a guess all along"),
        pytest.param("The first is the", (0.11, 0.3, 0.4, 0.4, 0.6), id="a guess at first"),
    ],
)
def test_what_noise_brings_up_is_rejected(text: str, probabilities: tuple[float, ...]) -> None:
    assert rejects(text, *probabilities)


@pytest.mark.parametrize(
    ("text", "probabilities"),
    [
        pytest.param("Thank you.", (0.98, 0.95, 0.8, 0.99), id="thanks, said clearly"),
        pytest.param("Thanks for watching.", (0.82, 0.8, 0.7, 0.9, 0.9), id="to viewers, said clearly"),
        pytest.param("You.", (0.88, 0.5, 0.8), id="you, as an answer"),
        pytest.param("Yes.", (0.99, 0.8, 0.9), id="yes"),
        pytest.param("Bye.", (0.97, 0.7, 0.9), id="bye"),
        pytest.param("Um, when I think", (0.35, 0.4, 0.6, 0.5, 0.9, 0.9), id="a filler and words"),
        pytest.param("Global wealth tax.", (0.13, 0.5, 0.9, 0.9, 0.95), id="an unsure beginning alone"),
        pytest.param("It is 5.", (0.5, 0.4, 0.5, 0.6, 0.9), id="a number"),
        pytest.param("5", (0.6, 0.9), id="a number alone"),
        pytest.param("Caf\u00e9.", (0.6, 0.7, 0.9, 0.9), id="an accent"),
    ],
)
def test_what_people_say_is_kept(text: str, probabilities: tuple[float, ...]) -> None:
    assert not rejects(text, *probabilities)


def test_no_token_at_all_is_rejected() -> None:
    assert HallucinationGuard().rejects("hello", [], SECOND)


def test_more_words_than_fit_into_the_speech_are_rejected() -> None:
    spoken = (0.9, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9)
    assert rejects("one two three four five six seven eight", *spoken, voiced_ms=100.0)
    assert not rejects("one two three four five six seven eight", *spoken, voiced_ms=600.0)


def test_a_sure_decoder_is_believed_at_any_speed() -> None:
    """The detector may have missed most of a whisper."""
    assert not rejects("one two three four five six seven eight", *[0.95] * 9, voiced_ms=100.0)


def test_a_long_text_is_not_rejected_for_its_first_token() -> None:
    assert rejects("a b c d e f g h", 0.1, *[0.4] * 8)
    assert not rejects("a b c d e f g h i", 0.1, *[0.4] * 9)


def test_thresholds_can_be_set() -> None:
    assert rejects("hello there", 0.5, 0.5, 0.5, options=HallucinationOptions(min_confidence=0.6))
    assert not rejects("Thank you.", 0.3, 0.99, 0.99, options=HallucinationOptions(stock_opening=0.2))

"""Drafts: what an utterance is thought to say when the next question about it is asked."""

from __future__ import annotations

from typing import Any

from tests.session.hearing import CUT, FINAL, PARTIAL, MakeSpeaker, commit, long_speech, words_of


def draft_of(text: str) -> tuple[int, ...]:
    """The tokens of the words, as the recogniser of the tests numbers them."""
    return tuple(ord(letter) for letter in text if letter != " ")


def test_the_first_question_about_an_utterance_has_no_draft(speaker: MakeSpeaker) -> None:
    one = speaker(partials=False).say("#" * 16 + " " * 4)

    assert one.questions(FINAL)[0].draft == ()


def test_the_newest_hypothesis_is_the_draft_of_the_next_partial_and_of_the_final(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    assert one.partial("turn in").draft == ()
    one.say("#" * 8)
    assert one.partial("turn on the").draft == draft_of("turn in")
    one.say(" " * 4)

    assert one.questions(FINAL)[0].draft == draft_of("turn on the")


def test_a_draft_begins_with_what_is_forced(speaker: MakeSpeaker) -> None:
    one = speaker()
    commit(one, "one two three four five")
    one.say("#" * 7)
    request = one.questions(PARTIAL)[-1]

    assert request.prefix == draft_of("onetwo")
    assert request.draft == draft_of("onetwothreefourfive")
    one.say(" " * 4)
    one.final("wrong all of it")
    forced = one.questions(FINAL)[0]
    assert (forced.prefix, forced.draft) == (request.prefix, request.draft)


def test_what_an_utterance_said_is_no_draft_of_the_next_one(speaker: MakeSpeaker) -> None:
    one = speaker().say("#" * 16)
    one.partial("good night")
    one.flush()
    one.final("good night")
    one.asked.clear()
    one.say(" " * 10 + "#" * 20)

    assert [question.draft for question in one.questions(PARTIAL)] == [()]


def test_a_cut_is_searched_with_the_last_hypothesis_for_a_draft_and_leaves_none_of_what_it_settles(
    speaker: MakeSpeaker,
) -> None:
    one, asked = speaker(), []

    def answer(request: Any) -> str:
        asked.append(request)
        return words_of(request)

    long_speech(one, 500, answer)
    whole = next(request for request in asked if request.urgency is CUT)
    assert whole.draft == draft_of(words_of(asked[asked.index(whole) - 1]))
    behind = [request for request in asked if request.start_sample > 0]
    assert sum(len(request.draft) > 0 for request in behind) > 2
    for request in behind:
        drafted = "".join(map(chr, request.draft)).replace("w", " w").split()
        assert set(drafted) <= set(words_of(request).split())

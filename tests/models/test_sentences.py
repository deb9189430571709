# ruff: noqa: RUF001 - the punctuation of many scripts looks like that of others
from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alfred_voice.models.sentences import MAX_CHARS, split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        pytest.param(["Hello.", "How are you?", "Fine!"], id="the three marks"),
        pytest.param(["What?!", "No!!!", "Yes."], id="several marks at once"),
        pytest.param(["hello there.", "how are you?"], id="small letters"),
        pytest.param(["你好。", "今天天气好！", "是吗？", "「走。」", "他说。"], id="Chinese, without spaces"),
        pytest.param(["مرحبا؟", "نعم."], id="Arabic"),
        pytest.param(["यह है।", "वह है।"], id="Hindi"),
        pytest.param(["Так.", "Нет!", "Да?"], id="Russian"),
    ],
)
def test_sentences_end_at_the_marks_of_their_script(sentences: list[str]) -> None:
    wide = any(mark in "".join(sentences) for mark in "。")
    assert split_sentences(("" if wide else " ").join(sentences)) == sentences


def test_lines_end_sentences_whatever_separates_them() -> None:
    assert split_sentences("one\ntwo\r\n\r\n three \n\n") == ["one", "two", "three"]


@pytest.mark.parametrize(
    "sentence",
    [
        "Mr. Smith and Mrs. Jones met Dr. No.",
        "See this, e.g. this one, i.e. that.",
        "Pi is 3.14159 and costs $2.50.",
        "The U.S. Army left at 5 a.m. on Monday.",
        "J. R. R. Tolkien and George W. Bush never met.",
        "No. 5 and Fig. 3 are on pp. 12 and 13.",
        "On Jan. 5 and Dec. 24 we are closed.",
        "Sen. Smith of St. Louis met Gen. Lee.",
        "He has a Ph.D. from there.",
        "Apples, pears, etc. are fruit.",
        "Visit example.com or mail a.b@c.org today.",
        "Version 1.2.3 is out.",
        "Well ... yes.",
        "Hmm… maybe.",
        '"Really?" he asked.',
        "“Go!” she said.",
        'He said "Go." and went.',
        "1. Wash your hands.",
        "Wir sehen uns am 3. Mai, z.B. um vier.",
    ],
)
def test_dots_within_a_sentence_do_not_end_it(sentence: str) -> None:
    assert split_sentences(sentence) == [sentence]
    assert split_sentences(f"{sentence} Then it rained.") == [sentence, "Then it rained."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He lives in the U.S. The end.", ["He lives in the U.S.", "The end."]),
        ("He left at 5 p.m. She stayed.", ["He left at 5 p.m.", "She stayed."]),
        ("He said no. Then he left.", ["He said no.", "Then he left."]),
        ("That was in 1999. Then it changed.", ["That was in 1999.", "Then it changed."]),
        ("It was I. Nobody else.", ["It was I.", "Nobody else."]),
        ("Cats, dogs, etc. They bark.", ["Cats, dogs, etc.", "They bark."]),
        ("One more rep. Then rest.", ["One more rep.", "Then rest."]),
        ("1. Wash. 2. Dry.", ["1. Wash.", "2. Dry."]),
        ("Really? Yes.", ["Really?", "Yes."]),
        ("Wait... What?", ["Wait...", "What?"]),
    ],
)
def test_the_same_dots_end_one_where_another_begins(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Yes." (She left.) Then?', ['"Yes."', "(She left.)", "Then?"]),
        ("“Yes.” ‘No.’ Well.", ["“Yes.”", "‘No.’", "Well."]),
        ("«Oui.» [Non.] {Si.} End.", ["«Oui.»", "[Non.]", "{Si.}", "End."]),
        ("(„Ja!“) *Nein.* Ende.", ["(„Ja!“)", "*Nein.*", "Ende."]),
        ("「走。」（好！）完。", ["「走。」", "（好！）", "完。"]),
    ],
)
def test_quotes_and_brackets_close_with_their_sentence(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@pytest.mark.parametrize("text", ["", " ", "\n", " \t\r\n\u2028 "])
def test_nothing_gives_nothing(text: str) -> None:
    assert split_sentences(text) == []


@pytest.mark.parametrize("text", [".", "...", "?", "-", ". . ."])
def test_marks_alone_are_kept(text: str) -> None:
    assert "".join(split_sentences(text)) == text.replace(" ", "")


class TestTooLong:
    def test_it_is_cut_after_the_last_clause_that_fits(self) -> None:
        text = "When it rains, the streets are wet; when it does not, they are dry and dusty"
        assert split_sentences(text, 60) == [
            "When it rains, the streets are wet; when it does not,",
            "they are dry and dusty",
        ]

    def test_a_first_word_is_no_clause_worth_a_cut(self) -> None:
        assert split_sentences("Well, this one goes on and on without any pause", 30) == [
            "Well, this one goes on and on",
            "without any pause",
        ]

    def test_without_a_clause_it_is_cut_between_words(self) -> None:
        assert split_sentences("aaa bbb ccc ddd", 7) == ["aaa bbb", "ccc ddd"]

    def test_without_a_space_it_is_cut_anywhere(self) -> None:
        assert split_sentences("abcdefgh", 3) == ["abc", "def", "gh"]

    def test_commas_of_other_scripts_count_without_a_space(self) -> None:
        assert split_sentences("一二三四，五六七八九十", 8) == ["一二三四，", "五六七八九十"]

    def test_a_comma_within_a_number_does_not(self) -> None:
        assert split_sentences("it costs 1,234,567 dollars", 14) == ["it costs", "1,234,567", "dollars"]

    def test_an_accent_stays_with_its_letter(self) -> None:
        decomposed = "e\u0301" * 4
        assert split_sentences(decomposed, 3) == ["e\u0301"] * 4

    def test_exactly_the_limit_is_not_cut(self) -> None:
        assert split_sentences("a" * MAX_CHARS) == ["a" * MAX_CHARS]
        assert split_sentences("a" * (MAX_CHARS + 1)) == ["a" * MAX_CHARS, "a"]

    @pytest.mark.parametrize("max_chars", [0, -1])
    def test_no_room_at_all_is_refused(self, max_chars: int) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            split_sentences("a", max_chars)


def squeezed(text: str) -> str:
    return "".join(char for char in text if not char.isspace())


prose = st.text(st.sampled_from("ab Z19.,;:!?…\"'()”。，！？؟।-–\n\t\u0301\u200d\U0001f600"), max_size=300)


@given(text=st.one_of(st.text(max_size=300), prose), max_chars=st.integers(1, 60))
@example(text="A.\u0301 b", max_chars=1)
@example(text=".\u2028.", max_chars=1)
def test_nothing_but_space_is_lost_and_every_part_is_short_and_trimmed(text: str, max_chars: int) -> None:
    parts = split_sentences(text, max_chars)
    assert squeezed("".join(parts)) == squeezed(text)
    assert all(0 < len(part) <= max_chars for part in parts)
    assert all(part == part.strip() for part in parts)


@pytest.mark.parametrize(
    "text", ["a, b. " * 20_000, "." * 100_000, "a" * 100_000 + ", b.", '".' * 50_000, " . " * 40_000]
)
def test_long_texts_of_any_shape_are_done_in_one_pass(text: str) -> None:
    # What looked at the whole rest for each sentence would not come to an end within the test's time.
    assert squeezed("".join(split_sentences(text))) == squeezed(text)

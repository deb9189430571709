"""What Whisper's tokens spell; the real vocabularies are compared with openai-whisper's in tests/whisper."""

from __future__ import annotations

import base64
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.whisper_languages import LANGUAGES, UNSPACED
from alfred_voice.models.whisper_vocabulary import TIMESTAMPS, Vocabulary
from tests.models.whisper_models import write_vocabulary


BYTES = [bytes([value]) for value in range(256)]
WORDS = [b" hello", b" wor", b"ld", b",", b".", b" -", b" (", "日本".encode(), "語".encode(), b" caf", "é".encode()]
HELLO, WOR, LD, COMMA, STOP, DASH, OPENED, NIHON, GO, CAF, ACUTE = range(256, 267)


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    path = tmp_path / "small.tiktoken"
    write_vocabulary(path, BYTES + WORDS)
    return Vocabulary.load(path, 99)


class TestFile:
    def test_tokens_spell_what_stands_in_it(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.text([HELLO, COMMA, WOR, LD]) == " hello, world"
        assert len(vocabulary) == 256 + len(WORDS) + 2 + 99 + 6 + TIMESTAMPS

    def test_a_lone_sign_spells_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "v.tiktoken"
        path.write_bytes(b"YQ== 0\n= 1\n")
        found = Vocabulary.load(path, 1)
        assert found.end == 2
        assert found.text([0, 1, 0]) == "aa"

    def test_none_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match="No vocabulary at"):
            Vocabulary.load(tmp_path / "v.tiktoken", 99)

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            (b"", "holds no token"),
            (b"YQ== 0\nYg== 2\n", "line 2: token 2 where 1 was expected"),
            (b"YQ== 0\nYg==\n", "line 2: not enough values"),
            (b"YQ== 0 7\n", "line 1: too many values"),
            (b"YQ== zero\n", "line 1: invalid literal"),
            (b"Y\xff== 0\n", "line 1:"),
            (b"YQ= 0\n", "line 1: Incorrect padding"),
        ],
    )
    def test_another_form_is_told_with_its_line(self, tmp_path: Path, text: bytes, what: str) -> None:
        path = tmp_path / "v.tiktoken"
        path.write_bytes(text)
        with pytest.raises(ModelCorrupt, match=what):
            Vocabulary.load(path, 99)

    @pytest.mark.parametrize("languages", [-1, 0, 101])
    def test_languages_that_nobody_knows_are_refused(self, languages: int) -> None:
        with pytest.raises(ModelCorrupt, match="expected 1 to 100 languages"):
            Vocabulary(BYTES, languages)


class TestCommands:
    def test_they_follow_the_words_one_after_the_other(self, vocabulary: Vocabulary) -> None:
        end = len(BYTES + WORDS)
        assert (vocabulary.end, vocabulary.start) == (end, end + 1)
        assert vocabulary.languages == {code: end + 2 + at for at, code in enumerate(list(LANGUAGES)[:99])}
        behind = [vocabulary.translate, vocabulary.transcribe, vocabulary._model, vocabulary.earlier]
        behind += [vocabulary.no_speech, vocabulary.no_timestamps, vocabulary.first_timestamp]
        assert behind == list(range(end + 101, end + 108))

    def test_a_text_opens_with_them(self, vocabulary: Vocabulary) -> None:
        german = vocabulary.languages["de"]
        assert vocabulary.opening(None) == [vocabulary.start, vocabulary.no_timestamps]
        assert vocabulary.opening(None, with_timestamps=True) == [vocabulary.start]
        assert vocabulary.opening("de") == [
            vocabulary.start, german, vocabulary.transcribe, vocabulary.no_timestamps,
        ]  # fmt: skip
        assert vocabulary.opening("de", translates=True, with_timestamps=True) == [
            vocabulary.start, german, vocabulary.translate,
        ]  # fmt: skip

    def test_they_spell_nothing(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.text([vocabulary.start, HELLO, *range(vocabulary.end, len(vocabulary)), COMMA]) == " hello,"

    def test_the_tokens_never_said_are_commands_and_marks_of_subtitles(self, vocabulary: Vocabulary) -> None:
        unspoken = set(vocabulary.unspoken())
        assert unspoken >= {vocabulary.start, vocabulary.transcribe, vocabulary.translate, vocabulary.no_speech}
        assert unspoken >= {DASH, OPENED, ord("("), ord("*"), ord("#")}
        assert "♪".encode()[0] in unspoken
        assert not unspoken & {HELLO, COMMA, STOP, ord("-"), ord("'"), vocabulary.end, vocabulary.no_timestamps}
        assert not unspoken & set(range(vocabulary.first_timestamp, len(vocabulary)))


class TestSpelling:
    @given(text=st.text())
    def test_what_is_encoded_spells_the_same(self, text: str) -> None:
        small = Vocabulary(BYTES + WORDS, 99)
        assert small.text(small.encode(text)) == text

    def test_known_words_are_one_token(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.encode(" hello,") == [HELLO, COMMA]
        assert vocabulary.encode("") == []

    def test_commands_cannot_be_said(self, vocabulary: Vocabulary) -> None:
        assert all(token < vocabulary.end for token in vocabulary.encode("<|endoftext|><|en|>"))

    def test_half_a_character_is_a_replacement(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.text(list("é".encode())[:1]) == "\ufffd"

    def test_a_space_in_front_begins_a_word(self, vocabulary: Vocabulary) -> None:
        begins = [HELLO, WOR, DASH, OPENED, CAF, ord(" ")]
        assert [token for token in range(len(vocabulary)) if vocabulary.begins_word(token)] == sorted(begins)


class TestWords:
    def test_words_are_divided_at_spaces_and_marks(self, vocabulary: Vocabulary) -> None:
        tokens = [HELLO, COMMA, WOR, LD, STOP]
        assert vocabulary.words(tokens, "en") == [[HELLO], [COMMA], [WOR, LD], [STOP]]

    def test_a_character_in_several_tokens_stays_whole(self, vocabulary: Vocabulary) -> None:
        parts = list("é".encode())
        assert vocabulary.characters([CAF, *parts]) == [[CAF], parts]
        assert vocabulary.words([CAF, *parts, HELLO]) == [[CAF, *parts], [HELLO]]

    def test_languages_without_spaces_are_divided_by_characters(self, vocabulary: Vocabulary) -> None:
        parts = list("語".encode())
        tokens = [NIHON, *parts, GO]
        for language in UNSPACED:
            assert vocabulary.words(tokens, language) == [[NIHON], parts, [GO]]
        assert vocabulary.words(tokens, "de") == [[NIHON, *parts, GO]]

    def test_bytes_that_never_become_a_character_are_divided(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.characters([0xFF, HELLO]) == [[0xFF], [HELLO]]
        assert vocabulary.characters([HELLO, 0xE8]) == [[HELLO], [0xE8]]

    def test_nothing_has_no_words(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.characters([]) == vocabulary.words([]) == []
        assert vocabulary.pieces([]) == ()

    @given(tokens=st.lists(st.integers(0, 266), max_size=30))
    def test_no_token_is_lost(self, tokens: list[int]) -> None:
        small = Vocabulary(BYTES + WORDS, 99)
        for groups in (small.characters(tokens), small.words(tokens, "en"), small.words(tokens, "ja")):
            assert [token for group in groups for token in group] == tokens
            assert all(groups)
        for word in small.words(tokens, "en")[1:]:
            first = small.text(small.characters(word)[0])
            assert first.startswith(" ") or first.strip() in string.punctuation


class TestPieces:
    def test_a_piece_is_a_word_with_what_follows_it(self, vocabulary: Vocabulary) -> None:
        pieces = vocabulary.pieces([HELLO, COMMA, WOR, LD, STOP], [-0.1, -2.0, -0.2, -0.3])
        assert [piece.text for piece in pieces] == [" hello,", " world."]
        assert [piece.tokens for piece in pieces] == [(HELLO, COMMA), (WOR, LD, STOP)]
        assert [piece.probability for piece in pieces] == pytest.approx([0.1353352832, 0.7408182207])

    def test_what_has_no_probability_counts_as_certain(self, vocabulary: Vocabulary) -> None:
        assert [piece.probability for piece in vocabulary.pieces([LD, HELLO])] == [1.0, 1.0]


def test_languages_are_a_hundred_and_codes_are_small_letters() -> None:
    assert len(LANGUAGES) == 100
    assert all(code.isalpha() and code.islower() and 2 <= len(code) <= 3 for code in LANGUAGES)
    assert len(set(LANGUAGES.values())) == 100
    assert set(LANGUAGES) >= UNSPACED


def test_the_file_that_tests_write_is_of_the_real_form(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "v", [b"a", b" b"])
    assert (tmp_path / "v").read_bytes() == base64.b64encode(b"a") + b" 0\n" + base64.b64encode(b" b") + b" 1\n"

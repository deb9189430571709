"""How tokens become words."""

from __future__ import annotations

import random
from math import log
from pathlib import Path

import pytest

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models.moonshine_tokens import Vocabulary
from alfred_voice.models.store import Store


SPACE = "\u2581"
SPELLINGS = [
    b"<unk>",
    b"<s>",
    b"</s>",
    *(bytes([value]) for value in range(256)),  # token 3 + value
    f"{SPACE}hello".encode(),  # 259
    f"{SPACE}wor".encode(),  # 260
    b"ld",  # 261
    b".",  # 262
    SPACE.encode(),  # 263
    b"<<ST_12>>",  # 264
    b"",  # 265
]
HELLO, WOR, LD, STOP, BLANK, MARK, EMPTY = range(259, 266)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(SPELLINGS)


def packed(spelling: bytes) -> bytes:
    """One entry of the file, by the format's rule."""
    length = len(spelling)
    return (bytes([length]) if length < 128 else bytes([length % 128 + 128, length // 128])) + spelling


def single_bytes(text: str) -> list[int]:
    return [3 + value for value in text.encode()]


def test_words_are_split_where_a_space_begins(vocabulary: Vocabulary) -> None:
    pieces = vocabulary.pieces([HELLO, WOR, LD, STOP])
    assert [(piece.text, piece.tokens) for piece in pieces] == [(" hello", (HELLO,)), (" world.", (WOR, LD, STOP))]


def test_a_text_may_begin_without_a_space(vocabulary: Vocabulary) -> None:
    assert [piece.text for piece in vocabulary.pieces([LD, HELLO])] == ["ld", " hello"]


def test_no_tokens_are_no_words(vocabulary: Vocabulary) -> None:
    assert vocabulary.pieces([]) == ()
    assert vocabulary.text([]) == ""


def test_a_piece_is_as_sure_as_its_least_sure_token(vocabulary: Vocabulary) -> None:
    """The end's probability comes last and belongs to no piece."""
    pieces = vocabulary.pieces([HELLO, WOR, LD, STOP], [log(0.9), log(0.8), log(0.25), log(0.5), log(0.1)])
    assert [piece.probability for piece in pieces] == pytest.approx([0.9, 0.25])


def test_pieces_count_as_certain_where_nothing_is_known(vocabulary: Vocabulary) -> None:
    assert [piece.probability for piece in vocabulary.pieces([HELLO, WOR])] == [1.0, 1.0]


def test_single_bytes_are_joined_as_utf8(vocabulary: Vocabulary) -> None:
    tokens = [BLANK, *single_bytes("na\u00efve \u4f60"), HELLO]
    assert vocabulary.text(tokens) == " na\u00efve \u4f60 hello"
    assert [piece.text for piece in vocabulary.pieces(tokens)] == [" na\u00efve \u4f60", " hello"]


def test_bytes_that_are_no_utf8_become_replacement_characters(vocabulary: Vocabulary) -> None:
    assert vocabulary.text([HELLO, 3 + 0xE2, 3 + 0x82]) == " hello\ufffd"
    assert vocabulary.text([3 + 0xFF, LD]) == "\ufffdld"


def test_control_tokens_and_marks_have_no_text_but_stay_in_their_piece(vocabulary: Vocabulary) -> None:
    assert vocabulary.text([0, 1, HELLO, MARK, EMPTY, 2]) == " hello"
    assert vocabulary.pieces([HELLO, MARK])[0].tokens == (HELLO, MARK)


@pytest.mark.parametrize(("token", "expected"), [(HELLO, True), (BLANK, True), (LD, False), (MARK, False), (2, False)])
def test_a_word_begins_with_a_space(vocabulary: Vocabulary, token: int, expected: bool) -> None:
    assert vocabulary.begins_word(token) is expected


def test_a_file_gives_the_strings_that_were_packed(tmp_path: Path) -> None:
    spellings = [b"", b"a", b"b" * 127, b"c" * 128, b"d" * 255, b"e" * 300, b"f"]
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(b"".join(map(packed, spellings)))
    vocabulary = Vocabulary.load(path)
    assert [vocabulary.spelling(token) for token in range(len(vocabulary))] == spellings


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(packed(b"abc")[:-1], id="cut inside a token"),
        pytest.param(packed(b"a" * 200)[:1], id="cut inside a length"),
        pytest.param(packed(b"a" * 200)[:2], id="cut behind a length"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(data)
    with pytest.raises(ModelCorrupt, match=r"tokenizer\.bin"):
        Vocabulary.load(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        Vocabulary.load(tmp_path / "tokenizer.bin")


@pytest.fixture
def real(models: Store) -> Vocabulary:
    return Vocabulary.load(models.path("moonshine-tiny-en", "tokenizer.bin"))


@pytest.mark.models
class TestRealVocabulary:
    def test_it_has_as_many_tokens_as_the_decoder_has_logits(self, real: Vocabulary) -> None:
        assert len(real) == 32_768

    def test_bytes_have_tokens_of_their_own(self, real: Vocabulary) -> None:
        assert [real.spelling(3 + value) for value in range(256)] == [bytes([value]) for value in range(256)]

    def test_any_text_comes_back_from_its_bytes(self, real: Vocabulary) -> None:
        text = "\u00dcber 5 \u20ac, \u4f60\u597d!"
        assert real.text(single_bytes(text)) == text

    def test_pieces_hold_all_tokens_and_all_text_in_order(self, real: Vocabulary) -> None:
        source = random.Random(1)
        for _ in range(50):
            tokens = [source.randrange(len(real)) for _ in range(30)]
            pieces = real.pieces(tokens)
            assert [token for piece in pieces for token in piece.tokens] == tokens
            assert all(piece.text.startswith(" ") for piece in pieces[1:])
            readable = [token for token in tokens if real.spelling(token).isascii() or real.begins_word(token)]
            assert "".join(piece.text for piece in real.pieces(readable)) == real.text(readable)

    def test_no_token_shows_a_mark(self, real: Vocabulary) -> None:
        assert not any("<<ST_" in real.text([token]) for token in range(len(real)))


@pytest.mark.parametrize(
    ("spelt", "text"),
    [("short,,", "short,"), ("what??", "what?"), ("no,,, no", "no, no"), ("well...", "well..."), ("1,000", "1,000")],
)
def test_doubled_marks_are_one_but_dots_may_trail_off(vocabulary: Vocabulary, spelt: str, text: str) -> None:
    assert vocabulary.text(single_bytes(spelt)) == text


def test_the_token_for_some_bytes_is_the_piece_and_not_the_single_byte() -> None:
    vocabulary = Vocabulary([b"<unk>", b".", b"a", b".", b"b"])
    assert vocabulary.find(b".") == 3
    assert vocabulary.find(b"b") == 4
    assert vocabulary.find(b"c") is None

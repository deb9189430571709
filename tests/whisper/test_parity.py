"""Whisper here says what openai-whisper says, with the same weights; they are drawn at random, in the real sizes."""

from __future__ import annotations

import base64
import gzip
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alfred_voice.bench.random_whisper import random_checkpoint
from alfred_voice.models.whisper_catalog import ALIASES, PUBLISHED, published
from alfred_voice.models.whisper_checkpoint import Dimensions, read_checkpoint
from alfred_voice.models.whisper_decoder import Row
from alfred_voice.models.whisper_languages import LANGUAGES
from alfred_voice.models.whisper_mel import WhisperMel
from alfred_voice.models.whisper_rules import LogitRules, choose, compression
from alfred_voice.models.whisper_vocabulary import TIMESTAMPS, Vocabulary
from alfred_voice.models.whisper_words import aligned_words
from tests.whisper.conftest import FRAMES, RATE, Pair, tokens_of


_REASON = "needs torch and openai-whisper: scripts/test-whisper installs them into an environment of their own"
torch = pytest.importorskip("torch", reason=_REASON)
whisper = pytest.importorskip("whisper", reason=_REASON)

Float32 = NDArray[np.float32]

pytestmark = [
    pytest.mark.whisper,
    pytest.mark.timeout(300),
    # openai-whisper leaves its vocabulary files open.
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LOUDNESS = 5e-5
"""Where it is quiet, what they compute in float32 is up to 2e-5 away from the definition, and ours 1e-5."""
TEXTS = (
    " Hello there, it's 12:30! Grüß Gott, 日本語のテスト 👍 naïve",
    "I'll say: ``(((♪♪♪)))'' -- \"yes\"\n\n  \t...",
    " สวัสดีครับ ວຽງຈັນ မြန်မာ 粵語 こんにちは",
    " <|endoftext|><|en|> is a text here",
    " é 🏳️‍🌈 \u200b ﷽ ½ Ⅷ ٣",
)
LAYERS_AND_HEADS = {"tiny": (4, 6), "base": (6, 8), "small": (12, 12), "medium": (24, 16), "large": (32, 20)}
LAYERS_AND_HEADS |= {"turbo": (4, 20)}
TEXT = ' The quick, brown "fox" jumps over the (lazy) dog, isn\'t it? Yes: 12.5 %!'


def sample_length(pair: Pair) -> int:
    """As many tokens as openai-whisper takes by itself, and fewer where that takes long."""
    return {"tiny.en": 40, "tiny": 224, "base": 32, "small": 16}[pair.name]


def only(pair: Pair, *names: str) -> None:
    """Larger ones take long, and have nothing else to go wrong."""
    if pair.name not in names:
        pytest.skip(f"asked of {' and '.join(names)}")


def decoded(pair: Pair, rows: list[Row]) -> list[Row]:
    pair.ours.decoder.decode(rows, pair.heard[: len(rows)])
    return rows


class TestMel:
    @pytest.mark.parametrize("mels", [80, 128])
    def test_speech_has_the_same_features(self, clips: list[Float32], mels: int) -> None:
        for clip in clips:
            expected = whisper.log_mel_spectrogram(whisper.pad_or_trim(clip), mels).numpy()
            np.testing.assert_allclose(WhisperMel(mels).features(clip, FRAMES), expected, rtol=0, atol=LOUDNESS)

    @pytest.mark.parametrize("samples", [0, 1, 159, 160, 5_000, 479_840, 480_000, 500_000])
    def test_noise_of_any_length_has_the_same_features(self, samples: int) -> None:
        random = np.random.default_rng(samples)
        noise = (0.1 * random.standard_normal(samples) * np.sin(np.arange(samples) / 3_000)).astype(np.float32)
        expected = whisper.log_mel_spectrogram(whisper.pad_or_trim(noise)).numpy()
        np.testing.assert_allclose(WhisperMel(80).features(noise, FRAMES), expected, rtol=0, atol=LOUDNESS)


class TestArithmetic:
    def test_the_encoder_hears_the_same(self, pair: Pair) -> None:
        for states, expected in zip(pair.states, pair.features.numpy(), strict=True):
            np.testing.assert_allclose(states, expected, rtol=0, atol=1e-3)

    def test_the_language_and_how_likely_each_is_are_the_same(self, pair: Pair) -> None:
        if not pair.is_multilingual:
            pytest.skip("knows one language")
        tokens, expected = whisper.detect_language(pair.theirs, pair.features, pair.tokenizer())
        found = pair.ours.decoder.languages(pair.heard)
        for (language, chances), token, other in zip(found, tokens.tolist(), expected, strict=True):
            assert pair.ours.vocabulary.languages[language] == token
            assert chances == pytest.approx(other, abs=1e-5, rel=0)

    @pytest.mark.parametrize("with_timestamps", [False, True])
    def test_a_batch_of_clips_has_the_same_texts(self, pair: Pair, with_timestamps: bool) -> None:
        length = sample_length(pair)
        options = whisper.DecodingOptions(
            language="en", fp16=False, without_timestamps=not with_timestamps, sample_len=length
        )
        expected = whisper.decode(pair.theirs, pair.features, options)
        opening = pair.opening(with_timestamps=with_timestamps)
        rows = decoded(pair, [Row(opening, length, with_timestamps=with_timestamps) for _ in pair.heard])
        assert [row.tokens for row in rows] == [one.tokens for one in expected]
        for row, one in zip(rows, expected, strict=True):
            assert sum(row.log_probabilities) / (len(row.tokens) + 1) == pytest.approx(one.avg_logprob, abs=1e-4)
            assert row.no_speech == pytest.approx(one.no_speech_prob, rel=1e-3)

    def test_translations_and_other_languages_have_the_same_texts(self, pair: Pair) -> None:
        only(pair, "tiny")
        options = whisper.DecodingOptions(
            language="de", task="translate", fp16=False, without_timestamps=True, sample_len=16
        )
        expected = whisper.decode(pair.theirs, pair.features, options)
        opening = tuple(pair.ours.vocabulary.opening("de", translates=True))
        rows = decoded(pair, [Row(opening, 16) for _ in pair.heard])
        assert [row.tokens for row in rows] == [one.tokens for one in expected]

    @pytest.mark.parametrize("with_timestamps", [False, True])
    def test_a_prompt_is_read_alike(self, pair: Pair, with_timestamps: bool) -> None:
        only(pair, "tiny", "tiny.en")
        prompt = "Names that will be heard: Ms. Żółkowska, ACME Ltd., and naïve Zoë. " * 4
        options = whisper.DecodingOptions(
            language="en", fp16=False, without_timestamps=not with_timestamps, sample_len=16, prompt=prompt
        )
        expected = whisper.decode(pair.theirs, pair.features, options)
        vocabulary = pair.ours.vocabulary
        earlier = (vocabulary.earlier, *vocabulary.encode(f" {prompt.strip()}"))
        opening = (*earlier, *pair.opening(with_timestamps=with_timestamps))
        rows = decoded(pair, [Row(opening, 16, with_timestamps=with_timestamps) for _ in pair.heard])
        assert [row.tokens for row in rows] == [one.tokens for one in expected]
        for row, one in zip(rows, expected, strict=True):
            assert row.no_speech == pytest.approx(one.no_speech_prob, rel=1e-3)

    def test_a_prefix_is_gone_on_from_alike(self, pair: Pair) -> None:
        only(pair, "tiny", "tiny.en")
        prefix = tuple(pair.ours.vocabulary.encode(" It was the best of times,"))
        options = whisper.DecodingOptions(
            language="en", fp16=False, without_timestamps=True, sample_len=16, prefix=list(prefix), suppress_blank=False
        )  # they would not let a text end where its prefix does
        expected = whisper.decode(pair.theirs, pair.features, options)
        rows = decoded(pair, [Row(pair.opening(), len(prefix) + 16, prefix) for _ in pair.heard])
        assert [tuple(row.tokens) for row in rows] == [(*prefix, *one.tokens) for one in expected]

    def test_a_batch_says_what_each_of_its_clips_says_alone(self, pair: Pair) -> None:
        only(pair, "tiny", "base")
        rows = decoded(pair, [Row(pair.opening(), 16) for _ in pair.heard])
        for row, heard in zip(rows, pair.heard, strict=True):
            alone = Row(pair.opening(), 16)
            pair.ours.decoder.decode([alone], [heard])
            assert alone.tokens == row.tokens


class TestWords:
    @pytest.mark.parametrize("language", ["en", "ja"])
    def test_words_are_told_at_the_same_times(self, pair: Pair, clips: list[Float32], language: str) -> None:
        if language != "en":
            only(pair, "tiny")
        count = len(clips) if pair.name == "tiny" else 1
        for at in range(count):
            self._compare(pair, at, len(clips[at]), language)

    def _compare(self, pair: Pair, at: int, samples: int, language: str) -> None:
        from whisper.timing import find_alignment, merge_punctuations

        vocabulary = pair.ours.vocabulary
        text = vocabulary.encode(TEXT)
        expected = find_alignment(pair.theirs, pair.tokenizer(language), text, pair.mels[at], samples // 160)
        merge_punctuations(expected, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")  # noqa: RUF001 - transcribe's own
        expected = [one for one in expected if one.word.strip()]
        opening = vocabulary.opening(language if pair.is_multilingual else None)
        fit, chances = pair.ours.decoder.fits(pair.heard[at], opening, text)
        words = aligned_words(fit[:, :, : samples // 320], chances, text, len(opening), vocabulary, language)
        assert [word.word for word in words] == [one.word.strip() for one in expected]
        assert [word.start_ms for word in words] == pytest.approx([1000 * one.start for one in expected])
        assert [word.end_ms for word in words] == pytest.approx([1000 * one.end for one in expected])
        assert [word.probability for word in words] == pytest.approx(
            [one.probability for one in expected], rel=1e-2, abs=1e-9
        )
        assert words[-1].end_ms <= 1000 * samples / RATE


class TestTemperature:
    def test_probabilities_at_a_temperature_are_the_same(self) -> None:
        """Tokens are drawn as often as their softmax at that temperature says, and told with their probability at 1."""
        random = np.random.default_rng(5)
        logits = random.normal(0, 2, 12).astype(np.float32)
        logits[3] = -np.inf
        drawn = [choose(logits, 0.7, random) for _ in range(20_000)]
        expected = torch.softmax(torch.from_numpy(logits) / 0.7, -1).numpy()
        found = np.bincount([token for token, _ in drawn], minlength=len(logits)) / len(drawn)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.015)
        sure = torch.log_softmax(torch.from_numpy(logits), -1).numpy()
        assert all(chance == pytest.approx(float(sure[token]), abs=1e-5) for token, chance in drawn[:100])


@pytest.mark.parametrize(("is_multilingual", "languages"), [(False, 99), (True, 99), (True, 100)])
class TestTokens:
    @pytest.fixture
    def tokenizer(self, is_multilingual: bool, languages: int) -> Any:
        return tokenizer(is_multilingual, languages, "de")

    @pytest.fixture
    def vocabulary(self, is_multilingual: bool, languages: int) -> Vocabulary:
        return tokens_of(is_multilingual, languages)[0]

    def test_the_commands_have_the_same_numbers(self, vocabulary: Vocabulary, tokenizer: Any) -> None:
        assert len(vocabulary) == tokenizer.encoding.n_vocab
        assert vocabulary.end == tokenizer.eot
        assert vocabulary.start == tokenizer.sot
        assert vocabulary.transcribe == tokenizer.transcribe
        assert vocabulary.translate == tokenizer.translate
        assert vocabulary.earlier == tokenizer.sot_prev
        assert vocabulary.no_speech == tokenizer.no_speech
        assert vocabulary.no_timestamps == tokenizer.no_timestamps
        assert vocabulary.first_timestamp == tokenizer.timestamp_begin
        last = tokenizer.encoding.encode_single_token("<|30.00|>")
        assert vocabulary.first_timestamp + TIMESTAMPS - 1 == last == len(vocabulary) - 1

    def test_the_languages_have_the_same_numbers(self, vocabulary: Vocabulary, tokenizer: Any) -> None:
        expected = {code: tokenizer.to_language_token(code) for code in tokenizer.all_language_codes}
        assert vocabulary.languages == expected

    @pytest.mark.parametrize("with_timestamps", [False, True])
    def test_texts_begin_with_the_same_commands(
        self, vocabulary: Vocabulary, tokenizer: Any, with_timestamps: bool
    ) -> None:
        language = tokenizer.language
        expected = tokenizer.sot_sequence if with_timestamps else tokenizer.sot_sequence_including_notimestamps
        assert vocabulary.opening(language, with_timestamps=with_timestamps) == list(expected)

    def test_the_same_tokens_are_never_said(self, is_multilingual: bool, languages: int) -> None:
        vocabulary, unspoken, blank = tokens_of(is_multilingual, languages)
        task = decoding_task(is_multilingual, languages)
        assert unspoken == list(task._get_suppress_tokens())
        assert blank == task.tokenizer.encode(" ")
        assert vocabulary.end == task.tokenizer.eot

    @pytest.mark.parametrize("text", TEXTS)
    def test_texts_are_spelt_alike(self, vocabulary: Vocabulary, tokenizer: Any, text: str) -> None:
        tokens = vocabulary.encode(text)
        assert tokens == tokenizer.encode(text, disallowed_special=())
        assert vocabulary.text(tokens) == text

    @pytest.mark.parametrize("language", ["de", "ja"])
    def test_any_tokens_come_to_the_same_words(
        self, vocabulary: Vocabulary, is_multilingual: bool, languages: int, language: str
    ) -> None:
        theirs = tokenizer(is_multilingual, languages, language)
        spoken = language if is_multilingual else None
        random = np.random.default_rng(1)
        texts = [vocabulary.encode(text) for text in TEXTS]
        texts += [random.integers(0, vocabulary.end, 12).tolist() for _ in range(300)]
        for tokens in texts:
            # What is not UTF-8 at the end is a word of its own, unless it could be continued, for us and for them.
            words, groups = theirs.split_to_word_tokens(tokens)
            assert vocabulary.words(tokens, spoken) == groups
            assert [vocabulary.text(group) for group in vocabulary.words(tokens, spoken)] == words

    def test_the_same_may_follow(self, is_multilingual: bool, languages: int) -> None:
        """Logits after all rules, behind histories of words and times as a text may have them, and others."""
        vocabulary, unspoken, blank = tokens_of(is_multilingual, languages)
        rules = LogitRules(vocabulary, unspoken, blank)
        random = np.random.default_rng(2)
        for with_timestamps in (False, True):
            task = decoding_task(is_multilingual, languages, with_timestamps=with_timestamps)
            for _ in range(60):
                said = history(random, vocabulary)
                logits = random.normal(0, random.choice([0.5, 3.0]), len(vocabulary)).astype(np.float32)
                logits[vocabulary.first_timestamp :] += random.choice([-8, 0, 4])
                theirs = torch.from_numpy(logits.copy())[None]
                tokens = torch.tensor([[*task.initial_tokens, *said]])
                for rule in task.logit_filters:
                    rule.apply(theirs, tokens)
                rules.apply(logits, said, with_timestamps=with_timestamps)
                np.testing.assert_array_equal(logits, theirs[0].numpy(), err_msg=str(said))


def tokenizer(is_multilingual: bool, languages: int, language: str) -> Any:
    return whisper.tokenizer.get_tokenizer(
        is_multilingual,
        num_languages=languages,
        language=language if is_multilingual else None,
        task="transcribe" if is_multilingual else None,
    )


def decoding_task(is_multilingual: bool, languages: int, *, with_timestamps: bool = False) -> Any:
    """Their decoding of a model that has only sizes."""
    dims = SimpleNamespace(n_text_ctx=448, n_audio_ctx=1500)
    decoder = SimpleNamespace(blocks=[])
    model = SimpleNamespace(is_multilingual=is_multilingual, num_languages=languages, dims=dims, decoder=decoder)
    options = whisper.DecodingOptions(language="en", without_timestamps=not with_timestamps)
    return whisper.decoding.DecodingTask(model, options)


def history(random: np.random.Generator, vocabulary: Vocabulary) -> list[int]:
    """Words and times, the times mostly rising."""
    said: list[int] = []
    time = vocabulary.first_timestamp
    for _ in range(random.integers(0, 7)):
        if random.random() < 0.5:
            time = min(time + int(random.integers(0, 200)), len(vocabulary) - 1)
            said.append(time)
        else:
            said.append(int(random.integers(0, vocabulary.end)))
    return said


class TestNames:
    def test_every_whisper_that_they_know_is_known_here_with_its_address(self) -> None:
        assert {one.name for one in PUBLISHED} | set(ALIASES) == set(whisper.available_models())
        for name, address in whisper._MODELS.items():
            assert published(name).address.url == address

    def test_the_heads_that_follow_the_speaker_are_theirs(self) -> None:
        for name, packed in whisper._ALIGNMENT_HEADS.items():
            flags = np.frombuffer(gzip.decompress(base64.b85decode(packed)), bool)
            layers, heads = LAYERS_AND_HEADS[re.sub(r"[.]en|-v\d|large-v3-(?=turbo)", "", name)]
            expected = np.argwhere(flags.reshape(layers, heads)).tolist()
            assert [list(head) for head in published(name).heads] == expected

    def test_languages_are_theirs_in_their_order(self) -> None:
        theirs = whisper.tokenizer.LANGUAGES
        assert list(LANGUAGES) == list(theirs)
        assert [name.lower() for name in LANGUAGES.values()] == list(theirs.values())


@given(text=st.text(max_size=300))
def test_texts_are_compressed_alike(text: str) -> None:
    assert compression(text) == whisper.utils.compression_ratio(text)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_checkpoints_are_read_alike(tmp_path: Path, dtype: Any) -> None:
    sizes = Dimensions(80, 1500, 16, 2, 1, 51865, 448, 16, 2, 1)
    path = tmp_path / "own.pt"
    weights = {name: torch.from_numpy(one).to(dtype) for name, one in random_checkpoint(sizes, 3).weights.items()}
    table = weights["decoder.token_embedding.weight"]
    # Views of other tensors, as a model that was trained further may have them.
    weights |= {"turned": table[:40].T, "part": table[7:9, 3:], "again": table, "number": table[0, 0]}
    weights["parameter"] = torch.nn.Parameter(table[:2], requires_grad=False)
    torch.save({"dims": asdict(sizes), "model_state_dict": weights}, path)
    found = read_checkpoint(path)
    expected = torch.load(path, weights_only=True)
    assert asdict(found.dimensions) == expected["dims"]
    assert set(found.weights) == set(weights)
    for name, tensor in expected["model_state_dict"].items():
        np.testing.assert_array_equal(found[name], tensor.float().numpy())

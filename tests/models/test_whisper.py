"""The engine on a tiny Whisper that has learnt nothing: what it says is nonsense, but how it says it is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alfred_voice.errors import EngineFailure
from alfred_voice.models.engine import SAMPLE_RATE, Clip, Float32
from alfred_voice.models.hallucination import HallucinationGuard
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.progress import Silent
from alfred_voice.models.whisper import MAX_SECONDS, Whisper
from alfred_voice.models.whisper_export import export_whisper
from alfred_voice.models.whisper_files import WhisperFiles
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_options import WhisperOptions
from alfred_voice.results import Transcript
from tests.models.whisper_models import ENGLISH, MULTILINGUAL, SpySession, checkpoint_of, write_vocabularies


SURE = WhisperOptions(max_temperature=0.0, min_log_probability=-100.0, max_compression=1000.0)
"""Believes what it says, unless it was cut."""
LEAST_STATES, FULL_STATES = 256, 1500


class Believing(HallucinationGuard):
    """Takes nothing for an invention."""

    def rejects(self, text: str, log_probabilities: Sequence[float], voiced_ms: float) -> bool:
        return False


def export(root: Path, name: str, multilingual: bool) -> WhisperFiles:
    sizes = MULTILINGUAL if multilingual else ENGLISH
    vocabularies = write_vocabularies(root / "vocabularies")
    return export_whisper(checkpoint_of(sizes, 1), "", root, name, vocabularies, [Precision.INT8], Silent())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> WhisperFiles:
    return export(tmp_path_factory.mktemp("store"), "own", multilingual=True)


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    files = export(tmp_path_factory.mktemp("store"), "own.en", multilingual=False)
    encoder, decoder = map(open_session, files.graphs(Precision.INT8))
    return Whisper(files, encoder, decoder, SURE, guard=Believing())


@pytest.fixture(scope="module")
def sessions(files: WhisperFiles) -> tuple[Session, Session]:
    encoder, decoder = map(open_session, files.graphs(Precision.INT8))
    return encoder, decoder


@pytest.fixture(scope="module")
def whisper(files: WhisperFiles, sessions: tuple[Session, Session]) -> Whisper:
    return Whisper(files, *sessions, SURE, guard=Believing())


class Watched:
    """An engine, and what its graphs were fed."""

    def __init__(self, files: WhisperFiles, sessions: tuple[Session, Session], options: WhisperOptions) -> None:
        self.encoder, self.decoder = map(SpySession, sessions)
        self.engine = Whisper(
            files, cast(Session, self.encoder), cast(Session, self.decoder), options, guard=Believing()
        )

    @property
    def heard(self) -> list[int]:
        """States of each call of the encoder."""
        return [feeds["mel"].shape[2] // 2 for feeds in self.encoder.fed]

    @property
    def texts(self) -> int:
        """How many texts were begun."""
        return len(self.openings)

    @property
    def openings(self) -> list[list[int]]:
        """What was read first, by text."""
        begins = (self.engine.vocabulary.start, self.engine.vocabulary.earlier)
        read = (row.tolist() for feeds in self.decoder.fed for row in feeds["tokens"])
        return [row for row in read if row[0] in begins]


@pytest.fixture
def watch(files: WhisperFiles, sessions: tuple[Session, Session]) -> Any:
    return lambda options: Watched(files, sessions, options)


def sound(seconds: float, seed: int = 0) -> Float32:
    """Noise in syllables; something for the encoder to tell apart."""
    random = np.random.default_rng(seed)
    samples = round(seconds * SAMPLE_RATE)
    swell = 0.5 + 0.5 * np.sin(np.arange(samples) / (500 + 100 * seed))
    return (0.2 * swell * random.standard_normal(samples)).clip(-1, 0.999).astype(np.float32)


def one(engine: Whisper, clip: Clip) -> Transcript:
    (transcript,) = engine.transcribe([clip])
    return transcript


def ending_sound(engine: Whisper) -> Float32:
    """A second whose text ends of itself."""
    for seed in range(50):
        clip = Clip(sound(1, seed), language="de", is_final=False)
        one_try = len(tokens(one(engine, clip)))
        if one_try < 20:
            return clip.samples
    raise AssertionError("one text of fifty should be short")


def tokens(transcript: Transcript) -> tuple[int, ...]:
    return tuple(token for piece in transcript.pieces for token in piece.tokens)


def exact(transcripts: Iterable[Transcript]) -> list[tuple[Transcript, float, list[float]]]:
    """All there is in transcripts, to the last bit; their own comparison leaves some of it out."""
    return [(text, text.confidence, [piece.probability for piece in text.pieces]) for text in transcripts]


class TestText:
    def test_a_transcript_is_filled_in(self, whisper: Whisper) -> None:
        found = one(whisper, Clip(sound(2), language="de"))
        assert found.text
        assert found.text == whisper.vocabulary.text(tokens(found)).strip()
        assert "".join(piece.text for piece in found.pieces).strip() == found.text
        assert all(0 < piece.probability < 1 for piece in found.pieces)
        assert 0 < found.confidence < 1
        assert found.language == "de"
        assert found.words == ()
        assert whisper.name == "whisper-own"

    def test_the_same_clip_gives_the_same_answer_again(self, whisper: Whisper) -> None:
        clip = Clip(sound(2))
        assert exact([one(whisper, clip)]) == exact([one(whisper, clip)])

    def test_another_sound_gives_another_answer(self, whisper: Whisper) -> None:
        assert one(whisper, Clip(sound(2, 1), language="de")) != one(whisper, Clip(sound(2, 2), language="de"))

    @pytest.mark.parametrize(("seconds", "language", "most"), [(1.0, "en", 18), (1.0, "de", 26), (20.0, "de", 330)])
    def test_a_text_has_as_many_tokens_as_can_be_said(
        self, whisper: Whisper, seconds: float, language: str, most: int
    ) -> None:
        assert len(tokens(one(whisper, Clip(sound(seconds), language=language, is_final=False)))) <= most

    def test_tokens_and_text_are_told_of_each_other(self, whisper: Whisper) -> None:
        found = whisper.tokens_of(" ab cd")
        assert found is not None
        assert whisper.text_of(found) == " ab cd"

    def test_no_clips_give_no_transcripts(self, whisper: Whisper) -> None:
        assert whisper.transcribe([]) == []

    def test_so_many_tokens_as_one_measures_are_spelt(self, whisper: Whisper) -> None:
        row = whisper.spell(sound(1), 12)
        assert len(row.tokens) == 12
        assert whisper.hear(sound(1)).shape == (LEAST_STATES, 64)


class TestCompany:
    @pytest.mark.parametrize("is_final", [True, False])
    def test_everybody_says_what_they_say_alone(self, whisper: Whisper, is_final: bool) -> None:
        lengths = (0.4, 1.0, 1.5, 2.9, 3.0, 6.0, 0.06, 9.0)
        languages = ("en", "de", "ja", None)
        clips = [
            Clip(sound(seconds, seed), language=languages[seed % 4], is_final=is_final)
            for seed, seconds in enumerate(lengths)
        ]
        assert exact(whisper.transcribe(clips)) == exact(one(whisper, clip) for clip in clips)

    def test_finals_partials_prompts_and_prefixes_share_batches(self, whisper: Whisper) -> None:
        prefix = tokens(one(whisper, Clip(sound(1, 1), language="de")))[:5]
        clips = [
            Clip(sound(1, 1), language="de", prefix=prefix, is_final=False),
            Clip(sound(1, 2), language="de", prompt="ab cd ef"),
            Clip(sound(1.2, 3), translates=True, is_final=False),
            Clip(sound(1.2, 4), language="fr", wants_words=True),
        ] * 5
        assert exact(whisper.transcribe(clips)) == exact([one(whisper, clip) for clip in clips[:4]] * 5)

    def test_answers_come_in_the_order_of_the_clips(self, whisper: Whisper) -> None:
        clips = [Clip(sound(seconds, 7), language="de", is_final=False) for seconds in (1.0, 5.0, 0.01, 2.0)]
        found = whisper.transcribe(clips)
        assert found[2].text == ""
        assert [found[at] for at in (0, 1, 3)] == [one(whisper, clips[at]) for at in (0, 1, 3)]


class TestPrefix:
    def test_it_is_kept_word_for_word_whatever_is_heard(self, whisper: Whisper) -> None:
        prefix = tokens(one(whisper, Clip(sound(2, 1), language="de")))[:6]
        for seed in range(3):
            found = one(whisper, Clip(sound(2, 10 + seed), language="de", prefix=prefix, is_final=False))
            assert tokens(found)[:6] == prefix
            assert found.text.startswith(whisper.vocabulary.text(prefix).strip())
            assert found.pieces[0].probability == 1.0

    def test_one_that_would_be_said_anyway_changes_nothing(self, whisper: Whisper) -> None:
        free = one(whisper, Clip(sound(2), language="de", is_final=False))
        for count in (1, 4, 9):
            forced = one(whisper, Clip(sound(2), language="de", is_final=False, prefix=tokens(free)[:count]))
            assert tokens(forced) == tokens(free)

    def test_it_outlives_a_clip_that_is_too_short(self, whisper: Whisper) -> None:
        prefix = whisper.vocabulary.pieces([*range(300, 310)])
        given = tuple(token for piece in prefix for token in piece.tokens)
        assert one(whisper, Clip(np.zeros(10, np.float32), prefix=given)).pieces == prefix

    @pytest.mark.parametrize("length", [100, 230, 440, 1000])
    def test_one_of_any_length_is_kept(self, whisper: Whisper, length: int) -> None:
        prefix = tuple(300 + at % 997 for at in range(length))
        found = one(whisper, Clip(sound(2), language="de", prefix=prefix, prompt="ab " * 300, is_final=False))
        assert tokens(found)[:length] == prefix


class TestDraft:
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_no_draft_changes_the_text(self, whisper: Whisper, data: st.DataObject) -> None:
        """Probabilities may differ in their last digits: attention adds up in another order when it looks once."""
        seed, is_final = data.draw(st.integers(0, 2)), data.draw(st.booleans())
        clip = Clip(sound(0.6, seed), language="de", is_final=is_final)
        plain = one(whisper, clip)
        text = list(tokens(plain))
        for _ in range(data.draw(st.integers(0, 4))):
            at = data.draw(st.integers(0, len(text)))
            text[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(st.integers(-1, 60_000), max_size=2))
        clip = replace(clip, draft=tuple(text), prefix=tokens(plain)[: data.draw(st.integers(0, 3))])
        expected = one(whisper, replace(clip, draft=()))
        drafted = one(whisper, clip)
        assert tokens(drafted) == tokens(expected)
        assert drafted.text == expected.text
        assert drafted.confidence == pytest.approx(expected.confidence, rel=0.05)

    def test_the_right_one_saves_calls(self, watch: Any) -> None:
        calls = []
        plain: tuple[int, ...] = ()
        for draft in ((), None):
            watched = watch(SURE)
            clip = Clip(sound(1), language="de", is_final=False, draft=plain if draft is None else draft)
            plain = tokens(one(watched.engine, clip))
            calls.append(len(watched.decoder.fed))
        assert calls[1] <= 2 < calls[0]


class TestClips:
    def test_a_transcript_tells_the_model_that_it_is_from(self, whisper: Whisper) -> None:
        assert one(whisper, Clip(sound(1), language="de")).engine == whisper.name == "whisper-own"

    @pytest.mark.parametrize("samples", [0, 1, 799])
    def test_a_clip_that_is_too_short_has_no_words(self, whisper: Whisper, samples: int) -> None:
        assert one(whisper, Clip(np.full(samples, 0.1, np.float32), language="de")) == Transcript(
            "", language="de", engine=whisper.name
        )

    @pytest.mark.parametrize("samples", [800, 801, MAX_SECONDS * SAMPLE_RATE])
    def test_the_shortest_and_the_longest_are_taken(self, whisper: Whisper, samples: int) -> None:
        clip = Clip(sound(30)[:samples], language="de", is_final=False, wants_words=True)
        assert isinstance(one(whisper, clip).text, str)

    def test_a_longer_one_is_refused(self, whisper: Whisper) -> None:
        with pytest.raises(EngineFailure, match=r"at most 30 s, but got 30\.5 s"):
            whisper.transcribe([Clip(sound(30.5))])

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_no_numbers_are_refused(self, whisper: Whisper, value: float) -> None:
        broken = sound(1)
        broken[7] = value
        with pytest.raises(EngineFailure, match="not numbers"):
            whisper.transcribe([Clip(broken)])

    def test_other_forms_are_refused(self, whisper: Whisper) -> None:
        for samples in (np.zeros((2, 800), np.float32), np.zeros(800, np.int16), np.zeros(800)):
            with pytest.raises(EngineFailure, match="float32 samples of one channel"):
                whisper.transcribe([Clip(cast(Float32, samples))])

    def test_silence_is_taken(self, whisper: Whisper) -> None:
        assert isinstance(one(whisper, Clip(np.zeros(SAMPLE_RATE, np.float32))).text, str)


class TestAttempts:
    """A short context first, then the full one, then looser choices."""

    def test_what_is_believed_is_heard_once_and_briefly(self, watch: Any) -> None:
        watched = watch(SURE)
        clip = Clip(ending_sound(watched.engine), language="de")
        before = watched.texts
        found = one(watched.engine, clip)
        assert watched.texts == before + 1
        assert set(watched.heard) == {LEAST_STATES}
        assert found.text
        assert found.confidence < 0.1

    @pytest.mark.parametrize(
        ("seconds", "states"), [(0.1, 256), (2.56, 256), (2.58, 320), (4.0, 384), (27.4, 1500), (29.9, 1500)]
    )
    def test_a_clip_is_heard_with_a_margin_of_silence(self, watch: Any, seconds: float, states: int) -> None:
        watched = watch(SURE)
        one(watched.engine, Clip(sound(seconds), language="de", is_final=False))
        assert watched.heard == [states]

    @pytest.mark.parametrize(("most", "texts"), [(0.0, 2), (0.2, 3), (1.0, 7)])
    def test_what_is_doubtful_is_heard_in_full_and_then_drawn_more_and_more_freely(
        self, watch: Any, most: float, texts: int
    ) -> None:
        watched = watch(WhisperOptions(max_temperature=most, min_log_probability=-0.001, max_no_speech=1.0))
        found = one(watched.engine, Clip(sound(1), language="de"))
        assert watched.heard == [LEAST_STATES, FULL_STATES]
        assert watched.texts == texts
        assert found.text

    def test_a_clip_that_fills_everything_is_not_heard_again(self, watch: Any) -> None:
        watched = watch(WhisperOptions(max_temperature=0.2, min_log_probability=-0.001, max_no_speech=1.0))
        one(watched.engine, Clip(sound(28), language="de"))
        assert watched.heard == [FULL_STATES]
        assert watched.texts == 2

    def test_a_text_that_repeats_itself_is_doubtful(self, watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("alfred_voice.models.whisper.compression", lambda _: 2.5)
        for most, texts in ((2.6, 1), (2.4, 2)):
            watched = watch(replace(SURE, max_compression=most))
            clip = Clip(ending_sound(watched.engine), language="de")
            before = watched.texts
            one(watched.engine, clip)
            assert watched.texts - before == texts

    def test_a_text_that_does_not_end_is_doubtful(self, watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("alfred_voice.models.whisper._SPARE_TOKENS", -7)
        watched = watch(SURE)
        assert len(tokens(one(watched.engine, Clip(sound(1), language="en")))) == 1
        assert watched.heard == [LEAST_STATES, FULL_STATES]

    def test_partials_are_tried_once(self, watch: Any) -> None:
        watched = watch(WhisperOptions(max_temperature=1.0, min_log_probability=-0.001, max_no_speech=1.0))
        assert one(watched.engine, Clip(sound(1), language="de", is_final=False)).text
        assert watched.heard == [LEAST_STATES]
        assert watched.texts == 1

    def test_only_those_in_doubt_are_tried_again(self, watch: Any) -> None:
        watched = watch(WhisperOptions(max_temperature=0.0, min_log_probability=-0.001, max_no_speech=1.0))
        clips = [Clip(sound(1, seed), language="de", is_final=seed == 2) for seed in range(4)]
        watched.engine.transcribe(clips)
        assert watched.heard == [LEAST_STATES] * 4 + [FULL_STATES]
        assert watched.texts == 5

    def test_drawing_is_the_same_each_time(self, watch: Any) -> None:
        options = WhisperOptions(max_temperature=1.0, min_log_probability=-0.001, max_no_speech=1.0)
        found = [one(watch(options).engine, Clip(sound(1), language="de")) for _ in range(2)]
        assert exact(found[:1]) == exact(found[1:])
        greedy = one(watch(replace(options, max_temperature=0.0)).engine, Clip(sound(1), language="de"))
        assert tokens(greedy) != tokens(found[0])


class TestNoSpeech:
    """A text that is unlikely where nobody seems to speak is none."""

    OPTIONS = WhisperOptions(max_no_speech=0.0, min_log_probability=-0.001)

    def test_it_is_left_out_and_not_tried_again(self, watch: Any) -> None:
        watched = watch(self.OPTIONS)
        assert one(watched.engine, Clip(sound(1), language="de")) == Transcript("", language="de", engine="whisper-own")
        assert watched.texts == 1

    def test_what_has_been_committed_stays(self, watch: Any) -> None:
        prefix = (300, 301, 302)
        found = one(watch(self.OPTIONS).engine, Clip(sound(1), language="de", prefix=prefix))
        assert tokens(found)[:3] == prefix

    def test_a_likely_text_is_believed_all_the_same(self, watch: Any) -> None:
        options = replace(self.OPTIONS, min_log_probability=-100.0)
        assert one(watch(options).engine, Clip(sound(1), language="de", is_final=False)).text

    def test_inventions_are_left_out_in_english_only(
        self, files: WhisperFiles, sessions: tuple[Session, Session]
    ) -> None:
        guarded = Whisper(files, *sessions, SURE)
        assert one(guarded, Clip(sound(1), language="en")) == Transcript("", language="en", engine="whisper-own")
        assert one(guarded, Clip(sound(1), language="de")).text


class TestLanguage:
    def test_it_is_found_out_where_it_is_not_known(self, whisper: Whisper) -> None:
        found = one(whisper, Clip(sound(2))).language
        assert found in whisper.vocabulary.languages
        assert one(whisper, Clip(sound(2), language="auto")).language == found
        assert one(whisper, Clip(sound(2), language="tlh")).language == found

    @pytest.mark.parametrize(("asked", "language"), [("de", "de"), ("de-AT", "de"), ("PT-br", "pt"), ("haw", "haw")])
    def test_it_is_taken_as_it_is_asked_for(self, watch: Any, asked: str, language: str) -> None:
        watched = watch(SURE)
        assert one(watched.engine, Clip(sound(1), language=asked, is_final=False)).language == language
        vocabulary = watched.engine.vocabulary
        assert watched.openings[0][:4] == vocabulary.opening(language)

    def test_only_those_who_do_not_know_are_asked(self, watch: Any) -> None:
        watched = watch(SURE)
        clips = [Clip(sound(1, at), language=code, is_final=False) for at, code in enumerate(["de", None, "fr", None])]
        found = watched.engine.transcribe(clips)
        assert [found[0].language, found[2].language] == ["de", "fr"]
        asked = watched.decoder.fed[0]["tokens"]
        assert asked.tolist() == [[watched.engine.vocabulary.start]] * 2

    def test_it_does_not_change_from_attempt_to_attempt(self, watch: Any) -> None:
        watched = watch(WhisperOptions(max_temperature=0.2, min_log_probability=-0.001, max_no_speech=1.0))
        one(watched.engine, Clip(sound(1)))
        start = watched.engine.vocabulary.start
        assert sum(feeds["tokens"].tolist() == [[start]] for feeds in watched.decoder.fed) == 1

    @pytest.mark.parametrize("asked", [None, "en", "de", "auto"])
    def test_who_knows_only_english_hears_english(self, english: Whisper, asked: str | None) -> None:
        found = one(english, Clip(sound(1), language=asked, wants_words=True))
        assert found.language == "en"
        assert found.text


class TestTask:
    def test_a_clip_may_ask_for_a_translation(self, watch: Any) -> None:
        watched = watch(SURE)
        one(watched.engine, Clip(sound(1), language="de", translates=True, is_final=False))
        assert watched.openings[0][2] == watched.engine.vocabulary.translate

    def test_the_engine_may_translate_everything(self, watch: Any) -> None:
        watched = watch(replace(SURE, task="translate"))
        one(watched.engine, Clip(sound(1), language="de", is_final=False))
        assert watched.openings[0][2] == watched.engine.vocabulary.translate

    def test_finals_may_tell_times_of_their_own(self, watch: Any) -> None:
        watched = watch(replace(SURE, with_timestamps=True))
        vocabulary = watched.engine.vocabulary
        found = one(watched.engine, Clip(sound(2), language="de"))
        assert watched.openings[0][:3] == vocabulary.opening("de", with_timestamps=True)
        assert all(token < vocabulary.end for token in tokens(found))
        one(watched.engine, Clip(sound(2), language="de", is_final=False))
        assert watched.openings[-1][:4] == vocabulary.opening("de")


class TestPrompt:
    def test_it_stands_before_the_commands(self, watch: Any) -> None:
        watched = watch(SURE)
        vocabulary = watched.engine.vocabulary
        one(watched.engine, Clip(sound(1), language="de", prompt="  ab cd ", is_final=False))
        expected = [vocabulary.earlier, *vocabulary.encode(" ab cd"), *vocabulary.opening("de")]
        assert watched.openings[0][: len(expected)] == expected

    def test_that_of_the_clip_is_taken_before_that_of_the_engine(self, watch: Any) -> None:
        watched = watch(replace(SURE, prompt="engine"))
        vocabulary = watched.engine.vocabulary
        for prompt, taken in (("", "engine"), ("clip", "clip")):
            one(watched.engine, Clip(sound(1), language="de", prompt=prompt, is_final=False))
            expected = vocabulary.encode(f" {taken}")
            assert watched.openings[-1][1 : 1 + len(expected)] == expected

    def test_of_a_long_one_the_end_is_kept(self, watch: Any) -> None:
        watched = watch(SURE)
        vocabulary = watched.engine.vocabulary
        prompt = " ".join(["ab", "cd", "ef", "gh"] * 100)
        one(watched.engine, Clip(sound(1), language="de", prompt=prompt, is_final=False))
        assert watched.openings[0][:224] == [vocabulary.earlier, *vocabulary.encode(f" {prompt}")[-223:]]
        assert watched.openings[0][224:228] == vocabulary.opening("de")

    def test_nothing_but_spaces_is_none(self, watch: Any) -> None:
        watched = watch(SURE)
        one(watched.engine, Clip(sound(1), language="de", prompt="  ", is_final=False))
        assert watched.openings[0][0] == watched.engine.vocabulary.start

    def test_it_changes_what_is_said(self, whisper: Whisper) -> None:
        plain, prompted = (
            one(whisper, Clip(sound(1), language="de", prompt=prompt, is_final=False)) for prompt in ("", "ab cd")
        )
        assert plain != prompted

    def test_many_of_them_are_not_kept_for_ever(self, whisper: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(whisper.vocabulary, "encode", lambda _: [300])
        for number in range(200):
            whisper._earlier(f"prompt {number}")
        assert len(whisper._prompts) <= 64


class TestWords:
    @pytest.mark.parametrize("seconds", [0.06, 1.0, 5.0])
    def test_they_have_times_in_the_clip(self, whisper: Whisper, seconds: float) -> None:
        found = one(whisper, Clip(sound(seconds), language="de", wants_words=True))
        assert found.words
        times = [time for word in found.words for time in (word.start_ms, word.end_ms)]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] <= 1000 * seconds
        assert "".join(word.word for word in found.words).replace(" ", "") == "".join(found.text.split())
        assert all(0 <= word.probability <= 1 for word in found.words)

    def test_those_of_a_prefix_are_among_them(self, whisper: Whisper) -> None:
        prefix = tuple(whisper.vocabulary.encode(" ab cd ef"))
        found = one(whisper, Clip(sound(1), language="de", prefix=prefix, wants_words=True))
        assert [word.word for word in found.words][:2] == ["ab", "cd"]

    def test_without_a_text_there_are_none(self, watch: Any) -> None:
        found = one(watch(TestNoSpeech.OPTIONS).engine, Clip(sound(1), language="de", wants_words=True))
        assert found.words == ()

"""The recogniser behind an address: what it asks, what it makes of the answers, and what a session makes of those."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest

from alfred_voice.clock import Clock, ManualClock, SystemClock
from alfred_voice.errors import ConfigError, EngineFailure
from alfred_voice.models.engine import Clip, Float32, GrowingStt, SttEngine
from alfred_voice.models.openai_options import OpenAiOptions
from alfred_voice.models.openai_stt import MIN_SAMPLES, OpenAiStt
from alfred_voice.results import Transcript
from alfred_voice.session.hypothesis import AgreementOptions, Hypothesis
from tests.models.openai_server import Asked, OpenAiServer, Reply


KEY = "sk-very-secret-0123456789"
RATE = 16_000
OK = Reply({"text": "Hello there."})
FULL = Reply(
    {
        "language": "german",
        "text": "Guten Tag",
        "segments": [{"start": 0, "end": 1, "avg_logprob": -0.1}],
        "words": [{"word": "Guten", "start": 0.1, "end": 0.5}, {"word": "Tag", "start": 0.5, "end": 0.9}],
    }
)

Serve = Callable[..., OpenAiServer]
Build = Callable[..., OpenAiStt]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("ALFRED_OPENAI_API_KEY", raising=False)


@pytest.fixture
def build() -> Iterator[Build]:
    engines: list[OpenAiStt] = []

    def build(server: OpenAiServer, clock: Clock | None = None, **options: Any) -> OpenAiStt:
        limits = {"timeout_s": 5.0, "max_retries": 0} | options
        engines.append(OpenAiStt(OpenAiOptions(base_url=server.url, **limits), clock or ManualClock()))
        return engines[-1]

    yield build
    for engine in engines:
        engine.close()


def sound(seconds: float = 1.0, level: float = 0.1) -> Float32:
    """A level that stays: it tells clips from each other."""
    return np.full(round(seconds * RATE), level, np.float32)


def clip(seconds: float = 1.0, level: float = 0.1, **asked: Any) -> Clip:
    return Clip(sound(seconds, level), **asked)


def level_of(asked: Asked) -> float:
    """The level of the clip that came."""
    with wave.open(io.BytesIO(asked.form["file"][0])) as file:
        return float(np.frombuffer(file.readframes(1), "<i2")[0]) / 32_768


def one(engine: SttEngine, asked: Clip) -> Transcript:
    (transcript,) = engine.transcribe([asked])
    return transcript


class TestQuestion:
    def test_a_clip_goes_out_as_a_wav_file_in_a_form(self, serve: Serve, build: Build) -> None:
        server = serve(OK)
        samples = np.linspace(-1.5, 1.5, RATE, dtype=np.float32)
        one(build(server, model="large"), Clip(samples, language="en-GB", prompt="Names: Alfred, Ünal"))
        (asked,) = server.requests
        assert asked.path == "/v1/audio/transcriptions"
        form = asked.form
        assert form.pop("file")[0] == file_of(samples)
        assert form == {
            "model": [b"large"],
            "language": [b"en"],
            "prompt": ["Names: Alfred, Ünal".encode()],
            "response_format": [b"verbose_json"],
        }

    def test_words_are_asked_for_when_they_are_wanted(self, serve: Serve, build: Build) -> None:
        server = serve(FULL)
        transcript = one(build(server), clip(wants_words=True))
        assert server.requests[0].form["timestamp_granularities[]"] == [b"word", b"segment"]
        assert [(word.word, word.start_ms, word.end_ms) for word in transcript.words] == [
            ("Guten", 100.0, 500.0),
            ("Tag", 500.0, 900.0),
        ]

    @pytest.mark.parametrize("language", [None, "auto"])
    def test_the_server_finds_the_language_when_none_is_given(
        self, serve: Serve, build: Build, language: str | None
    ) -> None:
        server = serve(FULL)
        assert one(build(server), clip(language=language)).language == "de"
        assert "language" not in server.requests[0].form

    def test_a_translation_is_asked_for_elsewhere(self, serve: Serve, build: Build) -> None:
        server = serve(OK)
        assert one(build(server), clip(language="de", translates=True)).language == "en"
        assert server.paths == ["/v1/audio/translations"]
        assert "language" not in server.requests[0].form

    def test_the_key_is_the_one_in_the_environment(
        self, serve: Serve, build: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTHER_KEY", KEY)
        server = serve(OK)
        one(build(server), clip())
        one(build(server, api_key_env="OTHER_KEY"), clip())
        keys = [asked.headers.get("authorization") for asked in server.requests]
        assert keys == [None, f"Bearer {KEY}"]

    def test_a_key_that_is_handed_over_goes_before_it(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALFRED_OPENAI_API_KEY", "another")
        server = serve(OK)
        engine = OpenAiStt(OpenAiOptions(base_url=server.url), ManualClock(), api_key=KEY)
        one(engine, clip())
        engine.close()
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in repr(engine) + repr(vars(engine))

    def test_a_key_that_cannot_be_sent_is_a_mistake_of_configuration(
        self, serve: Serve, build: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ALFRED_OPENAI_API_KEY", "a b")
        with pytest.raises(ConfigError, match="ALFRED_OPENAI_API_KEY"):
            build(serve(OK))


class TestAnswer:
    def test_it_is_a_transcript_with_a_piece_for_each_word(self, serve: Serve, build: Build) -> None:
        transcript = one(build(serve(FULL)), clip())
        assert transcript.text == "Guten Tag"
        assert [(piece.text, piece.tokens) for piece in transcript.pieces] == [(" Guten", ()), (" Tag", ())]
        assert 0.9 < transcript.confidence < 0.91
        assert transcript.words == ()

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"<html>", "in JSON"),
            ({"text": 1}, "Expected `str`, got `int`"),
            ({"error": {"message": "no"}}, "required field `text`"),
        ],
    )
    def test_nonsense_is_a_failure(self, serve: Serve, build: Build, body: Any, message: str) -> None:
        server = serve(Reply(body))
        with pytest.raises(EngineFailure, match=message) as caught:
            one(build(server), clip())
        assert str(caught.value).startswith(server.url)
        assert len(server.requests) == 1


class TestFormats:
    """A server that refuses the fullest answer is asked for a plainer one, from then on at once."""

    @staticmethod
    def knows(*formats: str, words: bool = False) -> Callable[[Asked], Reply]:
        def reply(asked: Asked) -> Reply:
            asked_for = asked.form["response_format"][0].decode()
            if asked_for not in formats or ("timestamp_granularities[]" in asked.form and not words):
                return Reply({"error": {"message": "unsupported response_format"}}, 400)
            return OK

        return reply

    @pytest.mark.parametrize(
        ("server_knows", "requests"),
        [
            (("verbose_json", "json"), ["verbose_json", "verbose_json", "verbose_json", "verbose_json"]),
            (("json",), ["verbose_json", "verbose_json", "json", "json", "json"]),
        ],
    )
    def test_what_was_refused_is_not_asked_for_again(
        self, serve: Serve, build: Build, server_knows: tuple[str, ...], requests: list[str]
    ) -> None:
        server = serve(self.knows(*server_knows))
        engine = build(server)
        assert one(engine, clip(wants_words=True)).text == "Hello there."
        assert one(engine, clip(wants_words=True)).text == "Hello there."
        assert one(engine, clip()).text == "Hello there."
        assert [asked.form["response_format"][0].decode() for asked in server.requests] == requests

    def test_a_question_that_is_refused_in_every_format_changes_nothing(self, serve: Serve, build: Build) -> None:
        refusal = Reply({"error": {"message": "unknown language"}}, 400)
        server = serve(refusal, refusal, refusal, FULL)
        engine = build(server, breaker_failures=1)
        with pytest.raises(EngineFailure, match="answered 400: unknown language"):
            one(engine, clip(wants_words=True))
        assert one(engine, clip(wants_words=True)).words
        assert len(server.requests) == 4

    def test_another_refusal_is_told_at_once(self, serve: Serve, build: Build) -> None:
        server = serve(Reply({"error": {"message": "no such model"}}, 404))
        with pytest.raises(EngineFailure, match="answered 404: no such model"):
            one(build(server), clip())
        assert len(server.requests) == 1

    def test_translations_and_transcriptions_are_learnt_apart(self, serve: Serve, build: Build) -> None:
        def reply(asked: Asked) -> Reply:
            return self.knows("json")(asked) if "translations" in asked.path else OK

        server = serve(reply)
        engine = build(server)
        one(engine, clip(translates=True))
        one(engine, clip())
        formats = [asked.form["response_format"][0].decode() for asked in server.requests]
        assert formats == ["verbose_json", "json", "verbose_json"]

    def test_halves_of_characters_are_sent_as_question_marks(self, serve: Serve, build: Build) -> None:
        server = serve(OK)
        one(build(server), clip(prompt="a\ud800b"))
        assert server.requests[0].form["prompt"] == [b"a?b"]


class TestClipsThatAreNotAsked:
    def test_too_short_a_clip_is_empty(self, serve: Serve, build: Build) -> None:
        server = serve(OK)
        engine = build(server)
        assert engine.transcribe([]) == []
        assert one(engine, Clip(np.zeros(0, np.float32), language="de")) == Transcript("", language="de")
        assert one(engine, Clip(np.zeros(MIN_SAMPLES - 1, np.float32))) == Transcript("")
        assert server.requests == []
        assert one(engine, Clip(np.zeros(MIN_SAMPLES, np.float32))).text

    def test_a_partial_is_empty_unless_partials_are_on(self, serve: Serve, build: Build) -> None:
        server = serve(OK)
        assert one(build(server), clip(is_final=False)) == Transcript("")
        assert server.requests == []
        assert one(build(server, partials=True), clip(is_final=False)).text == "Hello there."

    @pytest.mark.parametrize(
        "samples",
        [np.zeros(RATE, np.int16), np.zeros((RATE, 2), np.float32), np.full(RATE, np.nan, np.float32)],
        ids=["integers", "stereo", "not numbers"],
    )
    def test_samples_that_are_none_are_refused(self, serve: Serve, build: Build, samples: Any) -> None:
        server = serve(OK)
        with pytest.raises(EngineFailure, match=r"float32|not numbers"):
            one(build(server), Clip(samples))
        assert server.requests == []


class TestBatch:
    @staticmethod
    def by_level(asked: Asked) -> Reply:
        return Reply({"text": f"{level_of(asked):.1f}"}, after_s=0.3)

    def test_clips_are_answered_side_by_side_in_their_order(self, serve: Serve, build: Build) -> None:
        server = serve(self.by_level)
        levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
        clips = [Clip(np.zeros(0, np.float32)), *(clip(level=level) for level in levels)]
        transcripts = build(server, SystemClock()).transcribe(clips)
        assert [transcript.text for transcript in transcripts] == ["", *map(str, levels)]
        assert server.most_at_once == 6

    def test_no_more_go_out_at_once_than_allowed(self, serve: Serve, build: Build) -> None:
        server = serve(self.by_level)
        build(server, max_parallel=2).transcribe([clip(level=level) for level in (0.1, 0.2, 0.3, 0.4)])
        assert server.most_at_once == 2

    def test_what_came_of_a_batch_that_failed_is_kept(self, serve: Serve, build: Build) -> None:
        def reply(asked: Asked) -> Reply:
            return Reply(b"", 500) if level_of(asked) > 0.25 else self.by_level(asked)

        server = serve(reply)
        engine = build(server)
        clips = [clip(level=level) for level in (0.1, 0.2, 0.3)]
        with pytest.raises(EngineFailure, match="answered 500"):
            engine.transcribe(clips)
        again = [Clip(asked.samples.copy()) for asked in clips]
        assert [one(engine, asked).text for asked in again[:2]] == ["0.1", "0.2"]
        with pytest.raises(EngineFailure, match="answered 500"):
            one(engine, again[2])
        assert len(server.requests) == 3
        assert one(engine, again[0]).text == "0.1"
        assert len(server.requests) == 4, "what is kept is for one question"

    @pytest.mark.parametrize("passes", ["time", "another batch"])
    def test_it_is_not_kept_for_ever(self, serve: Serve, build: Build, passes: str) -> None:
        server = serve(Reply(b"", 500), Reply(b"", 500), OK)
        clock = ManualClock()
        engine = build(server, clock)
        with pytest.raises(EngineFailure):
            engine.transcribe([clip(level=0.1), clip(level=0.2)])
        if passes == "time":
            clock.advance(61)
        else:
            engine.transcribe([clip(level=0.3), clip(level=0.4)])
        assert one(engine, clip(level=0.1)).text == "Hello there."

    def test_a_kept_answer_is_for_the_same_question_only(self, serve: Serve, build: Build) -> None:
        server = serve(Reply({"text": "first"}), Reply(b"", 500), Reply({"text": "anew"}))
        engine = build(server, max_parallel=1)
        with pytest.raises(EngineFailure):
            engine.transcribe([clip(level=0.1), clip(level=0.2)])
        assert one(engine, clip(level=0.1, prompt="otherwise")).text == "anew"
        assert one(engine, clip(level=0.1)).text == "first"


class TestFailure:
    def test_it_tries_again(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(b"", 500), OK)
        assert one(build(server, max_retries=1), clip()).text == "Hello there."
        assert server.requests[0].form["file"] == server.requests[1].form["file"]

    def test_a_server_that_hangs_is_not_waited_for(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(hangs=True))
        started = time.monotonic()
        with pytest.raises(EngineFailure, match="no answer in time"):
            build(server, SystemClock(), timeout_s=0.3).transcribe([clip(level=level) for level in (0.1, 0.2, 0.3)])
        assert time.monotonic() - started < 2

    def test_a_server_that_fails_is_left_alone_and_tried_again(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(b"", 500), Reply(b"", 500), OK)
        clock = ManualClock()
        engine = build(server, clock, breaker_failures=2, breaker_reset_s=15.0)
        for message in ("answered 500", "answered 500", "left alone", "left alone"):
            with pytest.raises(EngineFailure, match=message):
                one(engine, clip())
        assert len(server.requests) == 2
        clock.advance(15)
        assert one(engine, clip()).text == "Hello there."
        assert [each.text for each in engine.transcribe([clip(), clip()])] == ["Hello there."] * 2

    def test_a_batch_finds_a_server_that_is_well_again(self, serve: Serve, build: Build) -> None:
        """One clip is the trial, the others fail; asked again one by one, all have their answer."""
        server = serve(Reply(b"", 500), Reply(OK.body, after_s=0.2))
        clock = ManualClock()
        engine = build(server, clock, breaker_failures=1)
        with pytest.raises(EngineFailure):
            one(engine, clip())
        clock.advance(60)
        clips = [clip(level=level) for level in (0.1, 0.2, 0.3)]
        with pytest.raises(EngineFailure, match="left alone until a trial has succeeded"):
            engine.transcribe(clips)
        assert [one(engine, asked).text for asked in clips] == ["Hello there."] * 3
        assert len(server.requests) == 4

    def test_a_server_that_never_ends_its_headers_does_not_hold_the_caller(self, build: Build) -> None:
        class Endless(OpenAiServer):
            def answer(self, handler: BaseHTTPRequestHandler) -> None:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                with suppress(OSError):
                    while not is_over.wait(0.05):
                        handler.wfile.write(b"x")

        is_over = threading.Event()
        server = Endless(OK)
        try:
            started = time.monotonic()
            with pytest.raises(EngineFailure, match="no end of the answer in time"):
                one(build(server, SystemClock(), timeout_s=0.2), clip())
            assert time.monotonic() - started < 3
        finally:
            is_over.set()
            server.close()

    def test_closing_ends_a_batch_that_waits(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(hangs=True))
        engine = build(server, SystemClock(), max_parallel=2)
        closing = threading.Timer(0.3, engine.close)
        closing.start()
        started = time.monotonic()
        with pytest.raises(EngineFailure):
            engine.transcribe([clip(level=level) for level in (0.1, 0.2, 0.3, 0.4)])
        assert time.monotonic() - started < 2
        closing.join()
        with pytest.raises(EngineFailure, match="closed"):
            one(engine, clip())


class TestPartials:
    """A partial is worth one attempt; without an answer it is no news."""

    @pytest.mark.parametrize("reply", [Reply(b"", 503), Reply(b"", 400), Reply(b"", 401), Reply(b"<html>")])
    def test_one_that_fails_is_empty_and_not_asked_again(
        self, serve: Serve, build: Build, reply: Reply, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        server = serve(reply)
        engine = build(server, partials=True, max_retries=3)
        assert one(engine, clip(is_final=False, language="de")) == Transcript("", language="de")
        assert len(server.requests) == (2 if reply.status == 400 else 1)
        assert "partial_missed" in caplog.text

    def test_one_that_fails_is_not_held_against_the_server(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(b"", 503), Reply(b"", 503), OK)
        engine = build(server, partials=True, breaker_failures=1)
        for _ in range(2):
            assert one(engine, clip(is_final=False)).text == ""
        assert one(engine, clip()).text == "Hello there."

    def test_a_refused_key_is_told_by_finals_however_many_partials_are_between(
        self, serve: Serve, build: Build
    ) -> None:
        engine = build(serve(Reply(b"", 401)), partials=True, breaker_failures=2)
        for message in ("answered 401", "answered 401", "left alone"):
            with pytest.raises(EngineFailure, match=message):
                one(engine, clip())
            assert one(engine, clip(is_final=False)).text == ""

    def test_one_that_takes_long_holds_up_nobody(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(hangs=True))
        started = time.monotonic()
        partials = [clip(level=level, is_final=False) for level in (0.1, 0.2)]
        assert build(server, SystemClock(), partials=True, timeout_s=60.0).transcribe(partials) == [Transcript("")] * 2
        assert time.monotonic() - started < 4

    def test_none_is_asked_for_before_a_final_has_found_the_server_well(self, serve: Serve, build: Build) -> None:
        server = serve(Reply(b"", 503), OK)
        clock = ManualClock()
        engine = build(server, clock, partials=True, breaker_failures=1, breaker_reset_s=15.0)
        with pytest.raises(EngineFailure):
            one(engine, clip())
        for _ in range(2):
            assert one(engine, clip(is_final=False)).text == ""
            clock.advance(15)
        assert len(server.requests) == 1
        assert one(engine, clip()).text == "Hello there."
        assert one(engine, clip(is_final=False)).text == "Hello there."


class TestSession:
    """What a hypothesis makes of pieces without tokens."""

    def test_words_become_stable_and_nothing_is_forced(self, serve: Serve, build: Build) -> None:
        said = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
        server = serve(*[Reply({"text": " ".join(said[:count])}) for count in (5, 6, 7, 8)])
        engine = build(server, partials=True)
        hypothesis = Hypothesis(AgreementOptions())
        for _ in range(4):
            assert hypothesis.receive(one(engine, clip(prefix=hypothesis.prefix, is_final=False)).pieces)
        assert [piece.text for piece in hypothesis.stable] == [" one", " two"]
        assert hypothesis.prefix == hypothesis.tokens == ()

    def test_a_partial_that_is_not_asked_for_takes_nothing_away(self, serve: Serve, build: Build) -> None:
        engine = build(serve(OK))
        hypothesis = Hypothesis(AgreementOptions())
        hypothesis.receive(one(engine, clip()).pieces)
        assert not hypothesis.receive(one(engine, clip(is_final=False)).pieces)
        assert [piece.text for piece in hypothesis.pieces] == [" Hello", " there."]

    def test_it_hears_every_clip_from_its_beginning(self, serve: Serve, build: Build) -> None:
        assert not isinstance(build(serve(OK)), GrowingStt)


def file_of(samples: Float32) -> bytes:
    """The WAV file of a clip, written by the standard library."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype("<i2").tobytes())
    return buffer.getvalue()


def test_the_library_is_loaded_only_for_an_engine_that_is_made() -> None:
    script = (
        "import json, sys; import alfred_voice.models.openai_stt, alfred_voice.models.post_processing;"
        " print(json.dumps([name for name in ('httpx', 'anyio', 'asyncio') if name in sys.modules]))"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60).stdout
    assert json.loads(output) == []

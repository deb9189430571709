from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.clock import ManualClock
from alfred_voice.errors import EmptyAudio, EngineFailure, MalformedAudio
from alfred_voice.files.crew import Crew
from alfred_voice.files.errors import RecordingTooLong
from alfred_voice.files.result import Segment
from alfred_voice.files.transcriber import Progress, Transcriber, Wishes
from alfred_voice.models.engine import Clip
from alfred_voice.models.moonshine import Moonshine
from alfred_voice.models.scripted import ScriptedVad, speech_above
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.store import Store
from alfred_voice.results import Transcript, Word
from alfred_voice.session.options import SttOptions, VadOptions


Int16 = NDArray[np.int16]
RATE = 16_000


class ListeningStt:
    """Answers each clip with its length, and keeps what it was asked."""

    name = "listening"

    def __init__(self, silent_below_s: float = 0.0) -> None:
        self.batches: list[list[Clip]] = []
        self._silent_below_s = silent_below_s

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self.batches.append(list(clips))
        lengths = [len(clip.samples) / RATE for clip in clips]
        return [
            Transcript(f"{length:.1f}" if length >= self._silent_below_s else "", confidence=0.5) for length in lengths
        ]


def sound(*seconds: float) -> Int16:
    """Silence and noise in turn, beginning with silence."""
    rng = np.random.default_rng(3)
    parts = [
        rng.integers(-20_000, 20_000, round(length * RATE)) if index % 2 else np.zeros(round(length * RATE))
        for index, length in enumerate(seconds)
    ]
    return np.concatenate(parts).astype(np.int16)


def transcriber(stt: ListeningStt, max_batch: int = 16, stt_options: SttOptions | None = None) -> Transcriber:
    return Transcriber(ScriptedVad(speech_above(0.1)), stt, VadOptions(), stt_options or SttOptions(), max_batch)


def blocks(samples: Int16, size: int = 5000) -> Iterator[Int16]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def test_each_stretch_of_speech_is_a_segment_with_its_place() -> None:
    stt = ListeningStt()
    subject = transcriber(stt)
    samples = sound(1, 2, 2, 1, 1)
    found = list(subject.recognise(subject.listen(blocks(samples))))
    assert [segment.text for segment in found] == ["2.4", "1.4"]
    assert all(segment.confidence == 0.5 for segment in found)
    for segment, (start_s, end_s) in zip(found, [(1, 3), (5, 6)], strict=True):
        assert segment.start_ms == pytest.approx(1000 * start_s - 300, abs=33)
        assert segment.end_ms == pytest.approx(1000 * end_s + 96, abs=33)


def test_the_recogniser_gets_exactly_the_samples_of_the_segment() -> None:
    stt = ListeningStt()
    subject = transcriber(stt)
    samples = sound(1, 2, 1)
    (segment,) = subject.recognise(subject.listen(blocks(samples)))
    start, end = round(segment.start_ms * 16), round(segment.end_ms * 16)
    ((clip,),) = stt.batches
    np.testing.assert_array_equal(clip.samples, samples[start:end].astype(np.float32) / 32768)
    assert clip.is_final
    assert clip.language == "en"
    assert clip.voiced_ms == pytest.approx(2000, abs=33)


def test_short_pauses_stay_within_a_segment() -> None:
    subject = transcriber(ListeningStt())
    found = subject.spans(subject.listen(blocks(sound(1, 2, 0.8, 1, 1))))
    assert len(found) == 1


def test_long_speech_is_cut() -> None:
    subject = transcriber(ListeningStt(), stt_options=SttOptions(max_window_ms=5000))
    spans = subject.spans(subject.listen(blocks(sound(0.5, 12, 0.5))))
    assert len(spans) >= 3
    assert all(end - start <= 5 * RATE for start, end in spans)


def test_speech_too_short_for_words_is_not_recognised() -> None:
    stt = ListeningStt()
    subject = transcriber(stt, stt_options=SttOptions(min_voiced_ms=200))
    assert list(subject.recognise(subject.listen(blocks(sound(1, 0.15, 1))))) == []
    assert stt.batches == []


def test_a_segment_without_words_is_left_out() -> None:
    subject = transcriber(ListeningStt(silent_below_s=2.0))
    found = list(subject.recognise(subject.listen(blocks(sound(1, 2, 2, 1, 1)))))
    assert [segment.text for segment in found] == ["2.4"]


def test_a_batch_has_at_most_so_many_clips() -> None:
    stt = ListeningStt()
    found = list(transcriber(stt, max_batch=2).start(blocks(sound(*[2, 1] * 5, 1))))
    assert [len(batch) for batch in stt.batches] == [2, 2, 1]
    assert len(found) == 5
    assert found == sorted(found, key=lambda segment: segment.start_ms)


def test_a_batch_has_at_most_a_minute() -> None:
    stt = ListeningStt()
    subject = transcriber(stt, stt_options=SttOptions(max_window_ms=15_000))
    list(subject.start(blocks(sound(*[2, 14] * 6, 1))))
    assert max(sum(len(clip.samples) for clip in batch) for batch in stt.batches) <= 60 * RATE
    assert sum(len(batch) for batch in stt.batches) == 6


def test_clips_of_similar_length_are_recognised_together_and_told_in_order() -> None:
    stt = ListeningStt()
    lengths = [1, 5, 1, 5, 1, 5]
    found = list(transcriber(stt, max_batch=3).start(blocks(sound(*(part for s in lengths for part in (2, s)), 1))))
    assert [[round(len(clip.samples) / RATE) for clip in batch] for batch in stt.batches] == [[5, 5, 5], [1, 1, 1]]
    assert [segment.text for segment in found] == [f"{length + 0.4}" for length in lengths]


def test_silence_has_no_segments() -> None:
    going = transcriber(ListeningStt()).start([np.zeros(50_000, np.int16)])
    assert list(going) == []
    assert going.result().text == ""
    assert going.result().duration_ms == 3125


@pytest.mark.parametrize("empty", [[], [np.zeros(0, np.int16)]])
def test_no_sample_at_all_is_an_error(empty: list[Int16]) -> None:
    with pytest.raises(EmptyAudio):
        transcriber(ListeningStt()).listen(empty)
    with pytest.raises(EmptyAudio):
        list(transcriber(ListeningStt()).start(empty))


def test_progress_is_told() -> None:
    told: list[Progress] = []
    list(transcriber(ListeningStt()).start(blocks(sound(1, 1, 2, 1, 1), RATE), tell=told.append))
    heard = [progress.heard_ms for progress in told]
    done = [progress.done_ms for progress in told]
    assert heard == [1000, 2000, 3000, 4000, 5000, 6000, 6000]
    assert done == sorted(done)
    assert done[-1] == 6000


def test_tiny_blocks_are_put_together() -> None:
    told: list[Progress] = []
    list(transcriber(ListeningStt()).start(blocks(sound(3), 100), tell=told.append))
    assert len(told) == 4


def test_segments_come_while_the_recording_is_still_read() -> None:
    read = 0

    def endless() -> Iterator[Int16]:
        nonlocal read
        for block in blocks(sound(*[1, 9] * 60), RATE):
            read += 1
            yield block

    first = next(iter(transcriber(ListeningStt()).start(endless())))
    assert first.start_ms == pytest.approx(700, abs=33)
    assert read < 200


class Echo:
    """Answers with where a clip of a ramp begins, and two words; fails when told to."""

    name = "echo"

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.fails_after = 10**9
        self.calls = 0

    def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
        self.threads.add(threading.current_thread().name)
        self.calls += 1
        if self.calls > self.fails_after:
            raise EngineFailure("the recogniser gave up")
        words = (Word("one", 300.0, 500.0, 0.9), Word("two", 500.0, 10_000_000.0, 0.8))
        return [
            Transcript(
                f"{float(np.abs(clip.samples).sum()):.3f}", confidence=0.5, words=words if clip.wants_words else ()
            )
            for clip in clips
        ]


def test_words_are_told_by_the_recordings_clock_and_stay_in_their_segment() -> None:
    subject = Transcriber(ScriptedVad(speech_above(0.1)), Echo(), VadOptions(), SttOptions(), 16)
    (_, second) = subject.start(blocks(sound(1, 2, 2, 1, 1)), Wishes(words=True))
    one, two = second.words
    assert (one.start_ms, one.end_ms) == (second.start_ms + 300, second.start_ms + 500)
    assert (two.start_ms, two.end_ms) == (second.start_ms + 500, second.end_ms)
    assert (one.word, one.probability) == ("one", 0.9)


def test_without_being_asked_for_there_are_no_words() -> None:
    subject = Transcriber(ScriptedVad(speech_above(0.1)), Echo(), VadOptions(), SttOptions(), 16)
    assert [segment.words for segment in subject.start(blocks(sound(1, 2, 1)))] == [()]


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_several_workers_find_what_one_does(workers: int) -> None:
    lengths = np.random.default_rng(5).uniform(0.3, 3, 40)
    samples = sound(*(part for length in lengths for part in (1.2, float(length))), 1)
    vad = ScriptedVad(speech_above(0.1))
    alone = list(Transcriber(vad, Echo(), VadOptions(), SttOptions(), 1).start(blocks(samples)))
    engines = [Echo() for _ in range(workers)]
    with Crew(engines) as crew:
        together = list(Transcriber(vad, crew, VadOptions(), SttOptions(), 16).start(blocks(samples)))
    assert together == alone
    assert len(alone) == 40
    assert all(engine.calls for engine in engines[:2])


def test_what_is_damaged_is_transcribed_up_to_the_damage() -> None:
    def damaged() -> Iterator[Int16]:
        yield from blocks(sound(1, 2, 2, 1))
        raise MalformedAudio("the file is damaged")

    found: list[Segment] = []
    going = transcriber(ListeningStt()).start(damaged())
    with pytest.raises(MalformedAudio, match="damaged"):
        found.extend(going)
    assert [segment.text for segment in found] == ["2.4", "1.3"]
    assert going.result().segments == tuple(found)
    assert going.result().duration_ms == 6000


def test_a_recording_longer_than_allowed_is_an_error_behind_what_was_allowed() -> None:
    going = transcriber(ListeningStt()).start(blocks(sound(1, 2, 9)), Wishes(max_duration_s=3.5))
    found: list[Segment] = []
    with pytest.raises(RecordingTooLong, match=r"at most 3\.5 s"):
        found.extend(going)
    assert len(found) == 1
    assert going.result().duration_ms == 3500


def test_one_that_is_exactly_as_long_as_allowed_is_none() -> None:
    assert len(list(transcriber(ListeningStt()).start(blocks(sound(1, 2)), Wishes(max_duration_s=3.0)))) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_recogniser_that_fails_late_leaves_what_was_before(workers: int) -> None:
    engines = [Echo() for _ in range(workers)]
    for engine in engines:
        engine.fails_after = 3
    with Crew(engines) as crew:
        subject = Transcriber(ScriptedVad(speech_above(0.1)), crew, VadOptions(), SttOptions(), 2)
        going = subject.start(blocks(sound(*[2, 10] * 40)))
        found: list[Segment] = []
        with pytest.raises(EngineFailure, match="gave up"):
            found.extend(going)
    assert going.result().segments == tuple(found)


def test_what_is_known_already_is_not_recognised_again() -> None:
    samples = sound(1, 2, 2, 1, 2, 1, 1)
    first, *rest = transcriber(ListeningStt()).start(blocks(samples))
    stt = ListeningStt()
    wishes = Wishes(done_until_ms=round(first.end_ms, 1))
    assert list(transcriber(stt).start(blocks(samples), wishes)) == rest
    assert sum(len(batch) for batch in stt.batches) == len(rest)


def test_the_result_says_what_took_how_long() -> None:
    clock = ManualClock()

    def slow() -> Iterator[Int16]:
        for block in blocks(sound(1, 2, 1), RATE):
            clock.advance(0.25)
            yield block

    class SlowStt(ListeningStt):
        def transcribe(self, clips: Sequence[Clip]) -> list[Transcript]:
            clock.advance(0.5)
            return super().transcribe(clips)

    vad = ScriptedVad(speech_above(0.1))
    going = Transcriber(vad, SlowStt(), VadOptions(), SttOptions(), 16, clock).start(slow())
    list(going)
    result = going.result(metadata={"name": "slow"})
    assert (result.timing.decode_s, result.timing.detect_s, result.timing.recognise_s) == (1.0, 0.0, 0.5)
    assert result.timing.total_s == 1.5
    assert result.real_time_factor == 1.5 / 4
    assert result.metadata == {"name": "slow", "vad": "scripted", "stt": "listening", "workers": 1}
    assert result.language == "en"


def test_who_stops_listening_stops_the_work() -> None:
    stt = ListeningStt()
    segments = iter(transcriber(stt).start(blocks(sound(*[2, 10] * 40))))
    next(segments)
    calls = len(stt.batches)
    segments.close()
    assert len(stt.batches) == calls


@pytest.mark.models
def test_real_speech_becomes_its_text(models: Store, two_cities: Int16) -> None:
    vad = SileroVad.load(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))
    stt = Moonshine(models.path("moonshine-tiny-en", "encoder_model.ort").parent)
    subject = Transcriber(vad, stt, VadOptions(), SttOptions(), 16)
    recording = subject.listen(blocks(two_cities))
    found = list(subject.recognise(recording))
    assert list(subject.start(blocks(two_cities, 999))) == found
    text = " ".join(segment.text for segment in found).lower()
    phrases = ["best of times", "worst of times", "age of wisdom", "season of light", "winter of despair"]
    phrases += ["direct to heaven", "superlative degree of comparison only"]
    places = [text.find(phrase) for phrase in phrases]
    assert -1 not in places
    assert places == sorted(places)
    assert all(_is_in(segment, recording.duration_ms) for segment in found)


def _is_in(segment: Segment, duration_ms: float) -> bool:
    return 0 <= segment.start_ms < segment.end_ms <= min(segment.start_ms + 15_000, duration_ms)


@pytest.mark.models
def test_real_speech_is_the_same_from_two_workers_in_batches_as_one_by_one(models: Store, two_cities: Int16) -> None:
    vad = SileroVad.load(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))
    folder = models.path("moonshine-tiny-en", "encoder_model.ort").parent
    samples = np.concatenate([two_cities, two_cities, two_cities])
    alone = Transcriber(vad, Moonshine(folder), VadOptions(), SttOptions(), 1)
    with Crew([Moonshine(folder), Moonshine(folder)]) as crew:
        together = Transcriber(vad, crew, VadOptions(), SttOptions(), 16)
        assert list(together.start(blocks(samples))) == list(alone.start(blocks(samples)))

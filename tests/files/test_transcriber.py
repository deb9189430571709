from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import EmptyAudio
from alfred_voice.files.transcriber import Recording, Segment, Transcriber
from alfred_voice.models.engine import Clip
from alfred_voice.models.moonshine import Moonshine
from alfred_voice.models.scripted import ScriptedVad, speech_above
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.store import Store
from alfred_voice.results import Transcript
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


def test_neighbours_are_recognised_in_batches() -> None:
    stt = ListeningStt()
    subject = transcriber(stt, max_batch=2)
    found = list(subject.recognise(subject.listen(blocks(sound(*[2, 1] * 5, 1)))))
    assert [len(batch) for batch in stt.batches] == [2, 2, 1]
    assert len(found) == 5
    assert found == sorted(found, key=lambda segment: segment.start_ms)


def test_a_batch_has_at_most_a_minute() -> None:
    stt = ListeningStt()
    subject = transcriber(stt, stt_options=SttOptions(max_window_ms=15_000))
    list(subject.recognise(subject.listen(blocks(sound(*[2, 14] * 6, 1)))))
    assert [len(batch) for batch in stt.batches] == [4, 2]


def test_silence_has_no_segments() -> None:
    subject = transcriber(ListeningStt())
    assert list(subject.recognise(subject.listen([np.zeros(50_000, np.int16)]))) == []


def test_no_sample_at_all_is_an_error() -> None:
    with pytest.raises(EmptyAudio):
        transcriber(ListeningStt()).listen([])


def test_progress_is_told() -> None:
    subject = transcriber(ListeningStt(), max_batch=1)
    heard: list[float] = []
    done: list[float] = []
    recording = subject.listen(blocks(sound(1, 1, 2, 1, 1), RATE), heard.append)
    list(subject.recognise(recording, done.append))
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(6000, abs=33)
    assert done == sorted(done)
    assert all(0 <= share < 1 for share in done)
    assert len(done) == 2


def test_voiced_time_counts_the_windows_of_speech_in_a_span() -> None:
    recording = Recording(np.zeros(512 * 4, np.int16), [0.0, 0.5, 0.9, 0.4])
    assert recording.voiced_ms((0, 2048), 0.5) == 64
    assert recording.voiced_ms((512, 1024), 0.5) == 32
    assert recording.voiced_ms((0, 512), 0.5) == 0
    assert recording.duration_ms == 128


@pytest.mark.models
def test_real_speech_becomes_its_text(models: Store, two_cities: Int16) -> None:
    vad = SileroVad.load(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))
    stt = Moonshine(models.path("moonshine-tiny-en", "encoder_model.ort").parent)
    subject = Transcriber(vad, stt, VadOptions(), SttOptions(), 16)
    recording = subject.listen(blocks(two_cities))
    found = list(subject.recognise(recording))
    text = " ".join(segment.text for segment in found).lower()
    phrases = ["best of times", "worst of times", "age of wisdom", "season of light", "winter of despair"]
    phrases += ["direct to heaven", "superlative degree of comparison only"]
    places = [text.find(phrase) for phrase in phrases]
    assert -1 not in places
    assert places == sorted(places)
    assert all(_is_in(segment, recording) for segment in found)


def _is_in(segment: Segment, recording: Recording) -> bool:
    return 0 <= segment.start_ms < segment.end_ms <= min(segment.start_ms + 15_000, recording.duration_ms)

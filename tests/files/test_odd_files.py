"""Every odd file gives the right result or an error that says what is wrong."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest

from alfred_voice.errors import AudioError, EmptyAudio
from alfred_voice.files.detect import RecordingDetector
from alfred_voice.files.errors import RecordingUnreadable
from alfred_voice.files.result import Segment
from alfred_voice.files.source import SPOOL_BYTES, Source, media_in, opened
from alfred_voice.files.transcriber import Pass, Transcriber, Wishes
from alfred_voice.models.moonshine import Moonshine
from alfred_voice.models.scripted import ScriptedStt, ScriptedVad, speech_above
from alfred_voice.models.silero import SileroVad
from alfred_voice.models.silero_run import RecordingSilero
from alfred_voice.models.store import Store
from alfred_voice.session.options import SttOptions, VadOptions
from tests.files.odd_files import (
    QUIET,
    REFUSED,
    SCRATCHED,
    SECONDS,
    SHORTENED,
    WHOLE,
    WORDLESS,
    Int16,
    burst,
    encoded,
    wav,
)


def transcriber() -> Transcriber:
    return Transcriber(ScriptedVad(speech_above(0.1)), ScriptedStt(), VadOptions(), SttOptions(), 16)


def heard(source: Source) -> tuple[list[Segment], Pass, AudioError | None]:
    """The segments, and what they ended with."""
    segments: list[Segment] = []
    with opened(source) as recording:
        going = transcriber().start(recording.blocks())
        try:
            segments.extend(going)
        except AudioError as error:
            return segments, going, error
    return segments, going, None


@pytest.mark.parametrize("name", ["wav", "wav whose header says twice as much"])
def test_a_wav_file_that_was_cut_short_says_so(name: str) -> None:
    _, _, error = heard(SHORTENED[name]())
    assert error is not None
    assert "damaged" in str(error)


@pytest.mark.parametrize("make", SCRATCHED.values(), ids=SCRATCHED.keys())
def test_a_scratch_costs_what_is_under_it_alone(make: Callable[[], bytes]) -> None:
    with opened(make()) as recording:
        going = transcriber().start(recording.blocks())
        segments = list(going)
        damage = recording.damage
    first, last = segments[0], segments[-1]
    assert [first.start_ms, first.end_ms] == pytest.approx([1700, 4096], abs=110)
    # What comes behind is on its place, whatever is missing before.
    assert [last.start_ms, last.end_ms] == pytest.approx([23_700, 26_096], abs=150)
    assert going.duration_ms == pytest.approx(30_000, abs=150)
    assert 0 < damage.seconds < 6
    assert all(5 < at < 20 for at, _ in damage.gaps)
    assert str(damage).startswith("damaged: ")


def test_there_are_enough_of_them() -> None:
    assert len(SCRATCHED) + len(WHOLE) + len(SHORTENED) + len(QUIET) + len(REFUSED) >= 70


@pytest.mark.parametrize("make", WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_file_has_its_speech_where_it_is(make: Callable[[], bytes]) -> None:
    segments, going, error = heard(make())
    assert error is None
    (segment,) = segments
    # A coder's own delay, which some formats do not tell, is a tenth of a second at most.
    assert segment.start_ms == pytest.approx(1700, abs=110)
    assert segment.end_ms == pytest.approx(4096, abs=110)
    assert going.duration_ms == pytest.approx(1000 * SECONDS, abs=130)


@pytest.mark.parametrize("make", SHORTENED.values(), ids=SHORTENED.keys())
def test_of_a_damaged_file_is_told_what_comes_before_the_damage(make: Callable[[], bytes]) -> None:
    segments, going, error = heard(make())
    assert len(segments) == 1
    assert segments[0].start_ms == pytest.approx(1700, abs=110)
    assert going.duration_ms >= 2900
    if error is not None:
        assert error.code == "audio_malformed"
        assert "damaged" in str(error)


@pytest.mark.parametrize("make", QUIET.values(), ids=QUIET.keys())
def test_where_nobody_speaks_there_are_no_segments(make: Callable[[], bytes]) -> None:
    segments, going, error = heard(make())
    assert (segments, error) == ([], None)
    assert going.result().text == ""
    assert going.duration_ms > 0


@pytest.mark.parametrize(("code", "make"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_transcribed_is_refused_with_a_reason(code: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(AudioError) as refused, opened(make()) as recording:
        list(transcriber().start(recording.blocks()))
    assert refused.value.code == code
    assert str(refused.value).split()[0] in {"expected", "the", "no", "sample"}


@pytest.mark.parametrize("name", ["speech.txt", "speech.mp3", "speech", "Ünïcode 語.wav"])
def test_the_name_says_nothing_about_the_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE["flac"]())
    segments, _, error = heard(path)
    assert (len(segments), error) == (1, None)


class Pipe(io.RawIOBase):
    """Gives its bytes in odd portions, and cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self._portions: Iterator[int] = itertools.cycle([1, 4096, 7, 100_000])

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        return self._data.readinto(view[: next(self._portions)])


@pytest.mark.parametrize("name", ["wav", "mp3", "opus in ogg", "m4a", "mp4 with a picture"])
def test_a_file_that_cannot_go_back_is_as_good(name: str) -> None:
    segments, _, error = heard(cast("BinaryIO", Pipe(WHOLE[name]())))
    assert (len(segments), error) == (1, None)


def test_neither_is_a_pipe_of_the_system_worse() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader:
        with os.fdopen(write, "wb") as writer:
            writer.write(WHOLE["mp3"]())
        segments, _, error = heard(reader)
    assert (len(segments), error) == (1, None)


def test_what_is_larger_than_memory_may_be_goes_to_a_file() -> None:
    data = wav(np.tile(burst(), 1 + SPOOL_BYTES // (2 * len(burst()))).tobytes())
    assert len(data) > SPOOL_BYTES
    segments, going, _ = heard(cast("BinaryIO", Pipe(data)))
    assert len(segments) == going.duration_ms // 6000


def test_a_file_that_was_opened_by_somebody_is_read_from_where_it_stands_and_stays_open() -> None:
    file = io.BytesIO(b"a header of one's own" + WHOLE["wav"]())
    file.seek(21)
    segments, _, _ = heard(file)
    assert len(segments) == 1
    assert not file.closed


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_every_kind_are_taken(kind: type) -> None:
    assert len(heard(kind(WHOLE["mp3"]()))[0]) == 1


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="got a folder"), opened(tmp_path):
        pass


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecordingUnreadable, match="No such file"), opened(tmp_path / "missing.wav"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_what_is_forbidden_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(WHOLE["wav"]())
    path.chmod(0)
    with pytest.raises(RecordingUnreadable, match="ermission"), opened(path):
        pass


def test_an_empty_file_has_nothing_to_hear(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(EmptyAudio, match="0 bytes"), opened(tmp_path / "empty.wav"):
        pass


@pytest.mark.parametrize("wrong", [io.StringIO("text"), 3, None, ["a.wav"]])
def test_other_things_are_no_source(wrong: object) -> None:
    with pytest.raises(TypeError, match="expected bytes, a path or a file"), opened(cast("Source", wrong)):
        pass


def test_a_file_that_fails_while_it_is_read_is_told() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 100_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    segments, going, error = heard(Failing(WHOLE["wav"]()))
    assert isinstance(error, AudioError)
    assert len(segments) == 1
    assert going.duration_ms > 2500


def test_a_folder_gives_its_recordings_by_name(tmp_path: Path) -> None:
    names = ["b.wav", "a.MP3", "notes.txt", ".hidden.wav", "inside/c.opus", "inside/deeper/d.mkv", ".git/e.wav"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "inside" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in media_in(tmp_path)]
    assert found == ["a.MP3", "b.wav", "inside/c.opus", "inside/deeper/d.mkv"]


# With the real models


@pytest.fixture(scope="module")
def real(models: Store) -> Transcriber:
    vad = RecordingSilero.load(models.path("silero-vad", "silero_vad_op18_ifless.onnx"))
    stt = Moonshine(models.path("moonshine-tiny-en", "encoder_model.ort").parent)
    return Transcriber(vad, stt, VadOptions(), SttOptions(), 16)


@pytest.mark.models
@pytest.mark.parametrize("make", WORDLESS.values(), ids=WORDLESS.keys())
def test_the_models_hear_no_word_where_there_is_none(real: Transcriber, make: Callable[[], bytes]) -> None:
    with opened(make()) as recording:
        assert list(real.start(recording.blocks())) == []


@pytest.mark.models
@pytest.mark.parametrize(
    ("container", "codec", "rate", "layout"),
    [
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("ipod", "aac", 48_000, "mono"),
        ("webm", "libopus", 48_000, "stereo"),
        ("flac", "flac", 96_000, "mono"),
        ("wav", "pcm_mulaw", 8_000, "mono"),
    ],
)
def test_real_speech_survives_every_format(
    real: Transcriber, beckett: Int16, container: str, codec: str, rate: int, layout: str
) -> None:
    data = encoded(container, codec, np.array(beckett), rate=rate, layout=layout)
    with opened(data) as recording:
        text = " ".join(segment.text for segment in real.start(recording.blocks(), Wishes(words=True))).lower()
    assert "ever tried" in text
    assert "no matter" in text
    assert "fail better" in text


@pytest.mark.models
def test_the_detector_for_recordings_says_what_the_live_one_says(models: Store, two_cities: Int16) -> None:
    path = models.path("silero-vad", "silero_vad_op18_ifless.onnx")
    samples = np.concatenate([two_cities, np.zeros(200_000, np.int16), two_cities])
    found = []
    for engine in (SileroVad.load(path), RecordingSilero.load(path)):
        detector = RecordingDetector(engine, VadOptions(reset_after_ms=1000))
        found.append([p for at in range(0, len(samples), 7_000) for p in detector.feed(samples[at : at + 7_000])])
        found[-1] += detector.flush()
    np.testing.assert_allclose(found[1], found[0], atol=2e-4)

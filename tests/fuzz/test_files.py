"""What is read from the disk: configuration, keys, notes, and the files of models."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alfred_voice import config
from alfred_voice.errors import AlfredVoiceError
from alfred_voice.files.notes import Notes
from alfred_voice.files.result import Segment
from alfred_voice.models import moonshine_tokens, whisper_vocabulary
from alfred_voice.models.onnx_writer import GraphWriter
from alfred_voice.models.ort_format import read_ort
from alfred_voice.models.whisper_checkpoint import read_checkpoint
from alfred_voice.results import Word
from alfred_voice.server.guard.key_source import KeySource
from alfred_voice.server.guard.keyring import keyring_of, read_keys_file, read_keys_variable
from tests.fuzz.inputs import HUGE, as_json, cut, damaged, deliberate, junk, share, values
from tests.models.test_whisper_checkpoint import checkpoint, pickled, tensor, write, write_pickle


PATHS = [key.path for key in config.reference()]
texts = st.one_of(
    st.text(max_size=40), st.sampled_from(HUGE), st.sampled_from(["null", "~", "true", "\udc80", "[1]", "{a: 1}"])
)
DEFAULTS = "\n".join(f"{room}:\n  {key}: 1" for room, key in (path.split(".") for path in PATHS[::9]))
YAMLS = (
    b"server:\n  port: 8015\n  host: 127.0.0.1\nstt:\n  engine: whisper\n",
    b'a: &x [*x]\nserver: {port: "80"}\n--- \nlog:\n  level: !!python/object:os.system info\n',
    b"%YAML 1.1\n---\nvad: {<<: {threshold: .5}}\n? {a: b}\n: c\n",
    DEFAULTS.encode(),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all inputs of a test."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def written(folder: Path) -> Callable[[bytes], Path]:
    """The path of a file with this content."""
    path = folder / "input"

    def write_it(data: bytes) -> Path:
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    return write_it


@share(12)
@given(data=junk(*YAMLS))
@example(data=b'server:\n  host: "\\UFFFFFFFF"\n')
@example(data=b'server:\n  host: "\\U00110000"\n')
@example(data=b"%YAML 1." + b"1" * 5000 + b"\n---\nlog:\n")
def test_any_file_is_a_configuration_or_refused(written: Callable[[bytes], Path], data: bytes) -> None:
    with deliberate("YAML configuration"):
        config.load(file=written(data))


@share(12)
@given(st.lists(st.tuples(st.sampled_from(PATHS) | st.text(max_size=20), texts), max_size=3))
def test_any_settings_and_variables_are_a_configuration_or_refused(pairs: list[tuple[str, str]]) -> None:
    with deliberate("--set"):
        config.load(sets=[f"{path}={text}" for path, text in pairs])
    with deliberate("environment"):
        config.load(environ={f"ALFRED_{path.replace('.', '__').upper()}": text for path, text in pairs})


KEYS = (
    b'[keys.a]\nkey = "correct-horse-battery"\nadmin = true\nmax_sessions = 3\n',
    b'[keys."b.c"]\nsha256 = "' + b"ab" * 32 + b'"\nrequests_per_minute = 10\n[keys.d]\nadmin = 1979-05-27T07:32:00Z\n',
    b"keys = {a = {key = 'correct-horse-battery'}}\nx = [0x10, 1e5, inf]\n",
)


@given(data=junk(*KEYS))
@example(data=b"a=" + b"[" * 4000)
@example(data=b"a=" + b"9" * 4050)
@example(data=b"a=" + b"[\n" * 60_000)
@example(data=b"a" + b".a" * 100_000 + b"=1")
@example(data=b"a=" + b"[9\n," * 1000 + b"9" * 4050)
def test_any_file_is_keys_or_refused(written: Callable[[bytes], Path], data: bytes) -> None:
    with deliberate("keys file"):
        KeySource(str(written(data)))
    with deliberate("keys file"):
        keyring_of(read_keys_file(data.decode(errors="replace"), "keys"))
    with deliberate("keys variable"):
        read_keys_variable(data.decode(errors="surrogateescape"))


ABOUT = {"file": "a.wav", "bytes": 3}
LINES = (
    as_json({"type": "recording", **ABOUT}) + b"\n",
    as_json({"type": "segment", **Segment(0.0, 9.0, "a", 0.5, (Word("a", 1, 2, 0.9),)).as_fields()}) + b"\n",
    as_json({"type": "segment", "start_ms": 10, "end_ms": 20, "text": "b", "confidence": 1}) + b"\n",
)
odd_segments = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("segment") | values,
        **dict.fromkeys(("start_ms", "end_ms", "text", "confidence", "words"), values),
    },
).map(lambda fields: as_json({**json.loads(LINES[1]), **fields}) + b"\n")


@given(lines=st.lists(odd_segments | damaged(LINES) | junk(*LINES), max_size=4), whole=st.booleans())
@example(lines=[b"[" * 60_000 + b"\n"], whole=True)
@example(lines=[LINES[1].replace(b"9.0", b"1" + b"0" * 400)], whole=True)
@example(lines=[LINES[1].replace(b"9.0", b"NaN")], whole=True)
def test_any_notes_of_a_recording_are_gone_on_from_or_begun_anew(
    written: Callable[[bytes], Path], lines: list[bytes], whole: bool
) -> None:
    path = written((LINES[0] if whole else b"") + b"".join(lines))
    with deliberate("notes of recordings"), Notes(path, ABOUT, goes_on=True) as notes:
        assert isfinite(notes.done_until_ms)
        assert all(segment.start_ms <= segment.end_ms for segment in notes.known)
        assert [segment.end_ms for segment in notes.known] == sorted(segment.end_ms for segment in notes.known)


WEIGHTS = {"w": tensor("FloatStorage", "0", 0, (2, 2), (2, 1)), "h": tensor("HalfStorage", "1", 0, (4,), (1,))}
STORAGES = {"0": np.arange(4, dtype="<f4").tobytes(), "1": np.arange(4, dtype="<f2").tobytes()}
PICKLE = pickled(checkpoint(**WEIGHTS))


@given(instructions=damaged((PICKLE,), most=6) | st.binary(max_size=200))
@example(instructions=b"\x80\x02Nr\xff\xff\xff\x7f.")
@example(instructions=b"\x80\x02Np2147483647\n.")
def test_any_pickle_in_a_checkpoint_is_weights_or_refused(folder: Path, instructions: bytes) -> None:
    with deliberate("checkpoints"):
        read_checkpoint(write_pickle(folder / "a.pt", instructions, STORAGES))


@given(
    st.integers(-3, 6),
    st.lists(st.integers(-2, 5) | st.just(2**62), max_size=3),
    st.lists(st.integers(-2, 5) | st.just(2**62), max_size=3),
)
def test_no_tensor_of_a_checkpoint_reaches_past_its_numbers(
    folder: Path, offset: int, size: list[int], stride: list[int]
) -> None:
    odd = tensor("FloatStorage", "0", offset, tuple(size), tuple(stride))
    with deliberate("checkpoints"):
        found = read_checkpoint(write(folder / "a.pt", checkpoint(w=odd), STORAGES))
        assert set(found["w"].ravel().tolist()) <= {0.0, 1.0, 2.0, 3.0}


@given(st.data())
def test_any_archive_is_a_checkpoint_or_refused(
    written: Callable[[bytes], Path], folder: Path, data: st.DataObject
) -> None:
    whole = write(folder / "seed.pt", checkpoint(**WEIGHTS), STORAGES).read_bytes()
    with deliberate("checkpoints"):
        read_checkpoint(written(data.draw(damaged((whole,), most=6))))


@pytest.fixture(scope="module")
def graph(folder: Path) -> bytes:
    """y = x @ weights, in ONNX Runtime's own format."""
    writer = GraphWriter()
    product = writer.add(
        "MatMul", writer.input("x", np.float32, ("rows", 3)), writer.constant(np.ones((3, 4), np.float32))
    )
    writer.output(product, "y", np.float32, ("rows", 4))
    writer.write(folder / "small.onnx")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(folder / "small.ort")
    ort.InferenceSession(str(folder / "small.onnx"), options, providers=["CPUExecutionProvider"])
    return (folder / "small.ort").read_bytes()


@given(st.data())
def test_any_file_is_a_graph_in_ort_format_or_refused(
    written: Callable[[bytes], Path], graph: bytes, data: st.DataObject
) -> None:
    with deliberate("graphs in ORT format"):
        read_ort(written(data.draw(damaged((graph,), most=8))))


@given(junk(b"\x01a\x02bc\x81\x01" + b"x" * 129, b"\x00\x00", "\x03\u2581".encode()))
def test_any_file_is_a_vocabulary_of_moonshine_or_refused(written: Callable[[bytes], Path], data: bytes) -> None:
    for piece in cut(data):
        with deliberate("vocabulary of Moonshine"):
            found = moonshine_tokens.Vocabulary.load(written(piece))
            found.pieces(range(len(found)))


@given(junk(b"IQ== 0\nIg== 1\nIw== 2\n= 3\n", b"IQ== 0"), st.integers(-1, 101))
@example(b"IQ== " + b"9" * 5000, 1)
def test_any_file_is_a_vocabulary_of_whisper_or_refused(
    written: Callable[[bytes], Path], data: bytes, languages: int
) -> None:
    for piece in cut(data):
        with deliberate("vocabulary of Whisper"):
            found = whisper_vocabulary.Vocabulary.load(written(piece), languages)
            found.text(range(found.end))


def test_a_folder_where_a_file_should_be_is_refused(folder: Path) -> None:
    reads: list[Callable[[Path], Any]] = [
        lambda path: config.load(file=path),
        lambda path: KeySource(str(path)),
        read_checkpoint,
        read_ort,
        moonshine_tokens.Vocabulary.load,
        lambda path: whisper_vocabulary.Vocabulary.load(path, 1),
    ]
    for read in reads:
        with pytest.raises(AlfredVoiceError, match=r"."):
            read(folder)

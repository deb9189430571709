"""A real throw-away environment, with packages in it that stand for other people's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice.bench.peer_environment import PeerEnvironment, PeerFailed, peer_environment


PIPECAT_VAD = """
class SileroVADAnalyzer:
    made = []

    def __init__(self, sample_rate):
        assert sample_rate == 16_000
        self.frames, self.is_clean = [], False
        self.made.append(self)

    def set_sample_rate(self, rate):
        assert rate == 16_000

    async def analyze_audio(self, frame):
        assert len(frame) == 640
        self.frames.append(frame)
        sum(range(2_000))

    async def cleanup(self):
        self.is_clean = True
        heard = [len(one.frames) for one in self.made if one.is_clean]
        # The one that warms up is the last to be cleaned up, and hears the beginning alone.
        if len(heard) == len(self.made):
            assert heard[1:] == [150, 150, 150], heard
"""
PIPECAT_TURN = """
class LocalSmartTurnAnalyzerV3:
    def __init__(self, sample_rate):
        self.frames = []

    def set_sample_rate(self, rate):
        assert rate == 16_000

    def append_audio(self, frame, is_speech):
        assert is_speech
        self.frames.append(frame)

    async def analyze_end_of_turn(self):
        assert len(self.frames) == 100
        sum(range(20_000))

    def clear(self):
        self.frames.clear()

    async def cleanup(self):
        pass
"""
TORCH = """
import contextlib

no_grad = contextlib.nullcontext

def set_num_threads(count):
    assert count == 1

def from_numpy(array):
    return array
"""
SILERO = """
class Model:
    def __call__(self, window, rate):
        assert (window.shape, window.dtype.name, rate) == ((512,), "float32", 16_000)
        sum(range(2_000))

    def reset_states(self):
        pass

def load_silero_vad(onnx):
    assert onnx
    return Model()
"""
MOONSHINE = """
import enum

class ModelArch(enum.Enum):
    TINY = 0

def get_model_path(name):
    return "/models/" + name
"""
TRANSCRIBER = """
import types

class TranscriptEventListener:
    pass

class Transcriber:
    def __init__(self, path, arch, update_interval, options):
        assert (path, arch.name) == ("/models/tiny-en", "TINY")
        self.about = f"every {update_interval} s with {sorted(options)}"

    def create_stream(self):
        return Stream(self.about)

    def close(self):
        pass

class Stream:
    def __init__(self, about):
        self.about, self.heard = about, 0

    def add_listener(self, listener):
        self.listener = listener

    def start(self):
        pass

    def add_audio(self, samples, rate):
        assert isinstance(samples, list) and rate == 16_000
        self.heard += len(samples)

    def stop(self):
        for text in (str(self.heard), self.about):
            self.listener.on_line_completed(types.SimpleNamespace(line=types.SimpleNamespace(text=text)))

    def close(self):
        pass
"""
PACKAGES = {
    "pipecat/audio/vad/silero.py": PIPECAT_VAD,
    "pipecat/audio/turn/smart_turn/local_smart_turn_v3.py": PIPECAT_TURN,
    "torch.py": TORCH,
    "silero_vad.py": SILERO,
    "moonshine_voice/__init__.py": MOONSHINE,
    "moonshine_voice/transcriber.py": TRANSCRIBER,
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerEnvironment]:
    """With the stand-ins, and with numpy, which those packages bring along."""
    folder = tmp_path_factory.mktemp("peers")
    with peer_environment(folder) as made:
        (packages,) = folder.glob("lib/python*/site-packages")
        for name, text in PACKAGES.items():
            (packages / name).parent.mkdir(parents=True, exist_ok=True)
            (packages / name).write_text(text, "utf-8")
        (packages / "numpy.pth").write_text(str(Path(np.__file__).parent.parent), "utf-8")
        yield made


@pytest.fixture
def job(tmp_path: Path) -> dict[str, Any]:
    """Two recordings, of 1.5 and 0.5 s."""
    files = []
    for number, seconds in enumerate((1.5, 0.5)):
        files.append(tmp_path / f"{number}.s16")
        np.arange(round(seconds * 16_000), dtype=np.int16).tofile(files[-1])
    return {"audio": [str(file) for file in files], "streams": 2, "runs": 2, "interval_s": 0.2}


def test_frames_go_to_each_of_several_analysers(environment: PeerEnvironment, job: dict[str, Any]) -> None:
    found = environment.probe("pipecat_vad", {**job, "streams": 3})
    assert found["us_per_frame"] > 0
    assert "kb_per_stream" in found


def test_windows_go_to_the_makers_wrapper(environment: PeerEnvironment, job: dict[str, Any]) -> None:
    assert environment.probe("silero_vad", job)["us_per_frame"] > 0


def test_the_turn_analyser_is_given_all_audio_each_time(environment: PeerEnvironment, job: dict[str, Any]) -> None:
    found = environment.probe("pipecat_turn", job)
    assert found["wall_ms"] > 0
    assert found["cpu_ms"] > 0


@pytest.mark.parametrize(("name", "options"), [("moonshine", []), ("moonshine_text", ["identify_speakers",
                                                                                   "return_audio_data"])])  # fmt: skip
def test_the_transcriber_hears_each_recording_in_a_stream_of_its_own(
    environment: PeerEnvironment, job: dict[str, Any], name: str, options: list[str]
) -> None:
    found = environment.probe(name, job)
    assert found["texts"] == [f"{samples} every 0.2 s with {options}" for samples in (24_000, 8_000)]
    assert found["cpu_s"] > 0
    assert found["rss_mb"] > 5
    assert found["blocked_max_ms"] > 0


def test_a_package_that_fails_is_told_with_its_own_words(environment: PeerEnvironment, job: dict[str, Any]) -> None:
    with pytest.raises(PeerFailed, match=r"ended with exit code 1[\s\S]*FileNotFoundError"):
        environment.probe("silero_vad", {**job, "audio": ["/nowhere.s16"]})


def test_a_package_that_cannot_be_had_is_told(environment: PeerEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PeerFailed, match="no-such-package"):
        environment.install(["no-such-package==1.0"])


def test_a_folder_that_is_named_is_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []

    def note(self: PeerEnvironment, command: list[str], within_s: float) -> str:
        made.append(command)
        (tmp_path / "kept" / "bin").mkdir(parents=True)
        (tmp_path / "kept" / "bin" / "python").touch()
        return ""

    monkeypatch.setattr(PeerEnvironment, "_run", note)
    for _ in range(2):
        with peer_environment(tmp_path / "kept"):
            pass
    assert made == [[sys.executable, "-m", "venv", str(tmp_path / "kept")]]


def test_a_temporary_one_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(PeerEnvironment, "create", lambda self: folders.append(self._folder))
    with peer_environment(None):
        assert folders[0].is_dir()
    assert not folders[0].exists()


def test_what_prints_no_figures_is_told(environment: PeerEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerEnvironment, "_run", lambda *_: "a banner\n")
    with pytest.raises(PeerFailed, match="expected figures, got 'a banner"):
        environment.probe("silero_vad", {})

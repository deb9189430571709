"""A folder of recordings that scripted engines can work on."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest


SCRIPTED = [
    word
    for setting in ("vad.engine=scripted", "stt.engine=scripted", "turn.engine=scripted", "tts.engine=scripted")
    for word in ("--set", setting)
]


@pytest.fixture
def scripted() -> list[str]:
    """Options of the command line that need no models."""
    return [*SCRIPTED, "--set", "tts.voice=en-us"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two recordings of noise that stands for speech, 1.3 s each, with silence around; and one of nothing else."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    rng = np.random.default_rng(0)
    silence = np.zeros(8000, np.int16)
    for name in ("a.wav", "b.wav"):
        speech = rng.normal(0, 3000, 20_800).astype(np.int16)
        _write(folder / name, np.concatenate([silence, speech, silence]))
    _write(folder / "silence.wav", np.concatenate([silence, silence]))
    files = [
        {"file": "a.wav", "text": "hello world", "words": [_word("hello", 0.5, 1.0), _word("world", 1.1, 1.8)]},
        {"file": "silence.wav", "text": ""},
        {"file": "b.wav", "text": "goodbye world", "words": [_word("goodbye", 0.5, 1.0), _word("world", 1.1, 1.8)]},
    ]
    (folder / "manifest.json").write_text(json.dumps({"files": files}), "utf-8")
    return folder


def _word(word: str, start: float, end: float) -> dict[str, object]:
    return {"word": word, "start": start, "end": end}


def _write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())

"""The same weights in openai-whisper and here, and speech for both to hear."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from alfred_voice.bench.random_whisper import SIZES, random_checkpoint
from alfred_voice.models.decoder_batch import Heard
from alfred_voice.models.espeak import EspeakTts
from alfred_voice.models.onnx import Session, open_session
from alfred_voice.models.whisper_checkpoint import Checkpoint
from alfred_voice.models.whisper_decoder import WhisperDecoder
from alfred_voice.models.whisper_graphs import write_decoder, write_encoder
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_mel import WhisperMel
from alfred_voice.models.whisper_rules import LogitRules
from alfred_voice.models.whisper_vocabulary import Vocabulary


Float32 = NDArray[np.float32]

RATE = 16_000
SPOKEN = (
    "Turn on the lamp in the living room.",
    "Am Freitag um halb neun, wenn der Zug pünktlich ist, sind wir wieder daheim und machen Feuer.",
    (
        "He had seven hundred and twelve books, most of them unread; the others, he said, were lent to friends who "
        "would sooner or later bring them back, or at least remember where they had left them. Nobody believed "
        "a word of it."
    ),
)
VOICES = ("en-us", "de", "en-gb")
FRAMES = 3000
"""Of features: 30 s, which is what openai-whisper always hears."""


@pytest.fixture(scope="session")
def clips() -> list[Float32]:
    """A command, a sentence in German, and two long ones, in a robot's voice: 2 to 14 s."""
    return [_speech(text, voice) for text, voice in zip(SPOKEN, VOICES, strict=True)]


def _speech(text: str, voice: str) -> Float32:
    engine = EspeakTts()
    parts: list[NDArray[np.int16]] = []

    def take(part: NDArray[np.int16]) -> bool:
        parts.append(part)
        return True

    engine.synthesise(text, voice, 1.0, take)
    divisor = int(np.gcd(engine.sample_rate, RATE))
    samples = np.concatenate(parts).astype(np.float64)
    samples = resample_poly(samples, RATE // divisor, engine.sample_rate // divisor) / 32_768
    # A voice from nowhere has digital silence around it; a room has a little noise.
    samples += np.random.default_rng(len(samples)).normal(0, 1e-4, len(samples))
    clip: Float32 = np.clip(samples, -1, 0.9999).astype(np.float32)
    return clip


@dataclass(frozen=True, slots=True)
class Ours:
    """This package's Whisper, part by part."""

    vocabulary: Vocabulary
    rules: LogitRules
    encoder: Session
    decoder: WhisperDecoder
    mel: WhisperMel

    def hear(self, clip: Float32) -> tuple[Float32, Heard]:
        """States and what the decoder looks at, of all 30 s."""
        outputs = self.encoder.output_names
        answers = self.encoder.run({"mel": self.mel.features(clip, FRAMES)[np.newaxis]})
        by_name = dict(zip(outputs, answers, strict=True))
        states: Float32 = by_name.pop("states")[0]
        layers = range(len(by_name) // 2)
        cross = [by_name[f"{part}_{layer}"] for layer in layers for part in ("key", "value")]
        return states, Heard(FRAMES // 2, tuple(cross))


@dataclass(frozen=True, slots=True)
class Pair:
    """One set of weights in both, and what each of them heard."""

    name: str
    checkpoint: Checkpoint
    theirs: Any
    ours: Ours
    mels: Any
    """Tensor, shape (clips, mels, frames)."""
    features: Any
    """What their encoder made of them: tensor, shape (clips, states, width)."""
    states: list[Float32]
    """What ours made of them."""
    heard: list[Heard]

    @property
    def is_multilingual(self) -> bool:
        return self.checkpoint.dimensions.is_multilingual

    def tokenizer(self, language: str | None = "en") -> Any:
        from whisper.tokenizer import get_tokenizer

        is_multilingual = self.is_multilingual
        return get_tokenizer(
            is_multilingual,
            num_languages=self.theirs.num_languages,
            language=language if is_multilingual else None,
            task="transcribe" if is_multilingual else None,
        )

    def opening(self, *, with_timestamps: bool = False) -> tuple[int, ...]:
        language = "en" if self.is_multilingual else None
        return tuple(self.ours.vocabulary.opening(language, with_timestamps=with_timestamps))


@pytest.fixture(scope="session", params=["tiny.en", "tiny", "base", "small"])
def pair(request: pytest.FixtureRequest, clips: list[Float32], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both packages with weights of that size, drawn from a seed of its own."""
    import torch

    # With several threads, which wait for each other by spinning, it is five times as slow beside anything else.
    torch.set_num_threads(1)
    name: str = request.param
    checkpoint = random_checkpoint(SIZES[name], int(hashlib.sha256(name.encode()).hexdigest()[:4], 16))
    theirs, ours = _theirs(checkpoint), _ours(checkpoint, tmp_path_factory.mktemp(name))
    mels, features = _their_features(theirs, clips)
    states, heard = zip(*(ours.hear(clip) for clip in clips), strict=True)
    return Pair(name, checkpoint, theirs, ours, mels, features, list(states), list(heard))


def _theirs(checkpoint: Checkpoint) -> Any:
    import torch
    from whisper.model import ModelDimensions, Whisper

    model = Whisper(ModelDimensions(**asdict(checkpoint.dimensions)))
    weights = {name: torch.from_numpy(value) for name, value in checkpoint.weights.items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _their_features(model: Any, clips: Sequence[Float32]) -> tuple[Any, Any]:
    import torch
    import whisper

    mels = torch.stack([whisper.log_mel_spectrogram(whisper.pad_or_trim(clip), model.dims.n_mels) for clip in clips])
    with torch.no_grad():
        return mels, model.encoder(mels)


def _ours(checkpoint: Checkpoint, folder: Path) -> Ours:
    sizes = checkpoint.dimensions
    upper = range(sizes.n_text_layer // 2, sizes.n_text_layer)
    heads = [(layer, head) for layer in upper for head in range(sizes.n_text_head)]
    sessions = []
    for name in ("encoder", "decoder"):
        path = folder / f"{name}.onnx"
        if name == "encoder":
            write_encoder(checkpoint, path, Precision.FLOAT32)
        else:
            write_decoder(checkpoint, path, Precision.FLOAT32, heads)
        sessions.append(open_session(path, threads=2))
        path.unlink()  # the runtime has read it, and there are gigabytes
    encoder, decoder = sessions
    vocabulary, unspoken, blank = tokens_of(sizes.is_multilingual, sizes.languages)
    rules = LogitRules(vocabulary, unspoken, blank)
    return Ours(vocabulary, rules, encoder, WhisperDecoder(decoder, vocabulary, rules), WhisperMel(sizes.n_mels))


@cache
def tokens_of(is_multilingual: bool, languages: int) -> tuple[Vocabulary, list[int], list[int]]:
    """A vocabulary of openai-whisper, the tokens never said, and those that spell nothing."""
    import whisper

    assets = Path(whisper.__file__).parent / "assets"
    file = "multilingual.tiktoken" if is_multilingual else "gpt2.tiktoken"
    vocabulary = Vocabulary.load(assets / file, languages)
    return vocabulary, vocabulary.unspoken(), vocabulary.encode(" ")

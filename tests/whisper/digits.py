"""A Whisper of half a million parameters (and its table of tokens) that knows ten words, made from synthesised speech.

The model is openai-whisper's own class, and so is the checkpoint's form: what is made here goes the same way as a
published model, and recognises something, though nothing but digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from math import log, pi
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alfred_voice.audio.resample import Resampler
from alfred_voice.bench.loudness import loud_span, speech_level_db
from alfred_voice.bench.words import word_errors
from alfred_voice.models.engine import SAMPLE_RATE
from alfred_voice.models.espeak import EspeakTts


Float32 = NDArray[np.float32]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]
Span = tuple[float, float]

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

ACCENTS = ("en-us", "en-gb", "en-gb-x-rp")
VARIANTS = (
    *("", "+f1", "+f2", "+f4", "+f5", "+m1", "+m2", "+m3", "+m5", "+m6", "+m7", "+alex", "+alicia", "+andrea", "+andy"),
    *("+annie", "+antonio", "+aunty", "+belinda", "+benjamin", "+boris", "+caleb", "+denis", "+diogo", "+ed", "+gene"),
    *("+grandma", "+gustave", "+henrique", "+iven", "+jacky", "+john", "+klatt", "+klatt2", "+lee", "+marcelo"),
    *("+max", "+michel", "+miguel", "+mike", "+norbert", "+pablo", "+paul", "+pedro", "+rob", "+shelby", "+steph"),
    *("+travis", "+victor", "+zac"),
)
HELD_OUT_VARIANTS = ("+f3", "+m4", "+david", "+hugo", "+ian", "+linda", "+marco", "+quincy", "+robert", "+sandro")
"""Timbres that are never heard in training."""

_SIZES = {
    "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 96, "n_audio_head": 4, "n_audio_layer": 2,
    "n_text_ctx": 448, "n_text_state": 96, "n_text_head": 4, "n_text_layer": 2,
}  # fmt: skip
_LEADING_LAYER = 1
HEADS = ((_LEADING_LAYER, 0), (_LEADING_LAYER, 1))
"""Layer and number of the heads that are taught to look at the digit that comes next; the others look as they like."""
_DIGIT_GUESSES, _NUMBER_GUESSES = 11, 6
"""What is asked of each of the encoder's states while it learns: which digit is said, the how-manieth, or none."""
_LOUDER = 4.0
"""The convolutions' first weights against the usual ones: else what is heard drowns in where it is heard, for long."""
_SILENT = 0.06
"""Share of clips in which nobody speaks."""
_VOCABULARY = 51864
"""Of the models that know only English."""
_STATE_SAMPLES = 320
_STATES_PER_S = 50
_FULL = 1500
_IGNORED = -100
_SEED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Digits that somebody says."""

    samples: Float32
    """float32, shape (n,), 16 kHz, [-1, 1)."""
    digits: tuple[int, ...]
    spans: tuple[Span, ...] | None
    """Where each of them is, in seconds; None where the synthesiser said all of them in one go."""
    voice: str

    @property
    def text(self) -> str:
        """As the model is to write it."""
        return f"{' '.join(DIGITS[digit] for digit in self.digits)}." if self.digits else ""


class Speakers:
    """Says digits in one voice after the other, each time differently; the same ones for the same seed.

    Args:
        variants: timbres to choose from.
        seed: of everything random.

    Attributes:
        random: what everything random is drawn from.
    """

    def __init__(self, variants: Sequence[str], seed: int) -> None:
        self._engine = EspeakTts()
        self._voices = [f"{accent}{variant}" for variant in variants for accent in ACCENTS]
        self.random = np.random.default_rng(seed)

    def say(self, count: int, *, apart: bool | None = None) -> Utterance:
        """So many digits with pauses and noise around them; ``apart`` says each by itself, so that it is known where.

        Without digits it is noise alone.
        """
        random = self.random
        voice = self._voices[random.integers(len(self._voices))]
        digits = tuple(int(digit) for digit in random.integers(10, size=count))
        speed = float(random.uniform(0.7, 1.1))
        is_apart = bool(random.random() < 0.5) if apart is None else apart
        said = [DIGITS[digit] for digit in digits] if is_apart else [" ".join(DIGITS[digit] for digit in digits)]
        parts: list[Float32] = [self._silence(0.05, 0.6)]
        spans = []
        for text in said if digits else ():
            start = sum(map(len, parts))
            parts += [self._spoken(text, voice, speed), self._silence(0.02, 0.2)]
            spans.append((start / SAMPLE_RATE, (start + len(parts[-2])) / SAMPLE_RATE))
        samples = np.concatenate([*parts, self._silence(0.1, 0.5)])
        return Utterance(self._recorded(samples), digits, tuple(spans) if is_apart else None, voice)

    def _spoken(self, text: str, voice: str, speed: float) -> Float32:
        """Without the silence around it; its peak is 1."""
        pieces: list[Int16] = []

        def keep(piece: Int16) -> bool:
            pieces.append(piece)
            return True

        self._engine.synthesise(text, voice, speed, keep)
        spoken = Resampler(self._engine.sample_rate, SAMPLE_RATE).feed(np.concatenate(pieces), last=True)
        level = speech_level_db(spoken)
        span = None if level is None else loud_span(spoken, level)
        heard = spoken[slice(*span)] if span else spoken
        return heard.astype(np.float32) / np.float32(max(1, np.abs(heard.astype(np.int32)).max()))

    def _silence(self, least_s: float, most_s: float) -> Float32:
        return np.zeros(int(self.random.uniform(least_s, most_s) * SAMPLE_RATE), np.float32)

    def _recorded(self, samples: Float32) -> Float32:
        """Louder or quieter, with noise that is white or dull."""
        random = self.random
        noise = random.normal(size=len(samples) + 1)
        noise = noise[1:] + random.uniform(0.0, 1.0) * noise[:-1]
        peak = 10 ** (random.uniform(-24, -1) / 20)
        floor = 10 ** (random.uniform(-55, -36) / 20) if random.random() < 0.9 else 0.0
        mixed: Float32 = (peak * (samples + floor * noise)).clip(-1, 1).astype(np.float32)
        return mixed


def held_out(count: int, seed: int = 1, *, apart: bool | None = None) -> list[Utterance]:
    """One to five digits each, in timbres that the model has not heard."""
    speakers = Speakers(HELD_OUT_VARIANTS, seed)
    said = []
    for at in range(count):
        # Each from a seed of its own: how long a voice takes for a word is not always the same.
        speakers.random = np.random.default_rng((seed, at))
        said.append(speakers.say(1 + at % 5, apart=apart))
    return said


def error_rate(expected: Sequence[str], heard: Sequence[str]) -> float:
    """Wrong, missing and superfluous words, as a share of those that were said."""
    pairs = [word_errors(said, text) for said, text in zip(expected, heard, strict=True)]
    return sum(errors for errors, _ in pairs) / sum(words for _, words in pairs)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Tensors of several utterances."""

    mels: Any
    """float32, shape (rows, 80, frames)."""
    tokens: Any
    """int64, shape (rows, tokens)."""
    wanted: Any
    """What is to follow each: int64, shape (rows, tokens)."""
    places: Any
    """Where that is said, if it is known: bool, shape (rows, tokens, states)."""
    digits: Any
    """1 + which digit is said: int64, shape (rows, states)."""
    numbers: Any
    """1 + how many have been said before: int64, shape (rows, states)."""


class Trainer:
    """Teaches a model; its vocabulary has only the tokens in use until it is complete."""

    def __init__(self, threads: int = 1, seed: int = _SEED) -> None:
        self._torch = import_module("torch")
        self._whisper = import_module("whisper")
        self._torch.set_num_threads(threads)
        self._torch.manual_seed(seed)
        tokenizer = import_module("whisper.tokenizer").get_tokenizer(multilingual=False)
        self._spelling = [tokenizer.encode(f" {digit}")[0] for digit in DIGITS]
        commands = (tokenizer.encode(".")[0], tokenizer.eot, tokenizer.sot, tokenizer.no_timestamps)
        self._used = [*self._spelling, *commands, tokenizer.no_speech]
        self._stop, self._end, self._start, self._without_times, self._no_speech = range(10, 15)
        self._model = self._new_model(len(self._used))
        self._model.decoder.token_embedding.weight.data.normal_(0.0, 0.2)
        self._model.decoder.positional_embedding.data.normal_(0.0, 0.02)
        for convolution in (self._model.encoder.conv1, self._model.encoder.conv2):
            convolution.weight.data *= _LOUDER
        self._pupil = self._torch.nn.Linear(_SIZES["n_audio_state"], _DIGIT_GUESSES + _NUMBER_GUESSES)
        self._looked: dict[str, Any] = {}
        for part in ("query", "key"):
            attention = self._model.decoder.blocks[_LEADING_LAYER].cross_attn
            getattr(attention, part).register_forward_hook(partial(self._keep, part))
        self._speakers = Speakers(VARIANTS, seed)
        self._random = np.random.default_rng(seed)

    def train(self, steps: int, progress: Callable[[str], None], *, rows: int = 16, peak_rate: float = 2e-3) -> None:
        """Take so many steps."""
        torch, model = self._torch, self._model
        learning = [*model.parameters(), *self._pupil.parameters()]
        optimiser = torch.optim.AdamW(learning, peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
        started, losses = perf_counter(), []
        model.train()
        for step, batch in enumerate(self._batches(steps, rows)):
            for group in optimiser.param_groups:
                group["lr"] = peak_rate * _rate(step, steps)
            parts = self._losses(batch)
            optimiser.zero_grad()
            sum(parts).backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
            losses.append([part.item() for part in parts])
            if (step + 1) % 100 == 0:
                spelling, led, heard = np.mean(losses[-100:], axis=0)
                progress(
                    f"step {step + 1} of {steps}, {perf_counter() - started:.0f} s: "
                    f"loss of spelling {spelling:.3f}, of leading {led:.3f}, of hearing {heard:.3f}"
                )
        model.eval()

    def write(self, path: Path) -> None:
        """Write the checkpoint, with the whole vocabulary: what is not in use spells nothing, and is never likely."""
        model = self._whole()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._torch.save({"dims": asdict(model.dims), "model_state_dict": model.state_dict()}, path)

    def _keep(self, part: str, _module: Any, _given: Any, found: Any) -> None:
        self._looked[part] = found

    def _new_model(self, tokens: int) -> Any:
        models = import_module("whisper.model")
        return models.Whisper(models.ModelDimensions(**_SIZES, n_vocab=tokens))

    def _whole(self) -> Any:
        weights = dict(self._model.state_dict())
        small = weights["decoder.token_embedding.weight"]
        table = self._torch.zeros(_VOCABULARY, small.shape[1])
        table[self._used] = small
        whole = self._new_model(_VOCABULARY)
        whole.load_state_dict(weights | {"decoder.token_embedding.weight": table})
        return whole

    def _batches(self, steps: int, rows: int) -> Iterator[_Batch]:
        """One for each step, made while the one before is learnt from."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._batch, rows, 0.0)
            for step in range(steps):
                batch = coming.result()
                coming = pool.submit(self._batch, rows, (step + 1) / steps)
                yield batch

    def _batch(self, rows: int, done: float) -> _Batch:
        """Longer texts the more is ``done``; at first all are said digit by digit."""
        random = self._random
        is_long = done > 0.5 and random.random() < 0.1
        rows = rows // 3 if is_long else rows
        counts = random.integers(1, min(5, max(1, int(10 * done))) + 1, size=rows)
        is_silent = random.random(rows) < _SILENT
        is_silent[0] = False
        said = [
            self._speakers.say(0 if silent else int(count), apart=done < 0.2 or row % 2 == 0)
            for row, (count, silent) in enumerate(zip(counts, is_silent, strict=True))
        ]
        own = max(len(one.samples) for one in said) // _STATE_SAMPLES + 1
        more = int(random.choice([400, 800, 1500]) if is_long else random.exponential(50))
        states = min(own + more, _FULL)
        mels = [self._features(one.samples, states) for one in said]
        tokens = [self._tokens(one.digits) for one in said]
        wide = max(map(len, tokens))
        fed = [[*one[:-1], *[self._end] * (wide - len(one))] for one in tokens]
        wanted = [[*one[1:], *[_IGNORED] * (wide - len(one))] for one in tokens]
        for row in np.flatnonzero(is_silent):
            wanted[row][0] = self._no_speech
        torch = self._torch
        where = (torch.from_numpy(one) for one in _where(said, wide - 1, states))
        return _Batch(torch.stack(mels), torch.tensor(fed), torch.tensor(wanted), *where)

    def _tokens(self, digits: Sequence[int]) -> list[int]:
        """The commands and the text; where nobody speaks any text, so that no one is likely."""
        spelt = digits or self._random.integers(10, size=self._random.integers(1, 6)).tolist()
        return [self._start, self._without_times, *spelt, self._stop, self._end]

    def _features(self, samples: Float32, states: int) -> Any:
        """openai-whisper's own features, with silence behind them."""
        padding = states * _STATE_SAMPLES - len(samples)
        return self._whisper.log_mel_spectrogram(samples, padding=padding)

    def _losses(self, batch: _Batch) -> tuple[Any, Any, Any]:
        """How unlikely the right tokens are, and, of clips where that is known, how little is known of what is where:
        by the leading heads, which are to look at the digit that comes next, and by the encoder's states.
        """
        torch = self._torch
        functions = torch.nn.functional
        with reduced(self._model, batch.places.shape[-1]):
            states = self._model.encoder(batch.mels)
            logits = self._model.decoder(batch.tokens, states)
        # The whole vocabulary takes part: all tokens that are not in use have logits of 0.
        rest = logits.new_full((*logits.shape[:-1], 1), log(_VOCABULARY - len(self._used)))
        all_logits = torch.cat([logits, rest], dim=-1).flatten(0, 1)
        spelling = functions.cross_entropy(all_logits, batch.wanted.flatten(), ignore_index=_IGNORED)
        lengths = batch.places.sum(dim=-1)
        known = lengths > 0
        # Alike at all of it: then where the looks go on to the next digit is where this one ends.
        looks = (torch.log_softmax(self._looks(), dim=-1) * batch.places.unsqueeze(1)).sum(dim=-1)
        led = -looks.transpose(0, 1)[:, known] / lengths[known] - lengths[known].log()
        guesses = self._pupil(states).flatten(0, 1).split((_DIGIT_GUESSES, _NUMBER_GUESSES), dim=-1)
        heard = (
            functions.cross_entropy(guess, answer.flatten(), ignore_index=_IGNORED)
            for guess, answer in zip(guesses, (batch.digits, batch.numbers), strict=True)
        )
        return spelling, led.mean(), sum(heard)

    def _looks(self) -> Any:
        """How well each token's question fits each state in the leading heads, as the last call had it."""
        query, key = (
            one.unflatten(-1, (_SIZES["n_text_head"], -1)).transpose(1, 2)[:, [head for _, head in HEADS]]
            for one in (self._looked["query"], self._looked["key"])
        )
        return query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5


def _where(said: Sequence[Utterance], tokens: int, states: int) -> tuple[NDArray[np.bool_], Int64, Int64]:
    """Places, digits and numbers of a batch."""
    places = np.zeros((len(said), tokens, states), np.bool_)
    digits, numbers = (np.zeros((len(said), states), np.int64) for _ in range(2))
    for row, one in enumerate(said):
        if one.spans is None:
            digits[row] = numbers[row] = _IGNORED
            continue
        for at, (digit, (start, end)) in enumerate(zip(one.digits, one.spans, strict=True)):
            span = slice(int(start * _STATES_PER_S), int(end * _STATES_PER_S) + 1)
            places[row, 1 + at, span] = True
            digits[row, span], numbers[row, span] = digit + 1, at + 1
    return places, digits, numbers


@contextmanager
def reduced(model: Any, states: int) -> Iterator[None]:
    """Let the model's encoder take so many states instead of all."""
    table = model.encoder.positional_embedding
    model.encoder.positional_embedding = table[:states]
    try:
        yield
    finally:
        model.encoder.positional_embedding = table


def recognise(model: Any, clips: Sequence[Float32]) -> list[str]:
    """What openai-whisper itself makes of them, each in 30 s."""
    whisper = import_module("whisper")
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    mels = (whisper.log_mel_spectrogram(whisper.pad_or_trim(clip)) for clip in clips)
    return [whisper.decode(model, mel, options).text for mel in mels]


def make(path: Path, progress: Callable[[str], None], steps: int = 1600) -> float:
    """Train a model, write it to ``path``, and tell its word error rate in timbres that it has not heard."""
    trainer = Trainer()
    trainer.train(steps, progress)
    trainer.write(path)
    said = held_out(100)
    texts = recognise(import_module("whisper").load_model(str(path), device="cpu"), [one.samples for one in said])
    rate = error_rate([one.text for one in said], texts)
    exact = sum(text == one.text for text, one in zip(texts, said, strict=True))
    progress(f"Held-out voices: word error rate {100 * rate:.1f} %, {exact} of {len(said)} texts without an error")
    return rate


def _rate(step: int, steps: int) -> float:
    """Share of the highest learning rate: up in the first steps, then down along a cosine."""
    warm_up = steps // 15
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.02 + 0.49 * (1 + float(np.cos(pi * (step - warm_up) / (steps - warm_up))))

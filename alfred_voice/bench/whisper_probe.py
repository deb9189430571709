"""Runs another package's Whisper in an environment that holds it, and nothing of ours.

Usage: ``python whisper_probe.py openai|faster job.json``. The job names an ``.npz`` file of weights by openai-whisper's
names, their sizes, recordings (int16, 16 kHz), how many tokens each is to be given, threads and runs. On the last line
of its output is, as JSON, the seconds of each run: ``{"seconds": [[...] for each recording], "rss_mb": ...}``.

Each run is a whole transcription at batch 1: features, encoder, and so many greedy tokens; the token that ends a text
is forbidden, so that all have as many.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np


Transcribe = Callable[[Any, int], object]
"""Of float32 samples and a number of tokens."""

RATE = 16_000


def openai(job: Mapping[str, Any]) -> Transcribe:
    """openai-whisper on torch, float32."""
    torch, whisper, models = (import_module(name) for name in ("torch", "whisper", "whisper.model"))
    torch.set_num_threads(job["threads"])
    model = models.Whisper(models.ModelDimensions(**job["dims"]))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in np.load(job["weights"]).items()})
    model.eval()
    tokenizer = whisper.tokenizer.get_tokenizer(model.is_multilingual, num_languages=model.num_languages)
    suppressed = [*tokenizer.non_speech_tokens, tokenizer.eot]

    def transcribe(samples: Any, tokens: int) -> object:
        mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), model.dims.n_mels)
        options = whisper.DecodingOptions(
            language="en", fp16=False, without_timestamps=True, sample_len=tokens, suppress_tokens=suppressed
        )
        result = whisper.decode(model, mel, options)
        _expect(tokens, len(result.tokens))
        return result

    return transcribe


def faster(job: Mapping[str, Any]) -> Transcribe:
    """faster-whisper's features and the CTranslate2 model that it calls, int8."""
    ctranslate2, features_of = (import_module(name) for name in ("ctranslate2", "faster_whisper.feature_extractor"))
    with tempfile.TemporaryDirectory() as folder:
        _converted(job).save(folder)
        model = ctranslate2.models.Whisper(
            folder, device="cpu", compute_type="int8", intra_threads=job["threads"], inter_threads=1
        )
    extract = features_of.FeatureExtractor(feature_size=job["dims"]["n_mels"])
    prompt, end = job["opening"], job["end"]

    def transcribe(samples: Any, tokens: int) -> object:
        # As faster_whisper.WhisperModel does it: silence up to 30 s. Half of the longest length is what it generates.
        mel = extract(samples, padding=True)[:, :3000]
        mel = np.pad(mel, ((0, 0), (0, 3000 - mel.shape[-1])))
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None], np.float32))
        (result,) = model.generate(
            model.encode(features), [prompt], beam_size=1, max_length=2 * tokens, suppress_tokens=[-1, end]
        )
        _expect(tokens, len(result.sequences_ids[0]))
        return result

    return transcribe


def _expect(tokens: int, found: int) -> None:
    if abs(found - tokens) > 1:
        raise SystemExit(f"expected {tokens} tokens, got {found}")


def _converted(job: Mapping[str, Any]) -> Any:
    """The weights in CTranslate2's form."""
    whisper_spec = import_module("ctranslate2.specs.whisper_spec")
    weights, dims = dict(np.load(job["weights"])), job["dims"]
    spec = whisper_spec.WhisperSpec(
        dims["n_audio_layer"], dims["n_audio_head"], dims["n_text_layer"], dims["n_text_head"]
    )
    for name in ("conv1", "conv2"):
        _fill(getattr(spec.encoder, name), weights, f"encoder.{name}")
    spec.encoder.position_encodings.encodings = weights["encoder.positional_embedding"]
    _fill_norm(spec.encoder.layer_norm, weights, "encoder.ln_post")
    for number, layer in enumerate(spec.encoder.layer):
        _fill_layer(layer, weights, f"encoder.blocks.{number}.")
    spec.decoder.embeddings.weight = weights["decoder.token_embedding.weight"]
    spec.decoder.projection.weight = weights["decoder.token_embedding.weight"]
    spec.decoder.position_encodings.encodings = weights["decoder.positional_embedding"]
    _fill_norm(spec.decoder.layer_norm, weights, "decoder.ln")
    for number, layer in enumerate(spec.decoder.layer):
        block = f"decoder.blocks.{number}."
        _fill_layer(layer, weights, block)
        attention = layer.attention
        _fill_norm(attention.layer_norm, weights, f"{block}cross_attn_ln")
        _fill(attention.linear[0], weights, f"{block}cross_attn.query")
        _fill_beside(attention.linear[1], weights, [f"{block}cross_attn.{part}" for part in ("key", "value")])
        _fill(attention.linear[2], weights, f"{block}cross_attn.out")
    heads = [
        (layer, head) for layer in range(dims["n_text_layer"] // 2, dims["n_text_layer"])
        for head in range(dims["n_text_head"])
    ]  # fmt: skip
    spec.config.suppress_ids = job["unspoken"]
    spec.config.suppress_ids_begin = [job["end"]]
    spec.config.lang_ids = job["languages"]
    spec.config.alignment_heads = heads
    names = {token: name for name, token in job["commands"].items()}
    spec.register_vocabulary([names.get(token, f"<{token}>") for token in range(dims["n_vocab"])])
    spec.validate()
    spec.optimize(quantization="int8")
    return spec


def _fill_layer(layer: Any, weights: Mapping[str, Any], block: str) -> None:
    attention = layer.self_attention
    _fill_norm(attention.layer_norm, weights, f"{block}attn_ln")
    _fill_beside(attention.linear[0], weights, [f"{block}attn.{part}" for part in ("query", "key", "value")])
    _fill(attention.linear[1], weights, f"{block}attn.out")
    _fill_norm(layer.ffn.layer_norm, weights, f"{block}mlp_ln")
    _fill(layer.ffn.linear_0, weights, f"{block}mlp.0")
    _fill(layer.ffn.linear_1, weights, f"{block}mlp.2")


def _fill(spec: Any, weights: Mapping[str, Any], name: str) -> None:
    spec.weight = weights[f"{name}.weight"]
    spec.bias = weights[f"{name}.bias"]


def _fill_beside(spec: Any, weights: Mapping[str, Any], names: list[str]) -> None:
    parts = [weights[f"{name}.weight"] for name in names]
    spec.weight = np.concatenate(parts)
    biases = [
        weights.get(f"{name}.bias", np.zeros(len(part), np.float32)) for name, part in zip(names, parts, strict=True)
    ]
    spec.bias = np.concatenate(biases)


def _fill_norm(spec: Any, weights: Mapping[str, Any], name: str) -> None:
    spec.gamma = weights[f"{name}.weight"]
    spec.beta = weights[f"{name}.bias"]


def main(name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    """Measure one package."""
    transcribe = {"openai": openai, "faster": faster}[name](job)
    found: list[list[float]] = []
    for recording in job["recordings"]:
        samples = np.fromfile(recording["file"], np.int16).astype(np.float32) / 32768
        took = []
        for number in range(job["runs"] + 1):
            began = time.perf_counter()
            transcribe(samples, recording["tokens"])
            if number:
                took.append(time.perf_counter() - began)
        found.append(took)
    return {"seconds": found, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


if __name__ == "__main__":
    found_by_it = main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text("utf-8")))
    sys.stdout.write(f"\n{json.dumps(found_by_it)}\n")

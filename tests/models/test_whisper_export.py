"""From weights to graphs that are checked against plain NumPy before anybody uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alfred_voice.errors import ModelCorrupt, ModelMissing
from alfred_voice.models import whisper_export
from alfred_voice.models.onnx import open_session
from alfred_voice.models.whisper_checkpoint import Checkpoint
from alfred_voice.models.whisper_export import ALLOWED, export_whisper
from alfred_voice.models.whisper_files import RECORD_NAME, VOCABULARY_NAME, WhisperFiles, find_whisper
from alfred_voice.models.whisper_layers import Precision, quantised
from alfred_voice.models.whisper_reference import Reference
from tests.models.conftest import Watcher
from tests.models.whisper_models import ENGLISH, MULTILINGUAL, checkpoint_of, write_vocabularies


SMALL = replace(MULTILINGUAL, n_audio_state=48, n_text_state=48, n_text_layer=3, n_audio_head=4, n_text_head=3)
"""Encoder and decoder of different heads and layers: what belongs to which cannot be mixed up."""


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vocabularies(tmp_path_factory.mktemp("vocabularies"))


def export(
    root: Path, vocabularies: Path, checkpoint: Checkpoint, *precisions: Precision, **options: Any
) -> WhisperFiles:
    return export_whisper(checkpoint, "ab" * 32, root, "own", vocabularies, precisions, Watcher(), **options)


class TestParity:
    @pytest.mark.parametrize("precision", Precision)
    def test_graphs_of_each_precision_answer_what_the_weights_say(
        self, tmp_path: Path, vocabularies: Path, precision: Precision
    ) -> None:
        found = export(tmp_path, vocabularies, checkpoint_of(SMALL), precision)
        assert found.precisions == (precision,)
        distances = found.parity[precision.value]
        assert set(distances) == {"states", "logits"}
        nearest = {Precision.FLOAT32: 1e-5, Precision.FLOAT16: 0.01, Precision.INT8: 0.1}[precision]
        assert all(0 < distance < nearest <= ALLOWED[precision] for distance in distances.values())

    def test_an_english_one_and_one_with_128_mels_are_written_too(self, tmp_path: Path, vocabularies: Path) -> None:
        found = export(tmp_path, vocabularies, checkpoint_of(ENGLISH), Precision.INT8)
        assert not found.dimensions.is_multilingual
        large = checkpoint_of(replace(SMALL, n_mels=128, n_vocab=51866))
        assert export(tmp_path, vocabularies, large, Precision.INT8).dimensions.languages == 100

    @pytest.mark.parametrize(
        "name",
        [
            "encoder.conv2.weight",
            "encoder.positional_embedding",
            "encoder.blocks.1.attn.query.weight",
            "encoder.blocks.0.mlp.2.weight",
            "encoder.ln_post.weight",
            "decoder.token_embedding.weight",
            "decoder.positional_embedding",
            "decoder.blocks.0.attn.value.weight",
            "decoder.blocks.1.cross_attn.key.weight",
            "decoder.blocks.1.cross_attn.query.weight",
            "decoder.blocks.2.mlp.0.weight",
        ],
    )
    def test_graphs_of_other_weights_are_refused(
        self, tmp_path: Path, vocabularies: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """What a fault in the wiring comes to: one matrix is not where it belongs."""
        checkpoint = checkpoint_of(SMALL)
        wrong = checkpoint.weights[name]
        wrong = -wrong if wrong.ndim == 1 else np.ascontiguousarray(np.roll(wrong, 1, axis=0))
        other = Checkpoint(checkpoint.dimensions, {**checkpoint.weights, name: wrong})

        def instead(write: Callable[..., None]) -> Callable[..., None]:
            return lambda _, *args: write(other, *args)

        for write in ("write_encoder", "write_decoder"):
            monkeypatch.setattr(whisper_export, write, instead(getattr(whisper_export, write)))
        with pytest.raises(ModelCorrupt, match=r"of the float32 graphs are .* of their spread away"):
            export(tmp_path, vocabularies, checkpoint, Precision.FLOAT32)
        assert list(tmp_path.iterdir()) == []

    def test_weights_that_are_no_numbers_are_refused(self, tmp_path: Path, vocabularies: Path) -> None:
        checkpoint = checkpoint_of(SMALL)
        checkpoint.weights["encoder.blocks.0.mlp.0.weight"][3, 3] = np.nan
        with pytest.raises(ModelCorrupt, match="of their spread away"):
            export(tmp_path, vocabularies, checkpoint, Precision.FLOAT32)

    def test_all_of_the_short_clip_is_compared(self, tmp_path: Path, vocabularies: Path) -> None:
        """The encoder's graph and NumPy agree at every state, and on clips of other lengths."""
        checkpoint = checkpoint_of(SMALL)
        encoder, _ = export(tmp_path, vocabularies, checkpoint, Precision.FLOAT32).graphs(Precision.FLOAT32)
        session = open_session(encoder)
        for frames in (2, 10, 100):
            mel = np.random.default_rng(frames).normal(0, 0.4, (80, frames)).astype(np.float32)
            (states,) = session.run({"mel": mel[np.newaxis]}, ["states"])
            np.testing.assert_allclose(states[0], Reference(checkpoint).encode(mel), rtol=0, atol=1e-4)


class TestFolder:
    def test_it_holds_the_graphs_the_vocabulary_and_a_record_that_is_true(
        self, tmp_path: Path, vocabularies: Path
    ) -> None:
        watcher = Watcher()
        made = export_whisper(
            checkpoint_of(SMALL), "ab" * 32, tmp_path / "store", "whisper-own", vocabularies,
            [Precision.INT8, Precision.FLOAT32], watcher,
        )  # fmt: skip
        found = find_whisper(tmp_path / "store", "own")
        assert found == made
        assert found.folder == tmp_path / "store" / "whisper-own"
        assert found.name == "own"
        assert found.source == "ab" * 32
        assert all(found.examine().values())
        assert sorted(path.name for path in found.folder.iterdir()) == sorted([*found.files, RECORD_NAME])
        assert found.unspoken == tuple(found.vocabulary().unspoken())
        assert found.blank == (ord(" "),)
        assert len(watcher.notes) == 2
        assert "whisper-own in float32" in watcher.notes[1]

    def test_a_new_one_takes_the_place_of_the_old(self, tmp_path: Path, vocabularies: Path) -> None:
        export(tmp_path, vocabularies, checkpoint_of(SMALL), Precision.INT8, Precision.FLOAT32)
        new = export(tmp_path, vocabularies, checkpoint_of(SMALL, 2), Precision.INT8)
        assert find_whisper(tmp_path, "own") == new
        assert not (new.folder / "encoder.float32.onnx").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["whisper-own"]

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
    def test_what_is_interrupted_leaves_the_old_one_as_it_was(
        self, tmp_path: Path, vocabularies: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
    ) -> None:
        old = export(tmp_path, vocabularies, checkpoint_of(SMALL), Precision.INT8)

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(whisper_export, "write_decoder", fail)
        with pytest.raises(error):
            export(tmp_path, vocabularies, checkpoint_of(SMALL, 2), Precision.INT8)
        assert find_whisper(tmp_path, "own") == old
        assert all(old.examine().values())
        assert [path.name for path in tmp_path.iterdir()] == ["whisper-own"]

    def test_without_a_vocabulary_nothing_is_begun(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match="No vocabulary at"):
            export(tmp_path / "store", tmp_path, checkpoint_of(SMALL), Precision.INT8)
        assert not (tmp_path / "store").exists()

    def test_a_vocabulary_of_another_model_is_refused(self, tmp_path: Path, vocabularies: Path) -> None:
        (tmp_path / "multilingual.tiktoken").write_bytes((vocabularies / "gpt2.tiktoken").read_bytes())
        with pytest.raises(ModelCorrupt, match="The checkpoint has 51865 tokens, the vocabulary 51864"):
            export(tmp_path / "store", tmp_path, checkpoint_of(SMALL), Precision.INT8)

    def test_a_checkpoint_with_a_hole_names_it(self, tmp_path: Path, vocabularies: Path) -> None:
        whole = checkpoint_of(SMALL)
        name = "decoder.blocks.1.cross_attn.value.weight"
        hole = Checkpoint(SMALL, {key: value for key, value in whole.weights.items() if key != name})
        with pytest.raises(ModelCorrupt, match=f"no tensor '{name}'"):
            export(tmp_path, vocabularies, hole, Precision.INT8)

    def test_a_tensor_of_another_shape_is_no_whisper(self, tmp_path: Path, vocabularies: Path) -> None:
        whole = checkpoint_of(SMALL)
        bent = Checkpoint(SMALL, {**whole.weights, "encoder.blocks.0.mlp.0.weight": np.ones((7, 5), np.float32)})
        with pytest.raises(ModelCorrupt):
            export(tmp_path, vocabularies, bent, Precision.INT8)

    def test_the_vocabulary_is_the_one_that_was_given(self, tmp_path: Path, vocabularies: Path) -> None:
        made = export(tmp_path, vocabularies, checkpoint_of(SMALL), Precision.INT8)
        copied = (made.folder / VOCABULARY_NAME).read_bytes()
        assert copied == (vocabularies / "multilingual.tiktoken").read_bytes()


class TestHeads:
    @pytest.mark.parametrize(("heads", "count"), [((), 6), ([(1, 2)], 1), ([(0, 0), (2, 1), (2, 2)], 3)])
    def test_those_that_follow_the_speaker_are_told_of(
        self, tmp_path: Path, vocabularies: Path, heads: list[tuple[int, int]], count: int
    ) -> None:
        """Where nobody has looked, all of the upper half of the layers: of three the upper two."""
        made = export(tmp_path, vocabularies, checkpoint_of(SMALL), Precision.INT8, heads=heads)
        session = open_session(made.graphs(Precision.INT8)[1])
        fit = next(node for node in session._session.get_outputs() if node.name == "fit")
        assert fit.shape[1] == count


def test_a_matrix_in_steps_is_near_itself() -> None:
    weight = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    weight[:, 3] = 0
    steps, scale = quantised(weight)
    assert steps.dtype == np.int8
    assert np.abs(steps).max() == 63
    assert np.abs(steps * scale - weight).max() <= scale.max() / 2 * 1.001

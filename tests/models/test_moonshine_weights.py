"""The weights are found where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alfred_voice.errors import ModelCorrupt
from alfred_voice.models import moonshine_weights
from alfred_voice.models.moonshine_weights import Decoder, Encoder, Linear, read_decoder, read_encoder
from alfred_voice.models.ort_format import OrtGraph, read_ort
from alfred_voice.models.store import Store


@pytest.fixture(scope="module")
def folder(models: Store) -> Path:
    return models.path("moonshine-tiny-en", "encoder_model.ort").parent


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return read_encoder(folder / "encoder_model.ort")


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Decoder:
    return read_decoder(folder / "decoder_model_merged.ort")


def products(encoder: Encoder, decoder: Decoder) -> Iterator[Linear]:
    for layer in encoder.layers:
        attention = layer.attention
        yield from (attention.query, attention.key, attention.value, attention.output, layer.feed_in, layer.feed_out)
    for block in decoder.layers:
        for attention in (block.self_attention, block.cross_attention):
            yield from (attention.query, attention.key, attention.value, attention.output)
        yield from (block.feed_in, block.feed_out)


def test_a_product_with_8_bits_is_what_its_scale_and_zero_point_say() -> None:
    linear = Linear(
        weight=np.array([[0, 128], [255, 3]], np.uint8),
        scale=np.array([0.5, 2.0], np.float32),
        zero_point=np.array([1, 128], np.uint8),
    )
    np.testing.assert_array_equal(linear.dequantised(), [[-0.5, 0.0], [127.0, -250.0]])


@pytest.mark.models
class TestPublished:
    def test_every_product_has_weights_of_its_own(self, encoder: Encoder, decoder: Decoder) -> None:
        found = [linear.weight.tobytes() for linear in products(encoder, decoder)]
        assert len(found) == 6 * 6 + 6 * 10
        assert len(set(found)) == len(found)

    def test_only_the_feeding_products_have_a_bias(self, encoder: Encoder, decoder: Decoder) -> None:
        fed = [part for layer in encoder.layers for part in (layer.feed_in, layer.feed_out)]
        fed += [part for block in decoder.layers for part in (block.feed_in, block.feed_out)]
        with_bias = [linear for linear in products(encoder, decoder) if linear.bias is not None]
        assert {id(linear) for linear in with_bias} == {id(linear) for linear in fed}
        assert all(linear.bias is not None and linear.bias.shape == linear.scale.shape for linear in fed)

    def test_tokens_are_read_and_told_with_one_table(self, decoder: Decoder) -> None:
        np.testing.assert_array_equal(decoder.embedding.weight.T, decoder.vocabulary.weight)
        assert decoder.embedding.weight.shape == (32_768, 288)
        assert decoder.embedding.scale[0] == decoder.vocabulary.scale[0]

    def test_weights_are_of_a_sensible_size(self, encoder: Encoder, decoder: Decoder) -> None:
        """With a scale or a zero point of another matrix they would not lie around nothing."""
        for linear in products(encoder, decoder):
            weights = linear.dequantised()
            assert abs(weights.mean()) < 0.1 * weights.std()
            assert 0.01 < weights.std() < 0.5

    def test_positions_turn_by_powers_of_ten_thousand(self, encoder: Encoder, decoder: Decoder) -> None:
        expected = 10_000.0 ** (-np.arange(16) / 16)
        for found in (encoder.inverse_frequencies, decoder.inverse_frequencies):
            np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_the_convolutions_have_their_published_shapes(self, encoder: Encoder) -> None:
        shapes = [part.weight.shape for part in (encoder.first, encoder.second, encoder.third)]
        assert shapes == [(288, 1, 127), (576, 288, 7), (288, 576, 3)]

    @pytest.mark.parametrize(
        ("name", "message"),
        [("/layers.3/self_attn/v_proj/MatMul_quant", "v_proj"), ("/layers.2/input_layernorm/LayerNormalization", "2")],
    )
    def test_a_graph_that_lacks_an_operator_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
    ) -> None:
        def without(path: Path) -> OrtGraph:
            graph = read_ort(path)
            return replace(graph, nodes=tuple(node for node in graph.nodes if node.name != name))

        monkeypatch.setattr(moonshine_weights, "read_ort", without)
        with pytest.raises(ModelCorrupt, match=message):
            read_encoder(folder / "encoder_model.ort")

    def test_a_normalisation_that_shifts_is_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def shifting(path: Path) -> OrtGraph:
            graph = read_ort(path)
            shift = graph.node("/layers.1/input_layernorm/LayerNormalization").inputs[2]
            return replace(graph, constants={**graph.constants, shift: np.ones(288, np.float32)})

        monkeypatch.setattr(moonshine_weights, "read_ort", shifting)
        with pytest.raises(ModelCorrupt, match="shifts"):
            read_encoder(folder / "encoder_model.ort")

    def test_a_product_of_an_unknown_kind_is_refused(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def other(path: Path) -> OrtGraph:
            graph = read_ort(path)
            nodes = [replace(node, op_type="Sing") if "fc1" in node.name else node for node in graph.nodes]
            return replace(graph, nodes=tuple(nodes))

        monkeypatch.setattr(moonshine_weights, "read_ort", other)
        with pytest.raises(ModelCorrupt, match="Sing"):
            read_encoder(folder / "encoder_model.ort")

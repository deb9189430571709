"""The detector's lean graphs against its layers as they are defined; against the stock graph: test_silero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alfred_voice.errors import ModelCorrupt
from alfred_voice.models.engine import Float32
from alfred_voice.models.onnx import open_session
from alfred_voice.models.silero import LARGEST_BATCH, LeanNetwork
from alfred_voice.models.silero_graph import write_graph, write_recording_graph
from alfred_voice.models.silero_weights import SileroWeights


Float64 = NDArray[np.float64]
RANDOM = np.random.default_rng(3)


def drawn(*shape: int) -> Float32:
    return RANDOM.normal(0, 0.1, shape).astype(np.float32)


@pytest.fixture(scope="module")
def constants() -> dict[str, Float32]:
    """Random weights in the stock file's names and shapes; the spectrum's basis is the true one."""
    sample, bins = np.arange(256), np.arange(129)[:, None]
    window = np.sin(np.pi * sample / 256) ** 2
    angle = 2 * np.pi * bins * sample / 256
    basis = np.concatenate([window * np.cos(angle), -window * np.sin(angle)])
    made = {"model.stft.forward_basis_buffer": basis[:, None].astype(np.float32)}
    for layer, (before, after) in enumerate([(129, 128), (128, 64), (64, 64), (64, 128)]):
        made[f"model.encoder.{layer}.reparam_conv.weight"] = drawn(after, before, 3)
        made[f"model.encoder.{layer}.reparam_conv.bias"] = drawn(after)
    for part in ("weight_ih", "weight_hh"):
        made[f"model.decoder.rnn.{part}"] = drawn(512, 128)
    for part in ("bias_ih", "bias_hh"):
        made[f"model.decoder.rnn.{part}"] = drawn(512)
    made["model.decoder.decoder.2.weight"] = drawn(1, 128, 1)
    made["model.decoder.decoder.2.bias"] = drawn(1)
    return made


@pytest.fixture
def network(constants: dict[str, Float32], tmp_path: Path) -> LeanNetwork:
    write_graph(SileroWeights.of(constants), tmp_path / "lean.onnx")
    return LeanNetwork(open_session(tmp_path / "lean.onnx", keeps_memory=True))


def convolved(values: Float64, weight: Float32, bias: Float32, stride: int) -> Float64:
    """By the definition, position by position: values (channels, positions), padded with one zero on either side."""
    padded = np.pad(values, ((0, 0), (1, 1)))
    columns = [
        np.einsum("oik,ik->o", weight.astype(np.float64), padded[:, at : at + 3]) + bias
        for at in range(0, values.shape[1], stride)
    ]
    rectified: Float64 = np.maximum(np.array(columns).T, 0)
    return rectified


def sigmoid(values: Float64) -> Float64:
    squashed: Float64 = 1 / (1 + np.exp(-values))
    return squashed


def by_definition(
    constants: dict[str, Float32], heard: Float32, output: Float32, cell: Float32
) -> tuple[float, Float64, Float64]:
    """One row in double precision: the network as its layers are defined."""
    sound = np.pad(heard.astype(np.float64), (0, 64), mode="reflect")
    window = np.sin(np.pi * np.arange(256) / 256) ** 2
    frames = [np.abs(np.fft.rfft(sound[at : at + 256] * window)) for at in (0, 128, 256, 384)]
    values = np.array(frames).T
    for layer, stride in enumerate([1, 2, 2, 1]):
        name = f"model.encoder.{layer}.reparam_conv"
        values = convolved(values, constants[f"{name}.weight"], constants[f"{name}.bias"], stride)
    lstm = {part: constants[f"model.decoder.rnn.{part}"].astype(np.float64) for part in
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
    gates = lstm["weight_ih"] @ values[:, 0] + lstm["bias_ih"] + lstm["weight_hh"] @ output + lstm["bias_hh"]
    entry, forget, candidate, leave = gates.reshape(4, 128)
    new_cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(candidate)
    new_output = sigmoid(leave) * np.tanh(new_cell)
    weight, bias = constants["model.decoder.decoder.2.weight"], constants["model.decoder.decoder.2.bias"]
    score = float(weight.reshape(-1) @ np.maximum(new_output, 0)) + float(bias[0])
    return float(sigmoid(np.array(score))), new_output, new_cell


@pytest.mark.parametrize("rows", [1, 2, 17, LARGEST_BATCH])
def test_each_row_is_computed_as_the_layers_are_defined(
    constants: dict[str, Float32], network: LeanNetwork, rows: int
) -> None:
    heard, output, cell = drawn(rows, 576), drawn(rows, 128), drawn(rows, 128)
    expected = [by_definition(constants, *row) for row in zip(heard, output, cell, strict=True)]
    probabilities, output, cell = network.run(heard, output, cell)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (rows,)
    np.testing.assert_allclose(probabilities, [row[0] for row in expected], rtol=0, atol=1e-6)
    np.testing.assert_allclose(output, [row[1] for row in expected], rtol=0, atol=1e-5)
    np.testing.assert_allclose(cell, [row[2] for row in expected], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_each_row_of_a_recording_goes_on_from_the_one_before(
    constants: dict[str, Float32], tmp_path: Path, rows: int
) -> None:
    write_recording_graph(SileroWeights.of(constants), tmp_path / "recording.onnx")
    heard, output, cell = drawn(rows, 576), drawn(1, 1, 128), drawn(1, 1, 128)
    expected, last_output, last_cell = [], output[0, 0], cell[0, 0]
    for row in heard:
        probability, last_output, last_cell = by_definition(constants, row, last_output, last_cell)
        expected.append(probability)
    session = open_session(tmp_path / "recording.onnx")
    probabilities, new_output, new_cell = session.run({"heard": heard, "output": output, "cell": cell})
    assert probabilities.shape == (rows,)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(new_output[0, 0], last_output, rtol=0, atol=1e-5)
    np.testing.assert_allclose(new_cell[0, 0], last_cell, rtol=0, atol=1e-5)


def test_what_was_computed_before_leaves_no_trace(network: LeanNetwork) -> None:
    heard = drawn(3, 576)
    zeros = np.zeros((3, 128), np.float32)
    first = network.run(heard, zeros, zeros)
    network.run(drawn(200, 576) * 100, drawn(200, 128), drawn(200, 128))
    for got, expected in zip(network.run(heard, zeros, zeros), first, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not zeros.any()


def test_a_row_that_is_no_number_leaves_the_others_alone(network: LeanNetwork) -> None:
    heard, zeros = drawn(3, 576), np.zeros((3, 128), np.float32)
    good = network.run(heard, zeros, zeros)
    heard[1, 300] = np.nan
    bad = network.run(heard, zeros, zeros)
    assert np.isnan(bad[0][1])
    for got, expected in zip(bad, good, strict=True):
        np.testing.assert_array_equal(got[[0, 2]], expected[[0, 2]])


def test_the_same_weights_give_the_same_file(constants: dict[str, Float32], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_graph(SileroWeights.of(constants), tmp_path / folder / "lean.onnx")
        write_recording_graph(SileroWeights.of(constants), tmp_path / folder / "recording.onnx")
    for name in ("lean.onnx", "recording.onnx"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", ["model.stft.forward_basis_buffer", "model.encoder.2.reparam_conv.weight",
                                  "model.decoder.rnn.weight_hh", "model.decoder.decoder.2.bias"])  # fmt: skip
def test_weights_that_are_not_all_there_are_refused(constants: dict[str, Float32], name: str) -> None:
    with pytest.raises(ModelCorrupt, match="not the weights of Silero"):
        SileroWeights.of({key: value for key, value in constants.items() if key != name})


def test_weights_of_another_size_are_refused(constants: dict[str, Float32]) -> None:
    with pytest.raises(ModelCorrupt, match="not the weights of Silero"):
        SileroWeights.of(constants | {"model.encoder.0.reparam_conv.bias": drawn(96)})


def test_a_spectrum_that_cannot_be_folded_is_refused(constants: dict[str, Float32]) -> None:
    name = "model.stft.forward_basis_buffer"
    crooked = constants[name].copy()
    crooked[5, 0, 30] += 0.01
    with pytest.raises(ModelCorrupt, match="not symmetric"):
        SileroWeights.of(constants | {name: crooked})

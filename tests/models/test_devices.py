"""What a machine can compute on, as tables of other machines tell it."""

from __future__ import annotations

import pytest

from alfred_voice.models.devices import Device, Kind, ask_nvidia, choose_device, find_devices, fitting
from alfred_voice.models.whisper_layers import Precision


CPU_ONLY = ["CPUExecutionProvider"]
WITH_CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]
WITH_OPENVINO = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
CARDS = "0, NVIDIA A10, 23028, 22500, 8.6\n1, Tesla P4, 7680, 7000, 6.1\n"


def found(providers: list[str], openvino: tuple[str, ...] = (), cards: str = "", free_mb: int = 4000) -> list[Device]:
    return find_devices(providers, openvino, lambda: cards, free_mb, 8000)


class TestFinding:
    def test_the_processor_is_always_there_and_first(self) -> None:
        (processor,) = found(CPU_ONLY)
        assert (processor.id, processor.kind, processor.free_mb, processor.total_mb) == ("cpu", Kind.CPU, 4000, 8000)
        assert processor.precisions[0] is Precision.INT8

    def test_each_card_has_its_number_memory_and_precisions(self) -> None:
        _, ampere, pascal = found(WITH_CUDA, cards=CARDS)
        assert (ampere.id, ampere.name, ampere.free_mb, ampere.total_mb) == ("cuda:0", "NVIDIA A10", 22500, 23028)
        assert ampere.precisions[0] is Precision.FLOAT16
        assert pascal.precisions[0] is Precision.FLOAT32
        assert not ampere.problem

    def test_a_card_that_the_runtime_cannot_use_says_why(self) -> None:
        _, card, _ = found(CPU_ONLY, cards=CARDS)
        assert "without CUDA" in card.problem

    @pytest.mark.parametrize("printed", ["", "\n", "No devices were found", "0, card"])
    def test_what_is_no_table_of_cards_has_none(self, printed: str) -> None:
        assert [one.kind for one in found(WITH_CUDA, cards=printed)] == [Kind.CPU]

    def test_memory_that_a_card_does_not_tell_is_not_known(self) -> None:
        _, card = found(WITH_CUDA, cards="0, GH200, [N/A], [N/A], 9.0")
        assert (card.free_mb, card.total_mb) == (None, None)

    def test_openvino_names_its_own_devices(self) -> None:
        devices = found(WITH_OPENVINO, ("CPU", "GPU", "NPU"))
        assert [one.id for one in devices] == ["cpu", "openvino:CPU", "openvino:GPU", "openvino:NPU"]
        assert devices[1].precisions == (Precision.FLOAT32,)
        assert devices[2].precisions[0] is Precision.FLOAT16

    def test_without_the_drivers_program_there_are_no_cards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert ask_nvidia() == ""


class TestChoosing:
    @pytest.mark.parametrize(
        ("wanted", "chosen"),
        [
            ("cpu", "cpu"),
            ("auto", "cuda:0"),
            ("cuda", "cuda:0"),
            ("cuda:1", "cuda:1"),
            ("CUDA:1", "cuda:1"),
            ("openvino", "openvino:CPU"),
            ("openvino:gpu", "openvino:GPU"),
        ],
    )
    def test_finds_what_is_asked_for(self, wanted: str, chosen: str) -> None:
        devices = found([*WITH_CUDA, "OpenVINOExecutionProvider"], ("CPU", "GPU"), CARDS)
        device, warning = choose_device(wanted, devices)
        assert (device.id, warning) == (chosen, "")

    def test_what_is_not_there_gives_way_to_the_processor_and_says_so(self) -> None:
        device, warning = choose_device("cuda", found(CPU_ONLY))
        assert device.id == "cpu"
        assert "cuda cannot be used: there is none here; there are cpu" in warning

    def test_what_cannot_be_used_gives_way_with_its_reason(self) -> None:
        device, warning = choose_device("cuda:1", found(CPU_ONLY, cards=CARDS))
        assert device.id == "cpu"
        assert "without CUDA" in warning

    def test_nothing_but_a_processor_is_no_reason_to_warn_when_anything_will_do(self) -> None:
        assert choose_device("auto", found(CPU_ONLY, cards=CARDS)) == (found(CPU_ONLY)[0], "")


class TestFitting:
    @pytest.mark.parametrize(
        ("free_mb", "largest"), [(500, None), (560, "tiny"), (700, "base"), (1200, "small"), (100_000, "large-v3")]
    )
    def test_the_largest_that_memory_allows(self, free_mb: int, largest: str | None) -> None:
        fit = fitting(found(CPU_ONLY, free_mb=free_mb)[0])
        assert (fit and fit[0].name) == largest

    def test_half_precision_takes_twice_as_much(self) -> None:
        card = Device("cuda:0", Kind.CUDA, "card", 1200, 1200, (Precision.FLOAT16,))
        fit = fitting(card)
        assert fit is not None
        assert (fit[0].name, fit[1]) == ("small", Precision.FLOAT16)

    def test_nothing_fits_what_cannot_be_used_or_does_not_tell_its_memory(self) -> None:
        assert fitting(Device("cuda:0", Kind.CUDA, "card", 9000, problem="no driver")) is None
        assert fitting(Device("openvino:GPU", Kind.OPENVINO, "card")) is None

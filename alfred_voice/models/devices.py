"""What this machine can compute on: its processor, graphics cards, and what OpenVINO finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from alfred_voice.models.whisper_catalog import PUBLISHED, PublishedWhisper
from alfred_voice.models.whisper_layers import Precision


CPU, CUDA, OPENVINO, AUTO = "cpu", "cuda", "openvino", "auto"
ASK_WITHIN_S = 10.0
_SPARE_MB = 500
"""What else the daemon, or the runtime on a card, needs."""
_BYTES = {Precision.INT8: 1.3, Precision.FLOAT16: 2.6, Precision.FLOAT32: 5.2}
"""Memory for each parameter, with room for what is computed on the way."""


class Kind(Enum):
    """What computes."""

    CPU = CPU
    CUDA = CUDA
    OPENVINO = OPENVINO


@dataclass(frozen=True, slots=True)
class Device:
    """Something to compute on."""

    id: str
    """As the configuration names it: ``cpu``, ``cuda:0``, ``openvino:GPU``."""
    kind: Kind
    name: str
    free_mb: int | None = None
    """Memory that could be had now; None where nobody tells."""
    total_mb: int | None = None
    precisions: tuple[Precision, ...] = (Precision.INT8, Precision.FLOAT32)
    """Those in which it computes well, best first."""
    problem: str = ""
    """Why it cannot be used, although it is there; empty when it can."""


def find_devices(
    providers: Sequence[str], openvino: Sequence[str], ask_cards: Callable[[], str], free_mb: int, total_mb: int
) -> list[Device]:
    """Everything there is, the processor first.

    Args:
        providers: ONNX Runtime's, by its own names.
        openvino: the devices that OpenVINO names.
        ask_cards: what ``nvidia-smi`` prints of each card: index, name, total and free memory in MiB, capability.
        free_mb: memory of the machine that could be had.
        total_mb: memory of the machine.
    """
    cores = os.cpu_count() or 1
    devices = [Device(CPU, Kind.CPU, f"{cores} cores", free_mb, total_mb)]
    for line in ask_cards().splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 5:
            devices.append(_card(fields, has_runtime="CUDAExecutionProvider" in providers))
    if "OpenVINOExecutionProvider" in providers:
        devices += [_openvino(name, free_mb, total_mb) for name in openvino or ["CPU"]]
    return devices


def ask_nvidia() -> str:
    """A line for each card of NVIDIA's; nothing where there is none, or no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=index,name,memory.total,memory.free,compute_cap", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(  # noqa: S603  the driver's own program, and our arguments
            query, capture_output=True, text=True, timeout=ASK_WITHIN_S, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout


def choose_device(wanted: str, devices: Sequence[Device]) -> tuple[Device, str]:
    """The device to use, and why it is not the one that was wanted; empty when it is.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``openvino``, ``openvino:GPU`` ...
        devices: those of :func:`find_devices`, the processor among them.
    """
    processor = next(device for device in devices if device.kind is Kind.CPU)
    asked = wanted.lower()
    if asked == AUTO:
        return next((one for one in devices if one.kind is Kind.CUDA and not one.problem), processor), ""
    matching = [one for one in devices if one.id.lower() == asked or one.kind.value == asked]
    usable = [one for one in matching if not one.problem]
    if usable:
        return usable[0], ""
    reason = matching[0].problem if matching else f"there is none here; there are {', '.join(d.id for d in devices)}"
    return processor, f"{wanted} cannot be used: {reason}. The processor is used instead."


def fitting(device: Device) -> tuple[PublishedWhisper, Precision] | None:
    """The largest multilingual Whisper that a device has memory for, and the precision; None when there is none."""
    if device.problem or device.free_mb is None:
        return None
    precision = device.precisions[0]
    room_mb = device.free_mb - _SPARE_MB
    by_size = sorted((one for one in PUBLISHED if not one.name.endswith(".en")), key=lambda one: one.parameters_m)
    found = [one for one in by_size if one.parameters_m * _BYTES[precision] <= room_mb]
    return (found[-1], precision) if found else None


def _card(fields: Sequence[str], *, has_runtime: bool) -> Device:
    index, name, total, free, capability = fields
    # Half precision is quick from capability 7.0 on (CUDA C++ Programming Guide, arithmetic instructions).
    is_quick = capability.partition(".")[0].isdecimal() and int(capability.partition(".")[0]) >= 7
    return Device(
        id=f"{CUDA}:{index}",
        kind=Kind.CUDA,
        name=name,
        free_mb=int(free) if free.isdecimal() else None,
        total_mb=int(total) if total.isdecimal() else None,
        precisions=(Precision.FLOAT16, Precision.FLOAT32) if is_quick else (Precision.FLOAT32, Precision.FLOAT16),
        problem="" if has_runtime else "this ONNX Runtime is built without CUDA; install onnxruntime-gpu in its place",
    )


def _openvino(name: str, free_mb: int, total_mb: int) -> Device:
    is_processor = name.upper() == "CPU"
    return Device(
        id=f"{OPENVINO}:{name}",
        kind=Kind.OPENVINO,
        name=f"OpenVINO {name}",
        free_mb=free_mb if is_processor else None,
        total_mb=total_mb if is_processor else None,
        precisions=(Precision.FLOAT32,) if is_processor else (Precision.FLOAT16, Precision.FLOAT32),
    )

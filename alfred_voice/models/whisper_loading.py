"""A Whisper of the store, loaded on a device in the precision that suits it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from alfred_voice.errors import ModelMissing
from alfred_voice.models.devices import Device, Kind
from alfred_voice.models.onnx import PROCESSOR, Provider, open_session
from alfred_voice.models.shelf import PULL_COMMAND
from alfred_voice.models.whisper import Whisper
from alfred_voice.models.whisper_catalog import ALIASES, PREFIX
from alfred_voice.models.whisper_files import WhisperFiles, find_whisper
from alfred_voice.models.whisper_layers import Precision
from alfred_voice.models.whisper_options import WhisperOptions


log = logging.getLogger(__name__)


def load_whisper(root: Path, name: str, device: Device, options: WhisperOptions, threads: int) -> Whisper:
    """Load the graphs.

    Args:
        root: the model store.
        name: with or without ``whisper-``.
        device: what computes.
        options: a precision that is wanted, and how it decodes.
        threads: how many threads one operator may use on the processor.

    Raises:
        ModelMissing: it is not here, or not in a precision that can be used.
    """
    own = name.removeprefix(PREFIX)
    files = find_whisper(root, ALIASES.get(own, own))
    precision = choose_precision(files, device, options.precision)
    encoder, decoder = files.graphs(precision)
    provider = provider_of(device, threads)
    if device.kind is Kind.OPENVINO:
        # The decoder's many short steps are quicker on the runtime itself (measured by others: its dynamic shapes).
        decoder = files.graphs(Precision.INT8 if Precision.INT8 in files.precisions else precision)[1]
    spelling = PROCESSOR if device.kind is Kind.OPENVINO else provider
    log.info("whisper_loaded", extra={"model": files.name, "device": device.id, "precision": precision.value})
    return Whisper(
        files,
        open_session(encoder, threads=threads, provider=provider),
        open_session(decoder, threads=threads, provider=spelling),
        options,
    )


def choose_precision(files: WhisperFiles, device: Device, wanted: str | None) -> Precision:
    """The precision that is wanted, or the one of those here in which the device computes best.

    Raises:
        ModelMissing: none of them is here.
    """
    suitable: Sequence[Precision] = (Precision(wanted),) if wanted else device.precisions
    for precision in suitable:
        if precision in files.precisions:
            return precision
    here = ", ".join(one.value for one in files.precisions)
    raise ModelMissing(
        f"{PREFIX}{files.name} is here in {here}, but {device.id} needs {' or '.join(p.value for p in suitable)}. "
        f"Make it with '{PULL_COMMAND} {files.pulled_as} --precision {suitable[0].value}'."
    )


def provider_of(device: Device, threads: int) -> Provider:
    """The device in ONNX Runtime's words."""
    match device.kind:
        case Kind.CUDA:
            return "CUDAExecutionProvider", {"device_id": device.id.partition(":")[2] or "0"}
        case Kind.OPENVINO:
            # Each thread there also gets buffers of its own; see intel/onnxruntime, OpenVINO provider options.
            name = device.id.partition(":")[2] or "CPU"
            return "OpenVINOExecutionProvider", {"device_type": name, "num_of_threads": str(threads)}
        case Kind.CPU:
            return PROCESSOR

"""ONNX Runtime, made and called in one way for every model of the house.

Nothing else in the package imports ``onnxruntime``, and here it is imported by the call that
needs it: it costs a tenth of a second and tens of megabytes, which a command that runs no model
should not pay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from alfred_voice.errors import EngineFault, ModelCorrupt, ModelMissing, OutOfMemory


log = logging.getLogger(__name__)

Provider = tuple[str, Mapping[str, str]]
"""What computes, by ONNX Runtime's name of it, and its options."""

PROCESSOR: Provider = ("CPUExecutionProvider", {})

_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "bad_alloc", "bad allocation", "alloc_failed")
"""How the runtime and its providers say it, in lower case; they have no exception for it."""
_LOG_ERRORS_ONLY = 3  # ONNX Runtime's severities: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal


class Session:
    """One loaded graph; may be run from several threads, keeps nothing between runs.

    Attributes:
        input_names: what :meth:`run` is fed, in the graph's order.
        output_names: what it can answer, in the graph's order.
    """

    __slots__ = ("_label", "_session", "input_names", "output_names")

    def __init__(self, session: Any, label: str) -> None:
        self._session = session
        self._label = label
        self.input_names: tuple[str, ...] = tuple(node.name for node in session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """The outputs of that name and order, or all of them.

        Raises:
            OutOfMemory: there was not enough for these inputs.
            EngineFault: ONNX Runtime refused the inputs or failed while it ran.
        """
        try:
            answers = self._session.run(None if outputs is None else list(outputs), dict(feeds))
        except Exception as exc:  # the runtime's exceptions share no other root
            said = str(exc).lower()
            is_memory = isinstance(exc, MemoryError) or any(sign in said for sign in _OUT_OF_MEMORY)
            kind = OutOfMemory if is_memory else EngineFault
            raise kind(f"{self._label} did not run: {_first_line(exc)}") from exc
        return cast(list[NDArray[Any]], answers)

    def __repr__(self) -> str:
        return f"<Session {self._label}>"


def open_session(
    path: Path, *, threads: int = 1, keeps_memory: bool = False, provider: Provider = PROCESSOR
) -> Session:
    """Load the graph at ``path`` (ONNX or ORT format).

    Args:
        path: the model's file.
        threads: how many threads one operator may use; the caller's own is among them.
        keeps_memory: keep the memory of the largest call for the next one: quicker where every call
            has the same shapes, a waste where they vary.
        provider: what computes; what it does not know is computed by the processor.

    Raises:
        ModelMissing: there is no such file.
        ModelCorrupt: the file is not a graph that ONNX Runtime can load.
    """
    if threads < 1:
        raise ValueError(f"Expected at least one thread, but got {threads}")
    if not path.is_file():
        raise ModelMissing(f"No model file at {path}")
    import onnxruntime as ort

    try:
        options = _options(ort, threads, keeps_memory)
        providers = [provider] if provider == PROCESSOR else [provider, PROCESSOR]
        asked = [(name, dict(settings)) for name, settings in providers]
        session = ort.InferenceSession(str(path), options, providers=asked)
    except Exception as exc:  # the runtime's exceptions share no other root
        raise ModelCorrupt(f"{path} cannot be loaded by ONNX Runtime: {_first_line(exc)}") from exc
    if provider[0] not in session.get_providers():
        # The runtime goes on without a word when a provider's libraries cannot be loaded.
        log.warning("provider_missing", extra={"provider": provider[0], "graph": path.name, "instead": PROCESSOR[0]})
    return Session(session, path.name)


def available_providers() -> list[str]:
    """What this build of the runtime can compute on, by its own names."""
    import onnxruntime as ort

    return list(ort.get_available_providers())


def openvino_devices() -> list[str]:
    """The devices that OpenVINO finds; none where the runtime is built without it."""
    if "OpenVINOExecutionProvider" not in available_providers():
        return []
    from onnxruntime.capi import _pybind_state as state

    return list(state.get_available_openvino_device_ids())


def bound_graph(data: bytes) -> Any:
    """The graph in a file of the runtime's own format, in its flatbuffers bindings; ``data`` is kept as long as it."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    return InferenceSession.GetRootAs(data, 0).Model().Graph()


def _options(ort: Any, threads: int, keeps_memory: bool) -> Any:
    """Session options of the house, for the module ``ort``."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Threads that spin between two calls burn a core that other sessions need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps the largest batch it has ever seen; without it memory goes back after the call.
    options.enable_cpu_mem_arena = keeps_memory
    return options


def _first_line(exc: Exception) -> str:
    """What ``exc`` says, without the native stack that may follow."""
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]

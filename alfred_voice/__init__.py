"""Alfred Voice: a self-hosted, real-time voice daemon.

    from alfred_voice import transcribe
    print(transcribe("meeting.m4a").text)

See :mod:`alfred_voice.recordings`. It is imported when it is asked for: the package by itself costs nothing. What
its names are is in ``__init__.pyi``, as every room imports this file, and none of them may know those above it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


__version__ = "0.1.0"
__all__ = [
    "AudioError", "BrokenOff", "Recordings", "Transcription", "__version__", "transcribe", "transcribe_stream",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("alfred_voice.recordings"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

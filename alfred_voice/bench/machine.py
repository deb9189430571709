"""Where and with what figures were measured: without that they mean little."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

import alfred_voice


_RUNTIMES = ("onnxruntime-openvino", "onnxruntime")
"""Packages that hold the module ``onnxruntime``; one of them is installed."""
_INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm")
"""Those that change what a matrix product costs."""
_CPUINFO = Path("/proc/cpuinfo")
_GIB = 1 << 30


def describe_machine() -> dict[str, str]:
    """Processor, cores, memory, system, versions, and the commit of the checkout if this is one."""
    facts = {
        "processor": _processor(),
        "cores": f"{usable_cores()} of {os.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / _GIB:.1f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": ", ".join(f"{name} {version}" for name in _RUNTIMES if (version := _version(name))) or "none",
        "numpy": _version("numpy"),
        "alfred-voice": alfred_voice.__version__,
    }
    commit = commit_of(Path(alfred_voice.__file__).parent.parent)
    return facts | ({"commit": commit} if commit else {})


def usable_cores() -> int:
    """Those that this process may run on, which a container may make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit_of(folder: Path) -> str | None:
    """The commit of the checkout at ``folder``, with ``-dirty`` where files differ from it; None for anything else."""
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],  # noqa: S607 - whichever git the user has
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # a checkout on a machine without git
    return done.stdout.strip() or None


def processor_of(cpuinfo: str) -> str:
    """The processor's name and those of its instructions that matter, from the text of ``/proc/cpuinfo``; or ""."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields.setdefault(name.strip().lower(), value.strip())
    has = set((fields.get("flags") or fields.get("features") or "").split())
    model = fields.get("model name", "")
    instructions = ", ".join(name for name in _INSTRUCTIONS if name in has)
    return f"{model} ({instructions})" if model and instructions else model or instructions


def _processor() -> str:
    """As the system names it."""
    known = processor_of(_CPUINFO.read_text("utf-8", "replace")) if _CPUINFO.exists() else ""
    return known or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""

"""Resident memory as the kernel tells it, and what can be given back."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from alfred_voice.pipeline.memory import MEGABYTE, Memory


ON_GLIBC = platform.libc_ver()[0] == "glibc"
on_glibc = pytest.mark.skipif(not ON_GLIBC, reason="needs glibc")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_resident_memory_is_what_the_kernel_says() -> None:
    (line,) = [line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmRSS")]
    assert Memory().resident_mb() == pytest.approx(int(line.split()[1]) / 1024, abs=8)


def test_what_is_taken_counts() -> None:
    memory = Memory()
    before = memory.resident_mb()
    taken = np.ones(64 * MEGABYTE, np.uint8)
    assert memory.resident_mb() - before > 48
    assert taken[-1] == 1


def test_a_collection_frees_what_refers_to_itself() -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    gc.disable()
    try:
        gone = weakref.ref(Knot())
        assert gone() is not None
        assert Memory().collect() > 0
        assert gone() is None
    finally:
        gc.enable()


@on_glibc
def test_the_heap_can_be_trimmed_without_starting_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", never)
    monkeypatch.setattr(subprocess, "run", never)
    assert isinstance(Memory().trim(), bool)


def test_a_system_without_glibc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    Memory().tune()
    assert Memory().trim() is False


@on_glibc
def test_a_tuned_process_gives_large_blocks_back_at_once(tmp_path: Path) -> None:
    script = tmp_path / "tuned.py"
    script.write_text(
        "from alfred_voice.pipeline.memory import Memory\n"
        "import numpy as np\n"
        "memory = Memory()\n"
        "memory.tune()\n"
        "before = memory.resident_mb()\n"
        "for _ in range(3):\n"
        "    block = np.ones(30_000_000, np.uint8)\n"
        "    del block\n"
        "print(memory.resident_mb() - before)\n",
        "utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) < 10

"""Ctrl-C during ``alfred-voice transcribe``, in a process of its own, at many moments."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from alfred_voice.commands.interrupts import EXIT_INTERRUPTED


PROGRAM = """
import sys
import alfred_voice.cli
print("loaded", file=sys.stderr, flush=True)
sys.exit(alfred_voice.cli.main(sys.argv[1:]))
"""
SCRIPTED = ("--set", "vad.engine=scripted", "--set", "stt.engine=scripted")
WITHIN_S = 60.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to be sent")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of noise and silence by turns, in mu-law: many seconds of work."""
    part = bytes([0x7F]) * 8_000 + np.random.default_rng(0).bytes(16_000)
    size = 1_200 * len(part)
    head = struct.pack("<4sI8sIHHIIHH", b"RIFF", 36 + size, b"WAVEfmt ", 16, 7, 1, 8_000, 8_000, 1, 8)
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with path.open("wb") as file:
        file.write(head + struct.pack("<4sI", b"data", size))
        for _ in range(1_200):
            file.write(part)
    return path


@contextlib.contextmanager
def started(*words: str, stdin: int = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    """The command, when its modules begin to be loaded."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline() == b"loaded\n"
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, Sequence[str]]:
    """Its exit code and what it said."""
    _, said = process.communicate(timeout=WITHIN_S)
    return process.returncode, said.decode().splitlines()


@pytest.mark.parametrize("after_s", [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 1.2, 1.6])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_at_any_moment_ends_it_in_one_line(long: Path, after_s: float, workers: str) -> None:
    with started("transcribe", str(long), *SCRIPTED, "--workers", workers) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        code, said = ended(process)
    assert code == EXIT_INTERRUPTED
    (line,) = said
    assert line.startswith("interrupted")


def test_what_is_kept_is_told_and_taken_up_again(long: Path, tmp_path: Path) -> None:
    short = tmp_path / "a.wav"
    content = bytearray(long.read_bytes()[:200_000])
    content[40:44] = (len(content) - 44).to_bytes(4, "little")
    short.write_bytes(content)
    words = ["transcribe", str(short), str(long), *SCRIPTED, "--output-dir", str(tmp_path / "out")]
    words += ["--save-intermediates", "--resume", "--workers", "1"]
    notes = tmp_path / "out" / "long.segments.jsonl"
    with started(*words) as process:
        until = time.monotonic() + WITHIN_S
        while not (notes.exists() and notes.read_bytes().count(b"\n") > 20) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        code, said = ended(process)
    assert code == EXIT_INTERRUPTED
    assert "\n".join(said) == (
        f"interrupted: 1 of 2 texts are complete in {tmp_path / 'out'}, --resume leaves them out; "
        "the segments so far are noted there, --resume goes on behind them"
    )
    lines = [json.loads(line) for line in notes.read_text("utf-8").splitlines()]
    assert [line["type"] for line in lines] == ["recording"] + ["segment"] * (len(lines) - 1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.segments.jsonl", "a.txt", "long.segments.jsonl",
    ]  # fmt: skip


def test_a_second_one_ends_what_does_not_listen() -> None:
    """Standard input that never comes cannot look at anything."""
    read, write = os.pipe()
    try:
        with started("transcribe", "-", *SCRIPTED, stdin=read) as process:
            time.sleep(3)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert process.stderr.readline() == b"interrupted: what was printed is all there is\n"
            process.send_signal(signal.SIGINT)
            assert ended(process) == (EXIT_INTERRUPTED, [])
    finally:
        os.close(read)
        os.close(write)


def test_other_commands_have_their_own_way() -> None:
    program = (
        "import os, signal, sys\nfrom alfred_voice.commands import config\nimport alfred_voice.cli\n"
        "config.run = lambda args: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
        "alfred_voice.cli.main(['config', 'show'])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout == "True\n"


def test_where_it_is_ignored_it_stays_ignored(long: Path) -> None:
    """As in a shell script that runs it in the background."""
    program = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + PROGRAM
    with subprocess.Popen(
        [sys.executable, "-c", program, "transcribe", str(long), *SCRIPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline()
        process.kill()

"""What a report says about the machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import alfred_voice
from alfred_voice.bench.machine import commit_of, describe_machine, processor_of, usable_cores


X86 = """\
processor\t: 0
model name\t: AMD EPYC 7B13
flags\t\t: fpu sse2 avx2 sha_ni

processor\t: 1
model name\t: another
flags\t\t: fpu avx512f
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd aes asimddp\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("cpuinfo", "processor"),
    [
        pytest.param(X86, "AMD EPYC 7B13 (avx2)", id="the first processor of several"),
        pytest.param(ARM, "asimd, asimddp", id="a processor without a name"),
        pytest.param("model name : Something\n", "Something", id="a name alone"),
        pytest.param("nothing of use", "", id="nothing"),
    ],
)
def test_a_processor_is_named_with_the_instructions_that_matter(cpuinfo: str, processor: str) -> None:
    assert processor_of(cpuinfo) == processor


def test_a_machine_is_described_in_words() -> None:
    machine = describe_machine()

    assert machine["alfred-voice"] == alfred_voice.__version__
    assert set(machine) >= {"processor", "cores", "memory", "system", "python", "onnxruntime", "numpy"}
    assert all(machine.values())
    assert machine["cores"].split()[0] == str(usable_cores())


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_checkout_is_named_by_its_commit_and_whether_it_differs(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")

    clean = commit_of(tmp_path)
    (tmp_path / "a").write_text("2")
    changed = commit_of(tmp_path)

    assert clean is not None
    assert commit.startswith(clean)
    assert changed == f"{clean}-dirty"


def test_a_tag_does_not_hide_the_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "a")
    git(tmp_path, "tag", "-a", "v1", "-m", "v1")

    named = commit_of(tmp_path)

    assert named is not None
    assert git(tmp_path, "rev-parse", "HEAD").startswith(named)


def test_what_is_no_checkout_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None


def test_a_checkout_without_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert commit_of(tmp_path) is None

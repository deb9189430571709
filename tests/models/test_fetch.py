"""Bytes from outside: what arrives, what goes on after a break, and what is said when nothing comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest

from alfred_voice.errors import ModelFetchFailed
from alfred_voice.models.catalog import Address, Package
from alfred_voice.models.fetch import download_file, download_package


CONTENT = bytes(range(256)) * 4_000  # 1 MB, several chunks
SIZE = len(CONTENT)


def test_a_file_comes_in_one_request(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT
    part = tmp_path / "part"
    download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert part.read_bytes() == CONTENT
    assert web.requests == [("m", None)]


def test_progress_only_grows_and_is_complete_once(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT
    download_file(Address(web.url("m")), tmp_path / "part", SIZE, "m", watcher)
    done = [done for _, done, _ in watcher.updates]
    assert done == sorted(done)
    assert len(done) > 3
    assert watcher.completed() == ["m"]


@pytest.mark.parametrize("begun", [1, 1000, SIZE - 1])
def test_a_part_is_continued_where_it_ended(web: Any, watcher: Any, tmp_path: Path, begun: int) -> None:
    web.files["m"] = CONTENT
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:begun])
    download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert part.read_bytes() == CONTENT
    assert web.requests == [("m", f"bytes={begun}-")]


def test_a_complete_part_is_not_asked_for_again(web: Any, watcher: Any, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT)
    download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert web.requests == []


def test_a_part_that_is_too_long_is_begun_anew(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT
    part = tmp_path / "part"
    part.write_bytes(CONTENT + b"x")
    download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert part.read_bytes() == CONTENT


def test_a_dropped_connection_is_taken_up_again_as_long_as_bytes_come(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT
    web.break_after = 300_000
    part = tmp_path / "part"
    download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert part.read_bytes() == CONTENT
    assert [wanted for _, wanted in web.requests] == [
        None,
        "bytes=300000-",
        "bytes=600000-",
        "bytes=900000-",
    ]


def test_a_server_without_ranges_sends_the_whole_file_again(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT
    web.knows_ranges = False
    part = tmp_path / "part"
    part.write_bytes(b"?" * 1000)
    download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert part.read_bytes() == CONTENT


def test_a_server_that_always_breaks_off_at_the_same_byte_is_given_up(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT
    web.knows_ranges = False
    web.break_after = 1000
    part = tmp_path / "part"
    with pytest.raises(ModelFetchFailed, match=rf"broke off.*1000 of {SIZE} bytes are here"):
        download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert len(web.requests) == 2
    assert part.stat().st_size == 1000


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_length_is_refused_before_it_is_received(
    web: Any, watcher: Any, tmp_path: Path, difference: int
) -> None:
    web.files["m"] = CONTENT
    with pytest.raises(ModelFetchFailed, match=rf"offers {SIZE} bytes, but the catalogue says {SIZE + difference}"):
        download_file(Address(web.url("m")), tmp_path / "part", SIZE + difference, "m", watcher)
    assert not (tmp_path / "part").exists()


def test_the_servers_refusal_is_told(web: Any, watcher: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelFetchFailed, match="answered 404 Not Found"):
        download_file(Address(web.url("m")), tmp_path / "part", SIZE, "m", watcher)


def test_a_part_that_the_server_has_no_rest_of_is_thrown_away(web: Any, watcher: Any, tmp_path: Path) -> None:
    web.files["m"] = CONTENT[:10]
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:20])
    with pytest.raises(ModelFetchFailed, match="answered 416"):
        download_file(Address(web.url("m")), part, SIZE, "m", watcher)
    assert not part.exists()


def test_a_closed_port_is_no_connection(web: Any, watcher: Any, tmp_path: Path) -> None:
    url = web.url("m")
    web.close()
    with pytest.raises(ModelFetchFailed, match=r"no connection: .*0 of"):
        download_file(Address(url), tmp_path / "part", SIZE, "m", watcher)


TINY = Package("tiny-model", "1.2", 2_000)
FOREIGN = Package("foreign-model", "3", 2_000, "macosx_99_0_arm64")


@pytest.mark.parametrize("package", [TINY, FOREIGN], ids=["for any machine", "for another machine"])
def test_pip_brings_a_package_whatever_machine_it_is_for(
    wheelhouse: Any, watcher: Any, tmp_path: Path, package: Package, capfd: pytest.CaptureFixture[str]
) -> None:
    wheelhouse.add(package, {"data/m": CONTENT})
    archive = download_package(package, tmp_path, watcher)
    with zipfile.ZipFile(archive) as opened:
        assert opened.read("data/m") == CONTENT
    assert watcher.completed() == [str(package)]
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([archive.name, "wheelhouse"])


def test_an_archive_that_is_here_is_not_fetched_again(wheelhouse: Any, watcher: Any, tmp_path: Path) -> None:
    (tmp_path / TINY.archive_name).write_bytes(b"here")
    assert download_package(TINY, tmp_path, watcher).read_bytes() == b"here"


def test_only_the_very_version_is_taken(wheelhouse: Any, watcher: Any, tmp_path: Path) -> None:
    wheelhouse.add(Package("tiny-model", "1.3", 1), {})
    with pytest.raises(ModelFetchFailed, match=r"tiny-model==1\.2"):
        download_package(TINY, tmp_path, watcher)


def test_pips_last_words_are_told_when_it_fails(
    wheelhouse: Any, watcher: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelFetchFailed, match=r"(?s)exit status 1.*No matching distribution found") as caught:
        download_package(TINY, tmp_path, watcher)
    assert len(str(caught.value).splitlines()) <= 5
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["wheelhouse"]


def test_an_interruption_ends_pip_and_leaves_nothing_behind(
    web: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index never answers, so pip would wait; the first progress report interrupts as Ctrl-C does."""
    web.gate.clear()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", web.url("simple"))

    class Impatient:
        def update(self, item: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

        def note(self, message: str) -> None:
            raise AssertionError(message)

    with pytest.raises(KeyboardInterrupt):
        download_package(TINY, tmp_path, Impatient())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupted_download_keeps_its_part(web: Any, tmp_path: Path) -> None:
    """A process is killed in the middle; the next one asks for the rest only."""
    web.files["m"] = CONTENT
    part = tmp_path / "part"
    script = f"""
        import os, signal
        from pathlib import Path
        from alfred_voice.models.catalog import Address
        from alfred_voice.models.fetch import download_file
        class Killer:
            def update(self, item, done, total):
                if done > 400_000:
                    os.kill(os.getpid(), signal.SIGKILL)
            def note(self, message): ...
        download_file(Address({web.url("m")!r}), Path({str(part)!r}), {SIZE}, "m", Killer())
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -signal.SIGKILL
    begun = part.stat().st_size
    assert 0 < begun < SIZE

    class Silent:
        def update(self, item: str, done: int, total: int) -> None: ...
        def note(self, message: str) -> None: ...

    download_file(Address(web.url("m")), part, SIZE, "m", Silent())
    assert part.read_bytes() == CONTENT
    assert web.requests[1:] == [("m", f"bytes={begun}-")]

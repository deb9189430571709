"""Tell whether the daemon with a process id is ready: ``ready.py PID [SECONDS TO WAIT]``.

Which address it listens on is asked of the operating system: flags, environment and files all have a say in it.
Exit status 0 when it is ready (prints the address), 1 when not (prints why), 2 when there is no such process.
"""
# ruff: noqa: INP001, T201 - a script

import http.client
import ssl
import sys
import time
import urllib.error
import urllib.request

import psutil


EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask one that listens everywhere
POLL_S = 0.1


def address(pid: int) -> str | None:
    """``host:port`` of the first socket that the process listens on."""
    for connection in psutil.Process(pid).net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            host = EVERYWHERE.get(connection.laddr.ip, connection.laddr.ip)
            return f"{f'[{host}]' if ':' in host else host}:{connection.laddr.port}"
    return None


def ask(place: str) -> tuple[str, str | None]:
    """The daemon's address, and what ``/readyz`` has against it; None when it is ready."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),  # it is this machine: never by a proxy
        # Whose certificate it is does not matter here: nothing but the question is sent.
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323, SLF001
    )
    reason = ""
    for url in (f"http://{place}", f"https://{place}"):
        try:
            with opener.open(f"{url}/readyz", timeout=2):
                return url, None
        except urllib.error.HTTPError as error:
            with error:
                return url, error.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            reason = reason or str(error)
    return f"http://{place}", reason


def main(pid: int, wait_s: float) -> int:
    """Look until it is ready, gone, or the time is over."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return 2
            place = address(pid)
        except psutil.NoSuchProcess:
            return 2
        url, reason = ask(place) if place else ("", "it does not listen yet")
        if reason is None:
            print(url)
            return 0
        if time.monotonic() >= deadline:
            print(reason)
            return 1
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))

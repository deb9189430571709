"""The sockets that one peer's media comes to: at which addresses, on which ports, and as what they are told."""

from __future__ import annotations

import errno
import secrets
import socket
from dataclasses import dataclass

from alfred_voice.server.errors import NoPortFree


@dataclass(frozen=True, slots=True)
class Berth:
    """Where a peer may reach us."""

    addresses: tuple[str, ...]
    """Of this machine; a socket is opened at each."""
    ports: range | None = None
    """Those that may be used; None for any that the system chooses."""
    announced: tuple[str, ...] = ()
    """What the addresses are known as outside; empty where they are known as themselves."""


def open_socket(address: str, ports: range | None) -> socket.socket:
    """A UDP socket at this address, on a free port of these. Which one is tried first is left to chance.

    Raises:
        NoPortFree: all of them are taken.
        OSError: the address is not this machine's.
    """
    found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        _bind(found, address, ports)
    except BaseException:
        found.close()
        raise
    return found


def _bind(to_bind: socket.socket, address: str, ports: range | None) -> None:
    if ports is None:
        to_bind.bind((address, 0))
        return
    first = secrets.randbelow(len(ports))
    for offset in range(len(ports)):
        try:
            to_bind.bind((address, ports[(first + offset) % len(ports)]))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise NoPortFree(f"all {len(ports)} ports for media at {address} are taken ({ports[0]}-{ports[-1]})")

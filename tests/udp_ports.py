"""UDP ports for tests of ranges: free now, and none that systems give out by themselves."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack


FIRST, LAST = 20_000, 32_000
"""Below the ports that Linux chooses for sockets which ask for none (``ip_local_port_range``, from 32768 on)."""
ADDRESSES = ("127.0.0.1", "127.0.0.2")


def free_ports(count: int) -> range:
    """So many ports in a row; another one for each process that asks, so that test runs do not meet."""
    for _ in range(100):
        first = random.randrange(FIRST, LAST - count)
        ports = range(first, first + count)
        try:
            with ExitStack() as stack:
                for address in ADDRESSES:
                    for port in ports:
                        stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind((address, port))
        except OSError:
            continue
        return ports
    raise AssertionError(f"no {count} free UDP ports in a row")

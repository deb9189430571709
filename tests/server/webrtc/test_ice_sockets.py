"""The sockets that media comes to: ports of a range, while there are any."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from alfred_voice.server.errors import NoPortFree
from alfred_voice.server.webrtc.ice_sockets import open_socket
from tests.udp_ports import free_ports


PORTS = free_ports(4)
Open = Callable[..., socket.socket]


@pytest.fixture
def opened() -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(address: str = "127.0.0.1", ports: range | None = PORTS) -> socket.socket:
            return stack.enter_context(open_socket(address, ports))

        yield open_one


def port_of(one: socket.socket) -> int:
    return int(one.getsockname()[1])


def test_every_port_of_the_range_is_used_and_no_other(opened: Open) -> None:
    assert sorted(port_of(opened()) for _ in PORTS) == list(PORTS)


def test_when_all_are_taken_it_says_so_and_leaves_nothing_open(opened: Open) -> None:
    taken = [opened() for _ in PORTS]
    with pytest.raises(
        NoPortFree, match=rf"all 4 ports for media at 127\.0\.0\.1 are taken \({PORTS[0]}-{PORTS[-1]}\)"
    ):
        opened()
    freed = port_of(taken[1])
    taken[1].close()
    assert port_of(opened()) == freed


def test_each_address_has_the_whole_range(opened: Open) -> None:
    for _ in PORTS:
        opened()
    assert port_of(opened("127.0.0.2")) in PORTS


def test_without_a_range_the_system_chooses(opened: Open) -> None:
    assert len({port_of(opened(ports=None)) for _ in range(3)}) == 3


def test_an_address_of_another_machine_is_no_lack_of_ports(opened: Open) -> None:
    with pytest.raises(OSError, match="Cannot assign requested address"):
        opened("192.0.2.1")


def test_the_sixth_version_as_well(opened: Open) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        assert port_of(opened("::1")) in PORTS
    except OSError:
        pytest.skip("this machine has no address of IPv6")

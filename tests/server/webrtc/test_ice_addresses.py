"""Where a peer may reach the daemon."""

from __future__ import annotations

import ipaddress

import pytest

from alfred_voice.server.webrtc.ice_addresses import (
    addresses_of,
    announced_addresses,
    offered_addresses,
    present_addresses,
)


PRESENT = ["127.0.0.1", "::1", "192.0.2.7", "fd00::7", "fe80::1%eth0", "169.254.3.3", "10.0.0.7"]


@pytest.mark.parametrize(
    ("bound", "offered"),
    [
        (["127.0.0.1"], ["127.0.0.1"]),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (["192.0.2.7"], ["192.0.2.7"]),
        (["0.0.0.0"], ["192.0.2.7", "10.0.0.7", "127.0.0.1"]),  # noqa: S104  never listened on
        (["::"], ["192.0.2.7", "fd00::7", "10.0.0.7", "127.0.0.1", "::1"]),
        ([], []),
    ],
    ids=["this machine", "both families", "one interface", "all of IPv4", "all", "no address now"],
)
def test_media_comes_where_the_daemon_listens_and_nowhere_else(bound: list[str], offered: list[str]) -> None:
    assert offered_addresses(bound, PRESENT) == offered


def test_on_a_machine_without_a_network_its_own_address_remains() -> None:
    assert offered_addresses(["::"], ["127.0.0.1"]) == ["127.0.0.1"]


def test_what_the_configuration_names_counts_instead() -> None:
    assert offered_addresses(["127.0.0.1"], PRESENT, ("192.0.2.7", "192.0.2.7", "10.9.9.9")) == [
        "192.0.2.7",
        "10.9.9.9",
    ]


async def test_a_name_stands_for_its_addresses() -> None:
    found = await addresses_of("localhost")
    assert found
    assert all(ipaddress.ip_address(address).is_loopback for address in found)


async def test_a_name_without_an_address_stands_for_none() -> None:
    assert await addresses_of("nowhere.invalid") == []


def test_the_machine_has_its_own_address() -> None:
    assert "127.0.0.1" in present_addresses()


INSIDE, BESIDE, SIXTH, ITSELF = ("10.0.0.7", 5001), ("192.168.1.4", 5002), ("fd00::7", 5003), ("127.0.0.1", 5004)


@pytest.mark.parametrize(
    ("opened", "announced", "told"),
    [
        ([INSIDE, ITSELF], [], [INSIDE, ITSELF]),
        ([INSIDE, ITSELF], ["203.0.113.9"], [("203.0.113.9", 5001)]),
        ([INSIDE, BESIDE, ITSELF], ["203.0.113.9"], [("203.0.113.9", 5001), ("203.0.113.9", 5002)]),
        ([INSIDE, ITSELF], ["203.0.113.9", "10.0.0.7"], [("203.0.113.9", 5001), INSIDE]),
        ([INSIDE, SIXTH], ["2001:db8::9", "203.0.113.9"], [("2001:db8::9", 5003), ("203.0.113.9", 5001)]),
        ([INSIDE], ["2001:db8::9"], []),
        ([ITSELF], ["203.0.113.9"], [("203.0.113.9", 5004)]),
    ],
    ids=["itself", "instead", "for each", "beside its own", "both families", "none of its family", "behind a relay"],
)
def test_a_peer_is_told_the_addresses_that_are_known_outside(
    opened: list[tuple[str, int]], announced: list[str], told: list[tuple[str, int]]
) -> None:
    assert announced_addresses(opened, announced) == told

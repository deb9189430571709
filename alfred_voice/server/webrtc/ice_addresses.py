"""At which addresses a peer may reach the daemon: where it listens, and nowhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence

import psutil


_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared with, not listened on


def offered_addresses(bound: Iterable[str], present: Iterable[str], chosen: Iterable[str] = ()) -> list[str]:
    """The addresses that candidates are made of, the machine's own one last: a peer elsewhere can do nothing with it.

    Args:
        bound: the addresses that the daemon listens on; a wildcard stands for all of its family.
        present: those that the machine has.
        chosen: those that the configuration names; they count instead of ``bound``.
    """
    named = tuple(chosen)
    if named:
        return list(dict.fromkeys(named))
    found: dict[str, None] = {}
    for address in bound:
        if address not in _EVERYWHERE:
            found[address] = None
            continue
        for each in present:
            if _is_usable(each) and (address == "::" or ":" not in each):
                found[each] = None
    return sorted(found, key=lambda address: ipaddress.ip_address(address).is_loopback)


def announced_addresses(opened: Sequence[tuple[str, int]], announced: Iterable[str]) -> list[tuple[str, int]]:
    """The addresses and ports that a peer is told.

    Args:
        opened: those of the sockets.
        announced: the addresses by which these are known outside, where something in between changes them and leaves
            the ports as they are. They are told instead of the sockets' own; one that is a socket's own stands for
            that alone, any other one for all sockets of its family, those of the machine itself last.
    """
    named = tuple(announced)
    if not named:
        return list(opened)
    told: dict[tuple[str, int], None] = {}
    for address in named:
        family = [each for each in opened if (":" in each[0]) == (":" in address)]
        own = [each for each in family if each[0] == address]
        outside = [each for each in family if not ipaddress.ip_address(each[0]).is_loopback]
        told.update({(address, port): None for _, port in own or outside or family})
    return list(told)


def _is_usable(address: str) -> bool:
    """Link-local addresses mean nothing without the interface that they belong to."""
    return "%" not in address and not ipaddress.ip_address(address).is_link_local


def present_addresses() -> list[str]:
    """Every address of this machine."""
    families = (socket.AF_INET, socket.AF_INET6)
    return [
        each.address for interface in psutil.net_if_addrs().values() for each in interface if each.family in families
    ]


async def addresses_of(host: str) -> list[str]:
    """What the name or address that the daemon listens on stands for; empty when it has none now."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))

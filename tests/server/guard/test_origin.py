"""Whose page asks, and by what name the daemon is called."""

from __future__ import annotations

import pytest

from alfred_voice.server.errors import HostRefused, OriginRefused
from alfred_voice.server.guard.origin import Doorplate, household_of, is_loopback, is_same_origin, split_host


EVERYWHERE = "0.0.0.0"  # noqa: S104  compared with, not listened on
PLATE = Doorplate("127.0.0.1", frozenset({"voice.local"}), frozenset({"https://app.example"}))


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "same"),
    [
        ("http://localhost:8015", "http", "localhost:8015", True),
        ("http://LOCALHOST:8015", "http", "localhost:8015", True),
        ("https://voice.example", "https", "voice.example", True),
        ("https://voice.example", "https", "voice.example:443", True),
        ("http://[::1]:8015", "http", "[::1]:8015", True),
        ("http://localhost:8016", "http", "localhost:8015", False),
        ("https://localhost:8015", "http", "localhost:8015", False),
        ("http://localhost.evil.example:8015", "http", "localhost:8015", False),
        ("http://voice.example", "https", "voice.example", False),
        ("null", "http", "localhost:8015", False),
        ("", "http", "localhost:8015", False),
        ("", "http", "", False),
        ("file://", "http", "", False),
        ("http://localhost:99999999", "http", "localhost:99999999", False),
        ("http://[::1", "http", "localhost", False),
        ("http://a", "http", "a:", True),
        ("http://a", "http", "a:b", False),
    ],
)
def test_an_origin_is_the_same_by_scheme_host_and_port(origin: str, scheme: str, host: str, same: bool) -> None:
    assert is_same_origin(origin, scheme, host) is same


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1"},
        {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1:1", "Sec-Fetch-Site": "none"},
        {"Host": "127.0.0.1:1", "Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"},
        {"Host": "127.0.0.1:1", "Origin": "https://App.Example"},
    ],
)
def test_programs_the_daemons_own_pages_and_allowed_ones_may_ask(headers: dict[str, str]) -> None:
    PLATE.check_origin("http", headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:1", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1:1", "Origin": "null"},
        {"Host": "127.0.0.1:1", "Origin": ""},
        {"Host": "127.0.0.1:1", "Origin": "http://app.example"},
        {"Host": "127.0.0.1:1", "Origin": "https://app.example.evil.example"},
        {"Host": "127.0.0.1:1", "Sec-Fetch-Site": "cross-site"},
        {"Host": "127.0.0.1:1", "Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
def test_other_pages_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(OriginRefused, match="may not do this"):
        PLATE.check_origin("http", headers)


@pytest.mark.parametrize(
    ("bound", "local", "host", "goes_by"),
    [
        ("127.0.0.1", "127.0.0.1", None, True),
        ("127.0.0.1", "127.0.0.1", "localhost:8015", True),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1:8015", True),
        ("127.0.0.1", "127.0.0.1", "[::1]:8015", True),
        ("127.0.0.1", "127.0.0.1", "my.localhost", True),
        ("127.0.0.1", "127.0.0.1", "VOICE.local:8015", True),
        ("127.0.0.1", "127.0.0.1", "evil.example:8015", False),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "127.0.0.1", "192.168.0.7:8015", False),
        ("127.0.0.1", "127.0.0.1", "", False),
        ("192.168.0.7", "192.168.0.7", "192.168.0.7:8015", True),
        ("laptop", "192.168.0.7", "Laptop:8015", True),
        (EVERYWHERE, "192.168.0.7", "192.168.0.7:8015", True),
        (EVERYWHERE, "172.17.0.2", "192.168.0.7:8015", True),
        (EVERYWHERE, "192.168.0.7", "evil.example:8015", False),
        ("::", "::ffff:192.168.0.7", "192.168.0.7:8015", True),
    ],
)
def test_a_name_that_anybody_could_have_made_lead_here_is_refused(
    bound: str, local: str, host: str | None, goes_by: bool
) -> None:
    plate = Doorplate(bound, frozenset({"voice.local"}))
    if goes_by:
        plate.check_host(host, local)
    else:
        with pytest.raises(HostRefused, match="does not go by"):
            plate.check_host(host, local)


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("a", ("a", None)),
        ("A.:80", ("a", 80)),
        ("[::1]", ("::1", None)),
        ("[::1]:8015", ("::1", 8015)),
        ("a:x", ("a", -1)),
        ("a:", ("a", None)),
    ],
)
def test_a_host_is_a_name_and_a_port(host: str, parts: tuple[str, int | None]) -> None:
    assert split_host(host) == parts


@pytest.mark.parametrize(
    ("name", "local"),
    [("localhost", True), ("127.8.8.8", True), ("::1", True), (EVERYWHERE, False), ("::", False), ("laptop", False)],
)
def test_loopback_is_known(name: str, local: bool) -> None:
    assert is_loopback(name) is local


@pytest.mark.parametrize(
    ("address", "household"),
    [
        ("192.168.0.7", "192.168.0.7"),
        ("::ffff:192.168.0.7", "192.168.0.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_client_of_ipv6_is_a_whole_network(address: str, household: str) -> None:
    assert household_of(address) == household

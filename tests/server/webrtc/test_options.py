"""How WebRTC is offered, as people write it."""

from __future__ import annotations

import pytest

from alfred_voice.server.webrtc.options import WebRtcOptions


def test_ports_are_a_range_with_both_of_its_ends() -> None:
    assert WebRtcOptions().ports is None
    assert WebRtcOptions(port_range=" ").ports is None
    assert WebRtcOptions(port_range="50000-50100").ports == range(50_000, 50_101)
    assert WebRtcOptions(port_range=" 50000 - 50000 ").ports == range(50_000, 50_001)


@pytest.mark.parametrize("text", ["50000", "50000-", "a-b", "50100-50000", "80-90", "60000-70000", "50000-50100-50200"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="port_range: expected two ports"):
        WebRtcOptions(port_range=text)


def test_addresses_are_numbers() -> None:
    options = WebRtcOptions(addresses="192.0.2.7, fd00::7", public_address="203.0.113.9")
    assert (options.chosen, options.announced) == (("192.0.2.7", "fd00::7"), ("203.0.113.9",))
    with pytest.raises(ValueError, match=r"public_address: expected IP addresses, got 'voice\.example'"):
        WebRtcOptions(public_address="voice.example")
    with pytest.raises(ValueError, match="addresses: expected IP addresses"):
        WebRtcOptions(addresses="everywhere")

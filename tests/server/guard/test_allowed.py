"""The lists of origins and hosts that are allowed, as they come from the configuration."""

from __future__ import annotations

import pytest

from alfred_voice import config
from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.allowed import read_hosts, read_origins


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example/", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://192.168.1.2", "http://192.168.1.2"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("moz-extension://6f1c-a_b", "moz-extension://6f1c-a_b"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(text: str, origin: str) -> None:
    assert read_origins(text) == {origin}


@pytest.mark.parametrize(
    "text",
    ["app.example", "*", "null", "https://*", "https://*.example", "https://app.example/path", "http://foo/bar", "x",
     "https://", "https://a b", "https://a:99999", "https://a:b", "https://u@a", "https://a?", "https://a#", "://a",
     "localhost:3000", "https://a/?x=1", "https://[::1"],
)  # fmt: skip
def test_what_is_no_origin_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected https://host\[:port\].*\* is not supported") as refusal:
        read_origins(f"https://good.example, {text}")
    assert repr(text) in str(refusal.value)
    assert "good.example" not in str(refusal.value)


def test_every_wrong_one_is_named_and_gaps_between_commas_are_none() -> None:
    with pytest.raises(ValueError, match=r"'https://app.example/path', 'x'$"):
        read_origins("https://app.example/path, ,x")
    assert read_origins(" https://a.example ,,") == {"https://a.example"}
    assert read_origins("") == frozenset() == read_hosts(" , ")


@pytest.mark.parametrize(
    ("text", "host"),
    [("Voice.Example.", "voice.example"), ("voice", "voice"), ("[::1]", "::1"), ("::1", "::1"),
     ("10.0.0.1", "10.0.0.1"), ("my_host.lan", "my_host.lan")],
)  # fmt: skip
def test_a_host_is_a_name_or_an_address(text: str, host: str) -> None:
    assert read_hosts(text) == {host}


@pytest.mark.parametrize(
    "text", ["*", "*.example", "voice.lan:8015", "http://voice.lan", "voice.lan/x", "a b", "a..b", "-"]
)
def test_what_is_no_host_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="without scheme, port and path") as refusal:
        read_hosts(text)
    assert repr(text) in str(refusal.value)


def test_the_configuration_refuses_them_and_says_where_they_come_from() -> None:
    with pytest.raises(ConfigError) as refusal:
        config.load(environ={"ALFRED_SECURITY__ALLOWED_ORIGINS": "*"}, sets=["security.allowed_hosts=voice.lan"])
    assert "allowed_origins: expected https://host[:port]" in str(refusal.value)
    assert "environment ALFRED_SECURITY__ALLOWED_ORIGINS" in str(refusal.value)

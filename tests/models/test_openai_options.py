"""Addresses and keys that can be used, and those that cannot."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alfred_voice.errors import ConfigError
from alfred_voice.models.openai_options import OpenAiOptions, check_base_url, find_api_key


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://localhost:8000/v1",
        "http://127.0.0.1:8000",
        "https://[::1]:8443/some/where/v1/",
        "HTTPS://example.org/v1",
    ],
)
def test_an_address_over_http_is_taken(url: str) -> None:
    assert OpenAiOptions(base_url=url).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/v1",
        "file:///etc/passwd",
        "example.org/v1",
        "//example.org/v1",
        "https://",
        "https:///v1",
        "https://example.org:port/v1",
        "https://example.org:99999/v1",
        "https://example.org:0/v1",
        "https://[::1/v1",
        "https://example.org/v1?key=1",
        "https://example.org/v1?",
        "https://example.org/v1#top",
        "https://example.org/v1\r\nHost: elsewhere",
        "https://exa mple.org/v1",
        "https://ex\u00e4mple.org/v1",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url: expected an address"):
        OpenAiOptions(base_url=url)


@pytest.mark.parametrize("url", ["https://me:secret@example.org/v1", "https://secret@example.org/v1"])
def test_a_password_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="name the key's variable instead") as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_whatever_an_address_is_it_is_taken_or_refused(url: str) -> None:
    with suppress(ValueError):
        check_base_url(url)


@pytest.mark.parametrize(
    ("variable", "environ", "key"),
    [
        ("KEY", {"KEY": "sk-1"}, "sk-1"),
        ("KEY", {"KEY": " sk-1\n"}, "sk-1"),
        ("KEY", {"KEY": ""}, ""),
        ("KEY", {"OTHER": "sk-1"}, ""),
        ("", {"": "sk-1"}, ""),
    ],
)
def test_a_key_is_found_under_the_variable_that_is_named(variable: str, environ: dict[str, str], key: str) -> None:
    assert find_api_key(variable, environ) == key


@pytest.mark.parametrize("key", ["sk-\u00e9", "sk-1\nX: y", "sk 1", "sk\x00"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="KEY: expected a key") as caught:
        find_api_key("KEY", {"KEY": key})
    assert "sk" not in str(caught.value)


def test_the_key_of_another_program_is_not_taken_by_default() -> None:
    assert OpenAiOptions().api_key_env.startswith("ALFRED_")

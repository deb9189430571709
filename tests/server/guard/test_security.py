"""What guards the door is checked before anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.options import SecurityOptions
from alfred_voice.server.guard.security import Security, open_security
from alfred_voice.server.options import ServerOptions
from tests.certificates import make_certificate


EVERYWHERE = "0.0.0.0"  # noqa: S104  nothing listens here
KEYS = {"ALFRED_API_KEYS": "me:a-key-of-16-letters"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_on_this_machine_no_key_is_needed(host: str, caplog: pytest.LogCaptureFixture) -> None:
    security = open_security(ServerOptions(host=host), SecurityOptions(), {})

    assert not security.keys.ring
    assert security.scheme == "http"
    assert not caplog.records


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.0.7", "voice.example"])
def test_anywhere_else_a_key_is_needed_or_a_word_that_it_is_meant(host: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=rf"server\.host: {host} can be reached.*alfred-voice keys new.*--insecure"):
        open_security(ServerOptions(host=host), SecurityOptions(), {})

    open_security(ServerOptions(host=host, insecure=True), SecurityOptions(), {})
    assert [record.getMessage() for record in caplog.records] == ["open_to_everybody"]
    caplog.clear()
    open_security(ServerOptions(host=host), SecurityOptions(), KEYS)
    assert [record.getMessage() for record in caplog.records] == ["keys_in_the_clear"]


def test_with_tls_keys_do_not_go_in_the_clear(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cert, key = make_certificate(tmp_path)

    options = SecurityOptions(tls_cert=str(cert), tls_key=str(key))
    security = open_security(ServerOptions(host=EVERYWHERE), options, KEYS)

    assert security.scheme == "https"
    assert not caplog.records


def test_what_is_not_configured_guards_as_by_default() -> None:
    assert Security().options == SecurityOptions()
    assert not Security().keys.ring


def test_lists_are_written_with_commas() -> None:
    options = SecurityOptions(allowed_origins=" https://A.example/ ,http://b:1,", allowed_hosts="Voice.lan, x")

    assert options.origins == {"https://a.example", "http://b:1"}
    assert options.hosts == {"voice.lan", "x"}

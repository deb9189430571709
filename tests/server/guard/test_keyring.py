"""Keys: what a file and the environment may say, and how one is found."""

from __future__ import annotations

import hashlib
import re

import pytest

from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.keyring import (
    ApiKey,
    Keyring,
    digest_of,
    entry_of,
    keyring_of,
    new_key,
    read_keys_file,
    read_keys_variable,
)


KEY = "correct-horse-battery"
OTHER = "staple.staple.staple"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def read(text: str) -> tuple[ApiKey, ...]:
    return read_keys_file(text, "keys.toml")


def test_a_file_gives_keys_in_the_clear_or_by_their_hash_with_limits() -> None:
    keys = read(
        f'[keys.tablet]\nkey = "{OTHER}"\nmax_sessions = 2\nrequests_per_minute = 60\n'
        f'[keys."office.1"]\nsha256 = "{DIGEST.upper()}"\nadmin = true\n'
    )

    assert keys == (
        ApiKey("tablet", digest_of(OTHER), max_sessions=2, requests_per_minute=60),
        ApiKey("office.1", digest_of(KEY), is_admin=True),
    )


def test_a_key_may_be_allowed_no_session_at_all() -> None:
    assert read(f'[keys.scraper]\nkey = "{KEY}"\nmax_sessions = 0\n')[0].max_sessions == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected at least one [keys.NAME]"),
        ("keys = 3", "expected at least one [keys.NAME]"),
        ("[keys]", "expected at least one [keys.NAME]"),
        ("not toml", "not TOML"),
        ("[keys.a]\n", "keys.a: expected either key or sha256"),
        (f'[keys.a]\nkey = "{KEY}"\nsha256 = "{DIGEST}"\n', "keys.a: expected either key or sha256"),
        ('[keys.a]\nkey = "fifteen-letters"\n', "keys.a.key: expected 16 to 256 characters, got 15"),
        ('[keys.a]\nkey = "with a space in it"\n', "keys.a.key: expected letters, digits"),
        ("[keys.a]\nkey = 1234567890123456\n", "keys.a.key: expected a text"),
        ('[keys.a]\nsha256 = "abc"\n', "keys.a.sha256: expected 64 hexadecimal digits"),
        (f'[keys.a]\nkey = "{KEY}"\nadmin = 1\n', "keys.a.admin: expected true or false"),
        (f'[keys.a]\nkey = "{KEY}"\nmax_sessions = -1\n', "keys.a.max_sessions: expected a whole number"),
        (f'[keys.a]\nkey = "{KEY}"\nmax_sessions = true\n', "keys.a.max_sessions: expected a whole number"),
        (f'[keys.a]\nkey = "{KEY}"\nrequests_per_minute = 0\n', "keys.a.requests_per_minute: expected a whole number"),
        (f'[keys.a]\nkey = "{KEY}"\nlimit = 1\n', "keys.a.limit: unknown"),
        (f'[keys."a b"]\nkey = "{KEY}"\n', "a name has 1 to 64 letters"),
        (f'other = 1\n[keys.a]\nkey = "{KEY}"\n', "other: unknown"),
        ("keys.a = 1", "keys.a: expected a table"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"keys\.toml.*{re.escape(problem)}"):
        read(text)


def test_everything_that_is_wrong_is_named_at_once_and_no_key_is_told() -> None:
    with pytest.raises(ConfigError) as raised:
        read('top = 1\n[keys.a]\nkey = "short-but-secret"\nadmin = "yes"\nx = 1\n[keys.b]\nkey = "tiny!"\nsha256 = "z"')

    lines = str(raised.value).splitlines()
    assert lines[0] == "keys.toml: 4 things are wrong:"
    assert [line.partition(": ")[0] for line in lines[1:]] == ["- top", "- keys.a.x", "- keys.a.admin", "- keys.b"]
    assert not any(secret in str(raised.value) for secret in ("short-but-secret", "tiny!"))


def test_the_environment_gives_keys_that_may_do_everything() -> None:
    assert read_keys_variable(f" a:{KEY}, b:{OTHER},") == (
        ApiKey("a", digest_of(KEY), is_admin=True),
        ApiKey("b", digest_of(OTHER), is_admin=True),
    )
    assert read_keys_variable("") == ()


@pytest.mark.parametrize("text", [KEY, f":{KEY}", "a:short-secret", "a: spaced secret text", f"a b:{KEY}"])
def test_what_is_wrong_in_the_environment_is_told_without_the_key(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^ALFRED_API_KEYS: ") as raised:
        read_keys_variable(text)

    assert text.partition(":")[2].strip() not in str(raised.value) or not text.partition(":")[2]
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ((ApiKey("a", digest_of(KEY)), ApiKey("a", digest_of(OTHER))), "the name a is given twice"),
        ((ApiKey("a", digest_of(KEY)), ApiKey("b", digest_of(KEY))), "a and b are the same key"),
    ],
)
def test_names_and_keys_are_there_once(keys: tuple[ApiKey, ...], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        keyring_of(keys)


def test_a_ring_finds_the_key_that_was_shown_and_no_other() -> None:
    keys = (ApiKey("a", digest_of(KEY)), ApiKey("b", digest_of(OTHER)))
    ring = Keyring(keys)

    assert ring.find(KEY) == keys[0]
    assert ring.find(OTHER) == keys[1]
    for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), DIGEST, "\udcff", "ключ"):
        assert ring.find(wrong) is None
    assert Keyring().find(KEY) is None


def test_all_keys_are_compared_wherever_the_right_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("alfred_voice.server.guard.keyring.hmac.compare_digest", compare)
    ring = Keyring((ApiKey("a", digest_of(KEY)), ApiKey("b", digest_of(OTHER))))

    for secret in (KEY, OTHER, "wrong"):
        compared.clear()
        ring.find(secret)
        assert compared == [digest_of(KEY), digest_of(OTHER)]


@pytest.mark.parametrize("name", ["tablet", "office.1"])
def test_a_fresh_key_opens_what_its_entry_says(name: str) -> None:
    key = new_key()

    (entry,) = read(entry_of(name, key))

    assert entry.name == name
    assert Keyring((entry,)).find(key) == entry
    assert key not in entry_of(name, key)
    assert new_key() != key
    assert len(key) >= 40

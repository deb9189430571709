"""The keys that open the door: values in, values out. Reading their file is for ``key_source``.

Of a key only its digest is kept. A key is long and made by chance, so a plain hash is enough: there is no dictionary
to try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alfred_voice.errors import ConfigError


ENVIRONMENT_VARIABLE = "ALFRED_API_KEYS"
SHORTEST_KEY, LONGEST_KEY = 16, 256
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]+")  # what may stand after "Bearer" (RFC 6750, section 2.1)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = ("key", "sha256", "admin", "max_sessions", "requests_per_minute")
MOST = 1_000_000_000
_LONGEST_LINE = 4096
"""A name of thousands of dotted parts would take the reader memory by the square of their number."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of one key."""

    name: str
    digest: bytes
    """SHA-256 of the key."""
    is_admin: bool = False
    max_sessions: int | None = None
    """Sessions that it may have open; None for any number."""
    requests_per_minute: int | None = None
    """None for any number."""


class Keyring:
    """All keys; immutable."""

    def __init__(self, keys: tuple[ApiKey, ...] = ()) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self._keys)

    def find(self, secret: str) -> ApiKey | None:
        """The key that ``secret`` is; looking takes as long whichever it is, or none."""
        return self.find_digest(digest_of(secret))

    def find_digest(self, digest: bytes) -> ApiKey | None:
        """The key with this digest."""
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def digest_of(secret: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def new_key() -> str:
    """A fresh key by chance: 256 bits, 43 characters."""
    return secrets.token_urlsafe(32)


def is_key_name(name: str) -> bool:
    """Whether a key can have this name."""
    return _NAME.fullmatch(name) is not None


def entry_of(name: str, secret: str) -> str:
    """The lines that a keys file needs for a key."""
    header = f"[keys.{name}]" if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'[keys."{name}"]'
    return f'{header}\nsha256 = "{digest_of(secret).hex()}"\n'


def read_keys_file(text: str, origin: str) -> tuple[ApiKey, ...]:
    """The keys of a TOML file.

    Args:
        text: its content.
        origin: what messages call it.

    Raises:
        ConfigError: naming everything that is wrong with it, and no key.
    """
    tree = _read_toml(text, origin)
    problems = [f"{name}: unknown; expected [keys.NAME]" for name in tree if name != "keys"]
    tables = tree.get("keys", {})
    if not isinstance(tables, Mapping) or not tables:
        problems.append("keys: expected at least one [keys.NAME]")
        tables = {}
    keys = [key for name, table in tables.items() if (key := _read_table(name, table, problems)) is not None]
    if problems:
        raise ConfigError(_report(origin, problems))
    return tuple(keys)


def _read_toml(text: str, origin: str) -> dict[str, Any]:
    if any(len(line) > _LONGEST_LINE for line in text.splitlines()):
        raise ConfigError(f"{origin}: expected lines of at most {_LONGEST_LINE} characters")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The library's sentence ends with the place, and quotes at most the one character that it stumbled over.
        raise ConfigError(f"{origin}: not TOML: {error}") from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{origin}: not TOML that can be read: nested too deeply, or a number too long") from None


def read_keys_variable(text: str) -> tuple[ApiKey, ...]:
    """The keys of the environment's ``name:key,name2:key2``; each may do everything.

    Raises:
        ConfigError: naming everything that is wrong with it, and no key.
    """
    problems: list[str] = []
    keys = []
    for place, entry in enumerate((part.strip() for part in text.split(",") if part.strip()), start=1):
        name, colon, secret = entry.partition(":")
        if not colon or not is_key_name(name):
            problems.append(f"entry {place}: expected name:key, with a name of letters, digits, '.', '_' and '-'")
        elif problem := _secret_problem(secret):
            problems.append(f"{name}: {problem}")
        else:
            keys.append(ApiKey(name, digest_of(secret), is_admin=True))
    if problems:
        raise ConfigError(_report(ENVIRONMENT_VARIABLE, problems))
    return tuple(keys)


def keyring_of(keys: tuple[ApiKey, ...]) -> Keyring:
    """All of them on one ring.

    Raises:
        ConfigError: a name or a key is there twice.
    """
    names: set[str] = set()
    owners: dict[bytes, str] = {}
    for key in keys:
        if key.name in names:
            raise ConfigError(f"keys: the name {key.name} is given twice")
        if key.digest in owners:
            raise ConfigError(f"keys: {owners[key.digest]} and {key.name} are the same key")
        names.add(key.name)
        owners[key.digest] = key.name
    return Keyring(keys)


def _read_table(name: str, table: Any, problems: list[str]) -> ApiKey | None:
    where = f"keys.{name}" if is_key_name(name) else "keys"
    known = len(problems)
    if not is_key_name(name):
        problems.append("keys: a name has 1 to 64 letters, digits, '.', '_' and '-'")
    if not isinstance(table, Mapping):
        problems.append(f"{where}: expected a table")
        return None
    problems += [f"{where}.{field}: unknown; expected {', '.join(_FIELDS)}" for field in table if field not in _FIELDS]
    digest = _read_digest(where, table, problems)
    is_admin = table.get("admin", False)
    if not isinstance(is_admin, bool):
        problems.append(f"{where}.admin: expected true or false")
    max_sessions = _read_count(where, table, "max_sessions", 0, problems)
    per_minute = _read_count(where, table, "requests_per_minute", 1, problems)
    if digest is None or len(problems) > known:
        return None
    return ApiKey(name, digest, bool(is_admin), max_sessions, per_minute)


def _read_digest(where: str, table: Mapping[str, Any], problems: list[str]) -> bytes | None:
    if ("key" in table) is ("sha256" in table):
        problems.append(f"{where}: expected either key or sha256")
        return None
    if "key" in table:
        secret = table["key"]
        problem = _secret_problem(secret) if isinstance(secret, str) else "expected a text"
        if problem:
            problems.append(f"{where}.key: {problem}")
            return None
        return digest_of(secret)
    digest = table["sha256"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest.lower()):
        problems.append(f"{where}.sha256: expected 64 hexadecimal digits")
        return None
    return bytes.fromhex(digest)


def _read_count(where: str, table: Mapping[str, Any], field: str, least: int, problems: list[str]) -> int | None:
    count = table.get(field)
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= MOST:
        problems.append(f"{where}.{field}: expected a whole number of at least {least}")
        return None
    return count


def _secret_problem(secret: str) -> str:
    """What keeps a text from being a key; it does not say the text."""
    if not SHORTEST_KEY <= len(secret) <= LONGEST_KEY:
        return f"expected {SHORTEST_KEY} to {LONGEST_KEY} characters, got {len(secret)}"
    if not _KEY.fullmatch(secret):
        return "expected letters, digits and . _ ~ + / = - only"
    return ""


def _report(origin: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{origin}: {problems[0]}"
    return "\n".join([f"{origin}: {len(problems)} things are wrong:", *(f"- {problem}" for problem in problems)])

"""Where the keys come from: a file and the environment, read at the start and again when asked to."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from alfred_voice.errors import ConfigError
from alfred_voice.server.guard.keyring import (
    ENVIRONMENT_VARIABLE,
    ApiKey,
    Keyring,
    keyring_of,
    read_keys_file,
    read_keys_variable,
)


_log = logging.getLogger(__name__)


class KeySource:
    """The keys in force, and the way to read them anew.

    Args:
        path: the keys file; None for none.
        environ: the environment, as it was when the process began.

    Raises:
        ConfigError: the file or the variable is wrong.
    """

    def __init__(self, path: str | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._path = None if path is None else Path(path).expanduser()
        self._of_environment = read_keys_variable((environ or {}).get(ENVIRONMENT_VARIABLE, ""))
        self.ring: Keyring = self._read()

    def reload(self) -> bool:
        """Read the file again; with a file that is wrong the keys stay as they are, and False comes back."""
        try:
            ring = self._read()
        except ConfigError as error:
            _log.error("keys_not_reloaded", extra={"reason": str(error)})
            return False
        if not ring and self.ring:
            _log.error("keys_not_reloaded", extra={"reason": "the file has no key left; stop the daemon to go without"})
            return False
        self.ring = ring
        if not ring:
            return True  # none are configured: nothing to tell
        _log.info("keys_reloaded", extra={"keys": len(ring)})
        return True

    def _read(self) -> Keyring:
        of_file = () if self._path is None else _read_file(self._path)
        return keyring_of((*of_file, *self._of_environment))


def _read_file(path: Path) -> tuple[ApiKey, ...]:
    origin = f"security.keys_file {path}"
    try:
        text = path.read_bytes().decode()
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"{origin}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{origin}: expected UTF-8 text") from None
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        _log.warning("keys_file_readable", extra={"file": str(path), "advice": f"others can read it: chmod 600 {path}"})
    return read_keys_file(text, origin)

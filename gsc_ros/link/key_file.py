"""The pre-shared key of a link: one file, the same on both ends, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

KEY_BYTES = 32


class KeyFileError(ValueError):
    """A key file that cannot be made or used; the message says what to do."""


def new_key(path: Path) -> None:
    """Write a new key to ``path``, readable by its owner alone; raises KeyFileError where anything is already.

    The file appears whole or not at all: half a key would be found only on the other end.
    """
    text = (secrets.token_hex(KEY_BYTES) + "\n").encode()
    try:
        # O_EXCL fails on links too, so that nobody chooses for us where the key goes.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists: a key is never overwritten, name another file") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; name a file in a folder that can be written") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyFileError(f"{path}: {error.strerror}; no key was written") from error


def read_key(path: Path) -> bytes:
    """The 32 bytes in ``path``, 64 hexadecimal digits; raises KeyFileError."""
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others: chmod 600 {path}")
        key = bytes.fromhex(path.read_text().strip())
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}; make a key with `gsc key {path}`") from error
    except ValueError as error:
        if isinstance(error, KeyFileError):
            raise
        raise KeyFileError(f"{path} is not a key: 64 hexadecimal digits are expected") from error
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path} holds {len(key)} bytes: a key has {KEY_BYTES}")
    return key

"""How a command ends: one line on stderr, 2 for bad usage, 1 for failure."""

from __future__ import annotations


class UsageError(Exception):
    """The command was called in a way that cannot work."""


class CommandError(Exception):
    """The command was right and still failed."""

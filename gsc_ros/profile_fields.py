"""What a profile may say: its fields, their kinds and ranges, and one line on what does not fit.

Each back end declares what it reads as :class:`Reads`, beside the code that loads it.
"""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}


class ProfileError(ValueError):
    """A profile that does not exist, says what it cannot, or whose weights are missing or damaged."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value: its ``kind``, the range of a number, the ``choices`` of a text, the ``fields`` of a mapping."""

    kind: type = str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    required: bool = False
    fields: Mapping[str, Field] | None = None

    def check(self, value: Any, where: str) -> None:
        """Raise ProfileError unless ``value`` fits; ``where`` begins the line."""
        fits = type(value) is self.kind or (self.kind is float and type(value) is int)
        if not fits or (self.kind is float and not math.isfinite(value)):
            raise ProfileError(f"{where} {shown(value)}: {KINDS[self.kind]} is needed")
        if self.choices and value not in self.choices:
            raise ProfileError(f"{where} {shown(value)}{_nearest(value, self.choices)}: {_listed(self.choices)}")
        if self.kind in (int, float) and not self.low <= value <= self.high:
            raise ProfileError(f"{where} {value}: {self._range()}")
        if self.kind is str and not self.choices and self.required and not value:
            raise ProfileError(f"{where}: a text that is not empty is needed")
        if self.fields is not None:
            check(value, self.fields, where)

    def _range(self) -> str:
        if self.low == self.high:
            return f"only {self.low} is possible"
        return f"at least {self.low} is needed" if self.high == math.inf else f"{self.low} to {self.high} are allowed"


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What one back end reads of a profile.

    files     of the folder of weights
    optional  files that it reads where the profile has them
    shared    whether both ends of the link must hold these files, byte for byte
    fields    keys of the profile beside those that all profiles have
    defaults  keys of its section ``defaults``
    latents   of a generator: the latents that it can paint from; empty: any
    """

    files: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    shared: bool = False
    fields: Mapping[str, Field] = field(default_factory=dict)
    defaults: Mapping[str, Field] = field(default_factory=dict)
    latents: tuple[str, ...] = ()


def shown(value: Any) -> str:
    """``value`` as it stands in an error line: short, whatever it is."""
    return reprlib.repr(value)


def check(content: Mapping[Any, Any], fields: Mapping[str, Field], where: str) -> None:
    """Raise ProfileError on the first key of ``content`` that is not known, missing or does not fit."""
    for name in content:
        if name not in fields:
            raise ProfileError(f"{where}: {str(name)[:40]} not known{_nearest(name, fields)}; {_listed(fields)}")
    if missing := [name for name, wanted in fields.items() if wanted.required and name not in content]:
        raise ProfileError(f"{where} lacks {', '.join(missing)}")
    for name, value in content.items():
        fields[name].check(value, f"{where}, {name}")


def _nearest(name: Any, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name[:40] if isinstance(name, str) else str(name)[:40], list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    return f"{', '.join(known)} {'are' if len(known) > 1 else 'is'} known"

"""Strategies for messages of any type: every field any value that its type can hold."""

from __future__ import annotations

import array
from typing import Any

from hypothesis import strategies as st

LONGEST = 40  # elements of a sequence
FLOATS = {"float": st.floats(width=32), "double": st.floats()}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=LONGEST)


def numbers(kind: str) -> st.SearchStrategy[Any]:
    """Values of a basic type, the ends of its range among them."""
    if kind in FLOATS:
        return FLOATS[kind]
    if kind == "boolean":
        return st.booleans()
    bits = int(kind.removeprefix("u").removeprefix("int"))
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.one_of(st.sampled_from([low, high, 0, 1]), st.integers(low, high))


def messages(kind: Any, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Messages of class ``kind``; a field named in ``fixed`` has values of that strategy."""
    example, fields = kind(), {}
    for name, declared in kind.get_fields_and_field_types().items():
        if name in fixed:
            fields[name] = fixed[name]
        elif declared.startswith("sequence<"):
            inner = declared[len("sequence<") : -1]
            items = st.lists(TEXT if inner == "string" else numbers(inner), max_size=LONGEST)
            present = getattr(example, name)
            if isinstance(present, array.array):
                code = present.typecode
                items = items.map(lambda values, code=code: array.array(code, values))
            fields[name] = items
        elif declared == "string":
            fields[name] = TEXT
        elif "/" in declared:
            fields[name] = messages(type(getattr(example, name)))
        else:
            fields[name] = numbers(declared)
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))

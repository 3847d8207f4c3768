"""docs/parameters.md says what the nodes declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsc_ros.nodes.parameters import RECONSTRUCTOR, TABLES, documentation


def test_the_document_holds_exactly_the_declared_parameters() -> None:
    document = Path(__file__).resolve().parent.parent / "docs" / "parameters.md"
    assert documentation() in document.read_text(), "run: python tools/make_parameters.py"


@pytest.mark.parametrize(
    "parameter", [parameter for table in TABLES.values() for parameter in table], ids=lambda parameter: parameter.name
)
def test_every_default_is_allowed_and_described(parameter) -> None:
    assert parameter.problem(parameter.default) is None
    assert parameter.description
    assert parameter.allowed


def test_a_value_out_of_range_is_explained() -> None:
    realism = next(parameter for parameter in RECONSTRUCTOR if parameter.name == "realism")
    assert realism.problem(1.5) == "realism 1.5: -1 to 1 are allowed"

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


def parameter(name: str):
    return next(p for table in TABLES.values() for p in table if p.name == name)


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("max_rate_hz", 1, 1.0), ("max_bytes_per_frame", 200.0, 200), ("link", 500, "500"), ("caption_mode", False, "off"),
        ("memory", False, "off"), ("cameras", "/front", ["/front"]), ("weights", 2, [2.0]), ("weights", [1, 2.5], [1.0, 2.5]),
        ("camera_info_files", ["a.yaml", ""], ["a.yaml", ""]), ("mark", False, False), ("seed", 3, 3), ("caption", "a dog", "a dog"),
    ],
)  # fmt: skip
def test_what_yaml_made_of_a_value_is_taken_where_it_is_plain(name, given, taken) -> None:
    value = parameter(name).taken(given)
    assert value == taken
    assert type(value) is type(taken)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("caption", True, ["caption true", "text is expected", "caption:='true'"]), ("caption_mode", True, ["caption_mode true"]),
        ("transport", "jpeg", ["jpeg", "raw, compressed"]), ("max_bytes_per_frame", -5, ["-5", "0 to 65535"]),
        ("max_bytes_per_frame", "many", ["'many'", "a whole number"]), ("steps", 1.5, ["1.5", "a whole number"]),
        ("max_rate_hz", float("nan"), ["nan"]), ("max_age_s", float("inf"), ["inf"]), ("mark", 1, ["1", "true or false"]),
        ("steps", float("inf"), ["inf"]), ("cameras", [1, 2], ["a list of text"]), ("weights", ["a"], ["a list of numbers"]),
        ("threads", True, ["true", "a whole number"]),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_one_line(name, given, words) -> None:
    with pytest.raises(ValueError) as caught:
        parameter(name).taken(given)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)

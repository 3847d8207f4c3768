"""The examples in the docstrings of the Python API run."""

from __future__ import annotations

import doctest

import pytest

from gsc_ros import decoder, encoder


@pytest.mark.parametrize("module", [encoder, decoder], ids=lambda module: module.__name__)
def test_examples(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

"""The documents name what is there: presets, commands, parameters, messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gsc_ros.cli.main import COMMANDS
from gsc_ros.link.presets import PRESETS
from gsc_ros.nodes.parameters import TABLES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_preset_is_in_the_table_with_its_figures() -> None:
    page = (ROOT / "docs" / "link.md").read_text()
    for name, (spec, source) in PRESETS.items():
        assert f"| `{name}` | {spec.bits_per_second:g} |" in page
        assert source in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_launch_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for command in re.findall(r"(?:`|^ {4})gsc ([a-z]+)", text, flags=re.MULTILINE):
        assert command in COMMANDS
    for launch in re.findall(r"[a-z_]+\.launch\.py", text):
        assert (ROOT / "launch" / launch).is_file()
    for message in set(re.findall(r"\bGsc[A-Z][a-z]+\b", text)):
        assert (ROOT / "msg" / f"{message}.msg").is_file()
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists()


def test_parameters_that_the_readme_explains_exist() -> None:
    known = {parameter.name for table in TABLES.values() for parameter in table}
    section = (ROOT / "README.md").read_text().split("## Parameters")[1].split("\n## ")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert len(named) >= 5
    assert named <= known

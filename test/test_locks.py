"""The lock files: every package has hashes, and what the .in files ask for is what is locked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HASHED = ("requirements.lock", "requirements-paper.lock")


def entries(name: str) -> list[str]:
    """The entries of a lock file, each with its continuation lines."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / name).read_text(), flags=re.M)
    return [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]


@pytest.mark.parametrize("name", HASHED)
def test_every_package_is_locked_with_hashes(name) -> None:
    assert len(entries(name)) > 40
    for entry in entries(name):
        assert re.match(r"[a-z0-9-]+==[^ ]+ .*--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


def test_no_lock_names_where_packages_come_from() -> None:
    for path in ROOT.glob("requirements*"):
        assert not re.search(r"://|--(extra-)?index|--find-links", path.read_text()), path


def test_what_is_asked_for_is_what_is_locked() -> None:
    for name in HASHED:
        locked = {entry.split()[0] for entry in entries(name)}
        wanted = re.findall(
            r"^([a-z0-9-]+)(?:\[\w+\])?==([\w.]+)", (ROOT / name.replace(".lock", ".in")).read_text(), re.M
        )
        assert len(wanted) > 5
        assert {f"{package}=={version}" for package, version in wanted} <= locked


def test_opencv_is_one_that_reads_no_uninitialised_memory() -> None:
    """CVE-2025-53644: 4.10 and 4.11."""
    (locked,) = (entry.split()[0] for entry in entries("requirements.lock") if entry.startswith("opencv-"))
    assert [int(part) for part in locked.split("==")[1].split(".")[:2]] >= [4, 12]
    assert '"opencv-python-headless>=4.12,<5"' in (ROOT / "pyproject.toml").read_text()

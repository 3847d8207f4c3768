"""Installs the package with its profiles and weights; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

SHARED = ("config", "launch", "models", "msg", "rviz")


def data_files() -> list[tuple[str, list[str]]]:
    """Each file below the shared folders, to be installed below share/gsc_ros."""
    files = [path for folder in SHARED for path in Path(folder).rglob("*") if path.is_file()]
    return [(str(Path("share/gsc_ros") / path.parent), [str(path)]) for path in sorted(files)]


setup(data_files=data_files())

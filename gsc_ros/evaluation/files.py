"""The files that results depend on: a result answers as long as none of them has changed."""

from __future__ import annotations

from pathlib import Path


def state(path: Path | None) -> list[str]:
    """Names, sizes and times of a file, or of all files below a folder; none for None or where nothing is."""
    if path is None:
        return []
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file()]

"""Output that is there whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a place for a file or folder that is moved to ``path`` at the end, in place of a file that is there.

    The place is on the same file system and has the same name. After an error or Ctrl-C nothing is left of it. What is no
    file, /dev/stdout for example, is written to directly.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve()
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:64]}.", dir=target.parent))
    try:
        yield folder / target.name
        (folder / target.name).replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

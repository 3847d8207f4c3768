"""Writes requirements.lock and requirements-paper.lock, with hashes, from the .in files; needs uv (pip install uv).

What is locked stays as it is unless an .in file asks for another version, or --upgrade is given.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = ROOT / "requirements-torch.lock"
COMMON = ("--universal", "--no-header", "--no-annotate", "--quiet")
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==[^\\\n]*", re.M)
CUDA = ("nvidia-", "cuda-", "triton")  # what torch's default build brings along


def compile_lock(source: Path, out: Path, *options: str) -> None:
    """Resolve ``source`` into ``out``; what ``out`` has already is preferred."""
    command = ["uv", "pip", "compile", *COMMON, *options, *sys.argv[1:], str(source), "--output-file", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def pins(path: Path) -> dict[str, list[str]]:
    """Lines ``name==version ; marker`` of a lock file, without hashes, by name."""
    found: dict[str, list[str]] = {}
    for match in ENTRY.finditer(path.read_text()):
        found.setdefault(match[1].lower(), []).append(match[0].strip())
    return found


def main() -> None:
    base, paper = ROOT / "requirements.lock", ROOT / "requirements-paper.lock"
    compile_lock(ROOT / "requirements.in", base, "--python-version", "3.10", "--generate-hashes")
    with tempfile.TemporaryDirectory() as folder:
        fixed, resolved, left = (Path(folder) / name for name in ("fixed.txt", "resolved.txt", "left.in"))
        # CompressAI asks for numpy below 2, which is about its build; it runs with the one of requirements.lock.
        fixed.write_text("\n".join(line for lines in pins(base).values() for line in lines) + "\n" + TORCH.read_text())
        resolved.write_text("\n".join(line for lines in pins(paper).values() for line in lines) + "\n")
        compile_lock(ROOT / "requirements-paper.in", resolved, "--python-version", "3.11", "--override", str(fixed))
        others = {**pins(base), **pins(TORCH)}
        names = {name: lines for name, lines in pins(resolved).items() if name not in others}
        lines = [line for name, entry in names.items() if not name.startswith(CUDA) for line in entry]
        left.write_text("\n".join(lines) + "\n")
        compile_lock(left, paper, "--python-version", "3.11", "--no-deps", "--generate-hashes")


if __name__ == "__main__":
    main()

"""Makes .venv and builds the messages; what `make` runs first. Standard library only.

Each step leaves a stamp that names what it was made from, so that a second run does nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
TORCH_LOCK = ROOT / "requirements-torch.lock"
PAPER_LOCK = ROOT / "requirements-paper.lock"
NEEDED_GIB = 4
NEEDED_WITH_CUDA_GIB = 8  # torch from the default index brings CUDA's libraries along: 5.8 GiB in .venv
FOLDERS = ("gsc_ros", "launch", "config", "models", "rviz", "scripts")
PYTHONS = ((3, 10), (3, 13))
PAPER_PYTHON = (3, 11)  # diffusers needs it


def stop(message: str) -> None:
    """End with one line that says what to do."""
    sys.exit(f"gsc_ros: {message}")


def check_machine() -> None:
    """Refuse a machine on which a later step would fail with a page of text."""
    version = sys.version_info[:2]
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        stop(
            f"Python {version[0]}.{version[1]} is not supported: 3.10 to 3.13 are; name one with `make PYTHON=python3.11`"
        )
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        stop("this Python has no venv module: install it (Debian and Ubuntu: apt install python3-venv)")
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler.split()[0]) is None:
        stop(f"no C++ compiler ({compiler}) found: install one (Debian and Ubuntu: apt install g++) or set CXX")


def check_disk() -> None:
    """Refuse to start an installation that cannot fit."""
    needed = NEEDED_GIB if os.environ.get("TORCH_INDEX") else NEEDED_WITH_CUDA_GIB
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < needed:
        stop(
            f"{free:.1f} GiB free in {ROOT}: {needed} GiB are needed ({NEEDED_GIB} with TORCH_INDEX naming CPU wheels of torch)"
        )


def fingerprint(*paths: Path) -> str:
    """What the contents of ``paths`` (and this Python) are known by."""
    digest = hashlib.sha256(sys.version.encode())
    for path in paths:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def run(*command: str | Path, env: dict[str, str] | None = None, log: Path) -> None:
    """Run a step with its output in ``log``; on failure say in one line which step, and where to read on."""
    with log.open("w") as output:
        code = subprocess.run(
            [str(part) for part in command], cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT
        ).returncode
    if code:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        hint = (
            "the disk is full"
            if any("No space left" in line for line in log.read_text(errors="replace").splitlines())
            else "".join(last)
        )
        stop(f"`{Path(str(command[0])).name} {command[1]}` failed ({hint}); all of its output is in {log}")


def done(stamp: Path, state: str) -> bool:
    """Whether ``stamp`` says that the step was finished for ``state``."""
    return stamp.exists() and stamp.read_text() == state


def install_packages() -> None:
    """Create .venv and install the locked packages and, editable, this one."""
    stamp, state = VENV / ".installed", fingerprint(LOCK, TORCH_LOCK, ROOT / "pyproject.toml", ROOT / "setup.py")
    if done(stamp, state):
        return
    check_disk()
    print("gsc_ros: installing the locked packages into .venv (some minutes, once)", flush=True)
    log = ROOT / "setup.log"
    if not (VENV / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", VENV, log=log)
    python = VENV / "bin" / "python"
    install("--require-hashes", "--no-deps", "-r", LOCK)
    install_torch("torch", "pytorch-msssim")
    run(python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-e", ".", log=log)
    repair_cmake_files(python)
    stamp.write_text(state)


def install(*arguments: str | Path) -> None:
    """`pip install` into .venv."""
    run(VENV / "bin" / "python", "-m", "pip", "install", *arguments, log=ROOT / "setup.log")


def install_torch(*names: str) -> None:
    """What belongs to one build of torch, in the versions of TORCH_LOCK; no hashes, for each build has its own.

    The build for CUDA brings its libraries along as dependencies; everything else is there already.
    """
    index = os.environ.get("TORCH_INDEX")
    install(*(["--extra-index-url", index] if index else []), "-c", TORCH_LOCK, *names)


def install_paper() -> None:
    """The packages of the profile ``paper``, for its tests: without dependencies, which the lock names all.

    CompressAI asks for numpy below 2; that is about its build, and the wheels run with numpy 2.
    """
    if sys.version_info[:2] < PAPER_PYTHON:
        print("gsc_ros: the profile paper needs Python 3.11 or later, its tests are skipped", flush=True)
        return
    stamp, state = VENV / ".installed-paper", fingerprint(LOCK, TORCH_LOCK, PAPER_LOCK)
    if done(stamp, state):
        return
    print("gsc_ros: installing the packages of the profile paper (a minute or two, once)", flush=True)
    install("--require-hashes", "--no-deps", "-r", PAPER_LOCK)
    install_torch("torchvision")
    stamp.write_text(state)


def repair_cmake_files(python: Path) -> None:
    """Point the ROS wheels' CMake exports, which carry their build machine's paths, at this Python."""
    query = "import sysconfig, numpy; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    python_include, numpy_include = subprocess.check_output([python, "-c", query], text=True).split()
    import re

    for path in (VENV / "share").rglob("*.cmake"):
        text = path.read_text(errors="surrogateescape")
        fixed = re.sub(r"/opt/python/[^;\"\s]*/numpy/_?core/include", numpy_include, text)
        fixed = re.sub(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+", python_include, fixed)
        if fixed != text:
            path.write_text(fixed, errors="surrogateescape")


def stage_sources() -> Path:
    """A workspace of links to this checkout: CMake refuses exports that name paths below the source folder, as .venv is."""
    package = ROOT / "build" / "workspace" / "gsc_ros"
    package.mkdir(parents=True, exist_ok=True)
    for name in ("CMakeLists.txt", "package.xml", *FOLDERS, "msg"):
        link = package / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    return package.parent


def build_messages() -> None:
    """Build the package with colcon: the messages are compiled; the modules come from .venv."""
    sources = [ROOT / "CMakeLists.txt", ROOT / "package.xml", *sorted((ROOT / "msg").glob("*.msg"))]
    stamp, state = ROOT / "install" / ".built", fingerprint(*sources, LOCK, ROOT / "gsc_ros" / "__init__.py")
    if done(stamp, state):
        return
    print("gsc_ros: building the messages with colcon (half a minute, once)", flush=True)
    python = VENV / "bin" / "python"
    env = {
        **os.environ,
        "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(VENV),
        "CMAKE_PREFIX_PATH": str(VENV),
        "PYTHONWARNINGS": "ignore",
    }
    arguments = [
        "-DBUILD_TESTING=OFF",
        "-DGSC_ROS_MESSAGES_ONLY=ON",
        f"-DPython3_EXECUTABLE={python}",
        f"-DPYTHON_EXECUTABLE={python}",
    ]
    run(
        VENV / "bin" / "colcon",
        "build",
        "--base-paths",
        stage_sources(),
        "--packages-select",
        "gsc_ros",
        "--cmake-args",
        *arguments,
        env=env,
        log=ROOT / "setup.log",
    )
    stamp.write_text(state)


if __name__ == "__main__":
    check_machine()
    try:
        install_packages()
        build_messages()
        if "--paper" in sys.argv[1:]:
            install_paper()
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or ROOT}")
    except KeyboardInterrupt:
        stop("interrupted; run the same command again to go on")

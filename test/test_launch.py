"""The launch files, with the real launch where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parent.parent / "launch"
FILES = sorted(LAUNCH.glob("*.launch.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_launch_file_describes_its_arguments(path: Path) -> None:
    launch = pytest.importorskip("launch", reason="ROS 2's launch is not on PyPI; it is there where ROS 2 is installed")
    pytest.importorskip("launch_ros", reason="ROS 2's launch_ros is not on PyPI")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    names = {argument.name for argument in description.get_launch_arguments()}
    assert {"cameras", "profile"} <= names
    assert isinstance(description, launch.LaunchDescription)


def test_every_file_that_the_launch_files_name_is_there() -> None:
    root = LAUNCH.parent
    for name in (
        "config/rover.yaml",
        "config/base.yaml",
        "rviz/gsc.rviz",
        "launch/base.launch.py",
        "scripts/compressor",
        "scripts/reconstructor",
        "scripts/gateway",
        "scripts/link_emulator",
        "config/gateway.yaml",
    ):
        assert (root / name).is_file()


@pytest.mark.parametrize(
    ("file", "table"), [("rover.yaml", "COMPRESSOR"), ("base.yaml", "RECONSTRUCTOR"), ("gateway.yaml", "GATEWAY")]
)
def test_config_files_set_declared_parameters_only(file: str, table: str) -> None:
    import yaml

    from gsc_ros.nodes import parameters

    known = {parameter.name: parameter for parameter in getattr(parameters, table)}
    values = yaml.safe_load((LAUNCH.parent / "config" / file).read_text())["/**"]["ros__parameters"]
    for name, value in values.items():
        assert known[name].problem(value) is None

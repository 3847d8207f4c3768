"""The launch files: arguments that were not given change nothing; with the real launch where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from gsc_ros.nodes.launch_arguments import (
    LINK,
    NODES,
    RVIZ,
    Argument,
    Given,
    LaunchError,
    config_file,
    configured,
    frames_for,
    refuse_unknown,
    rviz_layout,
)
from gsc_ros.nodes.parameters import TABLES

LAUNCH = Path(__file__).resolve().parent.parent / "launch"
FILES = sorted(LAUNCH.glob("*.launch.py"))
CONFIG = Argument("config", "a file")
ARGUMENTS = {argument.name: argument for argument in (*NODES, *LINK, *RVIZ, CONFIG)}
SETTING = [argument for argument in ARGUMENTS.values() if argument.sets]
VALUES = {
    "cameras": ("/a, /b,", ["/a", "/b"]), "profile": ("paper", "paper"), "link": ("serial", "serial"), "local": ("0.0.0.0:1", "0.0.0.0:1"),
    "remote": ("192.0.2.1:1", "192.0.2.1:1"), "rate": ("4000", 4000.0), "key": ("link.key", "link.key"), "mtu": ("200", 200),
    "serial_device": ("/dev/ttyS1", "/dev/ttyS1"), "baud": ("1200", 1200),
}  # fmt: skip


def given(**values: str) -> Given:
    return Given(values, ARGUMENTS)


@pytest.mark.parametrize("node", sorted(TABLES))
def test_arguments_that_were_not_given_set_nothing(node) -> None:
    """A gateway whose parameter file names a key has it, whatever the launch file could say of keys."""
    defaults = {name: argument.default for name, argument in ARGUMENTS.items() if argument.default}
    assert given(**defaults).parameters(node) == {}


@pytest.mark.parametrize("argument", SETTING, ids=lambda argument: argument.name)
def test_an_argument_sets_its_parameter_and_no_other(argument) -> None:
    text, value = VALUES[argument.name]
    owner, _, parameter = argument.sets.partition(".")
    for node, table in TABLES.items():
        has = parameter in {p.name for p in table}
        expected = {parameter: value} if has and owner in ("*", node) else {}
        assert given(**{argument.name: text}).parameters(node) == expected
        if owner == node:
            assert has


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rate": "fast"}, "rate:=fast"), ({"mtu": "7"}, "32 to 65507"), ({"link": "udb"}, "udp, serial, zenoh"),
        ({"use_sim_time": "maybe"}, "true, false"), ({"log_level": "loud"}, "debug, info"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_with_the_argument(wrong, words) -> None:
    with pytest.raises(LaunchError, match=words):
        given(**wrong).parameters("gateway")


def test_truths_are_taken_as_other_launch_files_write_them() -> None:
    assert given(use_sim_time="True").flag("use_sim_time")
    assert not given(respawn="False").flag("respawn")


def test_an_argument_of_the_link_without_a_gateway_is_refused() -> None:
    """A key that nothing uses would be believed in."""
    arguments = {**ARGUMENTS, "gateway": Argument("gateway", "", "false", ("true", "false"))}
    for name in VALUES:
        if name in {argument.name for argument in LINK}:
            with pytest.raises(LaunchError, match=f"{name}:= is the gateway's"):
                Given({name: VALUES[name][0], "gateway": "false"}, arguments).refuse_link_without_gateway()
            Given({name: VALUES[name][0], "gateway": "true"}, arguments).refuse_link_without_gateway()


def test_unknown_arguments_are_refused_where_the_file_itself_was_launched() -> None:
    with pytest.raises(LaunchError, match="is cameras meant"):
        refuse_unknown("/x/rover.launch.py", ARGUMENTS, ["ros2", "launch", "gsc_ros", "rover.launch.py", "camras:=/a"])
    refuse_unknown("/x/rover.launch.py", ARGUMENTS, ["ros2", "launch", "gsc_ros", "rover.launch.py", "cameras:=/a"])
    refuse_unknown("/x/rover.launch.py", ARGUMENTS, ["ros2", "launch", "mine", "mine.launch.py", "my_argument:=1"])


def test_a_parameter_file_that_cannot_be_is_one_line(tmp_path) -> None:
    def refused(name: str, text: str | None) -> str:
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        with pytest.raises(ValueError) as caught:
            config_file(given(config=str(path)), "rover.yaml")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "No such file" in refused("nofile.yaml", None)
    assert "is not YAML" in refused("a.yaml", "/**: {ros__parameters: {")
    assert "has no ros__parameters" in refused("b.yaml", "max_bytes_per_frame: 3\n")
    assert "is max_bytes_per_frame meant" in refused("c.yaml", "/**: {ros__parameters: {max_byte_per_frame: 3}}\n")
    good = tmp_path / "good.yaml"
    good.write_text(
        "/robot:\n  compressor:\n    ros__parameters: {max_rate_hz: 2.0}\n/other:\n  ros__parameters: {x: 1}\n"
    )
    assert config_file(given(config=str(good)), "rover.yaml") == str(good)


def test_frames_are_made_for_the_link_that_the_gateway_has() -> None:
    from gsc_ros.link.udp import HEADERS

    assert frames_for({"mtu": 200}) == {}  # no rate, no limit
    open_link = frames_for({"max_bits_per_second": 4000.0, "mtu": 222})
    assert open_link == {"max_bits_per_second": 4000.0, "link_overhead": HEADERS + 10, "link_mtu": 210}
    sealed = frames_for({"max_bits_per_second": 4000.0, "mtu": 222, "key_file": "k"})
    assert sealed["link_overhead"] == HEADERS + 20
    assert sealed["link_mtu"] == 200


def test_frames_know_a_key_that_only_the_parameter_file_names(tmp_path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(
        "/gateway: {ros__parameters: {key_file: k, max_bits_per_second: 4000}}\n"
        "/robot: {compressor: {ros__parameters: {max_bits_per_second: 9}}}\n"
    )
    found = configured(given(config=str(file)), "gateway.yaml", "gateway")
    assert found == {"key_file": "k", "max_bits_per_second": 4000.0}
    assert frames_for(found)["link_overhead"] == 48
    assert configured(given(config=str(file)), "rover.yaml", "compressor") == {"max_bits_per_second": 9.0}
    assert configured(given(), "gateway.yaml", "gateway")["mtu"] == 1400


def test_the_layout_of_rviz_follows_the_cameras() -> None:
    path = Path(rviz_layout(["/front", "/rear"]))
    try:
        layout = yaml.safe_load(path.read_text())
    finally:
        path.unlink()
    topics = [display["Topic"]["Value"] for display in layout["Visualization Manager"]["Displays"]]
    assert topics[:3] == ["/front/image_raw", "/front/gsc/image_raw", "/front/gsc/confidence"]
    assert topics[3:] == ["/rear/image_raw", "/rear/gsc/image_raw", "/rear/gsc/confidence"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_launch_file_describes_its_arguments(path: Path) -> None:
    launch = pytest.importorskip("launch", reason="ROS 2's launch is not on PyPI; it is there where ROS 2 is installed")
    pytest.importorskip("launch_ros", reason="ROS 2's launch_ros is not on PyPI")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    names = {argument.name for argument in description.get_launch_arguments()}
    assert {"cameras", "profile", "respawn"} <= names
    assert isinstance(description, launch.LaunchDescription)


@pytest.mark.parametrize(
    ("file", "table"), [("rover.yaml", "COMPRESSOR"), ("base.yaml", "RECONSTRUCTOR"), ("gateway.yaml", "GATEWAY")]
)
def test_config_files_set_declared_parameters_only(file: str, table: str) -> None:
    from gsc_ros.nodes import parameters

    known = {parameter.name: parameter for parameter in getattr(parameters, table)}
    values = yaml.safe_load((LAUNCH.parent / "config" / file).read_text())["/**"]["ros__parameters"]
    for name, value in values.items():
        assert known[name].problem(value) is None

"""The arguments of a launch: one that was not given changes nothing, one that cannot be is told before any process starts.

Knows nothing of launch itself (gsc_ros.nodes.launching does), so that it is tested wherever the nodes are.
"""

from __future__ import annotations

import difflib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gsc_ros.nodes.parameters import TABLES, Value, check_names
from gsc_ros.profiles import share_directory

BOOLEANS = ("true", "false")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


class LaunchError(ValueError):
    """Arguments of a launch file that cannot be."""


@dataclass(frozen=True)
class Argument:
    """One launch argument. An empty one was not given; it ``sets`` a parameter of a node (``gateway.mtu``), of all (``*.cameras``), or none."""

    name: str
    description: str
    default: str = ""
    choices: Sequence[str] = ()
    sets: str = ""


NODES = (
    Argument("cameras", "base names of the cameras, separated by commas", sets="*.cameras"),
    Argument("profile", "profile name or YAML file, the same on both sides of the link", sets="*.profile"),
    Argument("namespace", "namespace of the nodes; cameras without a leading / are in it, too"),
    Argument("use_sim_time", "time comes from /clock", choices=BOOLEANS),
    Argument("log_level", "what the nodes log", choices=LOG_LEVELS),
    Argument("respawn", "start a node again, after 2 s, when it has ended by itself", "true", BOOLEANS),
)
LINK = (
    Argument("link", "what carries the datagrams", sets="gateway.transport", choices=("udp", "serial", "zenoh")),
    Argument("local", "HOST:PORT to bind; default: 47000 at the base, any on the robot", sets="gateway.local"),
    Argument("remote", "HOST:PORT of the other side; the base answers whoever calls", sets="gateway.remote"),
    Argument("rate", "bits per second with all headers", sets="gateway.max_bits_per_second"),
    Argument("key", "pre-shared key, made with `gsc key FILE`", sets="gateway.key_file"),
    Argument("mtu", "largest datagram in bytes", sets="gateway.mtu"),
    Argument("serial_device", "the port of link:=serial", sets="gateway.serial_device"),
    Argument("baud", "bits per second of the line of link:=serial", sets="gateway.baud"),
)
RVIZ = (
    Argument("rviz", "start rviz with a layout for the cameras", "false", BOOLEANS),
    Argument("rviz_config", "a layout of your own"),
)


@dataclass(frozen=True)
class Given:
    """The arguments of one launch that were given, by name; raises LaunchError where one cannot be."""

    values: Mapping[str, str]
    arguments: Mapping[str, Argument]

    def __post_init__(self) -> None:
        for name, argument in self.arguments.items():
            if name in self.values and argument.choices and self[name] not in argument.choices:
                raise LaunchError(f"{name}:={self.values[name]}: {', '.join(argument.choices)} are allowed")

    def __getitem__(self, name: str) -> str:
        """The value of an argument, empty where it was not given; truths as other launch files write them, too: True."""
        value = self.values.get(name, "")
        return value.lower() if name in self.arguments and self.arguments[name].choices == BOOLEANS else value

    def flag(self, name: str) -> bool:
        return self[name] == "true"

    @property
    def cameras(self) -> list[str]:
        return [name.strip() for name in self["cameras"].split(",") if name.strip()]

    def refuse_link_without_gateway(self) -> None:
        """Raise LaunchError for an argument of the link where no gateway is started: it would do nothing, a key least of all."""
        without = [argument.name for argument in LINK if argument.name in self.values and not self.flag("gateway")]
        if without:
            raise LaunchError(f"{without[0]}:= is the gateway's: add gateway:=true")

    def parameters(self, node: str) -> dict[str, Value]:
        """Parameters of ``node`` that the given arguments stand for, in the parameters' own kinds; raises ValueError."""
        table, found = {parameter.name: parameter for parameter in TABLES[node]}, {}
        for name, argument in self.arguments.items():
            owner, _, parameter = argument.sets.partition(".")
            if name not in self.values or owner not in ("*", node) or parameter not in table:
                continue
            number = isinstance(table[parameter].default, int | float)  # truths among them
            given: Any = yaml.safe_load(self[name]) if number else self.cameras if name == "cameras" else self[name]
            try:
                found[parameter] = table[parameter].taken(given)
            except ValueError as error:
                raise LaunchError(f"{name}:={self[name]}: {error}") from error
        return found


def refuse_unknown(path: str, known: Iterable[str], argv: Sequence[str] | None = None) -> None:
    """Raise LaunchError for an argument on the command line that ``path`` does not have.

    Only where ``path`` is what was launched: in a launch file of somebody else's the arguments are theirs.
    """
    argv = sys.argv if argv is None else argv
    if not any(Path(word).name == Path(path).name for word in argv):
        return
    for word in argv:
        name, given, _ = word.partition(":=")
        if given and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise LaunchError(
                f"no argument {name!r}: {f'is {near[0]} meant? ' if near else ''}{', '.join(known)} are there"
            )


def config_file(given: Given, default: str) -> str:
    """The parameter file that was given, or the one of this package; raises LaunchError where it cannot be."""
    path = Path(given["config"]).expanduser() if given["config"] else share_directory() / "config" / default
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise LaunchError(f"config:={path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LaunchError(f"config:={path} is not YAML: {' '.join(str(error).split())}") from error
    sections = list(_sections(content))
    if not sections:
        raise LaunchError(f"config:={path} has no ros__parameters: `/**: {{ros__parameters: {{...}}}}` is expected")
    for section in sections:
        check_names(str(name) for name in section)
    return str(path)


def configured(given: Given, default: str, node: str) -> dict[str, Value]:
    """Parameters of ``node`` in the file that it is given, in their own kinds; raises ValueError."""
    table = {parameter.name: parameter for parameter in TABLES[node]}
    content = yaml.safe_load(Path(config_file(given, default)).read_text())
    found = {name: value for section in _sections(content, (node,)) for name, value in section.items() if name in table}
    return {name: table[name].taken(value) for name, value in found.items()}


def _sections(content: Any, nodes: Sequence[str] = tuple(TABLES)) -> Iterable[Mapping[str, Any]]:
    """Every ros__parameters of a parameter file that ``nodes`` could read."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if name == "ros__parameters" and isinstance(value, dict):
            yield value
        elif isinstance(value, dict) and (str(name).strip("/*") in ("", *nodes) or "ros__parameters" not in value):
            yield from _sections(value, nodes)


def rviz_layout(cameras: Sequence[str]) -> str:
    """The path of a layout that shows every camera's pictures, made from that of the package, which shows /camera."""
    layout = yaml.safe_load((share_directory() / "rviz" / "gsc.rviz").read_text())
    manager = layout["Visualization Manager"]
    displays = manager["Displays"]
    manager["Displays"] = [
        {
            **display,
            "Name": f"{camera}: {display['Name']}",
            "Topic": {**display["Topic"], "Value": display["Topic"]["Value"].replace("/camera", camera, 1)},
        }
        for camera in cameras
        for display in displays
    ]
    with tempfile.NamedTemporaryFile("w", prefix="gsc_", suffix=".rviz", delete=False) as file:
        yaml.safe_dump(layout, file, sort_keys=False)
    return file.name


def frames_for(gateway: Mapping[str, Value]) -> dict[str, Value]:
    """The compressor's parameters that make frames as large as a gateway with these parameters carries them."""
    if not (rate := gateway.get("max_bits_per_second")):
        return {}
    sealed = 10 if gateway.get("key_file") else 0
    overhead = {"udp": 28, "serial": 6, "zenoh": 41}[str(gateway.get("transport", "udp"))] + 10 + sealed
    return {
        "max_bits_per_second": rate,
        "link_overhead": overhead,
        "link_mtu": max(32, int(str(gateway.get("mtu", 1400))) - 12 - sealed),
    }

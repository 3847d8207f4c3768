"""Every parameter of the nodes: one flat table, from which they are declared and documented."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gsc_ros.rate import PATIENCE_S

if TYPE_CHECKING:
    from rclpy.node import Node

Value = bool | int | float | str | list[str] | list[float]


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``changes`` says whether it may be set while the node runs."""

    name: str
    default: Value
    description: str
    low: float | None = None
    high: float | None = None
    choices: Sequence[str] = ()
    changes: bool = True

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is not None:
            return f"{self.low:.10g} to {self.high:.10g}"
        if isinstance(self.default, list):
            return "list of text" if isinstance(self.default[0], str) else "list of numbers"
        return {bool: "true, false", str: "text"}.get(type(self.default), "")

    def problem(self, value: Any) -> str | None:
        """Why ``value`` is not allowed, in one line, or None."""
        if self.choices and value not in self.choices:
            return f"{self.name} {value!r}: {', '.join(self.choices)} are allowed"
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            return f"{self.name} {value}: {self.allowed} are allowed"
        return None

    def taken(self, value: Any) -> Value:
        """``value``, as YAML gave it, in the kind of this parameter; raises ValueError where that is not plain or not allowed."""
        converted = self._converted(value)
        if converted is None:
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            quoted = f"; in quotes it is text: -p \"{self.name}:='{shown}'\"" if isinstance(self.default, str) else ""
            raise ValueError(f"{self.name} {shown}: {self.kind} is expected ({self.allowed}){quoted}")
        if reason := self.problem(converted):
            raise ValueError(reason)
        return converted

    @property
    def kind(self) -> str:
        """What kind of value it is, in words."""
        if isinstance(self.default, list):
            return "a list of text" if isinstance(self.default[0], str) else "a list of numbers"
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        return kinds[type(self.default)]

    def _converted(self, value: Any) -> Value | None:
        """``value`` in the kind of the default where there is but one way to take it, else None."""
        default = self.default
        if isinstance(default, list):
            items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            if isinstance(default[0], str):
                return [str(item) for item in items] if all(isinstance(item, str) for item in items) else None
            numbers = [item for item in items if isinstance(item, int | float) and not isinstance(item, bool)]
            return [float(item) for item in numbers] if items and len(numbers) == len(items) else None
        if isinstance(default, str):
            if isinstance(
                value, bool
            ):  # off, no, on, yes are truths to YAML: plain where only one of the choices is meant
                words = ("on", "yes", "true") if value else ("off", "no", "false")
                return next((word for word in words if word in self.choices), None)
            return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, str | int) else None
        if isinstance(default, bool):
            return value if isinstance(value, bool) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(default, float):
            return float(value)
        return int(value) if isinstance(value, int) or value.is_integer() else None


SERVED = (
    Parameter("cameras", ["/camera"], "base names of the cameras this node serves", changes=False),
    Parameter(
        "profile",
        "nano",
        "profile name, or path of a profile's YAML file; the same on both sides of the link",
        changes=False,
    ),
)

COMMON = (
    *SERVED,
    Parameter("device", "cpu", "where the models run: cpu, cuda, cuda:0 ...", changes=False),
    Parameter("threads", 0, "threads for the models; 0: what torch chooses", low=0, high=256, changes=False),
    Parameter(
        "max_age_s", 0.0, "frames whose stamp is older are dropped and counted; 0: no limit", low=0.0, high=86400.0
    ),
    Parameter(
        "clocks_agree",
        True,
        "both sides' clocks show the same time; where they do not, ages count from the fastest frame seen lately",
    ),
    Parameter("publish_stats", True, "publish GscStats for each frame", changes=False),
)

COMPRESSOR = (
    *COMMON,
    Parameter(
        "transport",
        "raw",
        "what the camera publishes: Image on image_raw, or CompressedImage on image_raw/compressed",
        choices=("raw", "compressed"),
        changes=False,
    ),
    Parameter(
        "max_bytes_per_frame", 300, "hard limit for a packet in bytes, at least 24; 0: no limit", low=0, high=65535
    ),
    Parameter("channels", 0, "C, at most so many latent channels are sent; 0: all", low=0, high=1024),
    Parameter("level", -1, "quality level where there is no byte limit; -1: the profile's", low=-1, high=31),
    Parameter(
        "selection",
        "profile",
        "which channels come first: nested order, SSIM with the image, or gain per byte; or as the profile says",
        choices=("profile", "order", "ssim", "rate"),
    ),
    Parameter(
        "caption_mode",
        "descriptor",
        "where the caption comes from; model is the profile's captioner, which is loaded when the node starts",
        choices=("descriptor", "fixed", "off", "model"),
    ),
    Parameter("caption", "", "the caption of caption_mode fixed, at most 1024 characters"),
    Parameter("caption_refresh", 10, "an unchanged caption is repeated in full every so many frames", low=1, high=255),
    Parameter(
        "max_rate_hz", 0.0, "at most so many frames a second are encoded; 0: as many as come", low=0.0, high=240.0
    ),
    Parameter(
        "max_bits_per_second",
        0.0,
        "hard limit of all cameras' frames together, with the headers of the link; 0: none",
        low=0.0,
        high=1e9,
    ),
    Parameter(
        "least_rate_hz",
        0.5,
        "with max_bits_per_second: frames get smaller rather than rarer than this",
        low=0.001,
        high=240.0,
    ),
    Parameter(
        "link_overhead",
        38,
        "bytes on the wire that each datagram takes beside its part of the packet",
        low=0,
        high=1000,
    ),
    Parameter("link_mtu", 1400, "largest part of a packet that one datagram carries, in bytes", low=32, high=65507),
    Parameter(
        "memory",
        "acknowledged",
        "what frames may build on: earlier ones that the base acknowledged, the last key frame too, or none",
        choices=("off", "acknowledged", "key"),
        changes=False,
    ),
    Parameter(
        "patience",
        PATIENCE_S,
        "seconds that coding a frame at more than its own size may take: where bytes are left over it looks better for it, and takes the longer",
        low=0.0,
        high=60.0,
    ),
    Parameter(
        "search",
        0,
        "with memory off: steps that look for better symbols for each frame, each as long as some three decodings; 100 save a tenth of the bytes",
        low=0,
        high=10_000,
    ),
    Parameter("key_interval", 15, "with memory: every so many frames one builds on none", low=1, high=64),
    Parameter("sharpen_bytes", 1200, "byte limit of a frame for which the operator asked sharper", low=24, high=65535),
    Parameter("accept_requests", True, "do what the operator asks with GscRequest", changes=False),
)

RECONSTRUCTOR = (
    *COMMON,
    Parameter("steps", 0, "steps of the generator, more cost time; 0: the profile's", low=0, high=16),
    Parameter(
        "realism",
        -1.0,
        "0: the blurred mean of what is known; 1: a sharp sample, details invented; -1: the profile's",
        low=-1.0,
        high=1.0,
    ),
    Parameter("seed", 0, "seed of the generator's noise", low=0, high=2**31 - 1),
    Parameter(
        "batch",
        1,
        "frames of different cameras painted at once; more than 1 pays where a GPU paints: on a CPU each waits for the others",
        low=1,
        high=64,
    ),
    Parameter(
        "max_pixels",
        1 << 21,
        "pixels that are painted of a frame; a larger one is painted smaller and enlarged, and that is said",
        low=1 << 12,
        high=1 << 22,
    ),
    Parameter("width", 0, "width of the output in pixels; 0: the source's", low=0, high=4096),
    Parameter("height", 0, "height of the output in pixels; 0: the source's", low=0, high=4096),
    Parameter("mark", True, "draw the word GENERATED and the caption into the picture"),
    Parameter("publish_confidence", True, "publish the confidence map", changes=False),
    Parameter("publish_caption", True, "publish the caption", changes=False),
    Parameter(
        "camera_info_files",
        [""],
        "calibration YAML for each camera, in the order of cameras; empty: no camera_info",
        changes=False,
    ),
    Parameter("publish_acks", True, "tell the compressor which frames were decoded", changes=False),
)

GATEWAY = (
    *SERVED,
    Parameter("side", "robot", "which end of the link this is", choices=("robot", "base"), changes=False),
    Parameter(
        "weights", [1.0], "share of the link of each camera, in the order of cameras; one: all the same", changes=False
    ),
    Parameter("transport", "udp", "what carries the datagrams", choices=("udp", "serial", "zenoh"), changes=False),
    Parameter(
        "local",
        "",
        "udp: HOST:PORT to bind, empty: port 47000 at the base and any on the robot; "
        "zenoh: endpoint to listen on, e.g. udp/0.0.0.0:7447, empty: none",
        changes=False,
    ),
    Parameter(
        "remote",
        "",
        "udp: HOST:PORT of the other side, empty: whoever calls; zenoh: endpoint to connect to, or empty",
        changes=False,
    ),
    Parameter("serial_device", "/dev/ttyUSB0", "serial: the port", changes=False),
    Parameter("baud", 9600, "serial: bits per second of the line", low=50, high=4_000_000, changes=False),
    Parameter("zenoh_key", "gsc", "zenoh: key expression below which both sides publish", changes=False),
    Parameter("mtu", 1400, "largest datagram in bytes; larger frames are cut", low=32, high=65507, changes=False),
    Parameter(
        "max_bits_per_second",
        0.0,
        "hard limit with every header; 0: none, of a serial line what it carries",
        low=0.0,
        high=1e9,
    ),
    Parameter("key_file", "", "pre-shared key, made with `gsc key FILE`; empty: no authentication", changes=False),
)

LINK_EMULATOR = (
    Parameter("link", "4k", "a preset, or a rate in bit/s such as 500 or 4k (docs/link.md)"),
    Parameter("loss", -1.0, "probability that a datagram is lost; -1: the preset's", low=-1.0, high=1.0),
    Parameter("latency_s", -1.0, "seconds each way; -1: the preset's", low=-1.0, high=86400.0),
    Parameter("seed", 0, "of the losses", low=0, high=2**31 - 2, changes=False),
    Parameter("robot_side", "127.0.0.1:47001", "HOST:PORT to which the robot's gateway sends", changes=False),
    Parameter("base", "127.0.0.1:47000", "HOST:PORT of the base's gateway", changes=False),
)

TABLES = {
    "compressor": COMPRESSOR,
    "reconstructor": RECONSTRUCTOR,
    "gateway": GATEWAY,
    "link_emulator": LINK_EMULATOR,
}


RCLPY_OWN = ("use_sim_time", "qos_overrides.", "start_type_description_service")  # how the names of rclpy's begin


def check_names(names: Iterable[str]) -> None:
    """Raise ValueError where one of ``names`` is no parameter of any node of this package."""
    known = sorted({parameter.name for table in TABLES.values() for parameter in table})
    for name in names:
        if name not in known and not name.startswith(RCLPY_OWN):
            near = difflib.get_close_matches(name, known, n=1)
            raise ValueError(
                f"no parameter {name!r}: {f'is {near[0]} meant? ' if near else ''}docs/parameters.md has them all"
            )


def declare(node: Node, table: Sequence[Parameter]) -> None:
    """Declare every parameter of ``table`` with its description, range and type; raises ValueError for a value that cannot be.

    ``node`` has declared what was given at start as it came (``automatically_declare_parameters_from_overrides``): YAML makes a
    number of ``1`` and a truth of ``off``, whatever was meant. One file may serve several nodes, so that names of other tables pass.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    check_names(node.get_parameters_by_prefix(""))
    for parameter in table:
        value = parameter.default
        if node.has_parameter(parameter.name):
            value = parameter.taken(node.get_parameter(parameter.name).value)
            node.undeclare_parameter(parameter.name)
        descriptor = ParameterDescriptor(
            description=f"{parameter.description} ({parameter.allowed})", read_only=not parameter.changes
        )
        if parameter.low is not None and parameter.high is not None:
            if isinstance(parameter.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(parameter.low), to_value=float(parameter.high), step=0.0)
                ]
            else:
                descriptor.integer_range = [
                    IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)
                ]
        node.declare_parameter(parameter.name, value, descriptor, ignore_override=True)


def documentation() -> str:
    """The tables of docs/parameters.md."""
    lines = []
    for title, table in TABLES.items():
        lines += [
            f"## {title}",
            "",
            "| parameter | default | allowed | while running | meaning |",
            "|---|---|---|---|---|",
        ]
        for parameter in table:
            default = (
                f'"{parameter.default}"'
                if isinstance(parameter.default, str)
                else str(parameter.default).lower()
                if isinstance(parameter.default, bool)
                else str(parameter.default)
            )
            lines.append(
                f"| `{parameter.name}` | `{default}` | {parameter.allowed} | {'yes' if parameter.changes else 'no'} | {parameter.description} |"
            )
        lines.append("")
    return "\n".join(lines)

"""Writes docs/parameters.md from the parameters that the nodes declare."""

from pathlib import Path

from gsc_ros.nodes.parameters import documentation

INTRODUCTION = """# Parameters

The same on every ROS distribution. "While running: yes" means `ros2 param set` takes effect with the next frame; a value
out of range is refused with the reason. Every topic takes `qos_overrides` (for instance
`qos_overrides./camera/image_raw.subscription.reliability: reliable`). This file is written by `python tools/make_parameters.py`.

"""

if __name__ == "__main__":
    (Path(__file__).resolve().parent.parent / "docs" / "parameters.md").write_text(INTRODUCTION + documentation())

"""A whole thin link on one machine: robot, link emulator and base station, in two ROS domains.

ros2 launch gsc_ros teleop_experiment.launch.py link:=lora-sf7 cameras:=/front robot_domain:=10 base_domain:=11

The camera publishes in the robot's domain; pictures, `gsc view` and rviz are in the base's.
"""

from gsc_ros.nodes.launch_arguments import NODES, Argument, frames_for
from gsc_ros.nodes.launching import describe, node

EMULATOR, BASE = "127.0.0.1:47001", "127.0.0.1:47000"
ARGUMENTS = (
    *NODES,
    Argument("link", "a preset of docs/link.md, or a rate in bit/s such as 4k", "4k"),
    Argument("least_rate", "frames a second to hold at least", "1.0", sets="compressor.least_rate_hz"),
    Argument("robot_domain", "ROS_DOMAIN_ID of the robot's side", "10"),
    Argument("base_domain", "ROS_DOMAIN_ID of the base's side", "11"),
)


def nodes(given):
    """Every node of both sides."""
    from gsc_ros.link.presets import link_spec

    spec = link_spec(given["link"])
    link = {"max_bits_per_second": float(spec.bits_per_second), "mtu": min(spec.mtu, 1400)}

    def placed(executable, domain, **parameters):
        both = {**given.parameters(executable), **parameters}
        env = {"ROS_DOMAIN_ID": given[f"{domain}_domain"]}
        return node(given, executable, config="", parameters=both, additional_env=env)

    return [
        placed("compressor", "robot", **frames_for(link)),
        placed("gateway", "robot", **link, side="robot", local="127.0.0.1:0", remote=EMULATOR),
        placed("link_emulator", "base", link=given["link"], robot_side=EMULATOR, base=BASE),
        placed("gateway", "base", **link, side="base", local=BASE),
        placed("reconstructor", "base"),
    ]


def generate_launch_description():
    return describe(__file__, ARGUMENTS, nodes)

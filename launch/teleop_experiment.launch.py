"""A whole thin link on one machine: robot, link emulator and base station, in two ROS domains.

ros2 launch gsc_ros teleop_experiment.launch.py link:=lora-sf7 cameras:=/front robot_domain:=10 base_domain:=11

The camera publishes in the robot's domain; pictures, `gsc view` and rviz are in the base's.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

EMULATOR, BASE = "127.0.0.1:47001", "127.0.0.1:47000"


def nodes(context):
    """Every node of both sides, once the arguments are known."""
    from gsc_ros.link.presets import link_spec

    def argument(name):
        return LaunchConfiguration(name).perform(context)

    spec = link_spec(argument("link"))
    rate, mtu = float(spec.bits_per_second), min(spec.mtu, 1400)
    cameras = {"cameras": [name for name in argument("cameras").split(",") if name], "profile": argument("profile")}
    sides = {"robot": argument("robot_domain"), "base": argument("base_domain")}

    def node(executable, side, parameters):
        return Node(
            package="gsc_ros",
            executable=executable,
            name=executable,
            output="screen",
            respawn=LaunchConfiguration("respawn"),
            respawn_delay=2.0,
            parameters=[parameters],
            additional_env={"ROS_DOMAIN_ID": sides[side]},
        )

    limits = {"max_bits_per_second": rate, "least_rate_hz": float(argument("least_rate"))}
    link = {"mtu": mtu, "max_bits_per_second": rate}
    return [
        node("compressor", "robot", {**cameras, **limits, "link_overhead": 40, "link_mtu": max(32, mtu - 12)}),
        node("gateway", "robot", {**cameras, **link, "side": "robot", "local": "127.0.0.1:0", "remote": EMULATOR}),
        node("link_emulator", "base", {"link": argument("link"), "robot_side": EMULATOR, "base": BASE}),
        node("gateway", "base", {**cameras, **link, "side": "base", "local": BASE}),
        node("reconstructor", "base", cameras),
    ]


def generate_launch_description():
    return LaunchDescription(
        [
            DeclareLaunchArgument("link", default_value="4k", description="a preset, or a rate in bit/s such as 4k"),
            DeclareLaunchArgument("cameras", default_value="/camera", description="base names of the cameras"),
            DeclareLaunchArgument("profile", default_value="nano", description="profile name or YAML file"),
            DeclareLaunchArgument("least_rate", default_value="1.0", description="frames a second to hold at least"),
            DeclareLaunchArgument("robot_domain", default_value="10", description="ROS_DOMAIN_ID of the robot's side"),
            DeclareLaunchArgument("base_domain", default_value="11", description="ROS_DOMAIN_ID of the base's side"),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="start a node again, after 2 s, when it has ended by itself",
            ),
            OpaqueFunction(function=nodes),
        ]
    )

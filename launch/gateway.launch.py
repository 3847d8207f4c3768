"""One side's gateway: only packets cross the link, each side keeps its own ROS graph.

ros2 launch gsc_ros gateway.launch.py side:=robot remote:=192.0.2.1:47000 rate:=4000 key:=~/link.key
ros2 launch gsc_ros gateway.launch.py side:=base rate:=1000 key:=~/link.key
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def gateway(context):
    """The node, once the arguments are known."""

    def argument(name):
        return LaunchConfiguration(name).perform(context)

    overrides = {
        "cameras": [name for name in argument("cameras").split(",") if name],
        "profile": argument("profile"),
        "side": argument("side"),
        "local": argument("local"),
        "remote": argument("remote"),
        "max_bits_per_second": float(argument("rate")),
        "key_file": argument("key"),
    }
    return [
        Node(
            package="gsc_ros",
            executable="gateway",
            name="gateway",
            output="screen",
            respawn=LaunchConfiguration("respawn"),
            respawn_delay=2.0,
            parameters=[argument("config"), overrides],
        )
    ]


def generate_launch_description():
    share = FindPackageShare("gsc_ros")
    return LaunchDescription(
        [
            DeclareLaunchArgument("side", choices=["robot", "base"], description="which end of the link this is"),
            DeclareLaunchArgument(
                "cameras", default_value="/camera", description="base names of the cameras, the same on both sides"
            ),
            DeclareLaunchArgument("profile", default_value="nano", description="profile name or YAML file"),
            DeclareLaunchArgument(
                "local", default_value="", description="HOST:PORT to bind; empty: 47000 at the base, any on the robot"
            ),
            DeclareLaunchArgument(
                "remote", default_value="", description="HOST:PORT of the other side; empty: whoever calls"
            ),
            DeclareLaunchArgument(
                "rate", default_value="0", description="bits per second with all headers; 0: no limit"
            ),
            DeclareLaunchArgument("key", default_value="", description="pre-shared key, made with `gsc key FILE`"),
            DeclareLaunchArgument(
                "config",
                default_value=PathJoinSubstitution([share, "config", "gateway.yaml"]),
                description="parameter file",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="start a node again, after 2 s, when it has ended by itself",
            ),
            OpaqueFunction(function=gateway),
        ]
    )

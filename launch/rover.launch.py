"""The robot: the compressor, and with base:=true the base station beside it for a try on one machine.

ros2 launch gsc_ros rover.launch.py cameras:=/front,/rear base:=true rviz:=true
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def compressor(context):
    """The node, once the list of cameras is known."""
    cameras = [name for name in LaunchConfiguration("cameras").perform(context).split(",") if name]
    overrides = {"cameras": cameras, "profile": LaunchConfiguration("profile").perform(context)}
    return [
        Node(
            package="gsc_ros",
            executable="compressor",
            name="compressor",
            output="screen",
            respawn=LaunchConfiguration("respawn"),
            respawn_delay=2.0,
            parameters=[LaunchConfiguration("config").perform(context), overrides],
        )
    ]


def generate_launch_description():
    share = FindPackageShare("gsc_ros")
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras", default_value="/camera", description="base names of the cameras, separated by commas"
            ),
            DeclareLaunchArgument(
                "profile", default_value="nano", description="profile name or YAML file, the same as at the base"
            ),
            DeclareLaunchArgument(
                "config",
                default_value=PathJoinSubstitution([share, "config", "rover.yaml"]),
                description="parameter file",
            ),
            DeclareLaunchArgument("base", default_value="false", description="start the base station too"),
            DeclareLaunchArgument("rviz", default_value="false", description="with base:=true: start rviz"),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="start a node again, after 2 s, when it has ended by itself",
            ),
            OpaqueFunction(function=compressor),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "base.launch.py"])),
                launch_arguments={
                    "cameras": LaunchConfiguration("cameras"),
                    "profile": LaunchConfiguration("profile"),
                    "rviz": LaunchConfiguration("rviz"),
                    "respawn": LaunchConfiguration("respawn"),
                    "config": PathJoinSubstitution([share, "config", "base.yaml"]),
                }.items(),
                condition=IfCondition(LaunchConfiguration("base")),
            ),
        ]
    )

"""The base station: the reconstructor and, if asked for, rviz.

ros2 launch gsc_ros base.launch.py cameras:=/front,/rear rviz:=true
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def reconstructor(context):
    """The node, once the list of cameras is known."""
    cameras = [name for name in LaunchConfiguration("cameras").perform(context).split(",") if name]
    overrides = {"cameras": cameras, "profile": LaunchConfiguration("profile").perform(context)}
    return [
        Node(
            package="gsc_ros",
            executable="reconstructor",
            name="reconstructor",
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
                "profile", default_value="nano", description="profile name or YAML file, the same as on the robot"
            ),
            DeclareLaunchArgument(
                "config",
                default_value=PathJoinSubstitution([share, "config", "base.yaml"]),
                description="parameter file",
            ),
            DeclareLaunchArgument(
                "rviz", default_value="false", description="start rviz with the layout of this package"
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="start a node again, after 2 s, when it has ended by itself",
            ),
            OpaqueFunction(function=reconstructor),
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", PathJoinSubstitution([share, "rviz", "gsc.rviz"])],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )

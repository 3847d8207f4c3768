"""What the launch files share: from the arguments that were given to the actions of all nodes at once.

    DeclareLaunchArgument... --> Given (checked) --> actions

Nothing starts unless everything could be built: what can fail fails before. The only module that imports launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from gsc_ros.nodes.launch_arguments import (
    Argument,
    Given,
    LaunchError,
    config_file,
    configured,
    frames_for,
    refuse_unknown,
    rviz_layout,
)
from gsc_ros.nodes.parameters import Value
from launch import LaunchDescription

RESPAWN_DELAY_S = 2.0
Action = Any


def describe(path: str, arguments: Sequence[Argument], build: Callable[[Given], list[Action]]) -> LaunchDescription:
    """The description of the launch file ``path``: nothing of what ``build`` returns runs unless all of it could be built."""
    known = {argument.name: argument for argument in arguments}

    def actions(context: Any) -> list[Action]:
        refuse_unknown(path, known)
        values = {name: LaunchConfiguration(name).perform(context) for name in known}
        return build(Given({name: value for name, value in values.items() if value}, known))

    return LaunchDescription([*(_declared(argument) for argument in arguments), OpaqueFunction(function=actions)])


def _declared(argument: Argument) -> DeclareLaunchArgument:
    words = argument.description + (f" ({', '.join(argument.choices)})" if argument.choices else "")
    return DeclareLaunchArgument(argument.name, default_value=argument.default, description=words)


def node(given: Given, executable: str, *, config: str, parameters: Mapping[str, Value], **options: Any) -> Action:
    """The action that runs a node of this package with the file ``config``, if one, and ``parameters``, which win."""
    own = {"use_sim_time": given.flag("use_sim_time")} if given["use_sim_time"] else {}
    return Node(
        package="gsc_ros",
        executable=executable,
        name=executable,
        namespace=given["namespace"] or None,
        output="screen",
        respawn=given.flag("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
        ros_arguments=["--log-level", given["log_level"]] if given["log_level"] else [],
        parameters=[*([config] if config else []), {**parameters, **own}],
        **options,
    )


def compressor(given: Given) -> Action:
    """The robot's node; where its gateway is started beside it, frames are made for that link."""
    own = configured(given, "rover.yaml", "compressor")
    beside = {**configured(given, "gateway.yaml", "gateway"), **given.parameters("gateway")}
    limits = frames_for(beside) if given.flag("gateway") else {}
    parameters = {name: value for name, value in limits.items() if name not in own} | given.parameters("compressor")
    return node(given, "compressor", config=config_file(given, "rover.yaml"), parameters=parameters)


def reconstructor(given: Given) -> Action:
    """The base station's node."""
    config = config_file(given, "base.yaml")
    return node(given, "reconstructor", config=config, parameters=given.parameters("reconstructor"))


def gateway(given: Given, side: str) -> Action:
    """One side's end of the link; an empty ``side`` is that of the parameter file."""
    parameters = given.parameters("gateway") | ({"side": side} if side else {})
    return node(given, "gateway", config=config_file(given, "gateway.yaml"), parameters=parameters)


def link_end(given: Given, side: str) -> list[Action]:
    """The gateway of ``side`` where ``gateway:=true`` asks for it; raises LaunchError for its arguments without it."""
    given.refuse_link_without_gateway()
    return [gateway(given, side)] if given.flag("gateway") else []


def rviz(given: Given) -> list[Action]:
    """rviz with a layout for the cameras, where it is asked for; raises LaunchError where it is not installed."""
    if not given.flag("rviz"):
        return []
    try:
        get_package_share_directory("rviz2")
    except PackageNotFoundError as error:
        raise LaunchError("rviz:=true, and there is no rviz2: apt install ros-$ROS_DISTRO-rviz2") from error
    own = given["rviz_config"]
    if own and not Path(own).expanduser().is_file():
        raise LaunchError(f"rviz_config:={own}: no such file")
    layout = str(Path(own).expanduser()) if own else rviz_layout(given.cameras or ["/camera"])
    return [Node(package="rviz2", executable="rviz2", name="rviz2", arguments=["-d", layout])]

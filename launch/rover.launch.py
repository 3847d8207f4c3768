"""The robot: the compressor, with gateway:=true its end of the link, and with base:=true a base station beside it.

ros2 launch gsc_ros rover.launch.py cameras:=/front,/rear
ros2 launch gsc_ros rover.launch.py gateway:=true remote:=192.0.2.1:47000 rate:=4000 key:=link.key
ros2 launch gsc_ros rover.launch.py base:=true rviz:=true     # both sides, for a try on one machine
"""

from gsc_ros.nodes.launch_arguments import BOOLEANS, LINK, NODES, RVIZ, Argument
from gsc_ros.nodes.launching import compressor, describe, link_end, reconstructor, rviz

ARGUMENTS = (
    *NODES,
    Argument("config", "parameter file of the compressor; default: config/rover.yaml of the package"),
    Argument(
        "transport",
        "what the camera publishes: Image or CompressedImage",
        choices=("raw", "compressed"),
        sets="compressor.transport",
    ),
    Argument("gateway", "start the robot's end of the link, too", "false", BOOLEANS),
    *LINK,
    Argument("base", "start a base station in the same ROS graph, too", "false", BOOLEANS),
    *RVIZ,
)


def nodes(given):
    """The compressor and what else is asked for."""
    found = [compressor(given), *link_end(given, "robot")]
    if given.flag("base"):
        found.append(reconstructor(given))
    return found + rviz(given)


def generate_launch_description():
    return describe(__file__, ARGUMENTS, nodes)

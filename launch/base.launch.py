"""The base station: the reconstructor, with gateway:=true its end of the link, with rviz:=true rviz.

ros2 launch gsc_ros base.launch.py cameras:=/front,/rear rviz:=true
ros2 launch gsc_ros base.launch.py gateway:=true rate:=1000 key:=link.key
"""

from gsc_ros.nodes.launch_arguments import BOOLEANS, LINK, NODES, RVIZ, Argument
from gsc_ros.nodes.launching import describe, link_end, reconstructor, rviz

ARGUMENTS = (
    *NODES,
    Argument("config", "parameter file of the reconstructor; default: config/base.yaml of the package"),
    Argument("gateway", "start the base's end of the link, too", "false", BOOLEANS),
    *LINK,
    *RVIZ,
)


def nodes(given):
    """The reconstructor and what else is asked for."""
    return [reconstructor(given), *link_end(given, "base"), *rviz(given)]


def generate_launch_description():
    return describe(__file__, ARGUMENTS, nodes)

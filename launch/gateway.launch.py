"""One side's gateway alone: only packets cross the link, each side keeps its own ROS graph.

ros2 launch gsc_ros gateway.launch.py side:=robot remote:=192.0.2.1:47000 rate:=4000 key:=~/link.key
ros2 launch gsc_ros gateway.launch.py side:=base rate:=1000 key:=~/link.key
"""

from gsc_ros.nodes.launch_arguments import LINK, NODES, Argument
from gsc_ros.nodes.launching import describe, gateway

ARGUMENTS = (
    Argument("side", "which end of the link this is", choices=("robot", "base")),
    *NODES,
    Argument("config", "parameter file; default: config/gateway.yaml of the package"),
    *LINK,
)


def nodes(given):
    """The gateway; its side is in the file, where the argument is not given."""
    return [gateway(given, given["side"])]


def generate_launch_description():
    return describe(__file__, ARGUMENTS, nodes)

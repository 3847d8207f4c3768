"""Generative Semantic Coding for ROS 2."""

from pkgutil import extend_path

# The generated messages (gsc_ros.msg) live in the colcon overlay, these modules possibly in a
# source checkout: one package over both places.
__path__ = extend_path(__path__, __name__)
__version__ = "0.10.0"

"""The demo's camera: publishes the frames of a source as Image messages, paced like a camera."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from gsc_ros.cli.source_options import add_source_options, source_of
from gsc_ros.image_messages import fill_image
from gsc_ros.left_out import LeftOut, silently
from gsc_ros.sources import Source

WAIT_FOR_SUBSCRIBERS_S = 20.0


def _frames(source: Source, loop: bool) -> Iterator[NDArray[np.uint8]]:
    yield from source.frames()
    while loop:
        yield from source.frames(LeftOut(silently))  # told the first time


def main() -> None:
    """Entry point of the node."""
    parser = argparse.ArgumentParser(prog="camera", description=__doc__)
    add_source_options(parser)
    parser.add_argument("--name", default="/camera", help="base name of the camera topic")
    parser.add_argument("--rate", type=float, default=2.0, help="frames a second")
    parser.add_argument("--frames", type=int, default=24, help="at most so many frames")
    parser.add_argument("--subscribers", type=int, default=1, help="wait for so many before the first frame")
    parser.add_argument("--loop", action="store_true", help="begin again when the source ends")
    options = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node("camera")
    # Reliable, so that the recording has every frame; a best-effort subscriber is served as well.
    publisher = node.create_publisher(Image, f"{options.name}/image_raw", QoSProfile(depth=10))
    try:
        deadline = time.monotonic() + WAIT_FOR_SUBSCRIBERS_S
        while publisher.get_subscription_count() < options.subscribers and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.05)
        due = time.monotonic()
        for image in itertools.islice(_frames(source_of(options), options.loop), options.frames):
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - 1 / options.rate) + 1 / options.rate
            message = Image()
            message.header.frame_id = "camera_optical_frame"
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(fill_image(message, image, message.header))
            rclpy.spin_once(node, timeout_sec=0.0)
        time.sleep(0.5)  # let the last frame leave before the publisher goes
    except ValueError as error:
        sys.exit(f"camera: {error}")
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()

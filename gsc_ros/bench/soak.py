"""A long run of the real nodes over a bad link, in two ROS domains: does anything grow, does anything old get shown."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gsc_ros.demo.run import CAMERA, DemoError, Processes, node_arguments

WARM_UP = 0.2  # of the time: what is resident then is compared with the end
NODES = ("compressor", "gateway_robot", "link_emulator", "gateway_base", "reconstructor")


@dataclass(frozen=True)
class Soak:
    """What the run showed. Memory in MB after the warm-up and at the end, by node."""

    shown: int
    oldest_s: float
    wire_bps: float
    lost: int
    memory: dict[str, tuple[float, float]]

    @property
    def growth(self) -> float:
        """The largest relative growth of any node."""
        return max(last / first - 1 for first, last in self.memory.values())


def soak(
    *,
    seconds: float,
    link: str,
    bits_per_second: float,
    loss: float,
    max_age_s: float,
    domain: int,
    done: Callable[[float], None],
) -> Soak:
    """Run for ``seconds``; ``domain`` and the one after it are used. Raises DemoError when a node ends."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    from gsc_ros.msg import GscLink

    context = rclpy.Context()
    context.init(domain_id=domain + 1)
    node = rclpy.create_node("soak", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ages: list[float] = []
    links: list[GscLink] = []

    def seen(message: Image) -> None:
        stamp = message.header.stamp
        ages.append(time.time() - stamp.sec - stamp.nanosec / 1e9)

    node.create_subscription(Image, f"{CAMERA}/gsc/image_raw", seen, QoSProfile(depth=10))
    node.create_subscription(GscLink, "/gateway/link", lambda message: links.append(message), QoSProfile(depth=10))
    memory: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ROS_LOG_DIR", folder)
        processes = Processes(Path(folder))
        try:
            _start(processes, domain, link, bits_per_second, loss, max_age_s, seconds)
            began = time.monotonic()
            first: dict[str, float] = {}
            while (passed := time.monotonic() - began) < seconds:
                executor.spin_once(timeout_sec=0.1)
                processes.check(*NODES)
                done(passed)
                del links[:-1]
                if passed > WARM_UP * seconds and not first:
                    first = {name: processes.memory_mb(name) for name in NODES}
            memory = {name: (first[name], processes.memory_mb(name)) for name in NODES}
        finally:
            processes.stop()
            executor.shutdown()
            node.destroy_node()
            context.try_shutdown()
    if not ages or not links:
        raise DemoError("nothing was shown")
    return Soak(
        shown=len(ages),
        oldest_s=max(ages),
        wire_bps=8 * links[-1].received_bytes / seconds,
        lost=sum(links[-1].lost),
        memory=memory,
    )


def _start(
    processes: Processes, domain: int, link: str, rate: float, loss: float, max_age_s: float, seconds: float
) -> None:
    robot, base = ({"ROS_DOMAIN_ID": str(number)} for number in (domain, domain + 1))
    ports = [_free_port() for _ in range(2)]
    emulator, far = (f"127.0.0.1:{port}" for port in ports)
    limit = {"max_bits_per_second": rate}
    reliable = {f"qos_overrides.{CAMERA}/image_raw.subscription.reliability": "reliable"}
    for name, module, side, parameters in (
        ("compressor", "compressor", robot, {**limit, **reliable, "least_rate_hz": 2.0}),
        ("gateway_robot", "gateway", robot, {**limit, "side": "robot", "local": "127.0.0.1:0", "remote": emulator}),
        ("link_emulator", "link_emulator", base, {"link": link, "loss": loss, "robot_side": emulator, "base": far}),
        ("gateway_base", "gateway", base, {**limit, "side": "base", "local": far}),
        ("reconstructor", "reconstructor", base, {"max_age_s": max_age_s}),
    ):
        processes.start(name, *node_arguments(parameters), module=module, environment=side)
    frames = str(int(10 * seconds) + 10)
    processes.start("camera", "--rate", "10", "--frames", frames, "--loop", module="camera", environment=robot)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

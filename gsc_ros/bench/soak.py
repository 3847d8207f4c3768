"""A long run of the real nodes over a bad link with a key, in two ROS domains, and a kill of every node at its end.

Does anything grow, does anything old get shown, and do pictures come again whoever dies?
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsc_ros.demo.run import CAMERA, DemoError, Processes, node_arguments

WARM_UP = 0.2  # of the time: what is resident then is compared with the end
HANG_S = 300.0  # after which a node that does not come up, or a link that shows nothing, is given up
MOST_FRAMES = 60  # of the compressor, after a restart, until a new one of them is shown
ROBOT, BASE = 0, 1  # ROS domains, from the first one on
# Every node, its domain, and a topic on which it alone publishes there.
NODES = {
    "compressor": (ROBOT, f"{CAMERA}/image_raw/gsc"),
    "gateway_robot": (ROBOT, "/gateway/link"),
    "link_emulator": (BASE, None),
    "gateway_base": (BASE, "/gateway/link"),
    "reconstructor": (BASE, f"{CAMERA}/gsc/image_raw"),
}
KILLED = tuple(name for name, (_, topic) in NODES.items() if topic)
Stamp = tuple[int, int]


@dataclass(frozen=True)
class Restart:
    """``node`` was killed and started again; after ``frames`` of the compressor a new one was shown."""

    node: str
    frames: int


@dataclass(frozen=True)
class Soak:
    """What the run showed. Memory in MB after the warm-up and before the first restart, by node.

    ``backwards`` are pictures that are older than one shown before.
    """

    shown: int
    backwards: int
    oldest_s: float
    wire_bps: float
    lost: int
    memory: dict[str, tuple[float, float]]
    restarts: list[Restart]

    @property
    def growth(self) -> float:
        """The largest relative growth of any node."""
        return max(last / first - 1 for first, last in self.memory.values())


class _Ear:
    """A node of the run's own in one ROS domain."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self._node = rclpy.create_node("soak", context=self._context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def hear(self, kind: Any, topic: str, heard: Callable[[Any], None]) -> None:
        self._node.create_subscription(kind, topic, heard, 10)

    def spin(self) -> None:
        self._executor.spin_once(timeout_sec=0.05)

    def publishers(self, topic: str) -> set[bytes]:
        """Of ``topic``, by their identities: one that was killed is among them for a while."""
        return {bytes(found.endpoint_gid) for found in self._node.get_publishers_info_by_topic(topic)}

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


class _Link:
    """The nodes of both sides and the link between them; what they sent and showed."""

    def __init__(
        self, folder: Path, *, link: str, bits_per_second: float, loss: float, max_age_s: float, domain: int
    ) -> None:
        from sensor_msgs.msg import Image

        from gsc_ros.msg import GscFrame, GscLink

        self.processes = Processes(folder)
        self._domain = domain
        self._parameters = _parameters(
            _keys(folder), link=link, bits_per_second=bits_per_second, loss=loss, max_age_s=max_age_s
        )
        self.ages: list[float] = []
        self.sent = self.backwards = 0
        self.newest_sent = self.newest_shown = (0, 0)
        self.reported: GscLink | None = None
        self._ears = _Ear(domain + ROBOT), _Ear(domain + BASE)
        self._ears[ROBOT].hear(GscFrame, f"{CAMERA}/image_raw/gsc", self._sent)
        self._ears[BASE].hear(Image, f"{CAMERA}/gsc/image_raw", self._shown)
        self._ears[BASE].hear(GscLink, "/gateway/link", self._reported)

    def start(self, *, frames: int) -> None:
        """All nodes, and a camera that takes so many ``frames``, ten a second."""
        for name in NODES:
            self._start(name)
        rate = ("--rate", "10", "--frames", str(frames), "--loop")
        self.processes.start("camera", *rate, module="camera", environment=self._environment(ROBOT))

    def spin(self) -> None:
        """Hear what there is. Raises DemoError when a node has ended."""
        for ear in self._ears:
            ear.spin()
        self.processes.check(*NODES, "camera")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + HANG_S
        while not condition():
            self.spin()
            if time.monotonic() > deadline:
                raise DemoError(f"waited {HANG_S:.0f} s for {what}")

    def restart(self, name: str) -> Restart:
        """Kill ``name`` as a power cut does, start it again, and count the frames until a new one is shown."""
        place, topic = NODES[name]
        assert topic is not None
        before = self._ears[place].publishers(topic)
        self.processes.kill(name)
        self._start(name)
        self.until(lambda: bool(self._ears[place].publishers(topic) - before), f"the {name} to come up again")
        last, count = self.newest_sent, self.sent

        def seen() -> bool:
            if self.sent - count > MOST_FRAMES:
                raise DemoError(f"nothing new was shown in {MOST_FRAMES} frames after the restart of the {name}")
            return self.newest_shown > last

        self.until(seen, f"a picture after the restart of the {name}")
        return Restart(name, self.sent - count)

    def close(self) -> None:
        self.processes.stop()
        for ear in self._ears:
            ear.close()

    def _start(self, name: str) -> None:
        place, _ = NODES[name]
        self.processes.start(
            name,
            *node_arguments(self._parameters[name]),
            module=name.removesuffix("_robot").removesuffix("_base"),
            environment=self._environment(place),
        )

    def _environment(self, place: int) -> dict[str, str]:
        return {"ROS_DOMAIN_ID": str(self._domain + place)}

    def _sent(self, message: Any) -> None:
        self.sent += 1
        self.newest_sent = max(self.newest_sent, _stamp(message))

    def _shown(self, message: Any) -> None:
        stamp = _stamp(message)
        self.backwards += stamp < self.newest_shown
        self.newest_shown = max(self.newest_shown, stamp)
        self.ages.append(time.time() - stamp[0] - stamp[1] / 1e9)

    def _reported(self, message: Any) -> None:
        self.reported = message


def soak(
    *,
    seconds: float,
    restarts: int,
    link: str,
    bits_per_second: float,
    loss: float,
    max_age_s: float,
    domain: int,
    done: Callable[[float], None],
) -> Soak:
    """Run for ``seconds``, then kill and start again every node in turn, ``restarts`` times.

    ``domain`` and the one after it are used; ``done`` gets the seconds that have passed. Raises DemoError when a node ends
    by itself, or when nothing new is shown within MOST_FRAMES frames of a restart.
    """
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ROS_LOG_DIR", folder)
        run = _Link(
            Path(folder), link=link, bits_per_second=bits_per_second, loss=loss, max_age_s=max_age_s, domain=domain
        )
        try:
            run.start(frames=int(10 * (seconds + HANG_S * (1 + restarts * len(KILLED)))))
            run.until(lambda: bool(run.ages and run.reported), "the first picture")
            began = time.monotonic()
            first: dict[str, float] = {}
            while not first or time.monotonic() - began < seconds:
                run.spin()
                done(passed := time.monotonic() - began)
                if passed >= WARM_UP * seconds and not first:
                    first = {name: run.processes.memory_mb(name) for name in NODES}
            passed = time.monotonic() - began
            memory = {name: (first[name], run.processes.memory_mb(name)) for name in NODES}
            assert run.reported is not None
            bits, lost = 8 * run.reported.received_bytes, sum(run.reported.lost)
            again = [run.restart(name) for _ in range(restarts) for name in KILLED]
        finally:
            run.close()
    return Soak(
        shown=len(run.ages),
        backwards=run.backwards,
        oldest_s=max(run.ages),
        wire_bps=bits / passed,
        lost=lost,
        memory=memory,
        restarts=again,
    )


def _parameters(
    keys: tuple[Path, Path], *, link: str, bits_per_second: float, loss: float, max_age_s: float
) -> dict[str, dict[str, object]]:
    """Of every node in NODES."""
    emulator, far = (f"127.0.0.1:{_free_port()}" for _ in range(2))
    limit = {"max_bits_per_second": bits_per_second}
    reliable = {f"qos_overrides.{CAMERA}/image_raw.subscription.reliability": "reliable"}
    robot = {"side": "robot", "local": "127.0.0.1:0", "remote": emulator, "key_file": keys[ROBOT]}
    return {
        "compressor": {**limit, **reliable, "least_rate_hz": 2.0},
        "gateway_robot": {**limit, **robot},
        "link_emulator": {"link": link, "loss": loss, "robot_side": emulator, "base": far},
        "gateway_base": {**limit, "side": "base", "local": far, "key_file": keys[BASE]},
        "reconstructor": {"max_age_s": max_age_s},
    }


def _keys(folder: Path) -> tuple[Path, Path]:
    """One key in two files, one for each side, as an operator copies it."""
    from gsc_ros.link.key_file import new_key

    robot, base = folder / "robot.key", folder / "base.key"
    new_key(robot)
    shutil.copy2(robot, base)
    return robot, base


def _stamp(message: Any) -> Stamp:
    return message.header.stamp.sec, message.header.stamp.nanosec


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

"""The link emulator node: a UDP relay between two gateways that behaves like a bad radio."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gsc_ros.link.emulator import EmulatedLink, LinkSpec
from gsc_ros.link.presets import link_spec
from gsc_ros.link.udp import UdpTransport
from gsc_ros.nodes.parameters import LINK_EMULATOR
from gsc_ros.nodes.served_node import ServedNode, spin

NAP_S = 0.005
AT_ONCE = 200  # datagrams of one way before the other has its turn: a flood must not hold up what has arrived
REPORT_S = 10.0


class LinkEmulator(ServedNode):
    """Relays datagrams between the robot's gateway and the base's, each way through a link of its own."""

    def __init__(self) -> None:
        super().__init__("link_emulator", LINK_EMULATOR)
        robot = UdpTransport(local=self.value("robot_side"))
        base = UdpTransport(local="0.0.0.0:0", remote=self.value("base"))
        spec, seed = self._spec(self.values), self.value("seed")
        self._ways = [
            (robot, EmulatedLink(spec, seed=seed, cost=robot.cost), base),
            (base, EmulatedLink(spec, seed=seed + 1, cost=base.cost), robot),
        ]
        self.every(REPORT_S, self._report)
        self.get_logger().info(f"ready: {self.value('link')}, {spec}")

    def release(self) -> None:
        """Close both sockets."""
        for source, _, _ in self._ways:
            source.close()

    def check(self, values: Mapping[str, Any]) -> None:
        self._spec(values)

    def changed(self) -> None:
        spec = self._spec(self.values)
        for _, link, _ in self._ways:
            link.spec = spec

    @staticmethod
    def _spec(values: Mapping[str, Any]) -> LinkSpec:
        """The link that ``values`` ask for; raises ValueError."""
        changes = {name: values[name] for name in ("loss", "latency_s") if values[name] >= 0}
        return replace(link_spec(values["link"]), **changes)

    def run(self) -> None:
        """Relay."""
        while not self.stopped.is_set():
            for source, link, target in self._ways:
                for _ in range(AT_ONCE):
                    if (datagram := source.receive(0.0)) is None:
                        break
                    source.accepted()
                    link.send(datagram, time.monotonic())
                for datagram in link.receive(time.monotonic()):
                    target.send(datagram)
            self.stopped.wait(NAP_S)

    def _report(self) -> None:
        for (_, link, _), way in zip(self._ways, ("robot to base", "base to robot"), strict=True):
            self.get_logger().info(f"{way}: {link.losses}")


def main() -> None:
    """Entry point of the node."""
    spin(LinkEmulator)


if __name__ == "__main__":
    main()

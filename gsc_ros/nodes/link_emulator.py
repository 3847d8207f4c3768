"""The link emulator node: a UDP relay between two gateways that behaves like a bad radio."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from gsc_ros.link.emulator import EmulatedLink
from gsc_ros.link.presets import link_spec
from gsc_ros.link.udp import UdpTransport
from gsc_ros.nodes.parameters import LINK_EMULATOR
from gsc_ros.nodes.served_node import ServedNode, spin

NAP_S = 0.005
REPORT_S = 10.0


class LinkEmulator(ServedNode):
    """Relays datagrams between the robot's gateway and the base's, each way through a link of its own."""

    def __init__(self) -> None:
        super().__init__("link_emulator", LINK_EMULATOR)
        robot = UdpTransport(local=self.value("robot_side"))
        base = UdpTransport(local="0.0.0.0:0", remote=self.value("base"))
        spec, seed = self._spec(), self.value("seed")
        self._ways = [
            (robot, EmulatedLink(spec, seed=seed, cost=robot.cost), base),
            (base, EmulatedLink(spec, seed=seed + 1, cost=base.cost), robot),
        ]
        self.create_timer(REPORT_S, self._report)
        self.get_logger().info(f"ready: {self.value('link')}, {spec}")

    def release(self) -> None:
        """Close both sockets."""
        for source, _, _ in self._ways:
            source.close()

    def check_change(self, name: str, value: Any) -> str | None:
        if name == "link":
            try:
                link_spec(value)
            except ValueError as error:
                return str(error)
        return None

    def changed(self, name: str, value: Any) -> None:
        spec = self._spec()
        for _, link, _ in self._ways:
            link.spec = spec

    def _spec(self) -> Any:
        spec = link_spec(self.value("link"))
        changes = {name: self.value(name) for name in ("loss", "latency_s") if self.value(name) >= 0}
        return replace(spec, **changes)

    def run(self) -> None:
        """Relay."""
        while not self.stopped.is_set():
            for source, link, target in self._ways:
                while (datagram := source.receive(0.0)) is not None:
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

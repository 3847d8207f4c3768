"""The emulated link beside the kernel's own, where the machine lets us make a network of our own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from gsc_ros.link.emulator import EmulatedLink, LinkSpec

RATE, LATENCY, LOSS, COUNT, SIZE = 200_000, 0.1, 0.2, 600, 100
SPACE = f"gsc{os.getpid()}"
RECEIVER = """
import socket, struct
STAMPS = 35  # SO_TIMESTAMPNS: when the kernel had it, however late this program is told
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, STAMPS, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.bind(("10.77.0.2", 47123)); s.settimeout(5.0)
print("ready", flush=True)
try:
    while True:
        data, about, _, _ = s.recvmsg(2000, 100)
        seconds, nanoseconds = struct.unpack("qq", about[0][2])
        print(int.from_bytes(data[:4], "big"), seconds + nanoseconds / 1e9, flush=True)
except TimeoutError:
    pass
"""
WINDOW = 20  # arrivals: the median over all of them is that of a quiet moment, however busy the machine


def command(*words: str) -> str | None:
    """Why a command failed, or None."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no {words[0]} here"
    return None if done.returncode == 0 else done.stderr.strip() or "failed"


NETEM = ("netem", "rate", f"{RATE}bit", "delay", f"{LATENCY * 1000:g}ms", "loss", f"{100 * LOSS:g}%", "limit", "10000")
TBF = ("tbf", "rate", f"{RATE}bit", "burst", "1514", "limit", "1000000")  # the rate alone, on kernels without netem


@pytest.fixture(params=[NETEM, TBF], ids=["netem", "tbf"])
def veth(request):
    """A veth pair with a queueing discipline on our end and a namespace on the other; the discipline's name."""
    steps = [
        ("ip", "netns", "add", SPACE),
        ("ip", "link", "add", "gscv0", "type", "veth", "peer", "name", "gscv1", "netns", SPACE),
        ("ip", "addr", "add", "10.77.0.1/24", "dev", "gscv0"),
        ("ip", "link", "set", "gscv0", "up"),
        ("ip", "netns", "exec", SPACE, "ip", "addr", "add", "10.77.0.2/24", "dev", "gscv1"),
        ("ip", "netns", "exec", SPACE, "ip", "link", "set", "gscv1", "up"),
        ("tc", "qdisc", "add", "dev", "gscv0", "root", *request.param),
    ]  # fmt: skip
    try:
        for step in steps:
            if (why := command(*step)) is not None:
                pytest.skip(f"no {request.param[0]} on this machine: {' '.join(step[:3])}: {why}")
        yield request.param[0]
    finally:
        command("ip", "netns", "del", SPACE)
        command("ip", "link", "del", "gscv0")


def test_rate_latency_and_loss_are_those_of_the_kernel(veth) -> None:
    receiver = subprocess.Popen(
        ["ip", "netns", "exec", SPACE, sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True
    )
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    wire = SIZE + 28 + 14  # the kernel counts the Ethernet header too
    spec = LinkSpec(bits_per_second=RATE, queue_bytes=1 << 20)
    if veth == "netem":
        spec = replace(spec, latency_s=LATENCY, loss=LOSS)
    link = EmulatedLink(spec, cost=lambda datagram: wire)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(20):  # lets the neighbours get to know each other; some of them are lost
            out.sendto(bytes(SIZE), ("10.77.0.2", 47123))
        assert receiver.stdout.readline().startswith("0 ")
        began = time.time()
        for number in range(1, COUNT + 1):
            out.sendto(number.to_bytes(4, "big").ljust(SIZE, b"\0"), ("10.77.0.2", 47123))
            link.send(number.to_bytes(4, "big"), time.time() - began)
    lines = [line.split() for line in receiver.stdout.read().splitlines()]
    real = np.array([float(at) - began for number, at in lines if int(number) > 0])
    ours = []
    while (at := link.next_arrival) is not None:
        ours += [(at, int.from_bytes(datagram, "big")) for datagram in link.receive(at)]
    assert len(real) == pytest.approx(len(ours), abs=5 * (COUNT * LOSS * (1 - LOSS)) ** 0.5)
    # The kernel loses datagrams before they take any of the link's time, the emulator afterwards.
    kernel = np.median(real[WINDOW:] - real[:-WINDOW]) / WINDOW
    times, numbers = np.array(ours).T
    assert kernel == pytest.approx(np.median(np.diff(times) / np.diff(numbers)), rel=0.05)  # rate
    if veth == "netem":
        assert real[0] > times[0] - 0.005  # latency; a busy machine only adds

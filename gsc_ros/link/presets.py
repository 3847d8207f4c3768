"""Links by name, each with where its figures come from. The figures are typical, not guaranteed."""

from __future__ import annotations

import re

from gsc_ros.link.emulator import LinkSpec

PRESETS: dict[str, tuple[LinkSpec, str]] = {
    "lora-sf7": (
        LinkSpec(bits_per_second=5470, latency_s=0.05, loss=0.05, mtu=222),
        "LoRa SF7, 125 kHz: 5,470 bit/s and 222 B of payload (LoRaWAN regional parameters EU868, DR5); "
        "no duty cycle is applied",
    ),
    "lora-sf10": (
        LinkSpec(bits_per_second=980, latency_s=0.3, loss=0.05, mtu=51),
        "LoRa SF10, 125 kHz: 980 bit/s and 51 B of payload (LoRaWAN regional parameters EU868, DR2); "
        "no duty cycle is applied",
    ),
    "iridium-sbd": (
        LinkSpec(bits_per_second=272, latency_s=5.0, jitter_s=15.0, loss=0.02, mtu=340),
        "Iridium short burst data: messages of 340 B (9602 developer's guide), one in 10 s, delivered in 5 to 20 s",
    ),
    "iridium-certus100": (
        LinkSpec(bits_per_second=22_000, latency_s=0.7, jitter_s=0.3, loss=0.01, mtu=1358),
        "Iridium Certus 100: 22 kbit/s from the terminal (the operator's data sheet); round trips somewhat above a second",
    ),
    "acoustic-modem": (
        LinkSpec(
            bits_per_second=5388, latency_s=0.67, jitter_s=0.05, burst_enter=0.03, burst_leave=0.3, loss=0.05, mtu=256
        ),
        "PSK underwater modem, 5,388 bit/s (WHOI Micro-Modem's highest rate), 256 B frames, 1 km at 1,500 m/s; "
        "fades are our choice",
    ),
    "hf": (
        LinkSpec(bits_per_second=2400, latency_s=4.8, burst_enter=0.02, burst_leave=0.25, loss=0.02, mtu=800),
        "HF serial-tone modem, 2,400 bit/s with the long interleaver of 4.8 s (MIL-STD-188-110); fades are our choice",
    ),
    "lunar-relay": (
        LinkSpec(bits_per_second=16_000, latency_s=1.4, loss=0.005, outage_every_s=3600.0, outage_s=300.0, mtu=1024),
        "The Moon through a relay: 1.3 s of light time and the relay's own; rate and passes are our choice",
    ),
    "deep-space": (
        LinkSpec(bits_per_second=8000, latency_s=750.0, loss=0.001, mtu=1115, queue_bytes=1 << 20),
        "Mars, direct to Earth: 0.5 to 32 kbit/s for Curiosity's high-gain antenna (NASA), 4 to 21 minutes of light "
        "time; 1,115 B is the largest CCSDS Reed-Solomon frame of interleaving depth 5",
    ),
}

_RATE = re.compile(r"(\d+(?:\.\d+)?)(k|m)?", re.IGNORECASE)


def link_spec(name: str) -> LinkSpec:
    """The preset called ``name``, or a clean link of a rate such as ``4k`` (bit/s, latency 0.1 s); raises ValueError."""
    if name in PRESETS:
        return PRESETS[name][0]
    match = _RATE.fullmatch(name.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"link {name!r}: a rate in bit/s (500, 4k, 1.5k) or one of {', '.join(PRESETS)}")
    return LinkSpec(
        bits_per_second=float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[(match[2] or "").lower()], latency_s=0.1
    )

"""A low-delay video stream at the link's rate: what a robot would otherwise send."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from gsc_ros.evaluation.metrics import ms_ssim
from gsc_ros.experiment.codecs import ExperimentCodec, Feedback, Image
from gsc_ros.rate import RateSettings

DIVISORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
RATES_HZ = (1.0, 2.0, 5.0)
KEY_S = 4.0  # seconds between key frames: what a late joiner and a lost packet wait for at most
USED = 0.9  # of the link's rate, so that its own fluctuation does not pile up
TRIAL_FRAMES = 24


class Stream(ExperimentCodec):
    """x265 through PyAV: no B frames, no look-ahead, constrained by a buffer of one second.

    The scale is the one that gives the best picture within the rate on the drive's first frames;
    where nothing stays within it, the smallest.
    """

    def __init__(self, name: str, drive: Sequence[Image], rate: RateSettings, fps: float) -> None:
        self._shape = drive[0].shape[:2]
        # As many frames a second as still pictures would come to on this link.
        affordable = min(fps, rate.bits_per_second / 8 / rate.cost(rate.frame_bytes))
        self.rate_hz = self._hertz = max([h for h in RATES_HZ if h <= affordable], default=RATES_HZ[0])
        budget = max(200.0, USED * rate.bits_per_second - 8 * rate.overhead * self._hertz)
        trial = list(drive[:: max(1, round(fps / self._hertz))])[:TRIAL_FRAMES]
        self._divisor, best = DIVISORS[-1], -1.0
        for divisor in DIVISORS:
            sent, worth = self._trial(trial, divisor, budget)
            if sent <= 1.1 * budget and worth > best:
                self._divisor, best = divisor, worth
        self._encoder = self._open(self._divisor, budget)
        self._decoder = self._listener()
        self._count = 0
        self._expected: int | None = None
        self._broken = True

    def encode(self, image: Image, most_bytes: int | None) -> bytes | None:
        packet = self._encode(self._encoder, image, self._divisor, self._count)
        # The number tells the receiver of a gap, as the sequence numbers of RTP do.
        numbered = self._count.to_bytes(2, "big") + packet
        self._count = (self._count + 1) & 0xFFFF
        return numbered if packet else None

    def decode(self, packet: bytes) -> tuple[Image | None, Feedback | None]:
        number, data = int.from_bytes(packet[:2], "big"), packet[2:]
        key = _is_key(data)
        expected = self._expected
        self._expected = (number + 1) & 0xFFFF
        if key:
            self._decoder, self._broken = self._listener(), False
        elif expected != number:
            self._broken = True
        if self._broken:
            return None, None  # a decoder would show smears until the next key frame
        picture = self._decode(self._decoder, data)
        return (None, None) if picture is None else (self._enlarged(picture), None)

    def _trial(self, frames: Sequence[Image], divisor: float, budget: float) -> tuple[float, float]:
        """Bits a second and mean MS-SSIM of coding ``frames``."""
        encoder, decoder = self._open(divisor, budget), self._listener()
        bits, likeness = 0, []
        for index, image in enumerate(frames):
            packet = self._encode(encoder, image, divisor, index)
            bits += 8 * len(packet)
            picture = self._decode(decoder, packet)
            if picture is not None and index % 4 == 3:
                likeness.append(ms_ssim(image, self._enlarged(picture)))
        return bits * self._hertz / len(frames), float(np.mean(likeness)) if likeness else -1.0

    def _open(self, divisor: float, budget: float) -> Any:
        import av

        encoder = av.CodecContext.create("libx265", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        height, width = self._shape
        encoder.width, encoder.height = (max(32, round(side / divisor / 2) * 2) for side in (width, height))
        encoder.pix_fmt = "yuv420p"
        encoder.time_base = Fraction(1, 1000)
        encoder.framerate = Fraction(self._hertz).limit_denominator(1000)
        kilobits = max(1, round(budget / 1000))
        parameters = (
            f"bitrate={kilobits}:vbv-maxrate={kilobits}:vbv-bufsize={kilobits}:keyint={max(1, round(KEY_S * self._hertz))}:min-keyint=1:"
            "scenecut=0:bframes=0:rc-lookahead=0:repeat-headers=1:info=0:aud=0:hrd=0:log-level=none:pools=1:frame-threads=1"
        )
        encoder.options = {"preset": "slow", "tune": "zerolatency", "x265-params": parameters}
        encoder.open()
        return encoder

    def _listener(self) -> Any:
        import av

        decoder = av.CodecContext.create("hevc", "r")
        decoder.thread_type = "SLICE"
        decoder.thread_count = 1
        return decoder

    def _encode(self, encoder: Any, image: Image, divisor: float, index: int) -> bytes:
        import av

        small = cv2.resize(image, (encoder.width, encoder.height), interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(small), format="rgb24").reformat(format="yuv420p")
        frame.pts = round(index * 1000 / self._hertz)
        frame.time_base = Fraction(1, 1000)
        return b"".join(bytes(packet) for packet in encoder.encode(frame))

    def _decode(self, decoder: Any, data: bytes) -> Image | None:
        import av

        try:
            frames = decoder.decode(av.Packet(data))
            frames = frames or decoder.decode(None)  # low delay: one packet, one picture
        except av.FFmpegError:
            return None
        return frames[-1].to_ndarray(format="rgb24") if frames else None

    def _enlarged(self, picture: Image) -> Image:
        height, width = self._shape
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _is_key(data: bytes) -> bool:
    """Whether an Annex B packet holds an IRAP picture (NAL unit types 16 to 23)."""
    at = data.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(data):
        if 16 <= (data[at + 3] >> 1) & 0x3F <= 23:
            return True
        at = data.find(b"\0\0\1", at + 3)
    return False

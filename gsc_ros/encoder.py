"""Image -> Frame: caption, analysis, selection, budget, entropy coding.

image --> captioner ----------> P --> text coder -----------+
      \\-> g_a --> y --> rank --> quantise --> channel coder --+--> Frame --> packet
                          ^ bytes allowed
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.bitstream import pack, subset_bytes
from gsc_ros.budget import Choice, fit, trim
from gsc_ros.captioners import make_captioner
from gsc_ros.entropy.text import TextCoder, TextError, TextTable
from gsc_ros.frame import MAX_SCALE, MAX_SIDE, MIN_SIDE, Frame, TextMode
from gsc_ros.latents import load_latents
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.nano import NanoLatents, luma
from gsc_ros.latents.selection import SELECTIONS, ranking, ssim, ssim_scores
from gsc_ros.profiles import Profile, load_profile

MIN_BUDGET = 24
CAPTION_SHARE = 0.25  # of the budget: a longer caption is left out, the picture needs the bytes
COMFORTABLE_PIXELS = 1 << 20  # frames above this many pixels are coded at a smaller scale
AMPLE_LEVEL = 9  # from this quality level on, no smaller scale is tried
MAX_CAPTION_AGE = 255  # frames that a caption reference can reach back


class EncodeError(ValueError):
    """An image or setting that cannot be encoded."""


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """What may change from frame to frame.

    max_bytes        hard limit for the whole packet, at least 24; None: no limit
    channels         C, at most so many channels; None: all
    level            quality level, used where there is no byte limit; None: the profile's
    selection        ``order`` (nested), ``ssim`` (paper 3.2) or ``rate`` (gain per byte, eq. 2)
    caption_mode     ``descriptor``, ``fixed`` or ``off``
    caption          the text of ``fixed``
    caption_refresh  an unchanged caption is repeated in full every so many frames, 1..255
    """

    max_bytes: int | None = None
    channels: int | None = None
    level: int | None = None
    selection: str | None = None
    caption_mode: str = "descriptor"
    caption: str = ""
    caption_refresh: int = 10

    def check(self, latents: NanoLatents) -> None:
        """Raise EncodeError with one line on the first setting that is out of range."""
        if self.max_bytes is not None and self.max_bytes < MIN_BUDGET:
            raise EncodeError(f"max_bytes {self.max_bytes}: at least {MIN_BUDGET} are needed for a frame")
        if self.channels is not None and not 1 <= self.channels <= latents.layout.channels:
            raise EncodeError(f"channels {self.channels}: 1 to {latents.layout.channels} are there")
        if self.level is not None and not 0 <= self.level < latents.levels:
            raise EncodeError(f"level {self.level}: 0 to {latents.levels - 1} are there")
        if self.selection is not None and self.selection not in SELECTIONS:
            raise EncodeError(f"selection {self.selection!r}: {', '.join(SELECTIONS)} are known")
        if not 1 <= self.caption_refresh <= MAX_CAPTION_AGE:
            raise EncodeError(f"caption_refresh {self.caption_refresh}: 1 to {MAX_CAPTION_AGE} frames")


@dataclass(frozen=True)
class Encoded:
    """One encoded frame: its two forms, what it says, and what it cost."""

    frame: Frame
    packet: bytes
    caption: str
    caption_ms: float
    encode_ms: float

    @property
    def bpp(self) -> float:
        """Bits of the packet for each pixel of the source."""
        return 8 * len(self.packet) / (self.frame.width * self.frame.height)

    @property
    def head_bytes(self) -> int:
        return len(self.packet) - len(self.frame.text) - len(self.frame.channels)


class Encoder:
    """Turns the frames of one camera into packets.

    >>> import numpy as np
    >>> encoder = Encoder.load("nano")
    >>> image = np.full((120, 160, 3), (40, 90, 200), dtype=np.uint8)
    >>> encoded = encoder.encode(image, EncodeSettings(max_bytes=100))
    >>> len(encoded.packet) <= 100
    True
    """

    def __init__(self, profile: Profile, latents: NanoLatents, text: TextCoder) -> None:
        self.profile = profile
        self.latents = latents
        self._text = text
        self._sequence = 0
        self._sent: tuple[str, int] | None = None  # the last caption sent in full, and in which frame

    @classmethod
    def load(cls, profile: str | Path | Profile = "nano", *, device: str = "cpu") -> Encoder:
        """An encoder with the weights of ``profile``; raises ProfileError when they are not there."""
        chosen = profile if isinstance(profile, Profile) else load_profile(profile)
        return cls(
            chosen, load_latents(chosen, device=device), TextCoder(TextTable.load(chosen.weights / "text.safetensors"))
        )

    def for_another_camera(self) -> Encoder:
        """An encoder with a state of its own that shares this one's weights."""
        return Encoder(self.profile, self.latents, self._text)

    def encode(self, image: NDArray[np.uint8], settings: EncodeSettings | None = None) -> Encoded:
        """Encode ``image`` (H,W,3), uint8 RGB, 16..4096 pixels a side; raises EncodeError."""
        settings = settings or EncodeSettings()
        settings.check(self.latents)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise EncodeError(f"an image of shape {image.shape} and {image.dtype}: (H,W,3) of uint8 is needed")
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in image.shape[:2]):
            raise EncodeError(
                f"an image of {image.shape[1]}x{image.shape[0]} pixels: {MIN_SIDE} to {MAX_SIDE} a side are allowed"
            )
        began = time.perf_counter()
        caption = make_captioner(settings.caption_mode, text=settings.caption).caption(image)
        captioned = time.perf_counter()
        mode, text = self._code_caption(caption, settings)
        head = Frame(
            fingerprint=self.profile.wire_fingerprint, sequence=self._sequence, width=image.shape[1], height=image.shape[0],
            scale=1, level=0, channel_count=self.latents.layout.channels, channel_ids=(), text_mode=mode, text=text, channels=b"",
        )  # fmt: skip
        frame = self._code_channels(image, head, settings)
        packet = pack(frame)
        if mode is TextMode.CODED or mode is TextMode.PLAIN:
            self._sent = (caption, self._sequence)
        self._sequence = (self._sequence + 1) & 0xFFFF
        ended = time.perf_counter()
        return Encoded(
            frame=frame,
            packet=packet,
            caption=caption,
            caption_ms=1e3 * (captioned - began),
            encode_ms=1e3 * (ended - captioned),
        )

    def _code_caption(self, caption: str, settings: EncodeSettings) -> tuple[TextMode, bytes]:
        if not caption:
            return TextMode.NONE, b""
        if self._sent is not None and self._sent[0] == caption:
            age = (self._sequence - self._sent[1]) & 0xFFFF
            if age < settings.caption_refresh:
                return TextMode.REFERENCE, bytes([age])
        try:
            coded = self._text.encode(caption)
        except TextError as error:
            raise EncodeError(str(error)) from error
        plain = caption.encode("utf-8", "replace")
        mode, text = (TextMode.PLAIN, plain) if len(plain) < len(coded) else (TextMode.CODED, coded)
        if settings.max_bytes is not None and len(text) > CAPTION_SHARE * settings.max_bytes:
            return TextMode.NONE, b""
        return mode, text

    def _code_channels(self, image: NDArray[np.uint8], head: Frame, settings: EncodeSettings) -> Frame:
        """The frame with the channels that the settings ask for, at the scale that serves them best.

        A smaller scale is tried where the budget is tight, and taken while it makes the decoded
        image more like the original.
        """
        height, width = image.shape[:2]
        start = 1
        while (height * width) >> (2 * (start - 1)) > COMFORTABLE_PIXELS:
            start += 1
        best, best_likeness = head, -np.inf
        for scale in range(start, MAX_SCALE + 1):
            geometry = Geometry(height, width, scale)
            choice = self._choose(geometry.shrink(image, self.latents.layout), geometry, head, settings)
            if choice is None:
                continue
            ids = tuple(sorted(choice.symbols))
            frame = replace(head, scale=scale, level=choice.level, channel_ids=ids, channels=choice.data)
            ample = settings.max_bytes is None or choice.level >= AMPLE_LEVEL
            if ample and best is head:
                return frame
            likeness = self._likeness(image, choice, geometry)
            if likeness <= best_likeness:
                return best
            best, best_likeness = frame, likeness
        return best

    def _likeness(self, image: NDArray[np.uint8], choice: Choice, geometry: Geometry) -> float:
        """How like ``image`` the fidelity image of ``choice`` is: SSIM of the halved luma less 20 squared error."""
        picture = geometry.enlarge(self.latents.synthesise(choice.symbols, choice.level, geometry).picture())
        size = (max(8, image.shape[1] // 2), max(8, image.shape[0] // 2))
        pair = [
            cv2.resize(cv2.cvtColor(plane, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
            for plane in (image, picture)
        ]
        original, shown = pair[0].astype(np.float32) / 255, np.asarray(pair[1], dtype=np.float32)
        return ssim(original, shown) - 20.0 * float(np.square(original - shown).mean())

    def _choose(
        self, small: NDArray[np.uint8], geometry: Geometry, head: Frame, settings: EncodeSettings
    ) -> Choice | None:
        latents = self.latents
        planes = latents.analyse(latents.tensor(small))
        selection = settings.selection or self.profile.defaults["selection"]
        most = settings.channels or latents.layout.channels
        scores = ssim_scores(planes, luma(small)) if selection == "ssim" else dict.fromkeys(planes, 0.0)

        def rank(level: int) -> list[int]:
            value: dict[int, float] = {}
            if selection == "rate":
                symbols = latents.quantise(planes, level)
                bits = latents.coder.cost(symbols, level, *geometry.nominal)
                value = {
                    channel: gain / (bits[channel] + 8.0) for channel, gain in latents.gains(symbols, level).items()
                }
            return ranking(selection, scores=scores, gain_per_bit=value)

        prefix = selection == "order"
        if settings.max_bytes is None:
            level = self.profile.defaults["level"] if settings.level is None else settings.level
            symbols = latents.quantise({c: planes[c] for c in rank(level)[:most]}, level)
            if settings.channels is None:  # whoever asks for C channels gets C
                symbols = trim(symbols, prefix=prefix)
            return Choice(level=level, symbols=symbols, data=latents.coder.encode(symbols, level, *geometry.nominal))
        overhead = len(pack(replace(head, channel_ids=tuple(range(most))))) + (0 if prefix else subset_bytes(head))
        return fit(
            latents, planes, rank, geometry.nominal, budget=settings.max_bytes - overhead, most=most, prefix=prefix
        )

"""Image -> Frame: caption, analysis, selection, budget, entropy coding.

image --> captioner --> P --> text coder ---------+
      \\-> choice.py: g_a, eq. (2), channel coder --+--> Frame --> packet
                ^ bytes allowed, earlier frames
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gsc_ros.bitstream import caption_reference, pack
from gsc_ros.captioners import MODES as CAPTION_MODES
from gsc_ros.captioners import Captioner, load_captioner, make_captioner
from gsc_ros.choice import ChannelChooser, ChannelWish
from gsc_ros.entropy.text import TextCoder, TextError, TextTable
from gsc_ros.frame import MAX_SIDE, MIN_SIDE, OWN_SIZE, REACH, Frame, TextMode
from gsc_ros.latents import load_latents
from gsc_ros.latents.quantised import QuantisedLatents
from gsc_ros.latents.selection import SELECTIONS
from gsc_ros.memory import MODES, References, remember
from gsc_ros.profiles import Profile, load_profile

MIN_BUDGET = 24
CAPTION_SHARE = 0.25  # of the budget: a longer caption is left out, the picture needs the bytes
MAX_SEARCH = 10_000
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
    caption_mode     ``descriptor``, ``fixed``, ``off`` or ``model``, the captioner that the profile names
    caption          the text of ``fixed``
    caption_refresh  an unchanged caption is repeated in full every so many frames, 1..255
    memory           what a frame may build on: ``off``, ``acknowledged`` or ``key`` (gsc_ros.memory)
    key_interval     with memory, every so many frames one builds on nothing, 1..64
    patience         seconds that coding a frame at more than its own size may take: where bytes are left over it looks better
                     for it, and takes the longer; None: as long as it takes
    search           steps that look for better symbols for each image, 0..10000 (gsc_ros.latents.search): 100 save a tenth of
                     the bytes, and each takes as long as some three decodings; without memory
    """

    max_bytes: int | None = None
    channels: int | None = None
    level: int | None = None
    selection: str | None = None
    caption_mode: str = "descriptor"
    caption: str = ""
    caption_refresh: int = 10
    memory: str = "off"
    key_interval: int = 15
    patience: float | None = None
    search: int = 0

    def check(self, latents: QuantisedLatents) -> None:
        """Raise EncodeError with one line on the first setting that is out of range."""
        if self.max_bytes is not None and self.max_bytes < MIN_BUDGET:
            raise EncodeError(f"max_bytes {self.max_bytes}: at least {MIN_BUDGET} are needed for a frame")
        if self.channels is not None and not 1 <= self.channels <= latents.layout.channels:
            raise EncodeError(f"channels {self.channels}: 1 to {latents.layout.channels} are there")
        if self.level is not None and not 0 <= self.level < latents.levels:
            raise EncodeError(f"level {self.level}: 0 to {latents.levels - 1} are there")
        if self.selection is not None and self.selection not in SELECTIONS:
            raise EncodeError(f"selection {self.selection!r}: {', '.join(SELECTIONS)} are known")
        if self.caption_mode not in CAPTION_MODES:
            raise EncodeError(f"caption_mode {self.caption_mode!r}: {', '.join(CAPTION_MODES)} are known")
        if not 1 <= self.caption_refresh <= MAX_CAPTION_AGE:
            raise EncodeError(f"caption_refresh {self.caption_refresh}: 1 to {MAX_CAPTION_AGE} frames")
        if self.memory not in MODES:
            raise EncodeError(f"memory {self.memory!r}: {', '.join(MODES)} are known")
        if self.memory != "off" and not latents.has_memory:
            raise EncodeError(f"memory {self.memory!r}: this profile's weights have none, set it to off")
        if not 1 <= self.key_interval <= REACH + 1:
            raise EncodeError(f"key_interval {self.key_interval}: 1 to {REACH + 1} frames")
        if self.patience is not None and not self.patience >= 0:
            raise EncodeError(f"patience {self.patience}: seconds, at least 0")
        if not 0 <= self.search <= MAX_SEARCH:
            raise EncodeError(f"search {self.search}: 0 to {MAX_SEARCH} steps")
        if self.search and not latents.searches:
            raise EncodeError(f"search {self.search}: the latents of this profile cannot be searched, set it to 0")
        if self.search and self.memory != "off":
            raise EncodeError(f"search {self.search}: frames that build on others are not searched, set memory to off")


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

    def __init__(
        self, profile: Profile, latents: QuantisedLatents, text: TextCoder, *, first_sequence: int = 0
    ) -> None:
        self.profile = profile
        self.latents = latents
        self.references = References()
        self.captioner: Captioner | None = None  # of caption_mode model; that of the profile, once it is needed
        self._chooser = ChannelChooser(latents)
        self._text = text
        self._sequence = first_sequence & 0xFFFF
        self._sent: tuple[str, int] | None = None  # the last caption sent in full, and in which frame

    @classmethod
    def load(cls, profile: str | Path | Profile = "nano", *, device: str = "cpu") -> Encoder:
        """An encoder with the weights of ``profile``; raises ProfileError when they are not there."""
        chosen = profile if isinstance(profile, Profile) else load_profile(profile)
        return cls(chosen, load_latents(chosen, device=device), TextCoder(TextTable.load(chosen.files)))

    def for_another_camera(self, *, first_sequence: int = 0) -> Encoder:
        """An encoder with a state of its own that shares this one's weights.

        Where the far side outlives this one, ``first_sequence`` should be another one each time.
        """
        return Encoder(self.profile, self.latents, self._text, first_sequence=first_sequence)

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
        caption = self._captioner(settings).caption(image)
        captioned = time.perf_counter()
        key, references = self.references.plan(self._sequence, mode=settings.memory, interval=settings.key_interval)
        mode, text = self._code_caption(caption, settings, in_full=key)
        head = Frame(
            fingerprint=self.profile.wire_fingerprint, sequence=self._sequence, width=image.shape[1], height=image.shape[0],
            scale=OWN_SIZE, level=0, channel_count=self.latents.layout.channels, channel_ids=(), text_mode=mode, text=text, channels=b"",
        )  # fmt: skip
        frame, symbols = self._chooser.choose(
            image,
            head,
            ChannelWish(
                max_bytes=settings.max_bytes,
                channels=settings.channels or self.profile.defaults.get("channels") or self.latents.layout.channels,
                keep_all=settings.channels is not None,
                level=self.profile.defaults["level"] if settings.level is None else settings.level,
                selection=settings.selection or self.profile.defaults["selection"],
                references=references,
                memory=settings.memory != "off",
                patience=settings.patience,
                search=settings.search,
            ),
        )
        packet = pack(frame)
        if mode is TextMode.CODED or mode is TextMode.PLAIN:
            self._sent = (caption, self._sequence)
        if settings.memory != "off":
            self.references.sent(remember(frame, symbols), key=not frame.reference)
        self._sequence = (self._sequence + 1) & 0xFFFF
        ended = time.perf_counter()
        return Encoded(
            frame=frame,
            packet=packet,
            caption=caption,
            caption_ms=1e3 * (captioned - began),
            encode_ms=1e3 * (ended - captioned),
        )

    def _captioner(self, settings: EncodeSettings) -> Captioner:
        if settings.caption_mode != "model":
            return make_captioner(settings.caption_mode, text=settings.caption)
        if self.captioner is None:
            self.captioner = load_captioner(self.profile, device=self.latents.device)
        return self.captioner

    def _code_caption(self, caption: str, settings: EncodeSettings, *, in_full: bool) -> tuple[TextMode, bytes]:
        if not caption:
            return TextMode.NONE, b""
        if not in_full and self._sent is not None and self._sent[0] == caption:
            age = (self._sequence - self._sent[1]) & 0xFFFF
            if age < settings.caption_refresh:
                return TextMode.REFERENCE, caption_reference(age, caption)
        try:
            coded = self._text.encode(caption)
        except TextError as error:
            raise EncodeError(str(error)) from error
        plain = caption.encode("utf-8", "replace")
        mode, text = (TextMode.PLAIN, plain) if len(plain) < len(coded) else (TextMode.CODED, coded)
        if settings.max_bytes is not None and len(text) > CAPTION_SHARE * settings.max_bytes:
            return TextMode.NONE, b""
        return mode, text

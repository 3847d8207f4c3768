"""Frame -> image: entropy decoding, generator, confidence.

packet --> Frame --> text ------+
               \\-> symbols ----+--> generator --> image --> confidence
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gsc_ros.bitstream import BitstreamError, caption_reference, check_frame, fingerprint_of, unpack
from gsc_ros.entropy.channels import Expected
from gsc_ros.entropy.coder import CoderError
from gsc_ros.entropy.text import MAX_CHARACTERS, TextCoder, TextError, TextTable
from gsc_ros.frame import MAX_SIDE, REACH, Frame, TextMode
from gsc_ros.generators import MAX_PIXELS, Generator, Painted, Request, generate_together, load_generator
from gsc_ros.latents import load_latents
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.quantised import QuantisedLatents, Symbols
from gsc_ros.memory import Recent, Remembered, remember
from gsc_ros.profiles import Profile, load_profile
from gsc_ros.steady import Shown, Steadier

CAPTION_REACH = 255  # sequence numbers that a caption reference can reach back
LEAST_PIXELS = 4096  # a block of nano: no frame is painted at fewer


class OtherProfileError(BitstreamError):
    """A packet made with other weights: it would decode to a wrong picture."""


class MissingReferenceError(BitstreamError):
    """A frame that builds on one that is not held here: it would decode to a wrong picture."""


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """How to rebuild a frame.

    steps     of the generator, 1..16; None: the profile's
    realism   0: the fidelity (mean) image, no generator; 1: the sampled image; between: a blend; None: the profile's
    seed      of the noise; one seed gives one picture
    size      (width, height) of the output; None: the source's
    max_pixels  that the generator may paint, at least 4096; a larger frame is painted smaller and enlarged, which the
              reconstruction tells. All that the encoder codes fits the default
    """

    steps: int | None = None
    realism: float | None = None
    seed: int = 0
    size: tuple[int, int] | None = None
    max_pixels: int = MAX_PIXELS

    def check(self) -> None:
        """Raise ValueError with one line on the first setting that no generator has; what it has itself it checks."""
        if self.max_pixels < LEAST_PIXELS:
            raise ValueError(f"max_pixels {self.max_pixels}: at least {LEAST_PIXELS} are needed")
        if self.size is not None and not all(1 <= side <= MAX_SIDE for side in self.size):
            raise ValueError(f"size {self.size[0]}x{self.size[1]}: 1 to {MAX_SIDE} pixels a side are allowed")


@dataclass(frozen=True)
class Message:
    """What a frame says once its payloads are entropy-decoded, and what is painted from it."""

    frame: Frame
    caption: str
    caption_lost: bool  # the frame refers to a caption that never arrived
    symbols: Symbols
    shown: Shown


@dataclass(frozen=True)
class Reconstruction:
    """A generated picture and how far to trust it.

    image       (H,W,3) of uint8, RGB; generated, never a photograph
    confidence  (H,W) of uint8, 255 where it can be expected to look like the scene
    notice      one line for whoever looks at it, where it was painted smaller; empty otherwise
    """

    image: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    message: Message
    decode_ms: float
    confidence_ms: float
    notice: str = ""


class Decoder:
    """Turns the packets of one camera back into pictures.

    >>> import numpy as np
    >>> from gsc_ros.encoder import Encoder
    >>> image = np.full((120, 160, 3), (40, 90, 200), dtype=np.uint8)
    >>> packet = Encoder.load("nano").encode(image).packet
    >>> reconstruction = Decoder.load("nano").decode(packet)
    >>> reconstruction.image.shape
    (120, 160, 3)
    """

    def __init__(
        self, profile: Profile, latents: QuantisedLatents, text: TextCoder, generator: Generator | None
    ) -> None:
        self.profile = profile
        self.latents = latents
        self._text = text
        self._generator = generator
        self._captions: Recent[str] = Recent(CAPTION_REACH)
        self._memory: Recent[Remembered] = Recent(REACH)
        self._steadier = Steadier(latents)
        self._painted: tuple[Request, NDArray[np.uint8], NDArray[np.uint8]] | None = None

    @classmethod
    def load(cls, profile: str | Path | Profile = "nano", *, device: str = "cpu", paints: bool = True) -> Decoder:
        """A decoder with the weights of ``profile``; raises ProfileError when they are not there.

        One that does not paint can :meth:`read`, and holds no generator.
        """
        chosen = profile if isinstance(profile, Profile) else load_profile(profile)
        latents = load_latents(chosen, device=device)
        text = TextCoder(TextTable.load(chosen.files))
        return cls(chosen, latents, text, load_generator(chosen, latents, device=device) if paints else None)

    @property
    def generator(self) -> Generator:
        """What paints; raises ValueError where there is none."""
        if self._generator is None:
            raise ValueError("this decoder was loaded with paints=False: it reads frames and paints none")
        return self._generator

    def for_another_camera(self) -> Decoder:
        """A decoder with a state of its own that shares this one's weights."""
        return Decoder(self.profile, self.latents, self._text, self._generator)

    def decode(self, packet: bytes, settings: DecodeSettings | None = None) -> Reconstruction:
        """The picture of ``packet``; raises BitstreamError for anything but an intact packet of this profile."""
        return self.reconstruct(self.read(self.unpack(packet)), settings)

    def unpack(self, packet: bytes) -> Frame:
        """The frame in ``packet``; OtherProfileError tells other weights from damage, and from what is no packet."""
        self._check_fingerprint(fingerprint_of(packet))
        return unpack(packet, channel_count=self.latents.layout.channels)

    def _check_fingerprint(self, fingerprint: int) -> None:
        if fingerprint != self.profile.wire_fingerprint:
            raise OtherProfileError(
                f"a packet of profile fingerprint {fingerprint:04x}: this decoder holds {self.profile.name} {self.profile.wire_fingerprint:04x}; "
                "use the same profile and weights on both sides"
            )

    def read(self, frame: Frame) -> Message:
        """Entropy-decode both payloads; raises BitstreamError, wherever ``frame`` came from. No model runs.

        A frame that was read can be built on by later ones. What reading costs is bounded: symbols of MAX_CODED_PIXELS,
        and 1,024 characters.
        """
        check_frame(frame)
        self._check_fingerprint(frame.fingerprint)
        if frame.level >= self.latents.levels or frame.channel_count != self.latents.layout.channels:
            raise BitstreamError(
                f"level {frame.level} of {frame.channel_count} channels: this profile has {self.latents.levels} levels and {self.latents.layout.channels} channels"
            )
        if frame.scale < self.latents.layout.least_scale:
            raise BitstreamError(f"scale {frame.scale}: {self.latents.layout.least_scale} is the least of this profile")
        geometry = Geometry(frame.height, frame.width, frame.scale)
        expected = self._expected(frame)
        try:
            caption, lost = self._caption(frame)
            symbols = self.latents.coder_for(expected).decode(
                frame.channels, frame.channel_ids, frame.level, *geometry.nominal, expected
            )
        except CoderError as error:
            raise BitstreamError(str(error)) from error
        if self.latents.has_memory:
            self._memory.keep(frame.sequence, remember(frame, symbols))
        shown = self._steadier.settle(frame, symbols)
        return Message(frame=frame, caption=caption, caption_lost=lost, symbols=symbols, shown=shown)

    def reconstruct(self, message: Message, settings: DecodeSettings | None = None) -> Reconstruction:
        """The picture of ``message`` with its confidence map; raises ValueError for settings out of range.

        Where nothing has changed since the last one, that is it.
        """
        return reconstruct_together([(self, message)], settings)[0]

    def _request(self, message: Message, settings: DecodeSettings) -> Request:
        defaults, shown = self.profile.defaults, message.shown
        # Of a frame of text alone every scale shows the same: nothing.
        alone = not shown.values
        geometry = shown.geometry.within(settings.max_pixels, self.latents.layout) if alone else shown.geometry
        return Request(
            symbols=shown.values, level=shown.level, geometry=geometry, max_pixels=settings.max_pixels,
            caption=message.caption, steps=defaults["steps"] if settings.steps is None else settings.steps,
            realism=defaults["realism"] if settings.realism is None else settings.realism, seed=settings.seed,
        )  # fmt: skip

    def _notice(self, request: Request) -> str:
        canvas, layout = request.canvas(self.latents.layout), self.latents.layout
        if canvas == request.geometry or not request.realism:  # the picture of the symbols alone is always shown whole
            return ""
        part = (canvas.pixels(layout) / request.geometry.pixels(layout)) ** 0.5
        return f"painted at {part:.2f} of its size: {request.geometry.pixels(layout)} pixels, max_pixels is {request.max_pixels}"

    def _has_painted(self, request: Request) -> bool:
        """Whether the last picture is the one that is asked for."""
        return self._painted is not None and request.same_as(self._painted[0])

    def _keep(self, request: Request, painted: Painted) -> None:
        self._painted = request, painted.image, self.generator.confidence(request, painted)

    def _show(self, message: Message, settings: DecodeSettings) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The picture that was kept and its confidence, at the size that is wanted; they are the caller's to draw on."""
        assert self._painted is not None
        _, image, confidence = self._painted
        if settings.size is None or settings.size == (message.frame.width, message.frame.height):
            return image.copy(), confidence.copy()
        shrinks = settings.size[0] < message.frame.width
        return (
            np.asarray(
                cv2.resize(image, settings.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8
            ),
            np.asarray(cv2.resize(confidence, settings.size, interpolation=cv2.INTER_LINEAR), np.uint8),
        )

    def _expected(self, frame: Frame) -> Expected | None:
        """What the frame that ``frame`` builds on lets one expect; MissingReferenceError where that is not held."""
        if not frame.reference:
            return None
        if not self.latents.has_memory:
            raise BitstreamError("a frame that builds on an earlier one: this profile's weights have no memory")
        sequence = (frame.sequence - frame.reference) & 0xFFFF
        shape = (frame.width, frame.height, frame.scale)
        held = self._memory.find(
            sequence,
            lambda found: (found.width, found.height, found.scale) == shape and found.check == frame.reference_check,
        )
        if held is None:
            raise MissingReferenceError(
                f"frame {frame.sequence} builds on frame {sequence}, which did not arrive; a key frame will follow"
            )
        return replace(self.latents.expect(held, frame.level), activity=frame.activity)

    def _caption(self, frame: Frame) -> tuple[str, bool]:
        """The caption, and whether the frame refers to one that never arrived."""
        if frame.text_mode is TextMode.NONE:
            return "", False
        if frame.text_mode is TextMode.REFERENCE:
            distance = frame.text[0]
            known = self._captions.find(
                (frame.sequence - distance) & 0xFFFF, lambda found: caption_reference(distance, found) == frame.text
            )
            return known or "", known is None
        if frame.text_mode is TextMode.PLAIN:
            try:
                caption = frame.text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise TextError("the text is not UTF-8") from error
            if len(caption) > MAX_CHARACTERS:
                raise TextError(f"a text of more than {MAX_CHARACTERS} characters")
        else:
            caption = self._text.decode(frame.text)
        self._captions.keep(frame.sequence, caption)
        return caption, False


def reconstruct_together(
    work: Sequence[tuple[Decoder, Message]], settings: DecodeSettings | None = None
) -> list[Reconstruction]:
    """The pictures of several cameras' frames, painted at once where size and settings allow it.

    The decoders share one set of weights (:meth:`Decoder.for_another_camera`), and each has one frame. The times of a
    reconstruction are those of all of them: that is what it waited for.
    """
    settings = settings or DecodeSettings()
    settings.check()
    began = time.perf_counter()
    asked = [(decoder, decoder._request(message, settings)) for decoder, message in work]
    missing = [(decoder, request) for decoder, request in asked if not decoder._has_painted(request)]
    painted = generate_together(work[0][0].generator, [request for _, request in missing]) if missing else []
    generated = time.perf_counter()
    for (decoder, request), picture in zip(missing, painted, strict=True):
        decoder._keep(request, picture)
    shown = [decoder._show(message, settings) for decoder, message in work]
    ended = time.perf_counter()
    return [
        Reconstruction(
            image=image, confidence=confidence, message=message,
            decode_ms=1e3 * (generated - began), confidence_ms=1e3 * (ended - generated), notice=decoder._notice(request),
        )
        for (_, message), (decoder, request), (image, confidence) in zip(work, asked, shown, strict=True)
    ]  # fmt: skip

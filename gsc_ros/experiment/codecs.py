"""Senders and receivers that an experiment compares, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gsc_ros.rate import PATIENCE_S, RateSettings

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Feedback:
    """What a receiver tells the sender about a packet."""

    sequence: int
    key_wanted: bool


class ExperimentCodec(ABC):
    """Both ends of one codec on one link."""

    # Frames a second of a stream, each of which needs the one before; None: as many as the link takes.
    rate_hz: float | None = None
    # Processor time that the last packet took to code, but earlier: a frame that comes again is not coded twice.
    spared_s: float = 0.0

    @abstractmethod
    def encode(self, image: Image, most_bytes: int | None) -> bytes | None:
        """A packet of at most ``most_bytes``; None where this frame gives none."""

    @abstractmethod
    def decode(self, packet: bytes) -> tuple[Image | None, Feedback | None]:
        """The picture, if the packet gives one, and what the sender is to be told."""

    def heard(self, feedback: Feedback) -> None:
        """The receiver's word has come back to the sender; most codecs have no use for it."""
        return


class Gsc(ExperimentCodec):
    """Our codec, with memory across frames or without; ``patience`` as in :class:`gsc_ros.encoder.EncodeSettings`."""

    def __init__(self, profile: str, *, memory: bool, key_interval: int, patience: float) -> None:
        from gsc_ros.decoder import Decoder
        from gsc_ros.encoder import Encoder

        self._encoder, self._decoder = Encoder.load(profile), Decoder.load(profile)
        self._memory = "acknowledged" if memory else "off"
        self._key_interval = key_interval
        self._patience = patience

    def encode(self, image: Image, most_bytes: int | None) -> bytes | None:
        from gsc_ros.encoder import EncodeSettings

        settings = EncodeSettings(
            max_bytes=most_bytes, memory=self._memory, key_interval=self._key_interval, patience=self._patience
        )
        return self._encoder.encode(image, settings).packet

    def decode(self, packet: bytes) -> tuple[Image | None, Feedback | None]:
        from gsc_ros.bitstream import BitstreamError
        from gsc_ros.decoder import MissingReferenceError

        try:
            frame = self._decoder.unpack(packet)
        except BitstreamError:
            return None, None
        try:
            message = self._decoder.read(frame)
        except MissingReferenceError:
            return None, Feedback(frame.sequence, key_wanted=True)
        return self._decoder.reconstruct(message).image, Feedback(frame.sequence, key_wanted=False)

    def heard(self, feedback: Feedback) -> None:
        if feedback.key_wanted:
            self._encoder.references.ask_for_key(feedback.sequence)
        else:
            self._encoder.references.acknowledge(feedback.sequence)


def codec_names() -> tuple[str, ...]:
    """The codecs that an experiment knows."""
    return (*_MAKERS,)


def make_codec(name: str, drive: Sequence[Image], rate: RateSettings, *, profile: str, fps: float) -> ExperimentCodec:
    """The codec called ``name``, tuned where it needs that to ``drive`` and ``rate``; raises ValueError."""
    if name not in _MAKERS:
        raise ValueError(f"codec {name!r}: {', '.join(_MAKERS)} are known")
    return _MAKERS[name](drive, rate, profile, fps)


def _gsc(
    *, memory: bool, patience: float = PATIENCE_S
) -> Callable[[Sequence[Image], RateSettings, str, float], ExperimentCodec]:
    return lambda drive, rate, profile, fps: Gsc(profile, memory=memory, key_interval=30, patience=patience)


def _still(name: str) -> Callable[[Sequence[Image], RateSettings, str, float], ExperimentCodec]:
    def make(drive: Sequence[Image], rate: RateSettings, profile: str, fps: float) -> ExperimentCodec:
        from gsc_ros.experiment.stills import Still

        return Still(name, drive, rate.frame_bytes)

    return make


def _stream(name: str) -> Callable[[Sequence[Image], RateSettings, str, float], ExperimentCodec]:
    def make(drive: Sequence[Image], rate: RateSettings, profile: str, fps: float) -> ExperimentCodec:
        from gsc_ros.experiment.stream import Stream

        return Stream(name, drive, rate, fps)

    return make


_MAKERS: dict[str, Callable[[Sequence[Image], RateSettings, str, float], ExperimentCodec]] = {
    "gsc": _gsc(memory=True),
    "gsc-patient": _gsc(memory=True, patience=60.0),
    "gsc-intra": _gsc(memory=False),
    "jpeg": _still("jpeg"),
    "webp": _still("webp"),
    "av1": _still("av1"),
    "h265-stream": _stream("h265-stream"),
}

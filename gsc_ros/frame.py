"""What one message says: the meaning of a frame (text) and its layout (channels)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MIN_SIDE, MAX_SIDE = 16, 4096
MAX_LEVEL = 31
MAX_SCALE = 31
OWN_SIZE = 4  # the scale at which a frame is coded at its own size; four steps are one octave
MAX_CHANNELS = 1024
MAX_CODED_PIXELS = (
    1 << 22
)  # of a frame with channels, in whole blocks at its scale; twice what the encoder codes at most
MAX_TEXT_BYTES = 4096
MAX_ACTIVITY = 3
REACH = 63  # a frame may build on one that is at most so many sequence numbers older


class TextMode(IntEnum):
    """How the caption of a frame is sent."""

    NONE = 0
    CODED = 1  # by the caption coder of the profile
    PLAIN = 2  # as UTF-8
    REFERENCE = 3  # the caption of an earlier frame: how many sequence numbers ago, and its checksum


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame between its two exact forms, the packet and ``gsc_ros/msg/GscFrame``.

    fingerprint   low 16 bits of the profile's fingerprint
    sequence      0..65535, counts up and wraps
    width, height of the source image in pixels
    scale         the frame is coded at 2**(1 - scale/4) of its size: 0 at twice its size, 4 at its own, 31 at 1/108
    level         quality level: which quantisation steps the symbols stand for
    channel_count channels that the latent has in all
    channel_ids   the channels that are sent, ascending
    text_mode, text, channels   the two coded payloads
    reference     the frame builds on the one so many sequence numbers before it, 1..63; 0: on none
    reference_check   the checksum of that frame (gsc_ros.memory)
    activity      how much has changed since that frame, 0..3 (gsc_ros.entropy.channels.Expected)
    """

    fingerprint: int
    sequence: int
    width: int
    height: int
    scale: int
    level: int
    channel_count: int
    channel_ids: tuple[int, ...]
    text_mode: TextMode
    text: bytes
    channels: bytes
    reference: int = 0
    reference_check: int = 0
    activity: int = 0

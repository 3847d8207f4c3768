"""zstd and lz4, whole or cut off: what can be had is given."""

from __future__ import annotations

import sys
from typing import Any

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd  # rosbags brings it
    return zstd


def decompress(kind: str, data: bytes, most: int) -> bytes:
    """At most ``most`` bytes of the first frame in ``data``, as far as it goes; raises ValueError for garbage."""
    if kind == "":
        return data[:most]
    try:
        if kind == "zstd":
            return bytes(_zstd().ZstdDecompressor().decompress(data, max_length=most))
        if kind == "lz4":
            from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

            return bytes(LZ4FrameDecompressor().decompress(data, max_length=most))
    except Exception as error:  # each library raises errors of its own
        raise ValueError(f"damaged {kind} data") from error
    raise ValueError(f"compression {kind!r} is not known")


def open_zstd(path: Any) -> Any:
    """A file object of what a .zstd file holds."""
    return _zstd().open(path, "rb")

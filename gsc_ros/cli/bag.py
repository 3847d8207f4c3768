"""``gsc bag``: camera topics of a rosbag2 to GscFrame, and back. Other topics are kept as they are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gsc_ros.cli.encode import add_settings, settings_of
from gsc_ros.cli.errors import CommandError

FRAME_TOPIC = "/image_raw/gsc"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a rosbag2 folder or file (sqlite3 or MCAP)")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of the new rosbag2 (MCAP)")
    parser.add_argument("--decode", action="store_true", help="GscFrame to generated Image and confidence")
    parser.add_argument("--topic", help="this topic alone; the default is all of the kind")
    parser.add_argument("--realism", type=float, help="with --decode: 0 fidelity, 1 sampled")
    parser.add_argument("--steps", type=int, help="with --decode: steps of the generator")
    parser.add_argument(
        "--key-interval",
        type=int,
        default=1,
        metavar="N",
        help="frames build on the last key frame, which comes every N (default 1: none does)",
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> None:
    settings = replace(
        settings_of(options), memory="key" if options.key_interval > 1 else "off", key_interval=options.key_interval
    )
    from rich.console import Console
    from rich.progress import track
    from rosbags.rosbag2 import StoragePlugin, Writer

    from gsc_ros.bag_types import FRAME_TYPE, typestore
    from gsc_ros.sources import image_connections, open_bag

    if options.output.exists():
        raise CommandError(f"{options.output} exists: name a folder that does not")
    reader = open_bag(options.input)
    try:
        if options.decode:
            chosen = [c for c in reader.connections if c.msgtype == FRAME_TYPE and options.topic in (None, c.topic)]
            if not chosen:
                raise CommandError(
                    f"no GscFrame topic{f' {options.topic}' if options.topic else ''} in {options.input}"
                )
            work: Any = _Decoding(options)
        else:
            chosen = image_connections(reader, options.topic)
            work = _Encoding(options.profile, settings)
        names = {connection.topic for connection in chosen}
        failed = 0
        with Writer(options.output, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections: dict[tuple[str, str], Any] = {}
            total = sum(connection.msgcount for connection in reader.connections)
            for connection, nanoseconds, data in track(
                reader.messages(), total=total, description="bag", console=Console(stderr=True), transient=True
            ):
                if connection.topic in names:
                    try:
                        messages = list(work(connection.topic, reader.deserialize(data, connection.msgtype)))
                    except ValueError as error:
                        failed += 1
                        print(
                            f"gsc: {connection.topic} at {nanoseconds / 1e9:.3f} s left out: {error}", file=sys.stderr
                        )
                        continue
                    encoded = [
                        (topic, kind, typestore().serialize_cdr(message, kind), typestore())
                        for topic, kind, message in messages
                    ]
                else:
                    encoded = [(connection.topic, connection.msgtype, data, reader.typestore)]
                for topic, kind, payload, types in encoded:
                    if (topic, kind) not in connections:
                        connections[topic, kind] = writer.add_connection(topic, kind, typestore=types)
                    writer.write(connections[topic, kind], nanoseconds, payload)
    finally:
        reader.close()
    if not work.done:
        raise CommandError(f"none of {failed} frames could be converted")
    print(f"{options.output}: {work.summary()}" + (f", {failed} left out" if failed else ""))


class _Encoding:
    """Image and CompressedImage to GscFrame."""

    def __init__(self, profile: str, settings: Any) -> None:
        from gsc_ros.encoder import Encoder

        self._shared = Encoder.load(profile)
        self._settings = settings
        self._encoders: dict[str, Any] = {}
        self.done = 0
        self._bytes = 0

    def __call__(self, topic: str, message: Any) -> Iterable[tuple[str, str, Any]]:
        from gsc_ros.bag_types import FRAME_TYPE, typestore
        from gsc_ros.frame_messages import message_fields
        from gsc_ros.image_messages import read_image

        encoder = self._encoders.setdefault(topic, self._shared.for_another_camera())
        encoded = encoder.encode(read_image(message), self._settings)
        self.done += 1
        self._bytes += len(encoded.packet)
        kind = typestore().types[FRAME_TYPE]
        fields = message_fields(encoded.frame, lambda code, values: np.array(list(values), dtype=code))
        base = topic.removesuffix("/compressed").removesuffix("/image_raw")
        yield base + FRAME_TOPIC, FRAME_TYPE, kind(header=message.header, **fields)

    def summary(self) -> str:
        return f"{self.done} frames, {self._bytes / self.done:.0f} bytes a frame"


class _Decoding:
    """GscFrame to generated Image, confidence Image and caption."""

    def __init__(self, options: argparse.Namespace) -> None:
        from gsc_ros.decoder import Decoder, DecodeSettings

        self._shared = Decoder.load(options.profile)
        self._settings = DecodeSettings(realism=options.realism, steps=options.steps)
        self._decoders: dict[str, Any] = {}
        self.done = 0

    def __call__(self, topic: str, message: Any) -> Iterable[tuple[str, str, Any]]:
        from gsc_ros.bag_types import typestore
        from gsc_ros.frame_messages import frame_of

        decoder = self._decoders.setdefault(topic, self._shared.for_another_camera())
        result = decoder.reconstruct(decoder.read(frame_of(message)), self._settings)
        self.done += 1
        base = topic.removesuffix(FRAME_TOPIC) + "/gsc"
        image, text = typestore().types["sensor_msgs/msg/Image"], typestore().types["std_msgs/msg/String"]
        for name, encoding, pixels in (("image_raw", "rgb8", result.image), ("confidence", "mono8", result.confidence)):
            height, width = pixels.shape[:2]
            filled = image(
                header=message.header,
                height=height,
                width=width,
                encoding=encoding,
                is_bigendian=0,
                step=pixels.size // height,
                data=pixels.ravel(),
            )
            yield f"{base}/{name}", "sensor_msgs/msg/Image", filled
        yield f"{base}/caption", "std_msgs/msg/String", text(data=result.message.caption)

    def summary(self) -> str:
        return f"{self.done} frames, generated"

"""``gsc bag``: camera topics of a rosbag2 to GscFrame, and back. Other topics are kept as they are."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gsc_ros.cli.encode import add_settings, settings_of
from gsc_ros.cli.errors import CommandError
from gsc_ros.cli.workers import add_workers, crew_of
from gsc_ros.workers import Workers, device

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
    add_workers(parser, default=1)


def run(options: argparse.Namespace) -> None:
    settings = replace(
        settings_of(options), memory="key" if options.key_interval > 1 else "off", key_interval=options.key_interval
    )
    from rosbags.rosbag2 import StoragePlugin, Writer

    from gsc_ros.bag_types import FRAME_TYPE, typestore
    from gsc_ros.sources import image_connections, open_bag

    if options.output.exists():
        raise CommandError(f"{options.output} exists: name a folder that does not")
    if not options.decode and (options.jobs != 1 or options.devices or options.ray):
        raise CommandError("--jobs, --devices and --ray go with --decode: frames are coded one after the other")
    reader = open_bag(options.input)
    try:
        if options.decode:
            chosen = [c for c in reader.connections if c.msgtype == FRAME_TYPE and options.topic in (None, c.topic)]
            if not chosen:
                raise CommandError(
                    f"no GscFrame topic{f' {options.topic}' if options.topic else ''} in {options.input}"
                )
            work: _Work = _Decoding(options)
        else:
            chosen = image_connections(reader, options.topic)
            work = _Encoding(options.profile, settings)
        with (
            crew_of(options) as crew,
            Writer(options.output, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
        ):
            connections: dict[tuple[str, str], Any] = {}
            failures = _Failures()
            for nanoseconds, topic, kind, payload, types in _converted(
                reader, {connection.topic for connection in chosen}, work, crew, failures
            ):
                if (topic, kind) not in connections:
                    connections[topic, kind] = writer.add_connection(topic, kind, typestore=types or typestore())
                writer.write(connections[topic, kind], nanoseconds, payload)
    finally:
        reader.close()
    if not work.done:
        raise CommandError(f"none of {failures.count} frames could be converted")
    print(f"{options.output}: {work.summary()}" + (f", {failures.count} left out" if failures.count else ""))


class _Failures:
    """Frames that could not be converted: each is told, all are counted."""

    def __init__(self) -> None:
        self.count = 0

    def tell(self, topic: str, nanoseconds: int, error: Exception) -> None:
        self.count += 1
        print(f"gsc: {topic} at {nanoseconds / 1e9:.3f} s left out: {error}", file=sys.stderr)


def _converted(
    reader: Any, names: set[str], work: _Work, crew: Workers, failures: _Failures
) -> Iterator[tuple[int, str, str, Any, Any]]:
    """Time, topic, type, payload and type store (None: ours) of every message of the new bag, in order.

    The topics ``names`` go through ``work``: its first half here, frame after frame, its second half wherever the crew is.
    """
    from rich.console import Console
    from rich.progress import track

    from gsc_ros.bag_types import typestore

    waiting: deque[tuple[int, Any, Any]] = deque()  # time, connection, and data or, of frames, the header

    def frames() -> Iterator[tuple[Any, ...]]:
        total = sum(connection.msgcount for connection in reader.connections)
        for connection, nanoseconds, data in track(
            reader.messages(), total=total, description="bag", console=Console(stderr=True), transient=True
        ):
            if connection.topic not in names:
                waiting.append((nanoseconds, connection, data))
                continue
            message = reader.deserialize(data, connection.msgtype)
            try:
                item = work.begin(connection.topic, message)
            except ValueError as error:
                failures.tell(connection.topic, nanoseconds, error)
                continue
            waiting.append((nanoseconds, connection, message.header))
            yield item

    def as_they_are() -> Iterator[tuple[int, str, str, Any, Any]]:
        while waiting and waiting[0][1].topic not in names:
            nanoseconds, connection, data = waiting.popleft()
            yield nanoseconds, connection.topic, connection.msgtype, data, reader.typestore

    for result in crew.stream(work.finish, frames()):
        yield from as_they_are()
        nanoseconds, connection, header = waiting.popleft()
        for topic, kind, message in work.messages(connection.topic, header, result):
            yield nanoseconds, topic, kind, typestore().serialize_cdr(message, kind), None
    yield from as_they_are()


class _Work(Protocol):
    """What becomes of the chosen topics."""

    done: int
    finish: Callable[..., Any]

    def begin(self, topic: str, message: Any) -> tuple[Any, ...]:
        """What has to be done frame after frame; returns what ``finish`` is called with. ValueError: the frame is left out."""
        ...

    def messages(self, topic: str, header: Any, result: Any) -> Iterable[tuple[str, str, Any]]:
        """Topic, type and message of everything that ``finish`` made of a frame."""
        ...

    def summary(self) -> str: ...


def _as_it_is(frame: Any) -> Any:
    return frame


def _paint(profile: str, settings: Any, topic: str, read: Any) -> tuple[Any, Any, str]:
    """Picture, confidence and caption of a frame that was read, by a worker."""
    result = _painter(profile, topic, device()).reconstruct(read, settings)
    return result.image, result.confidence, read.caption


@cache
def _weights(profile: str, device: str) -> Any:
    from gsc_ros.decoder import Decoder

    return Decoder.load(profile, device=device)


@cache
def _painter(profile: str, topic: str, device: str) -> Any:
    """A worker's decoder for the frames of ``topic``: a picture that is the last one again is not painted again."""
    return _weights(profile, device).for_another_camera()


class _Encoding:
    """Image and CompressedImage to GscFrame."""

    def __init__(self, profile: str, settings: Any) -> None:
        from gsc_ros.encoder import Encoder

        self._shared = Encoder.load(profile)
        settings.check(self._shared.latents)  # once, before anything is written
        self._settings = settings
        self._encoders: dict[str, Any] = {}
        self.done = 0
        self._bytes = 0

    def begin(self, topic: str, message: Any) -> tuple[Any, ...]:
        from gsc_ros.image_messages import read_image

        encoder = self._encoders.setdefault(topic, self._shared.for_another_camera())
        encoded = encoder.encode(read_image(message), self._settings)
        self.done += 1
        self._bytes += len(encoded.packet)
        return (encoded.frame,)

    finish = staticmethod(_as_it_is)

    def messages(self, topic: str, header: Any, result: Any) -> Iterable[tuple[str, str, Any]]:
        from gsc_ros.bag_types import FRAME_TYPE, typestore
        from gsc_ros.frame_messages import message_fields

        kind = typestore().types[FRAME_TYPE]
        fields = message_fields(result, lambda code, values: np.array(list(values), dtype=code))
        base = topic.removesuffix("/compressed").removesuffix("/image_raw")
        yield base + FRAME_TOPIC, FRAME_TYPE, kind(header=header, **fields)

    def summary(self) -> str:
        return f"{self.done} frames, {self._bytes / self.done:.0f} bytes a frame"


class _Decoding:
    """GscFrame to generated Image, confidence Image and caption.

    Frames are read one after the other, for they build on each other; what is painted of them is not.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        from gsc_ros.decoder import Decoder, DecodeSettings

        self._profile = options.profile
        self._shared = Decoder.load(options.profile, paints=False)
        self._settings = DecodeSettings(realism=options.realism, steps=options.steps)
        self._decoders: dict[str, Any] = {}
        self.done = 0

    def begin(self, topic: str, message: Any) -> tuple[Any, ...]:
        from gsc_ros.frame_messages import frame_of

        decoder = self._decoders.setdefault(topic, self._shared.for_another_camera())
        read = decoder.read(frame_of(message))
        self.done += 1
        return self._profile, self._settings, topic, read

    finish = staticmethod(_paint)

    def messages(self, topic: str, header: Any, result: Any) -> Iterable[tuple[str, str, Any]]:
        from gsc_ros.bag_types import typestore

        base = topic.removesuffix(FRAME_TOPIC) + "/gsc"
        image, text = typestore().types["sensor_msgs/msg/Image"], typestore().types["std_msgs/msg/String"]
        picture, confidence, caption = result
        for name, encoding, pixels in (("image_raw", "rgb8", picture), ("confidence", "mono8", confidence)):
            height, width = pixels.shape[:2]
            filled = image(
                header=header,
                height=height,
                width=width,
                encoding=encoding,
                is_bigendian=0,
                step=pixels.size // height,
                data=pixels.ravel(),
            )
            yield f"{base}/{name}", "sensor_msgs/msg/Image", filled
        yield f"{base}/caption", "std_msgs/msg/String", text(data=caption)

    def summary(self) -> str:
        return f"{self.done} frames, generated"

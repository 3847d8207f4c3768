"""``gsc bag``: camera topics of a rosbag2 to GscFrame, and back. Other topics are kept as they are.

recording --> cameras, GscFrame topics --> begin (here, in order) --> finish (on workers) --+--> new bag
          \\-> all other topics -------------------------------------------------------------+
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gsc_ros.cli.encode import add_settings, settings_of
from gsc_ros.cli.errors import CommandError
from gsc_ros.cli.workers import add_workers, crew_of
from gsc_ros.left_out import LeftOut
from gsc_ros.workers import Workers, device

if TYPE_CHECKING:
    from gsc_ros.bags.recording import Recording
    from gsc_ros.bags.topic import Topic
    from gsc_ros.bags.writing import NewBag
    from gsc_ros.image_messages import ImageReader

FRAME_TOPIC = "/image_raw/gsc"
MOST_HELD = 64 << 20  # bytes of other topics that wait for frames, before they overtake them


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
    from gsc_ros.bags.cameras import cameras, messages
    from gsc_ros.bags.recording import Recording
    from gsc_ros.bags.writing import new_bag

    if options.output.exists():
        raise CommandError(f"{options.output} exists: name a folder that does not")
    if not options.decode and (options.jobs != 1 or options.devices or options.ray):
        raise CommandError("--jobs, --devices and --ray go with --decode: frames are coded one after the other")
    left_out = LeftOut()
    recording = Recording(options.input, left_out.tell)
    try:
        dropped: set[Topic] = set()
        if options.decode:
            chosen = _frame_topics(recording, options.topic)
            work: _Work = _Decoding(options)
        else:
            found = cameras(recording, options.topic)
            for sentence in found.notes():
                left_out.tell(sentence)
            chosen, dropped = found.taken, set(found.twins)
            for topic, what in found.depth.items():
                left_out.tell(f"{topic.name} is kept as it is: {what}")
            work = _Encoding(options.profile, settings, left_out)

        def check() -> None:
            if not work.done:
                raise CommandError(f"none of {left_out.count} frames could be converted")

        made = {name for topic in chosen for name in work.topics(topic.name)}
        with crew_of(options) as crew, new_bag(options.output, check) as bag:
            kept = set()
            for topic in recording.topics:
                if topic not in dropped and topic not in chosen:
                    # Two streams on one topic would be neither: frames that build on others, times that go back.
                    reason = "it is made anew" if topic.name in made else bag.keep(topic)
                    if reason is None:
                        kept.add(topic)
                    else:
                        left_out.tell(f"{topic.name} ({messages(recording.topics[topic])}) is skipped: {reason}")
            _Conversion(recording, bag, work, left_out, set(chosen), kept).run(crew)
    finally:
        recording.close()
    print(f"{options.output}: {work.summary()}{left_out.summary()}")


def _frame_topics(recording: Recording, wanted: str | None) -> list[Topic]:
    from gsc_ros.bag_types import FRAME_TYPE

    frames = [topic for topic in recording.topics if topic.type == FRAME_TYPE and recording.topics[topic]]
    chosen = [topic for topic in frames if wanted in (None, topic.name)]
    if not chosen:
        names = ", ".join(topic.name for topic in (frames or recording.topics)) or "none"
        raise CommandError(
            f"no GscFrame topic{f' {wanted}' if wanted else ''} in {recording.path}; its "
            f"{'GscFrame topics' if frames else 'topics'}: {names}"
        )
    return chosen


class _Conversion:
    """The way of every message into the new bag, in the order of time.

    The topics ``chosen`` go through ``work``: its first half here, frame after frame, its second half wherever the crew
    is. Those that are ``kept`` wait for the frames before them, as long as they are not too many.
    """

    def __init__(
        self, recording: Recording, bag: NewBag, work: _Work, left_out: LeftOut, chosen: set[Topic], kept: set[Topic]
    ) -> None:
        self._recording, self._bag, self._work, self._left_out = recording, bag, work, left_out
        self._chosen, self._kept = chosen, kept
        self._waiting: deque[tuple[int, Topic, Any]] = deque()  # time, topic, and data or, of frames, the header
        self._held = 0  # bytes in it

    def run(self, crew: Workers) -> None:
        from gsc_ros.bag_types import typestore

        for result in crew.stream(self._work.finish, self._frames()):
            nanoseconds, topic, header = self._waiting.popleft()
            if isinstance(result, ValueError):
                self._refuse(topic, nanoseconds, result)
            else:
                for name, kind, message in self._work.messages(topic.name, header, result):
                    self._bag.write(name, kind, nanoseconds, typestore().serialize_cdr(message, kind))
            self._let_go()

    def _frames(self) -> Iterator[tuple[Any, ...]]:
        from rich.console import Console
        from rich.progress import track

        from gsc_ros.bag_types import deserialize

        topics = self._chosen | self._kept
        total = sum(self._recording.topics[topic] for topic in topics)
        console = Console(stderr=True)
        for topic, nanoseconds, data in track(
            self._recording.messages(topics), total=total, description="bag", console=console, transient=True,
            disable=not console.is_terminal,
        ):  # fmt: skip
            if topic in self._kept:
                if not self._waiting or self._held > MOST_HELD:
                    self._bag.copy(topic, nanoseconds, data)
                else:
                    self._waiting.append((nanoseconds, topic, data))
                    self._held += len(data)
                continue
            try:
                message = deserialize(data, topic.type)
                item = self._work.begin(topic.name, message)
            except ValueError as error:
                self._refuse(topic, nanoseconds, error)
                continue
            self._waiting.append((nanoseconds, topic, message.header))
            yield item

    def _let_go(self) -> None:
        """Write what no frame is before any more."""
        while self._waiting and self._waiting[0][1] in self._kept:
            nanoseconds, topic, data = self._waiting.popleft()
            self._held -= len(data)
            self._bag.copy(topic, nanoseconds, data)

    def _refuse(self, topic: Topic, nanoseconds: int, error: ValueError) -> None:
        self._left_out.frame(topic.name, f" at {nanoseconds / 1e9:.3f} s", error)


class _Work(Protocol):
    """What becomes of the chosen topics."""

    done: int
    finish: Callable[..., Any]

    def begin(self, topic: str, message: Any) -> tuple[Any, ...]:
        """What has to be done frame after frame; returns what ``finish`` is called with. ValueError: the frame is left out."""
        ...

    def topics(self, topic: str) -> Sequence[str]:
        """The names of what is made of ``topic``."""
        ...

    def messages(self, topic: str, header: Any, result: Any) -> Iterable[tuple[str, str, Any]]:
        """Topic, type and message of everything that ``finish`` made of a frame."""
        ...

    def summary(self) -> str: ...


def _as_it_is(frame: Any) -> Any:
    return frame


def _paint(profile: str, settings: Any, topic: str, read: Any) -> tuple[Any, Any, str] | ValueError:
    """Picture, confidence and caption of a frame that was read, by a worker; the ValueError that it was refused with."""
    try:
        result = _painter(profile, topic, device()).reconstruct(read, settings)
    except ValueError as error:
        return error
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

    def __init__(self, profile: str, settings: Any, left_out: LeftOut) -> None:
        from gsc_ros.encoder import Encoder

        self._shared = Encoder.load(profile)
        settings.check(self._shared.latents)  # once, before anything is written
        self._tell = left_out.tell
        self._readers: dict[str, ImageReader] = {}
        self._settings = settings
        self._encoders: dict[str, Any] = {}
        self.done = 0
        self._bytes = 0

    def begin(self, topic: str, message: Any) -> tuple[Any, ...]:
        from gsc_ros.image_messages import ImageReader

        if topic not in self._encoders:
            self._encoders[topic] = self._shared.for_another_camera()
            self._readers[topic] = ImageReader(
                topic, lambda sentence: self._tell(f"{topic}: {sentence}"), from_disk=True
            )
        encoded = self._encoders[topic].encode(self._readers[topic].read(message), self._settings)
        self.done += 1
        self._bytes += len(encoded.packet)
        return (encoded.frame,)

    finish = staticmethod(_as_it_is)

    def topics(self, topic: str) -> Sequence[str]:
        from gsc_ros.bags.cameras import camera_of

        return [camera_of(topic) + FRAME_TOPIC]

    def messages(self, topic: str, header: Any, result: Any) -> Iterable[tuple[str, str, Any]]:
        from gsc_ros.bag_types import FRAME_TYPE, typestore
        from gsc_ros.frame_messages import message_fields

        kind = typestore().types[FRAME_TYPE]
        fields = message_fields(result, lambda code, values: np.array(list(values), dtype=code))
        yield self.topics(topic)[0], FRAME_TYPE, kind(header=header, **fields)

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
        return self._profile, self._settings, topic, read

    finish = staticmethod(_paint)

    def topics(self, topic: str) -> Sequence[str]:
        base = topic.removesuffix(FRAME_TOPIC) + "/gsc"
        return [f"{base}/image_raw", f"{base}/confidence", f"{base}/caption"]

    def messages(self, topic: str, header: Any, result: Any) -> Iterable[tuple[str, str, Any]]:
        from gsc_ros.bag_types import typestore

        *pictures, words = self.topics(topic)
        image, text = typestore().types["sensor_msgs/msg/Image"], typestore().types["std_msgs/msg/String"]
        picture, confidence, caption = result
        self.done += 1
        for name, encoding, pixels in zip(pictures, ("rgb8", "mono8"), (picture, confidence), strict=True):
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
            yield name, "sensor_msgs/msg/Image", filled
        yield words, "std_msgs/msg/String", text(data=caption)

    def summary(self) -> str:
        return f"{self.done} frames, generated"

"""Which topics of a bag are cameras: those with pictures, one for each camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from gsc_ros.bag_types import FRAME_TYPE, IMAGE_TYPES, deserialize
from gsc_ros.bags.recording import Recording
from gsc_ros.bags.topic import BagError, Topic
from gsc_ros.image_messages import ImageMessageError, depth_of, read_pixels

NAMED = 12  # topics in one line
GENERATED = ("/gsc", "/gsc/confidence")  # what the reconstructor's topics end with, /image_raw aside
LOOKED_AT = 5  # messages of a topic, until one can be read


@dataclass(frozen=True)
class Cameras:
    """The image topics of a bag.

    taken   with pictures, one for each camera, in the order of the bag
    twins   of the same camera as one that is taken
    depth   hold distances: what they are
    generated  were painted at a base station, or say how far to trust that: no camera saw them
    """

    taken: list[Topic]
    twins: dict[Topic, Topic]
    depth: dict[Topic, str]
    generated: list[Topic]

    def notes(self) -> list[str]:
        """A sentence for each topic that is passed over."""
        twins = [
            f"{twin.name} is of the same camera as {topic.name}, which is taken" for twin, topic in self.twins.items()
        ]
        return twins + [f"{topic.name} was generated, no camera saw it: it is not taken" for topic in self.generated]


def camera_of(topic: str) -> str:
    """The camera's name in that of a topic: /front for /front/image_raw and /front/image_raw/compressed."""
    return topic.removesuffix("/compressed").removesuffix("/image_raw")


def cameras(recording: Recording, wanted: str | None) -> Cameras:
    """The image topics of ``recording``, or ``wanted`` alone; raises BagError with what is there where there is none."""
    images = [topic for topic in recording.topics if topic.type in IMAGE_TYPES and topic.format == "cdr"]
    filled = [topic for topic in images if recording.topics[topic]]
    depth = {topic: reason for topic in filled if (reason := _depth(recording, topic))}
    coloured = [topic for topic in filled if topic not in depth]
    if wanted is not None:
        chosen = [topic for topic in coloured if topic.name == wanted]
        refused = [reason for topic, reason in depth.items() if topic.name == wanted]
        if not chosen and refused:
            raise BagError(f"{recording.path}: {wanted}: {refused[0]}; image topics: {_names(coloured)}")
        if not chosen and wanted in [topic.name for topic in recording.topics]:
            raise BagError(f"{recording.path}: no pictures in {wanted}; image topics: {_names(coloured)}")
        if not chosen:
            raise BagError(f"{recording.path}: no topic {wanted}; image topics: {_names(coloured)}")
        return Cameras(chosen, {}, depth, [])
    generated = [topic for topic in coloured if camera_of(topic.name).endswith(GENERATED)]
    coloured = [topic for topic in coloured if topic not in generated]
    if not coloured:
        raise BagError(f"{recording.path}: {_nothing(recording, depth, generated)}")
    taken: dict[str, Topic] = {}
    by_camera: dict[str, list[Topic]] = {}
    for topic in coloured:
        by_camera.setdefault(camera_of(topic.name), []).append(topic)

    def last_resort(topic: Topic) -> tuple[bool, bool, bool]:
        same = by_camera[camera_of(topic.name)]
        most = max(recording.topics[other] for other in same)
        unread = len(same) > 1 and not _readable(recording, topic)
        return unread, 2 * recording.topics[topic] < most, topic.type != IMAGE_TYPES[0]

    # Of one camera the picture that has lost nothing yet, where it can be read and most frames are not in the other alone.
    for topic in sorted(coloured, key=last_resort):
        taken.setdefault(camera_of(topic.name), topic)
    twins = {topic: taken[camera_of(topic.name)] for topic in coloured if topic not in taken.values()}
    return Cameras([topic for topic in coloured if topic not in twins], twins, depth, generated)


def _depth(recording: Recording, topic: Topic) -> str | None:
    for _, _, data in islice(recording.messages([topic]), LOOKED_AT):
        try:
            return depth_of(deserialize(data, topic.type), topic.name)
        except BagError:
            continue
    return None


def _readable(recording: Recording, topic: Topic) -> bool:
    """Whether one of the first messages is a picture."""
    for _, _, data in islice(recording.messages([topic]), LOOKED_AT):
        try:
            read_pixels(deserialize(data, topic.type), topic.name)
        except (BagError, ImageMessageError):
            continue
        return True
    return False


def _nothing(recording: Recording, depth: dict[Topic, str], generated: Sequence[Topic]) -> str:
    """Why there are no pictures, and what there is."""
    if generated:
        return f"no pictures of a camera in it; {_names(generated)} were generated (--topic takes one all the same)"
    if depth:
        topic, reason = next(iter(depth.items()))
        return f"{topic.name}: {reason}; image topics with pictures: none"
    there = [f"{topic.name} ({topic.type}, {messages(count)})" for topic, count in recording.topics.items()]
    if len(there) > NAMED:
        there[NAMED:] = [f"and {len(there) - NAMED} more"]
    hint = " (--decode reads GscFrame)" if any(topic.type == FRAME_TYPE for topic in recording.topics) else ""
    return f"no pictures in it, it has {', '.join(there) or 'no topics'}{hint}"


def messages(count: int) -> str:
    """How many messages, in words."""
    return f"{count} message{'' if count == 1 else 's'}"


def _names(topics: Sequence[Topic]) -> str:
    return ", ".join(topic.name for topic in topics) or "none"

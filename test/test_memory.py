"""Memory across frames: fewer bytes, and never a wrong picture whatever the link loses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.decoder import DecodeSettings, MissingReferenceError
from gsc_ros.encoder import EncodeError, EncodeSettings
from gsc_ros.memory import REACH, References, Remembered
from gsc_ros.sources import moving_photographs

REALISM_0 = DecodeSettings(realism=0.0)


def remembered(sequence: int, value: int = 1, **changes) -> Remembered:
    fields = {"sequence": sequence, "width": 64, "height": 64, "scale": 1, "level": 3}
    return Remembered(**fields | changes, symbols={0: np.full((1, 1), value, np.int8)})


def test_the_checksum_tells_frames_apart() -> None:
    one = remembered(5)
    assert one.check == remembered(9).check  # it is of the content, the sequence number goes beside it
    others = [remembered(5, 2), remembered(5, level=4), remembered(5, scale=2), remembered(5, width=65)]
    others.append(Remembered(sequence=5, width=64, height=64, scale=1, level=3, symbols={1: np.ones((1, 1), np.int8)}))
    assert all(other.check != one.check for other in others)


def test_only_what_was_acknowledged_is_built_on() -> None:
    references = References()
    ask = {"mode": "acknowledged", "interval": 60}

    def offered(sequence: int, **changes) -> list[int]:
        return [frame.sequence for frame in references.plan(sequence, **ask | changes)[1]]

    for sequence in range(3):
        assert offered(sequence) == []
        references.sent(remembered(sequence), key=True)
    references.acknowledge(1)
    assert offered(3) == [1]
    references.acknowledge(0)  # overtaken on its way back
    references.acknowledge(900)  # never sent
    assert offered(3) == [1, 0]
    references.ask_for_key(about=1)  # about a frame from before the last key frame: that was answered
    assert offered(3) == []  # but what was acknowledged before it is no longer there
    references.acknowledge(2)
    assert offered(3) == [2]
    references.ask_for_key()  # the operator wants one: all is still there
    assert offered(3) == []
    references.sent(remembered(3), key=True)
    assert offered(4) == [2]
    assert offered(3 + 60) == []
    assert offered(4, mode="off") == []
    for sequence in range(4, 4 + REACH):
        references.sent(remembered(sequence), key=False)
    assert offered(4 + REACH) == []  # out of reach
    references = References()
    references.sent(remembered(0), key=True)
    assert offered(1, mode="key", interval=9) == [0]
    assert offered(1) == []


def views(count: int) -> list[np.ndarray]:
    photographs = [image[::2, ::2].copy() for image in moving_photographs()]
    return [photographs[index // 8 % len(photographs)] for index in range(count)]


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["acknowledged", "key"]),
    st.integers(1, 12),
    st.floats(0, 0.6),
    st.booleans(),
    st.sampled_from([None, 60, 150]),
)
def test_whatever_is_lost_a_frame_decodes_to_what_was_meant_or_is_not_shown(
    encoder, decoder, seed, mode, interval, loss, bursts, budget
) -> None:
    """Losses both ways, late acknowledgements, duplicates; recovery within the key interval."""
    rng = np.random.default_rng(seed)
    sender, receiver = (
        encoder.for_another_camera(first_sequence=int(rng.integers(65_536))),
        decoder.for_another_camera(),
    )
    asked = EncodeSettings(level=6, max_bytes=budget, memory=mode, key_interval=interval, caption_refresh=1)
    truth = decoder.for_another_camera()
    pending: list[tuple[int, int, bool]] = []
    bad, since_shown = False, 0
    for index, view in enumerate(views(24)):
        view = np.ascontiguousarray(view[::2, ::2])  # what is lost and what is shown does not depend on the size
        encoded = sender.encode(view, asked)
        meant = truth.read(truth.unpack(encoded.packet))
        bad = (rng.random() < 0.6 if bad else rng.random() < 0.15) if bursts else rng.random() < loss
        for due, sequence, key_wanted in [p for p in pending if p[0] <= index]:
            pending.remove((due, sequence, key_wanted))
            if key_wanted:
                sender.references.ask_for_key(sequence)
            else:
                sender.references.acknowledge(sequence)
        since_shown += 1
        if bad:
            continue
        for _ in range(2 if rng.random() < 0.1 else 1):
            try:
                got = receiver.read(receiver.unpack(encoded.packet))
            except MissingReferenceError:
                assert mode == "key"  # what was acknowledged is held
                answer = (index + 2, encoded.frame.sequence, True)
            else:
                assert got.caption == meant.caption
                assert got.symbols.keys() == meant.symbols.keys()
                assert all(np.array_equal(got.symbols[c], meant.symbols[c]) for c in meant.symbols)
                answer = (index + 2, encoded.frame.sequence, False)
                since_shown = 0
        if rng.random() >= loss:
            pending.append(answer)
        if not encoded.frame.reference:
            assert since_shown == 0  # a key frame that arrives is shown, whatever went before


def test_a_late_joiner_sees_a_picture_within_the_key_interval(encoder, decoder) -> None:
    sender, receiver = encoder.for_another_camera(), decoder.for_another_camera()
    asked = EncodeSettings(level=6, memory="acknowledged", key_interval=7, caption_mode="fixed", caption="a quiet dock")
    packets = []
    for view in views(30):
        packets.append(sender.encode(view, asked).packet)
        sender.references.acknowledge(receiver.read(receiver.unpack(packets[-1])).frame.sequence)
    for start in range(15):
        late = decoder.for_another_camera()
        first = None
        for packet in packets[start : start + 7]:
            try:
                first = first or late.read(late.unpack(packet))
            except MissingReferenceError:
                continue
        assert first is not None
        assert first.caption == "a quiet dock"  # a key frame says all that there is to say


def test_a_frame_of_an_earlier_life_is_not_built_on(encoder, decoder) -> None:
    """A restarted robot may use the same numbers for other pictures: the checksum tells."""
    receiver = decoder.for_another_camera()
    asked = EncodeSettings(level=6, memory="key")
    old, new = encoder.for_another_camera(), encoder.for_another_camera()
    before, after = views(9)[0], views(9)[8]
    receiver.read(receiver.unpack(old.encode(before, asked).packet))
    new.encode(after, asked)  # sequence 0 again, and lost
    with pytest.raises(MissingReferenceError, match="a key frame will follow"):
        receiver.read(receiver.unpack(new.encode(after, asked).packet))


def parked(count: int) -> list[np.ndarray]:
    """A camera at rest, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    view = list(moving_photographs())[8]
    return [np.clip(view + rng.normal(0, 2, view.shape), 0, 255).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_a_still_scene_costs_little_and_does_not_flicker(encoder, decoder, realism) -> None:
    sender, receiver = encoder.for_another_camera(), decoder.for_another_camera()
    asked = EncodeSettings(level=14, memory="acknowledged", key_interval=15)
    sizes, pictures = [], []
    for view in parked(16):
        packet = sender.encode(view, asked).packet
        result = receiver.decode(packet, DecodeSettings(realism=realism))
        sender.references.acknowledge(result.message.frame.sequence)
        sizes.append(len(packet))
        pictures.append(result.image.astype(int))
    assert sum(sizes) < 0.2 * len(sizes) * sizes[0]
    differences = [np.abs(b - a).mean() for a, b in itertools.pairwise(pictures)]
    assert max(differences) <= 1.0


def test_a_view_at_rest_gets_sharper_within_the_budget(encoder, decoder) -> None:
    from gsc_ros.evaluation.metrics import ms_ssim

    sender, receiver = encoder.for_another_camera(), decoder.for_another_camera()
    asked = EncodeSettings(max_bytes=150, memory="acknowledged", key_interval=64, caption_mode="off")
    shown = []
    for view in parked(10):
        packet = sender.encode(view, asked).packet
        assert len(packet) <= 150
        result = receiver.decode(packet, REALISM_0)
        sender.references.acknowledge(result.message.frame.sequence)
        shown.append(ms_ssim(view, result.image))
    assert shown[-1] > shown[0] + 0.05


def test_settings_of_memory_are_checked(encoder, photograph) -> None:
    with pytest.raises(EncodeError, match="off, acknowledged, key"):
        encoder.encode(photograph, EncodeSettings(memory="all"))
    with pytest.raises(EncodeError, match="key_interval 65"):
        encoder.encode(photograph, EncodeSettings(key_interval=65))

"""Image messages: every encoding against a plain model of it, padded rows, both byte orders, and messages that lie."""

from __future__ import annotations

import sys
import tracemalloc
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.brightness import Brightness
from gsc_ros.image_encodings import ENCODINGS
from gsc_ros.image_messages import ImageMessageError, ImageReader, depth_of, fill_image, fit, read_image

ORDERS = {
    "rgb8": "rgb", "bgr8": "bgr", "8uc3": "bgr", "rgba8": "rgba", "bgra8": "bgra", "8uc4": "bgra", "mono8": "g", "8uc1": "g",
    "rgb16": "rgb", "bgr16": "bgr", "16uc3": "bgr", "rgba16": "rgba", "bgra16": "bgra", "16uc4": "bgra", "mono16": "g", "16uc1": "g",
}  # fmt: skip
PACKED_YUV = {"yuv422": "uyvy", "uyvy": "uyvy", "yuv422_yuy2": "yuyv", "yuyv": "yuyv"}
PLANAR_YUV = ("nv12", "nv21", "nv24")
BAYER = [name for name in ENCODINGS if name.startswith("bayer")]


def message(rows: np.ndarray, width: int, height: int, encoding: str, *, pad: int = 0, bigendian: int = 0):
    """An Image of ``rows`` of bytes, each followed by ``pad`` bytes of 0xAA, which is nobody's colour."""
    data = np.pad(rows, ((0, 0), (0, pad)), constant_values=0xAA)
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=bigendian, step=data.shape[1], data=data.tobytes()
    )


def from_yuv(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 with Y from 16 to 235; what is darker is black, as OpenCV has it."""
    y, u, v = (1.164 * (np.maximum(y, 16).astype(float) - 16), u.astype(float) - 128, v.astype(float) - 128)
    return np.clip(np.stack([y + 1.596 * v, y - 0.391 * u - 0.813 * v, y + 2.018 * u], axis=-1), 0, 255)


def test_the_table_is_all_that_is_tested_here() -> None:
    assert set(ENCODINGS) == {*ORDERS, *PACKED_YUV, *PLANAR_YUV, *BAYER}


@settings(max_examples=150, deadline=None)
@given(
    encoding=st.sampled_from(sorted(ORDERS)),
    width=st.integers(1, 24),
    height=st.integers(1, 24),
    pad=st.integers(0, 5),
    bigendian=st.integers(0, 1),
    seed=st.integers(0, 1 << 16),
)
def test_packed_encodings(encoding, width, height, pad, bigendian, seed) -> None:
    wide = encoding.endswith("16") or encoding.startswith("16")
    order = ORDERS[encoding]
    values = np.random.default_rng(seed).integers(0, 65536 if wide else 256, (height, width, len(order)))
    if wide:
        values[0, 0], values[-1, -1] = 0, 65535  # all 16 bits are used
        rows = values.astype(">u2" if bigendian else "<u2").view(np.uint8).reshape(height, -1)
    else:
        rows = values.astype(np.uint8).reshape(height, -1)
    name = encoding.upper() if "uc" in encoding else encoding
    image = read_image(message(rows, width, height, name, pad=2 * pad, bigendian=bigendian))
    expected = values[..., [order.index(c) if c in order else 0 for c in "rgb"]]
    if not wide:
        assert np.array_equal(image, expected)
    elif width * height > 1:  # of a single pixel nobody knows how many bits it has
        assert np.array_equal(image, expected >> 8)


@settings(max_examples=60, deadline=None)
@given(
    encoding=st.sampled_from([*PACKED_YUV, *PLANAR_YUV]),
    width=st.integers(1, 12).map(lambda n: 2 * n),
    height=st.integers(1, 12).map(lambda n: 2 * n),
    pad=st.integers(0, 5),
    seed=st.integers(0, 1 << 16),
)
def test_yuv_encodings(encoding, width, height, pad, seed) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 256, (height, width), dtype=np.uint8)
    across, down = (2, 1) if encoding in PACKED_YUV else (1, 1) if encoding == "nv24" else (2, 2)
    u, v = rng.integers(0, 256, (2, height // down, width // across), dtype=np.uint8)
    if encoding in PACKED_YUV:
        places = PACKED_YUV[encoding]
        rows = np.empty((height, width // 2, 4), np.uint8)
        rows[..., [index for index, letter in enumerate(places) if letter == "y"]] = y.reshape(height, -1, 2)
        rows[..., places.index("u")], rows[..., places.index("v")] = u, v
        image = read_image(message(rows.reshape(height, -1), width, height, encoding, pad=pad))
    else:
        pair = np.stack([v, u] if encoding == "nv21" else [u, v], axis=-1)
        luma = np.pad(y, ((0, 0), (0, pad)))
        chroma = pair.reshape(height // down, -1)
        chroma = np.pad(chroma, ((0, 0), (0, pad * chroma.shape[1] // width)))
        data = luma.tobytes() + chroma.tobytes()
        image = read_image(
            SimpleNamespace(height=height, width=width, encoding=encoding, step=width + pad, is_bigendian=0, data=data)
        )
    full = [plane.repeat(across, axis=1).repeat(down, axis=0) for plane in (u, v)]
    assert image.shape == (height, width, 3)
    assert np.abs(image - from_yuv(y, *full)).max() <= 2


@pytest.mark.parametrize("bigendian", [0, 1])
@pytest.mark.parametrize("encoding", BAYER)
def test_bayer(encoding, bigendian) -> None:
    places, wide = encoding[6:10], encoding.endswith("16")
    colour = np.array((200, 120, 40)) * (257 if wide else 1)
    mosaic = np.empty((64, 64), (">u2" if bigendian else "<u2") if wide else np.uint8)
    for index, place in enumerate(places):
        mosaic[index // 2 :: 2, index % 2 :: 2] = colour["rgb".index(place)]
    image = read_image(message(mosaic.view(np.uint8), 64, 64, encoding, pad=4, bigendian=bigendian))
    assert np.abs(image.astype(int) - (200, 120, 40))[4:-4, 4:-4].max() <= 2


def test_thermal_frames_of_14_bits_are_visible_and_do_not_flicker() -> None:
    rng = np.random.default_rng(1)
    told: list[str] = []
    reader = ImageReader("/thermal/image_raw", told.append)

    def frame(low: int, high: int) -> np.ndarray:
        values = rng.integers(low, high, (60, 80)).astype(np.uint16)
        values[0, 0] = 5000  # the same spot in all frames
        return reader.read(message(values.view(np.uint8), 80, 60, "mono16"))

    frames = [frame(4500 + change, 5500 - change) for change in (0, 40, 80, 20, 60)]
    assert frames[0].std() > 50
    assert len({int(image[0, 0, 0]) for image in frames}) == 1  # less contrast, the same range
    wider = frame(3000, 9000)
    again = frame(4500, 5500)
    assert wider[0, 0, 0] != frames[0][0, 0, 0]
    assert again[0, 0, 0] == wider[0, 0, 0]
    assert len(told) == 1 and "16 bits a pixel" in told[0]


def test_one_white_frame_does_not_darken_all_that_follow() -> None:
    """Thermal cameras send a frame of their shutter now and then."""
    rng = np.random.default_rng(1)
    brightness = Brightness()
    frames = [rng.integers(7000, 9000, (60, 80)).astype(np.uint16) for _ in range(100)]
    before = brightness.to_8_bits(frames[0])
    assert before.std() > 50
    assert brightness.to_8_bits(np.full((60, 80), 65535, np.uint16)).min() == 255
    after = [brightness.to_8_bits(frame) for frame in frames]
    assert after[0].std() < 5
    assert all(picture.std() > 50 for picture in after[32:])
    changes = sum(
        a != b for a, b in zip([(p[0, 0] > 0) for p in after], [(p[0, 0] > 0) for p in after[1:]], strict=False)
    )
    assert changes <= 1
    assert len({brightness.low, brightness.high}) == 2 and brightness.high < 20000


def test_one_bad_pixel_does_not_take_the_range() -> None:
    values = np.random.default_rng(1).integers(4500, 5500, (60, 80)).astype(np.uint16)
    values[3, 4] = 65535
    assert read_image(message(values.view(np.uint8), 80, 60, "16UC1")).std() > 50


def test_all_of_16_bits_is_the_upper_byte(photograph) -> None:
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257
    image = read_image(message(grey.view(np.uint8).reshape(480, -1), 640, 480, "mono16", pad=32))
    assert np.array_equal(image[..., 0], grey >> 8)


@pytest.mark.parametrize(
    ("topic", "field", "value"),
    [
        ("", "encoding", "32FC1"),
        ("/camera/depth/image_raw", "encoding", "16UC1"),
        ("/camera/aligned_depth_to_color/image_raw", "encoding", "mono16"),
        ("/stereo/disparity", "encoding", "16UC1"),
        ("", "format", "16UC1; compressedDepth png"),
        ("", "format", "32FC1; compressedDepth"),
        ("/camera/depth/image_raw/compressed", "format", "16UC1; png compressed "),
    ],
)
def test_depth_is_told_as_depth(topic, field, value) -> None:
    fields = {"height": 4, "width": 4, "step": 16, "data": bytes(64), "is_bigendian": 0, field: value}
    assert "is depth, not a picture" in depth_of(SimpleNamespace(**fields), topic)
    with pytest.raises(ImageMessageError, match="is depth, not a picture"):
        ImageReader(topic, lambda sentence: None).read(SimpleNamespace(**fields))


@pytest.mark.parametrize(
    ("topic", "encoding"), [("/depth/colourised", "rgb8"), ("/thermal/image_raw", "16UC1"), ("", "mono16")]
)
def test_pictures_are_not_taken_for_depth(topic, encoding) -> None:
    assert depth_of(SimpleNamespace(encoding=encoding), topic) is None


def test_compressed(photograph) -> None:
    data = cv2.imencode(".png", photograph[:, :, ::-1])[1].tobytes()
    assert np.array_equal(read_image(SimpleNamespace(format="png", data=data)), photograph)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"data": bytes(299)}, "needs 300 bytes, 299 are there"),
        ({"data": bytes(5000)}, "has 300 bytes, 5000 are there"),
        ({"step": 3}, "rows of 30 bytes, its step is 3"),
        ({"height": 0, "width": 0, "step": 0, "data": b""}, "no pixels"),
        ({"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1}, "million pixels"),
        ({"encoding": "nonsense"}, "mono8"),
        ({"encoding": "8UC2"}, "are read"),
        ({"encoding": ""}, "are read"),
        ({"encoding": "uyvy", "width": 9, "step": 18}, "multiples of 2"),
        ({"encoding": "nv12", "height": 9, "step": 10}, "multiples of 2"),
    ],
)
def test_an_image_that_lies_is_refused(bad, words) -> None:
    fields = {"height": 10, "width": 10, "encoding": "rgb8", "step": 30, "is_bigendian": 0, "data": bytes(300)} | bad
    with pytest.raises(ImageMessageError, match=words):
        read_image(SimpleNamespace(**fields))


@settings(max_examples=300, deadline=None)
@given(
    encoding=st.one_of(st.sampled_from(sorted(ENCODINGS)), st.text(max_size=8)),
    width=st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    height=st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)),
    step=st.one_of(st.integers(0, 80), st.integers(0, 2**32 - 1)),
    bigendian=st.integers(0, 255),
    data=st.binary(max_size=3000),
)
def test_whatever_an_image_says_is_read_or_refused(encoding, width, height, step, bigendian, data) -> None:
    lying = SimpleNamespace(encoding=encoding, width=width, height=height, step=step, is_bigendian=bigendian, data=data)
    tracemalloc.start()
    try:
        image = read_image(lying)
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
    except ImageMessageError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 22


def test_there_and_back(photograph) -> None:
    filled = fill_image(SimpleNamespace(), photograph, header="h")
    assert (filled.height, filled.width, filled.encoding, filled.step, filled.header) == (480, 640, "rgb8", 1920, "h")
    assert np.array_equal(read_image(filled), photograph)


def test_cv_bridge_changes_no_pixel_and_is_asked_for_unknown_encodings_alone(monkeypatch, photograph) -> None:
    asked = []

    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            asked.append((message.encoding, encoding))
            return np.zeros((480, 640, 3), np.uint8)

    known = message(photograph.reshape(480, -1), 640, 480, "8UC3")
    without = read_image(known)
    bridge = ModuleType("cv_bridge")
    bridge.CvBridge = CvBridge
    monkeypatch.setitem(sys.modules, "cv_bridge", bridge)
    assert np.array_equal(read_image(known), without) and not asked
    assert not read_image(message(photograph.reshape(480, -1), 640, 480, "vendor24")).any()
    assert asked == [("vendor24", "rgb8")]


@pytest.mark.parametrize(
    ("size", "fitting"),
    [((3648, 5472), (2731, 4096)), ((5472, 3648), (4096, 2731)), ((100, 4096), (100, 4096)), ((16, 16), (16, 16))],
)
def test_large_pictures_are_shrunk_as_they_are(size, fitting) -> None:
    image = np.zeros((*size, 3), np.uint8)
    image[: size[0] // 2] = 200
    small = fit(image)
    assert small.shape == (*fitting, 3)
    assert abs(float(small.mean()) - float(image.mean())) < 0.1


@pytest.mark.parametrize("size", [(1, 640), (640, 15), (20, 8192)])
def test_pictures_that_are_too_narrow_are_refused(size) -> None:
    with pytest.raises(ImageMessageError, match="at least 16"):
        fit(np.zeros((*size, 3), np.uint8))


def test_shrinking_is_told_once() -> None:
    told: list[str] = []
    reader = ImageReader("", told.append)
    rows = np.zeros((20, 5000), np.uint8)
    for _ in range(3):
        assert reader.read(message(rows, 5000, 20, "mono8")).shape == (16, 4096, 3)
    assert told == ["frames are shrunk from 5000x20 to 4096x16: at most 4096 pixels a side are sent"]

"""Image messages: every encoding cameras send, padded rows, and messages that lie."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from gsc_ros.image_messages import ImageMessageError, fill_image, read_image, scaled_camera_info


def message(pixels: np.ndarray, encoding: str, pad: int = 0) -> SimpleNamespace:
    rows = pixels.reshape(pixels.shape[0], -1)
    data = np.pad(rows, ((0, 0), (0, pad)))
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=data.shape[1],
        data=data.tobytes(),
    )


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_plain_encodings(photograph, encoding, pad) -> None:
    codes = {
        "rgb8": None,
        "bgr8": cv2.COLOR_RGB2BGR,
        "rgba8": cv2.COLOR_RGB2RGBA,
        "bgra8": cv2.COLOR_RGB2BGRA,
        "mono8": cv2.COLOR_RGB2GRAY,
    }
    pixels = photograph if codes[encoding] is None else cv2.cvtColor(photograph, codes[encoding])
    expected = photograph if encoding != "mono8" else np.repeat(pixels[:, :, None], 3, axis=2)
    assert np.array_equal(read_image(message(pixels, encoding, pad)), expected)


def test_yuv422(photograph) -> None:
    packed = cv2.cvtColor(photograph, cv2.COLOR_RGB2YUV_UYVY)
    assert np.abs(read_image(message(packed, "yuv422")).astype(int) - photograph).mean() < 6
    assert np.array_equal(
        read_image(message(packed[..., ::-1].copy(), "yuv422_yuy2")), read_image(message(packed, "yuv422"))
    )


@pytest.mark.parametrize(
    ("encoding", "places"),
    [("bayer_rggb8", "rggb"), ("bayer_bggr8", "bggr"), ("bayer_gbrg8", "gbrg"), ("bayer_grbg8", "grbg")],
)
def test_bayer(encoding, places) -> None:
    colour = np.zeros((64, 64, 3), np.uint8)
    colour[:] = (200, 120, 40)
    mosaic = np.empty((64, 64), np.uint8)
    for index, place in enumerate(places):
        mosaic[index // 2 :: 2, index % 2 :: 2] = colour[0, 0, "rgb".index(place)]
    assert np.abs(read_image(message(mosaic, encoding)).astype(int) - colour)[4:-4, 4:-4].max() <= 2


def test_sixteen_bits_go_through_the_library(photograph) -> None:
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY).astype(np.uint16) * 256
    pixels = SimpleNamespace(
        height=480,
        width=640,
        encoding="mono16",
        is_bigendian=0,
        step=1280,
        data=np.frombuffer(grey.tobytes(), np.uint8),
    )
    assert np.abs(read_image(pixels)[..., 0].astype(int) - (grey >> 8)).max() <= 1


def test_compressed(photograph) -> None:
    data = cv2.imencode(".png", photograph[:, :, ::-1])[1].tobytes()
    assert np.array_equal(read_image(SimpleNamespace(format="png", data=data)), photograph)


@pytest.mark.parametrize(
    "bad",
    [
        SimpleNamespace(height=10, width=10, encoding="rgb8", step=30, data=b"\0" * 299),
        SimpleNamespace(height=10, width=10, encoding="rgb8", step=3, data=b"\0" * 300),
        SimpleNamespace(height=0, width=0, encoding="rgb8", step=0, data=b""),
        SimpleNamespace(height=2, width=2, encoding="nonsense", step=2, is_bigendian=0, data=b"\0" * 4),
        SimpleNamespace(format="jpeg", data=b"\xff\xd8 not a jpeg"),
        SimpleNamespace(format="jpeg", data=b""),
    ],
)
def test_a_message_that_lies_is_refused(bad) -> None:
    with pytest.raises(ImageMessageError):
        read_image(bad)


def test_there_and_back(photograph) -> None:
    filled = fill_image(SimpleNamespace(), photograph, header="h")
    assert (filled.height, filled.width, filled.encoding, filled.step, filled.header) == (480, 640, "rgb8", 1920, "h")
    assert np.array_equal(read_image(filled), photograph)


def test_camera_info_follows_the_size() -> None:
    info = {
        "image_width": 640, "image_height": 480, "distortion_model": "plumb_bob",
        "distortion_coefficients": {"data": [0.1, 0, 0, 0, 0]},
        "camera_matrix": {"data": [500, 0, 319.5, 0, 500, 239.5, 0, 0, 1]},
        "projection_matrix": {"data": [500, 0, 319.5, 10, 0, 500, 239.5, 0, 0, 0, 1, 0]},
    }  # fmt: skip
    half = scaled_camera_info(info, 320, 240)
    assert (half.k[0], half.k[2], half.k[4], half.k[5]) == (250, 159.5, 250, 119.5)
    assert (half.p[0], half.p[2], half.p[3], half.p[5], half.p[6]) == (250, 159.5, 5, 250, 119.5)
    assert half.d[0] == 0.1

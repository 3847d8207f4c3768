"""Picture files: their size is known before they are decoded, and damage is told."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from conftest import scene
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.compressed_picture import decode
from gsc_ros.jpeg_check import damage
from gsc_ros.picture_header import PictureError, read_header

SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".ppm", ".pgm", ".tif")
KINDS = {".png": "PNG", ".jpg": "JPEG", ".webp": "WebP", ".bmp": "BMP", ".ppm": "PNM", ".pgm": "PNM", ".tif": "TIFF"}


def encoded(suffix: str, picture: np.ndarray, *options: int) -> bytes:
    image = picture[:, :, 0] if suffix == ".pgm" else picture[:, :, ::-1] if picture.ndim == 3 else picture
    return cv2.imencode(suffix, image, options)[1].tobytes()


def whole(data: bytes) -> np.ndarray:
    return decode(data, upright=True, thorough=True)


@pytest.mark.parametrize("size", [(37, 53), (16, 16), (1, 9), (300, 200)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_size_and_pixels(suffix, size) -> None:
    picture = scene(3, *size)
    data = encoded(suffix, picture, *((cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()))
    header = read_header(data)
    assert (header.kind, header.height, header.width) == (KINDS[suffix], *size)
    found = whole(data)
    if suffix == ".pgm":
        assert np.array_equal(found, picture[:, :, 0])
    elif suffix != ".jpg":
        assert np.array_equal(found, picture)
    else:
        assert np.abs(found.astype(int) - picture).mean() < 12


def test_webp_that_loses() -> None:
    data = encoded(".webp", scene(1, 50, 70), cv2.IMWRITE_WEBP_QUALITY, 60)
    assert (read_header(data).width, whole(data).shape) == (70, (50, 70, 3))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_stay_sixteen(suffix) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (20, 30)).astype(np.uint16)
    found = whole(cv2.imencode(suffix, values)[1].tobytes())
    assert found.dtype == np.uint16 and np.array_equal(found, values)
    colour = np.random.default_rng(1).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    if suffix != ".pgm":
        assert np.array_equal(whole(cv2.imencode(suffix, colour[:, :, ::-1])[1].tobytes()), colour)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_cut_off_is_refused(suffix) -> None:
    data = encoded(suffix, scene(5, 120, 160))
    for length in {0, 1, 5, 12, 30, len(data) // 4, len(data) // 2, len(data) - 300, len(data) - 20}:
        with pytest.raises(PictureError):
            whole(data[:length])


def png(width: int, height: int) -> bytes:
    """The head of a PNG of any size; its pixels are not there."""

    def block(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"")) + block(b"IEND", b"")


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    jpeg = bytearray(encoded(".jpg", scene(1, 32, 32)))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = struct.pack(">HH", 60_000, 60_000)
    webp = b"RIFF\x80\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\xff" * 2 + bytes(100)
    bmp = bytearray(encoded(".bmp", scene(1, 32, 32)))
    bmp[18:26] = struct.pack("<ii", 1 << 30, -(1 << 30))
    monkeypatch.setattr(cv2, "imdecode", never)
    for data in (png(16_000, 16_000), bytes(jpeg), webp, bytes(bmp), b"P6\n# words\n90000 90000\n255\n" + bytes(99)):
        with pytest.raises(PictureError, match="at most 64 million are read"):
            whole(data)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_flipped_bit_in_a_png_is_refused(place) -> None:
    data = bytearray(encoded(".png", scene(5, 120, 160)))
    data[int(place * len(data))] ^= 0x10
    with pytest.raises(PictureError, match="checksum"):
        whole(bytes(data))


def test_a_jpeg_may_have_bytes_after_its_end_and_a_few_before() -> None:
    data = encoded(".jpg", scene(5, 120, 160))
    for more in (data + bytes(500), data[:-2] + b"\x12\x34" + data[-2:], b"\xff\xd8\xff" + data[2:]):
        assert whole(more).shape == (120, 160, 3)


def test_an_end_within_a_preview_is_not_the_end() -> None:
    preview = encoded(".jpg", scene(1, 32, 32))
    data = encoded(".jpg", scene(5, 120, 160))
    segment = b"\xff\xe1" + struct.pack(">H", len(preview) + 8) + b"Exif\0\0" + preview
    assert whole(data[:2] + segment + data[2:]).shape == (120, 160, 3)
    with pytest.raises(PictureError, match="cut off"):
        whole((data[:2] + segment + data[2:])[:-400])


@pytest.mark.parametrize("restart", [0, 4])
@pytest.mark.parametrize("sampling", [0x411111, 0x221111, 0x111111])
@pytest.mark.parametrize("quality", [1, 30, 95, 100])
def test_true_jpegs_are_never_blamed(quality, sampling, restart) -> None:
    noise = np.random.default_rng(quality).integers(0, 256, (97, 131, 3), dtype=np.uint8)
    black_and_white = np.kron(np.indices((13, 17)).sum(axis=0) % 2, np.ones((8, 8), int))[:, :, None].repeat(3, axis=2)
    options = (
        cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_RST_INTERVAL, restart,
    )  # fmt: skip
    for picture in (scene(quality, 97, 131), noise, (255 * black_and_white).astype(np.uint8)):
        assert damage(encoded(".jpg", picture, *options)) is None
        assert damage(encoded(".jpg", picture, *options, cv2.IMWRITE_JPEG_OPTIMIZE, 1)) is None
    assert damage(cv2.imencode(".jpg", noise[:, :, 0], options)[1].tobytes()) is None


def test_the_jpegs_of_real_cameras_are_not_blamed(shared_data) -> None:
    files = sorted(path for path in shared_data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[::8]
    assert files
    assert {path.name: wrong for path in files if (wrong := damage(path.read_bytes()))} == {}


def test_jpegs_whose_bytes_changed_are_mostly_found() -> None:
    data = encoded(".jpg", scene(5, 480, 640))
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(40):
        changed = bytearray(data)
        place = int(rng.integers(700, len(data) - 100))
        changed[place : place + 64] = rng.integers(0, 256, 64, dtype=np.uint8).tobytes()
        found += damage(bytes(changed)) is not None
    assert found >= 36


def test_orientation_is_followed_in_files_and_not_in_topics(photograph) -> None:
    pillow = pytest.importorskip("PIL.Image")
    exif = pillow.Exif()
    exif[0x0112] = 6  # turned by a quarter
    file = io.BytesIO()
    pillow.fromarray(photograph).save(file, "JPEG", exif=exif)
    assert decode(file.getvalue(), upright=True, thorough=False).shape == (640, 480, 3)
    assert decode(file.getvalue(), upright=False, thorough=False).shape == (480, 640, 3)


def test_a_huge_jpeg_is_decoded_smaller() -> None:
    data = cv2.imencode(".jpg", np.zeros((64, 16_400, 3), np.uint8))[1].tobytes()
    assert decode(data, upright=True, thorough=False).shape == (16, 4100, 3)


def test_floating_point_is_brightness_up_to_one_and_depth_beyond() -> None:
    values = np.linspace(-0.1, 1.02, 600, dtype=np.float32).reshape(20, 30)
    found = whole(cv2.imencode(".tif", values)[1].tobytes())
    assert (found.dtype, found.min(), found.max()) == (np.uint8, 0, 255)
    with pytest.raises(PictureError, match="it is depth, not a picture"):
        whole(cv2.imencode(".tif", 9 * values)[1].tobytes())


@settings(max_examples=200, deadline=None)
@given(
    suffix=st.sampled_from(SUFFIXES),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_whatever_the_bytes_are_they_are_read_or_refused(suffix, changes, cut) -> None:
    data = bytearray(encoded(suffix, scene(2, 24, 40)))
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        image = whole(bytes(data[: int(cut * len(data))]))
        assert image.dtype in (np.uint8, np.uint16) and image.size <= 3 * 64_000_000
    except PictureError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF0000WEBPVP8X", b"BM", b"P6 ", b"P1\n#", b"II*\0", b"MM\0*"]
    ),
)
def test_any_bytes_are_refused(data, start) -> None:
    with pytest.raises(PictureError):
        whole(start + data)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_values_with_a_sign_are_refused(kind, shape) -> None:
    data = cv2.imencode(".tif", np.zeros(shape, kind))[1].tobytes()
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).dtype == kind
    with pytest.raises(PictureError, match="without a sign"):
        whole(data)


def test_a_jpeg_of_scans_without_end_is_refused() -> None:
    """Each scan takes sixteen bytes, and a walk over all blocks of the picture."""
    data = cv2.imencode(".jpg", np.full((64, 64), 128, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scan = data[data.rfind(b"\xff\xda") : -2]
    assert whole(data).shape == whole(data[:-2] + 20 * scan + data[-2:]).shape == (64, 64, 3)
    with pytest.raises(PictureError, match="more than 64 scans"):
        decode(data[:-2] + 100 * scan + data[-2:], upright=True, thorough=False)
    # An end that stands in a table is none.
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xda"
    with pytest.raises(PictureError, match="more than 64 scans"):
        decode(data[:-2] + comment + 100 * scan + data[-2:], upright=True, thorough=False)


def test_searching_a_jpeg_takes_little_memory() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    data = encoded(".jpg", noise, cv2.IMWRITE_JPEG_QUALITY, 95)
    tracemalloc.start()
    assert damage(data) is None
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40 * len(data) + (16 << 20)


@pytest.mark.parametrize("white", [1, 15, 100, 254])
def test_white_is_what_a_pnm_calls_so(white) -> None:
    grey = np.full((16, 16), white, np.uint8)
    assert whole(b"P5 16 16 %d\n" % white + grey.tobytes()).min() == 255
    assert whole(b"P6 16 16 %d\n" % white + np.dstack([grey, 0 * grey, grey]).tobytes())[3, 4].tolist() == [255, 0, 255]
    assert whole(b"P2 16 16 %d\n" % white + b"%d " % white * 256 + b"\n").min() == 255

"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings

# How long one example takes says how busy the machine is, not whether it is right.
settings.register_profile("gsc_ros", deadline=None)
settings.load_profile("gsc_ros")
# Several processes at once, each with a thread for every core, wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PYTHONFAULTHANDLER", "1")  # a process that dies in C code says where
# A robot's ROS domain and a base's, of this process alone: several run tests at once. Below 102, where the ports of a domain are
# none that the kernel gives to others.
DOMAINS = (1 + 2 * (os.getpid() % 50), 2 + 2 * (os.getpid() % 50))
os.environ["ROS_DOMAIN_ID"] = str(DOMAINS[0])
# Seconds until a test that waits for something gives up: against hanging, not a measure. A busy machine is slow.
LIMIT_S = 300.0

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
# What make test-fast leaves out, beside single tests: real nodes and links, training, whole evaluations, the full-size system.
SLOW = {
    *(
        "test_gateway",
        "test_nodes",
        "test_hostile_messages",
        "test_paper_nodes",
        "test_demo",
        "test_view",
        "test_workers",
        "test_transports",
    ),
    *("test_training", "test_control_training", "test_calibrate", "test_flux", "test_full_size", "test_qwen"),
    *("test_eval", "test_experiment", "test_tasks", "test_distribution", "test_exported_segmenter", "test_bench"),
    *("test_steady", "test_search", "test_painter"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """Mark the tests of the files in SLOW, before -m chooses."""
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images beside the checkout, where they are."""
    if not SHARED.is_dir():
        pytest.skip(f"no data in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def encoder():
    from gsc_ros.encoder import Encoder

    return Encoder.load("nano")


@pytest.fixture(scope="session")
def decoder():
    from gsc_ros.decoder import Decoder

    return Decoder.load("nano")


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """A 480x640 view of a photograph that ships inside scikit-image."""
    from gsc_ros.sources import moving_photographs

    return next(moving_photographs())


def scene(seed: int, height: int, width: int) -> np.ndarray:
    """A synthetic picture with edges, gradients and noise, of any size."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, size=(3, 4, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    x, y = rng.integers(0, width), rng.integers(0, height)
    cv2.circle(image, (int(x), int(y)), max(3, min(height, width) // 4), [int(v) for v in rng.integers(0, 256, 3)], -1)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def paper_packages() -> None:
    """diffusers, transformers and compressai, where they are installed (`make setup-paper`)."""
    import tiny

    tiny.make_torchvision_importable()
    for name in ("diffusers", "transformers", "compressai"):
        pytest.importorskip(name)


@pytest.fixture(scope="session")
def tiny_flux(tmp_path_factory, paper_packages) -> Path:
    """A FluxPipeline with tiny random weights, as diffusers saves it."""
    import tiny

    return tiny.save_flux(tmp_path_factory.mktemp("flux"))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """Four photographs of 160x192 pixels in a folder."""
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("photographs")
    for index, image in enumerate(moving_photographs()):
        if index % 4 == 0 and index < 16:
            cv2.imwrite(
                str(folder / f"{index}.png"), cv2.resize(image, (192, 160), interpolation=cv2.INTER_AREA)[:, :, ::-1]
            )
    return folder


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory, paper_packages, photographs) -> Path:
    """What `gsc calibrate` makes of a tiny random codec of 320 channels."""
    import tiny

    from gsc_ros.training.calibrate import Calibration, calibrate

    folder = tmp_path_factory.mktemp("calibrated")
    checkpoint = tiny.save_codec(folder / "mbt.pth")
    rows = calibrate(
        Calibration(
            model="mbt2018-mean",
            quality=7,
            images=photographs,
            out=folder / "paper",
            checkpoint=checkpoint,
            count=4,
            steps=30,
        ),
        lambda stage, done, of: None,
    )
    assert len(rows) == 320
    return folder / "paper"

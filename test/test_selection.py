"""Channel ranking: what SSIM compares, and the three orders."""

from __future__ import annotations

import numpy as np
import pytest

from gsc_ros.latents.selection import ranking, ssim, ssim_scores


def test_the_channel_that_shows_the_scene_comes_first(photograph) -> None:
    import cv2

    luma = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(luma, (20, 15), interpolation=cv2.INTER_AREA).astype(np.float32)
    rng = np.random.default_rng(0)
    latent = {
        0: rng.normal(size=(15, 20)),
        1: 3 - 0.1 * small,
        2: np.ones((15, 20)),
        3: small + rng.normal(0, 40, small.shape),
    }
    scores = ssim_scores(latent, luma)
    assert scores[1] == pytest.approx(1.0, abs=1e-3)  # a negative of the scene shows it just as well
    assert scores[2] == -1.0
    assert ranking("ssim", scores=scores, gain_per_bit={}) == [1, 3, 0, 2]


def test_ssim_is_one_for_equal_planes_and_less_for_others() -> None:
    plane = np.random.default_rng(1).random((24, 32)).astype(np.float32)
    assert ssim(plane, plane) == pytest.approx(1.0, abs=1e-5)
    assert ssim(plane, 1 - plane) < 0


def test_order_and_rate() -> None:
    scores = dict.fromkeys(range(4), 0.0)
    assert ranking("order", scores=scores, gain_per_bit={}) == [0, 1, 2, 3]
    assert ranking("rate", scores=scores, gain_per_bit={0: 1.0, 1: 5.0, 2: 5.0, 3: 2.0}) == [1, 2, 3, 0]
    with pytest.raises(ValueError, match="order"):
        ranking("luck", scores=scores, gain_per_bit={})

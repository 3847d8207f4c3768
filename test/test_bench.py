"""The measurements: metrics that mean what they say, peers within bytes, a confidence worth its name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gsc_ros.evaluation import codec_bench, confidence_bench, peers
from gsc_ros.evaluation.metrics import gradient_energy


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("photographs")
    for index, image in enumerate(moving_photographs()):
        if index % 8 == 0:
            cv2.imwrite(str(folder / f"{index:02d}.png"), image[:, :, ::-1])
    return folder


def test_gradient_energy_is_linear_in_contrast_and_falls_with_blur(photograph) -> None:
    whole = gradient_energy(photograph)
    assert gradient_energy(photograph // 2) == pytest.approx(whole / 2, rel=0.1)
    assert gradient_energy(cv2.blur(photograph, (9, 9))) < 0.5 * whole


@pytest.mark.parametrize("name", ["av1", "vvc"])
def test_a_peer_keeps_the_bytes_allowed_and_picks_its_best_scale(photograph, name) -> None:
    from gsc_ros.evaluation.metrics import ms_ssim

    found = peers.candidates(photograph, name, 400)
    chosen = peers.best(photograph, found, 400)
    assert chosen.bytes <= 400
    assert chosen.picture.shape == photograph.shape
    fitting = [ms_ssim(photograph, candidate.picture) for candidate in found if candidate.bytes <= 400]
    assert ms_ssim(photograph, chosen.picture) == max(fitting)
    assert len(fitting) >= 3


def test_matched_bytes_are_the_first_codecs(photographs) -> None:
    first, second = codec_bench.measure(photographs, [400], ["av1", "nano"], "nano", lambda: None, match=True)
    assert second.bytes <= first.bytes
    assert second.bytes > 0.85 * first.bytes
    assert second.over == 0


def test_at_most_c_channels_are_spent(photographs) -> None:
    (few,) = codec_bench.measure(photographs, [400], ["nano"], "nano", lambda: None, channels=1)
    (all_of_them,) = codec_bench.measure(photographs, [400], ["nano"], "nano", lambda: None)
    assert few.bytes < 0.5 * all_of_them.bytes
    assert few.ms_ssim < all_of_them.ms_ssim


def test_an_unknown_codec_is_named(photographs) -> None:
    with pytest.raises(ValueError, match="unknown codec jpeg2001"):
        next(codec_bench.measure(photographs, [400], ["jpeg2001"], "nano", lambda: None))


def test_blocks_of_high_confidence_are_more_like_the_original(photographs) -> None:
    figures = confidence_bench.measure(photographs, [300], "nano", 0.0, lambda: None)
    assert figures.rank_correlation > 0.4
    likeness = [row.ssim for row in figures.bins if row.share > 0.02]
    assert likeness == sorted(likeness)
    assert sum(row.share for row in figures.bins) == pytest.approx(1.0)


def test_rank_correlation_knows_order_from_disorder() -> None:
    values = np.arange(50.0)
    assert confidence_bench.rank_correlation(values, values**3) == pytest.approx(1.0)
    assert confidence_bench.rank_correlation(values, -values) == pytest.approx(-1.0)

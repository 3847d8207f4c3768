"""The measurements: a confidence worth its name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gsc_ros.bench import confidence as confidence_bench


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("photographs")
    for index, image in enumerate(moving_photographs()):
        if index % 8 == 0:
            cv2.imwrite(str(folder / f"{index:02d}.png"), image[:, :, ::-1])
    return folder


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

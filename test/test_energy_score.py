"""The loss of the generator: least for samples that vary as they should."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from gsc_ros.training.energy_score import energy_score
from gsc_ros.training.images import CropSource, as_images


def test_the_energy_score_is_least_for_samples_that_vary_as_they_should() -> None:
    """Fine grain in luma as much as there is, colours and large shapes not at all, nothing the same in both samples."""
    generator = torch.Generator().manual_seed(0)
    x, *samples, pattern = (torch.randn((8, 1, 64, 64), generator=generator).expand(-1, 3, -1, -1) for _ in range(4))
    spreads = (0.0, 0.4, 0.6, 0.8, 1.0, 1.5)
    scores = {spread: float(energy_score(*(spread * one for one in samples), x)) for spread in spreads}
    assert min(scores, key=scores.__getitem__) in (0.6, 0.8)  # white grain is in all sizes
    assert energy_score(pattern, pattern, x) > 1.2 * scores[0.0]
    colours = torch.randn((3, 8, 3, 64, 64), generator=generator)
    colours -= 0.299 * colours[:, :, :1] + 0.587 * colours[:, :, 1:2] + 0.114 * colours[:, :, 2:]
    for likely in (
        colours,
        torch.randn((3, 8, 3, 4, 4), generator=generator).repeat_interleave(16, 3).repeat_interleave(16, 4),
    ):
        assert energy_score(0 * x, 0 * x, likely[0]) < energy_score(0.4 * likely[1], 0.4 * likely[2], likely[0])


def test_the_energy_score_asks_for_structure_where_it_is_known(photographs) -> None:
    from gsc_ros.training.energy_score import energy_score

    x = as_images(CropSource(photographs, crop=160, seed=0).batch(0, 4))
    blurred = F.avg_pool2d(F.pad(x, (4, 4, 4, 4), mode="replicate"), 9, stride=1)
    strangers = x.flip(0), x.flip(0).flip(3)
    assert energy_score(x, x, x) < 0.1 * energy_score(blurred, blurred, x) < energy_score(*strangers, x)


def test_the_energy_score_has_a_slope_everywhere() -> None:
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    energy_score(x, x, x).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()

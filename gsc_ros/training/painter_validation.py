"""What has come of a painter so far, on photographs that it does not learn from: seconds on a GPU, half a minute on a CPU."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.generators.flow_network import RESIDUAL_SCALE
from gsc_ros.generators.painter_network import PainterNetwork
from gsc_ros.generators.rectified_flow import noise
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.nano import LEVEL_AIMED
from gsc_ros.training.deep_energy import deep_energy
from gsc_ros.training.deep_features import DeepFeatures
from gsc_ros.training.images import as_images, image_files, read_rgb
from gsc_ros.training.observed import observed

SHORT = 288  # pixels to which a photograph's short side is brought, as in training
SIDE = 192  # of the middle that is looked at


def middles(folder: Path) -> Tensor:
    """The middles of the photographs below ``folder`` at working resolution, (n,3,SIDE,SIDE) of uint8."""
    found = []
    for path in image_files(folder):
        image = read_rgb(path)
        scale = SHORT / min(image.shape[:2])
        size = max(SIDE, round(scale * image.shape[1])), max(SIDE, round(scale * image.shape[0]))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        top, left = ((side - SIDE) // 2 for side in image.shape[:2])
        found.append(image[top : top + SIDE, left : left + SIDE])
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def gradient(image: Tensor) -> Tensor:
    """Mean length of the gradient of the grey images (B,3,h,w)."""
    grey = image.mean(dim=1)
    return torch.hypot(grey.diff(dim=1)[:, :, 1:], grey.diff(dim=2)[:, 1:]).mean()


class PainterValidation:
    """Figures of a network on fixed photographs, the same noise each time.

    deep       distance from the original in deep features as a part of the fidelity image's: below 1 it is better
    gradient   of the original's, at working resolution
    low_pass   squared error at an eighth of the working resolution as a part of the fidelity image's: above 1 it is worse
    variation  mean absolute difference of two samples, in grey levels
    """

    def __init__(self, folder: Path, codec: NanoCodec, features: DeepFeatures, *, shrink: int, device: str) -> None:
        self._features, self._shrink = features, shrink
        self._x = as_images(middles(folder).to(device))
        with torch.no_grad():
            self._truths = features(F.avg_pool2d(self._x, shrink))
        count = len(self._x)
        sent = torch.ones(count, codec.layout.channels, device=device)
        self._seen = observed(codec, self._x, torch.full((count,), LEVEL_AIMED, device=device), sent)
        self._z = noise((2 * count, 3, 2 * SIDE, 2 * SIDE), torch.Generator().manual_seed(0)).to(device)
        self._plain = self._distances(self._seen.fidelity)

    def _distances(self, image: Tensor) -> tuple[Tensor, Tensor]:
        deep = deep_energy(self._features(F.avg_pool2d(image, self._shrink)), self._truths)
        return deep.mean(), F.avg_pool2d(image - self._x, 8).square().mean()

    @torch.no_grad()
    def __call__(self, network: PainterNetwork) -> dict[str, float]:
        count = len(self._x)
        guidance = self._seen.guidance(network).repeated(2)
        half, _ = network.painted(self._z, torch.ones(2 * count, device=self._z.device), guidance)
        first, second = (torch.cat([self._seen.fidelity] * 2) + RESIDUAL_SCALE * half).clamp(0, 1).split(count)
        deep, low_pass = self._distances(first)
        return {
            "val_deep": float(deep / self._plain[0]),
            "val_gradient": float(gradient(first) / gradient(self._x)),
            "val_low_pass": float(low_pass / self._plain[1]),
            "val_variation": 255 * float((first - second).abs().mean()),
        }

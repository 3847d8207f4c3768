"""A critic on frozen features: is this the original, given the fidelity image, position by position and at several depths?

    features of the picture ---+
    features of the fidelity --+--> 1x1 --> 3x3 --> 3x3 --> one value a position        for each depth

A critic that has to learn to see takes more steps and photographs than there are (docs/nano.md, "A critic for the generator"); on
features of a network that sees already (projected GANs: Sauer et al. 2021) it takes some layers. Spectral normalisation (Miyato et al. 2018)
bounds it, and the hinge ends its pull on what it tells apart anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

WIDTH = 128


class Head(nn.Module):
    """The critic of one depth, features of ``width``: a value for each position, above 0 for originals."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = spectral_norm(nn.Conv2d(2 * width, WIDTH, 1))
        self.look = spectral_norm(nn.Conv2d(WIDTH, WIDTH, 3, padding=1))
        self.value = spectral_norm(nn.Conv2d(WIDTH, 1, 3, padding=1))
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, feature: Tensor, known: Tensor) -> Tensor:
        # Features have length 1 over the channels of a position: times the root of their number they are of usual size.
        both = torch.cat([feature, known], dim=1) * feature.shape[1] ** 0.5
        return self.gain * self.value(F.leaky_relu(self.look(F.leaky_relu(self.read(both), 0.2)), 0.2))


class FeatureCritic(nn.Module):
    """A :class:`Head` for each of the features, which are of ``widths`` channels."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList([Head(width) for width in widths])

    def forward(self, features: Sequence[Tensor], known: Sequence[Tensor]) -> list[Tensor]:
        """Values (B,1,h,w) of pictures by their ``features``, given those of the fidelity images, for each depth."""
        return [head(feature, given) for head, feature, given in zip(self.heads, features, known, strict=True)]

    def pull(self, drawn: Sequence[Tensor], known: Sequence[Tensor]) -> Tensor:
        """What samples should lower: how much they look like samples. The critic itself learns nothing of it."""
        self.requires_grad_(False)
        values = self(drawn, known)
        self.requires_grad_(True)
        return -torch.stack([value.float().mean() for value in values]).mean()

    def error(self, drawn: Sequence[Tensor], truths: Sequence[Tensor], known: Sequence[Tensor]) -> Tensor:
        """The hinge loss of telling ``drawn`` from ``truths``. The samples learn nothing of it."""
        given = [feature.split(len(truth))[0] for feature, truth in zip(known, truths, strict=True)]
        false = self([feature.detach() for feature in drawn], known)
        true = self(truths, given)
        losses = [F.relu(1 + f.float()).mean() + F.relu(1 - t.float()).mean() for f, t in zip(false, true, strict=True)]
        return torch.stack(losses).mean() / 2

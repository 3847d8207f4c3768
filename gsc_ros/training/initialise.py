"""Where the codec starts from: block transform coding by principal components.

From random weights the transforms settle in a poor optimum: every channel carries a little of
everything, with a spread near the quantisation step, and in the runs we
made the learned codec hardly improved however many bytes it was allowed. With the residual branches at zero both transforms are linear
maps of blocks; set to the principal components of training blocks, a channel for each, they are
a KLT codec with its energy in few channels, which training then improves on.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.transform import WIDTHS, Down, Up
from gsc_ros.training.images import CropSource

TRUNK = 0.125  # features between the ends are kept near unit size by this factor
BATCHES, BATCH = 12, 16


def principal(blocks: Tensor, count: int) -> Tensor:
    """The ``count`` strongest directions of ``blocks`` (n,d), strongest first: (count,d)."""
    _, vectors = torch.linalg.eigh(blocks.T @ blocks)
    return vectors.flip(1)[:, :count].T.contiguous()


def _set_pair(down: Down, up: Up | None, basis: Tensor) -> None:
    """``down`` projects 2x2 positions onto ``basis``; ``up`` undoes it as far as the basis spans."""
    width_out, width_in = down.conv.weight.shape[:2]
    down.conv.weight.copy_(basis.view(width_out, width_in, 2, 2))
    torch.nn.init.zeros_(down.conv.bias)  # type: ignore[arg-type]
    if up is not None:
        up.conv.weight.copy_(basis.T.reshape(4 * width_in, width_out, 1, 1))
        torch.nn.init.zeros_(up.conv.bias)  # type: ignore[arg-type]


@torch.no_grad()
def principal_components(codec: NanoCodec, source: CropSource) -> None:
    """Set the linear paths of ``codec`` to the principal components of crops of ``source``."""
    analysis, synthesis = codec.analysis, codec.synthesis
    lead, rest = codec.layout.counts
    x = torch.cat([source.batch(step, BATCH) for step in range(BATCHES)]).float().div_(127.5).sub_(1.0)
    features = F.pixel_unshuffle(x, 4)
    identity = torch.eye(48).view(48, 3, 4, 4)
    analysis.stem.weight.copy_(TRUNK * identity)
    synthesis.out.weight.copy_(torch.eye(48)[:, :, None, None] / TRUNK)
    for layer in (
        analysis.stem,
        synthesis.out,
        analysis.head32,
        analysis.head64,
        synthesis.in32,
        synthesis.in64,
        synthesis.condition,
    ):
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    downs = [layer for layer in (*analysis.fine, *analysis.coarse) if isinstance(layer, Down)]
    ups = [layer for layer in synthesis.fine if isinstance(layer, Up)][::-1]
    for down, up, width in zip(downs, [*ups, None], (WIDTHS[1], WIDTHS[2], WIDTHS[2]), strict=True):
        blocks = F.pixel_unshuffle(features, 2)
        basis = principal(blocks.permute(0, 2, 3, 1).flatten(0, 2), width)
        _set_pair(down, up, basis)
        features = F.conv2d(blocks, basis[:, :, None, None])
    for head, channels in ((analysis.head32, rest), (analysis.head64, lead)):
        head.weight.copy_(torch.eye(channels, WIDTHS[2])[:, :, None, None] / TRUNK)
    synthesis.in32.weight.copy_(TRUNK * torch.eye(WIDTHS[2], rest)[:, :, None, None])
    # The coarse channels repeat what the fine ones say; what they are good for is learned.
    torch.nn.init.zeros_(synthesis.in64.weight)
    torch.nn.init.zeros_(synthesis.condition.weight)

"""Stage one of training nano: analysis, context model and fidelity decoder, end to end."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gsc_ros.latents.codec import NanoCodec
from gsc_ros.training import loop
from gsc_ros.training.images import CropSource
from gsc_ros.training.initialise import principal_components
from gsc_ros.training.similarity import ms_ssim


@dataclass(frozen=True, kw_only=True)
class CodecTraining(loop.TrainingSettings):
    """Settings of stage one.

    lambda of level q is ``rate_weight * rate_ratio**q`` per bit per pixel of the full frame.
    ``hard_from`` is the part of the run after which the rate is taken at rounded symbols.
    """

    steps: int = 5200
    learning_rate: float = 2.5e-4
    context_factor: float = 6.0
    rate_weight: float = 160.0
    rate_ratio: float = 0.59
    squared_error: float = 20.0
    chroma: float = 20.0
    hard_from: float = 0.8


def chroma_of(x: Tensor) -> Tensor:
    """Cb and Cr (B,2,h,w) of RGB (B,3,h,w), BT.601 without offset."""
    luma = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    return torch.cat([0.564 * (x[:, 2:] - luma), 0.713 * (x[:, :1] - luma)], dim=1)


def draw_sent(generator: torch.Generator, batch: int, channels: int) -> Tensor:
    """Which channels each frame of a batch sends, (B,N) of 0 and 1.

    Mostly all of them; now and then the first C (the nested order) or any subset, so that
    fewer channels and a selection by SSIM can be decoded as well. More often would cost the
    full set quality: frames without most of their channels have by far the largest losses.
    """
    sent = torch.ones(batch, channels)
    for row in sent:
        kind = float(torch.rand((), generator=generator))
        if kind < 0.12:
            count = int(torch.randint(1, channels, (), generator=generator))
            row[count:] = 0
        elif kind < 0.16:
            count = int(torch.randint(1, channels, (), generator=generator))
            row[torch.randperm(channels, generator=generator)[count:]] = 0
    return sent


def distortion(image: Tensor, x: Tensor, config: CodecTraining) -> Tensor:
    """1 - MS-SSIM plus squared errors of colour and chroma, for each frame: (B,)."""
    squared = (image - x).square().mean(dim=(1, 2, 3))
    chroma = (chroma_of(image) - chroma_of(x)).square().mean(dim=(1, 2, 3))
    return 1 - ms_ssim(image, x) + config.squared_error * squared + config.chroma * chroma


def train(config: CodecTraining, report: loop.Report) -> NanoCodec:
    """Run or resume stage one; returns the averaged model. ``report`` gets (step, figures)."""
    torch.manual_seed(config.seed)
    source = CropSource(config.images, crop=config.crop, seed=config.seed)
    codec = NanoCodec()
    principal_components(codec, source)

    def step_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        generator = loop.generator_of(config, step)
        torch.manual_seed(config.seed * 1_000_003 + step)  # the quantisation noise
        x = source.tensor(step, config.batch, config.device)
        level = torch.randint(codec.levels, (config.batch,), generator=generator).to(config.device)
        sent = draw_sent(generator, config.batch, codec.layout.channels).to(config.device)
        output = codec(x, level, sent, hard=step >= config.hard_from * config.steps)
        worse = distortion(output.image, x, config)
        bpp = output.bits / (4 * config.crop**2)
        weight = config.rate_weight * config.rate_ratio ** level.float()
        return (worse + weight * bpp).mean(), {"distortion": worse.mean(), "bpp": bpp.mean()}

    # The context model starts from nothing and is small; the transforms start from a codec that
    # works, which large steps would undo.
    transforms = [*codec.analysis.parameters(), *codec.synthesis.parameters()]
    models = [*codec.context.parameters(), *codec.steps.parameters()]
    groups = [{"params": transforms, "factor": 1.0}, {"params": models, "factor": config.context_factor}]
    return loop.run(codec, groups, step_loss, config, config.out / "codec.pt", report)

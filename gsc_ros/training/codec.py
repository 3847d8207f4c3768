"""Stage one of training nano: analysis, context model and fidelity decoder, end to end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gsc_ros.latents import objective
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.nano import LEVEL_AIMED, NanoLatents
from gsc_ros.training import loop
from gsc_ros.training.feed import Inputs
from gsc_ros.training.graphed import Figures
from gsc_ros.training.images import CropSource, as_images
from gsc_ros.training.initialise import principal_components
from gsc_ros.weights import Weights


@dataclass(frozen=True, kw_only=True)
class CodecTraining(loop.TrainingSettings):
    """Settings of stage one.

    lambda of level q is ``rate_weight * rate_ratio**q`` per bit per pixel of the full frame.
    ``squared_error`` is the weight at the finest level, falling to nothing at the coarsest;
    ``chroma`` is the same at all.
    ``start`` is a folder with the ``codec.safetensors`` to go on from; without one, training
    starts from the principal components of the images.
    """

    steps: int = 5000
    learning_rate: float = 1.5e-4
    context_factor: float = 4.0
    rate_weight: float = objective.BIT
    rate_ratio: float = objective.BIT_RATIO
    squared_error: float = objective.SQUARED_ERROR
    chroma: float = objective.CHROMA
    start: Path | str | None = None


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


def draw_levels(generator: torch.Generator, batch: int, levels: int) -> Tensor:
    """Quality levels of a batch, (B,) of int64: mostly about the one at which the encoder aims; a quarter of them any."""
    near = (LEVEL_AIMED + 5 * torch.randn(batch, generator=generator)).round().clamp(0, levels - 1).long()
    anywhere = torch.randint(levels, (batch,), generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < 0.25, anywhere, near)


def train(config: CodecTraining, report: loop.Report) -> NanoCodec:
    """Run or resume stage one; returns the averaged model. ``report`` gets (step, figures)."""
    torch.manual_seed(config.seed)
    source = CropSource(config.images, crop=config.crop, seed=config.seed)
    codec = NanoCodec()
    if config.start is None:
        principal_components(codec, source)
    else:
        codec = NanoLatents.load_codec(Weights(Path(config.start)))

    def draw(step: int) -> Inputs:
        generator = loop.generator_of(config, step)
        return {
            "crops": source.batch(step, config.batch),
            "level": draw_levels(generator, config.batch, codec.levels),
            "sent": draw_sent(generator, config.batch, codec.layout.channels),
        }

    def loss_of(inputs: Inputs) -> tuple[Tensor, Figures]:
        x, level = as_images(inputs["crops"]), inputs["level"]
        with config.wide_layers():
            output = codec(x, level, inputs["sent"])
        fineness = level / (codec.levels - 1)
        worse = objective.distortion(
            output.image, x, fineness, squared_error=config.squared_error, chroma=config.chroma
        )
        bpp = output.bits / (4 * config.crop**2)
        weight = objective.price(level, bit=config.rate_weight, ratio=config.rate_ratio)
        return (worse + weight * bpp).mean(), {"distortion": worse.mean(), "bpp": bpp.mean()}

    # The context model starts from nothing and is small; the transforms start from a codec that
    # works, which large steps would undo.
    transforms = [*codec.analysis.parameters(), *codec.synthesis.parameters()]
    models = [*codec.context.parameters(), *codec.steps.parameters()]
    groups = [
        {"params": transforms, "factor": 1.0, "wide": True},
        {"params": models, "factor": config.context_factor},
    ]
    return loop.run(codec, groups, draw, loss_of, config, config.out / "codec.pt", report)

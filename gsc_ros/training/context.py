"""Stage two of training nano: the context model on whole frames, with the codec frozen.

Stage one trains it along with the transforms, on crops whose grids are little more than edge. Here the latents of whole
photographs are made once, and a step is nothing but their symbols at some level: hundreds of steps a minute on one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.entropy.context import ContextModel, bits
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_sent
from gsc_ros.training.images import image_files, read_rgb, whole_blocks

SMALLER = (0.55, 0.85)  # the third form of every photograph, as part of its size: other cameras see wider
LEVEL_APART = 1.09  # bytes of one level over those of the one below, about


@dataclass(frozen=True, kw_only=True)
class ContextTraining(loop.TrainingSettings):
    """Settings of the stage. ``crop`` is of no use here; ``fresh`` starts from new weights in place of the codec's own."""

    steps: int = 20000
    learning_rate: float = 2e-3
    fresh: bool = True


@dataclass(frozen=True)
class Group:
    """The latents of all photographs of one size: (n,4,r,c) and (n,16,2r,2c)."""

    lead: Tensor
    rest: Tensor


def photographs(root: Path, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Every image below ``root``, mirrored, and made smaller."""
    generator = np.random.default_rng(seed)
    for path in image_files(root):
        image = read_rgb(path)
        factor = generator.uniform(*SMALLER)
        yield image
        yield np.ascontiguousarray(image[:, ::-1])
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def latents(codec: NanoCodec, images: Iterator[NDArray[np.uint8]], device: str) -> list[Group]:
    """The latents of whole ``images``, by size."""
    found: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
    for image in images:
        x = whole_blocks(image, codec.layout)
        with torch.inference_mode():
            lead, rest = codec.analysis(torch.from_numpy(x).permute(2, 0, 1)[None].to(device).float() / 255)
        found.setdefault(tuple(rest.shape), []).append((lead.cpu(), rest.cpu()))
    return [Group(*(torch.cat(part).clone() for part in zip(*group, strict=True))) for group in found.values()]


def train(config: ContextTraining, codec: NanoCodec, report: loop.Report) -> ContextModel:
    """Run or resume the stage; returns the averaged model."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device).eval().requires_grad_(False)
    groups = latents(codec, photographs(config.images, config.seed), config.device)
    context = ContextModel(codec.layout, codec.levels)
    if not config.fresh:
        context.load_state_dict(codec.context.state_dict())
    shares = torch.tensor([float(len(group.lead)) for group in groups])
    lead_channels = codec.layout.counts[0]

    def step_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        generator = loop.generator_of(config, step)
        group = groups[int(torch.multinomial(shares, 1, generator=generator))]
        chosen = torch.randint(len(group.lead), (min(config.batch, len(group.lead)),), generator=generator)
        level = torch.randint(codec.levels, (len(chosen),), generator=generator).to(config.device)
        sent = draw_sent(generator, len(chosen), codec.layout.channels).to(config.device)
        masks = sent[:, :lead_channels, None, None], sent[:, lead_channels:, None, None]
        symbols = [
            (y[chosen].to(config.device) / of_level).round().clamp(-127, 127) * mask
            for y, of_level, mask in zip((group.lead, group.rest), codec.steps(level), masks, strict=True)
        ]
        models = context(symbols[0], symbols[1], codec.condition(level, sent))
        total = torch.zeros(len(chosen), device=config.device)
        for symbol, mask, (mu, log_scale) in zip(symbols, masks, models, strict=True):
            total = total + (bits(symbol, mu, log_scale) * mask).sum(dim=(1, 2, 3))
        each = total / (group.rest.shape[2] * group.rest.shape[3])
        # Every level is worth the same.
        return (each * LEVEL_APART ** (codec.levels / 2 - level)).mean(), {"bits": each.mean()}

    parameters = [{"params": list(context.parameters()), "factor": 1.0}]
    return loop.run(context, parameters, step_loss, config, config.out / "context.pt", report)

"""Stage two of training nano: the context model on whole frames, with the codec frozen.

Stage one trains it along with the transforms, on crops whose grids are little more than edge. Here the latents of whole
photographs are made once, and a step is nothing but their symbols at some level: hundreds of steps a minute on one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gsc_ros.entropy.context import ContextModel, bits
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_sent
from gsc_ros.training.feed import Inputs
from gsc_ros.training.graphed import Figures
from gsc_ros.training.images import as_images, image_files, read_rgb, whole_blocks

SMALLER = (0.55, 0.85)  # the third form of every photograph, as part of its size: other cameras see wider
ANALYSED = 16  # photographs at once
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


def photographs(root: Path, seed: int, layout: LatentLayout) -> Iterator[NDArray[np.uint8]]:
    """Every image below ``root``, mirrored, and made smaller; whole blocks."""
    files = image_files(root)
    factors = np.random.default_rng(seed).uniform(*SMALLER, len(files))

    def forms(path: Path, factor: float) -> list[NDArray[np.uint8]]:
        image = read_rgb(path)
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        smaller = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        mirrored = np.ascontiguousarray(image[:, ::-1])
        return [whole_blocks(form, layout) for form in (image, mirrored, smaller)]

    with ThreadPoolExecutor() as pool:
        for group in pool.map(forms, files, factors):
            yield from group


def latents(codec: NanoCodec, images: Iterator[NDArray[np.uint8]], device: str) -> list[Group]:
    """The latents of whole ``images``, by size."""
    sizes: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
    for image in images:
        sizes.setdefault(image.shape, []).append(image)
    groups = []
    for same in sizes.values():
        parts = []
        for start in range(0, len(same), ANALYSED):
            crops = torch.from_numpy(np.stack(same[start : start + ANALYSED])).permute(0, 3, 1, 2)
            with torch.inference_mode():
                parts.append([y.cpu() for y in codec.analysis(as_images(crops.to(device)))])
        groups.append(Group(*(torch.cat(y).clone() for y in zip(*parts, strict=True))))
    return groups


def train(config: ContextTraining, codec: NanoCodec, report: loop.Report) -> ContextModel:
    """Run or resume the stage; returns the averaged model."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device).eval().requires_grad_(False)
    groups = latents(codec, photographs(config.images, config.seed, codec.layout), config.device)
    context = ContextModel(codec.layout, codec.levels)
    if not config.fresh:
        context.load_state_dict(codec.context.state_dict())
    shares = torch.tensor([float(len(group.lead)) for group in groups])
    lead_channels = codec.layout.counts[0]

    def draw(step: int) -> Inputs:
        generator = loop.generator_of(config, step)
        group = groups[int(torch.multinomial(shares, 1, generator=generator))]
        chosen = torch.randint(len(group.lead), (min(config.batch, len(group.lead)),), generator=generator)
        return {
            "lead": group.lead[chosen],
            "rest": group.rest[chosen],
            "level": torch.randint(codec.levels, (len(chosen),), generator=generator),
            "sent": draw_sent(generator, len(chosen), codec.layout.channels),
        }

    def loss_of(inputs: Inputs) -> tuple[Tensor, Figures]:
        level, sent = inputs["level"], inputs["sent"]
        masks = sent[:, :lead_channels, None, None], sent[:, lead_channels:, None, None]
        symbols = [
            (y / of_level).round().clamp(-127, 127) * mask
            for y, of_level, mask in zip((inputs["lead"], inputs["rest"]), codec.steps(level), masks, strict=True)
        ]
        models = context(symbols[0], symbols[1], codec.condition(level, sent))
        total = torch.zeros(len(level), device=config.device)
        for symbol, mask, (mu, log_scale) in zip(symbols, masks, models, strict=True):
            total = total + (bits(symbol, mu, log_scale) * mask).sum(dim=(1, 2, 3))
        each = total / (inputs["rest"].shape[2] * inputs["rest"].shape[3])
        # Every level is worth the same.
        return (each * LEVEL_APART ** (codec.levels / 2 - level)).mean(), {"bits": each.mean()}

    parameters = [{"params": list(context.parameters()), "factor": 1.0}]
    return loop.run(context, parameters, draw, loss_of, config, config.out / "context.pt", report)

"""Stage three of training nano: the generator, with the codec frozen (paper eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.captioners.descriptor import DescriptorCaptioner
from gsc_ros.generators.flow_network import RESIDUAL_SCALE, FlowNetwork, enlarged
from gsc_ros.generators.nano_flow import MAX_STEPS, NanoFlow
from gsc_ros.generators.rectified_flow import interpolate, matching_loss, noise, timesteps, velocity
from gsc_ros.generators.text_embedding import bag_of_words
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.latents.objective import luma_chroma
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_levels, draw_sent
from gsc_ros.training.feed import Inputs
from gsc_ros.training.graphed import Figures
from gsc_ros.training.images import CropSource, as_images

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
PERIOD = 16  # pixels: four patches, for what alternates from one to the next is a grid too


@dataclass(frozen=True, kw_only=True)
class FlowTraining(loop.TrainingSettings):
    """Settings of stage three.

    ``crop`` is that of the painted picture, twice what the codec sees. ``texture`` weighs the difference in
    local structure, ``grid`` what repeats from patch to patch; captions and latents are left out of ``drop_text``
    and ``drop_latent`` of the crops. ``start`` is a folder with the ``flow.safetensors`` to go on from.
    """

    steps: int = 1700
    learning_rate: float = 7e-4
    crop: int = 256
    seed: int = 2
    texture: float = 0.3
    drop_text: float = 0.2
    drop_latent: float = 0.03
    grid: float = 20.0
    start: Path | str | None = None


def texture(image: Tensor) -> list[Tensor]:
    """How much structure of which size and direction is where, wherever exactly.

    For luma and chroma of ``image`` (B,3,h,w), at full size, half, a quarter and an eighth of it: root mean
    squared differences across, down and along both diagonals, in blocks of 8x8 pixels of that size.
    """
    planes = luma_chroma(image)
    found = []
    for _ in range(4):
        here, right, below, beyond = (planes[..., y : y - 1 or None, x : x - 1 or None] for y, x in CORNERS)
        differences = torch.cat([right - here, below - here, beyond - here, right - below], dim=1)
        found.append((F.avg_pool2d(differences.square(), 8, ceil_mode=True) + 1e-5).sqrt())
        planes = F.avg_pool2d(planes, 2)
    return found


def texture_difference(painted: Tensor, x: Tensor) -> Tensor:
    """Mean difference in :func:`texture`, block by block and in the mean over the crop."""
    pairs = list(zip(texture(painted), texture(x), strict=True))
    local = torch.stack([(a - b).abs().mean() for a, b in pairs])
    overall = torch.stack([(a - b).mean(dim=(2, 3)).abs().mean() for a, b in pairs])
    return (local + overall).mean()


def pattern(residual: Tensor) -> Tensor:
    """What repeats every 16 pixels in blocks of 128, mean squared: next to nothing in a photograph.

    A network that paints patches can have any amount of structure for little squared error by painting
    the same into each of them, and does, unless that costs: one sees a grid.
    """
    folded = F.avg_pool3d(F.pixel_unshuffle(residual, PERIOD)[:, None], (1, 8, 8))[:, 0]
    folded = folded.unflatten(1, (residual.shape[1], PERIOD**2))
    return (folded - folded.mean(dim=2, keepdim=True)).square().mean()


def draw_times(generator: torch.Generator, batch: int) -> Tensor:
    """Times t of a batch: half of them those that two steps visit, half any that up to sixteen steps visit."""
    visited = torch.tensor(timesteps(2)[:-1])[torch.randint(2, (batch,), generator=generator)]
    least = timesteps(MAX_STEPS)[-2]
    any_time = least + (1 - least) * torch.rand(batch, generator=generator)
    return torch.where(torch.rand(batch, generator=generator) < 0.5, visited, any_time)


def train(config: FlowTraining, codec: NanoCodec, report: loop.Report) -> FlowNetwork:
    """Run or resume stage three on a trained ``codec``; returns the averaged network."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device).eval().requires_grad_(False)
    channels, levels = codec.layout.channels, codec.levels
    network = (
        FlowNetwork(channels, levels)
        if config.start is None
        else NanoFlow.load(Path(config.start), channels=channels, levels=levels).network.requires_grad_(True).train()
    )
    source = CropSource(config.images, crop=config.crop, seed=config.seed)
    captioner = DescriptorCaptioner()

    def draw(step: int) -> Inputs:
        generator = loop.generator_of(config, step)
        crops = source.batch(step, config.batch)
        level = draw_levels(generator, config.batch, levels)
        sent = draw_sent(generator, config.batch, channels)
        sent[torch.rand(config.batch, generator=generator) < config.drop_latent] = 0
        silent = torch.rand(config.batch, generator=generator) < config.drop_text
        captions = [
            "" if quiet else captioner.caption(crop.permute(1, 2, 0).contiguous().numpy())
            for crop, quiet in zip(crops, silent.tolist(), strict=True)
        ]
        return {
            "crops": crops,
            "level": level,
            "sent": sent,
            "bags": bag_of_words(captions),
            "t": draw_times(generator, config.batch),
            "start": noise(crops.shape, generator),
        }

    def loss_of(inputs: Inputs) -> tuple[Tensor, Figures]:
        x, level, sent = as_images(inputs["crops"]), inputs["level"], inputs["sent"]
        t, start = inputs["t"], inputs["start"]
        with torch.no_grad(), config.wide_layers():
            output = codec(F.avg_pool2d(x, 2), level, sent)
            fidelity = enlarged(output.image.clamp(0, 1))
            steps = codec.steps(level)
            control = NanoLatents.control_map(output.symbols[0] * steps[0], output.symbols[1] * steps[1])
        residual = (x - fidelity) / RESIDUAL_SCALE
        with config.wide_layers():
            guidance = network.guidance(fidelity, control, codec.condition(level, sent), inputs["bags"])
            noisy = interpolate(residual, start, t)
            predicted = network(noisy, t, guidance).float()
        error = matching_loss(velocity(noisy, predicted, t), residual, start, weight=t.square())
        painted = fidelity + RESIDUAL_SCALE * predicted
        unlike = texture_difference(painted, x) / RESIDUAL_SCALE
        grid = pattern(predicted)
        figures = {"squared_error": error, "texture": unlike, "grid": grid}
        return error + config.texture * unlike + config.grid * grid, figures

    groups = [{"params": list(network.parameters()), "factor": 1.0, "wide": True}]
    return loop.run(network, groups, draw, loss_of, config, config.out / "flow.pt", report)

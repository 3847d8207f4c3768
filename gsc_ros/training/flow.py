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
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_levels, draw_sent
from gsc_ros.training.energy_score import energy_score
from gsc_ros.training.feed import Inputs
from gsc_ros.training.graphed import Figures
from gsc_ros.training.images import CropSource, as_images
from gsc_ros.weights import Weights


@dataclass(frozen=True, kw_only=True)
class FlowTraining(loop.TrainingSettings):
    """Settings of stage three.

    ``crop`` is that of the painted picture, twice what the codec sees. ``squared_error`` weighs the flow-matching loss
    beside the energy score: a little of it keeps far-off values away. ``midway`` is the part of the crops that begin at
    some time below 1, as the later of several steps do; captions and latents are left out of ``drop_text`` and
    ``drop_latent`` of them. ``start`` is a folder with the ``flow.safetensors`` to go on from.
    """

    steps: int = 1700
    learning_rate: float = 7e-4
    crop: int = 256
    seed: int = 2
    squared_error: float = 0.01
    midway: float = 0.2
    drop_text: float = 0.5
    drop_latent: float = 0.03
    start: Path | str | None = None


def draw_times(generator: torch.Generator, batch: int, midway: float) -> Tensor:
    """Times t of a batch: 1, but for ``midway`` of them: half of those what two steps visit, half any that up to sixteen visit."""
    visited = torch.tensor(timesteps(2)[:-1])[torch.randint(2, (batch,), generator=generator)]
    least = timesteps(MAX_STEPS)[-2]
    any_time = least + (1 - least) * torch.rand(batch, generator=generator)
    later = torch.where(torch.rand(batch, generator=generator) < 0.5, visited, any_time)
    return torch.where(torch.rand(batch, generator=generator) < midway, later, torch.ones(batch))


def twice(values: Tensor) -> Tensor:
    """(B,...) for two samples: (2B,...)."""
    return torch.cat([values, values])


def train(config: FlowTraining, codec: NanoCodec, report: loop.Report) -> FlowNetwork:
    """Run or resume stage three on a trained ``codec``; returns the averaged network."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device).eval().requires_grad_(False)
    channels, levels = codec.layout.channels, codec.levels
    network = (
        FlowNetwork(channels, levels)
        if config.start is None
        else NanoFlow.load(Weights(Path(config.start)), channels=channels, levels=levels)
        .network.requires_grad_(True)
        .train()
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
            "t": draw_times(generator, config.batch, config.midway),
            "start": noise((2 * config.batch, *crops.shape[1:]), generator),
        }

    def loss_of(inputs: Inputs) -> tuple[Tensor, Figures]:
        x, level, sent = as_images(inputs["crops"]), inputs["level"], inputs["sent"]
        t, start = twice(inputs["t"]), inputs["start"]
        with torch.no_grad(), config.wide_layers():
            output = codec(F.avg_pool2d(x, 2), level, sent)
            fidelity = enlarged(output.image.float().clamp(0, 1))
            steps = codec.steps(level)
            control = NanoLatents.control_map(output.symbols[0] * steps[0], output.symbols[1] * steps[1])
        residual = (x - fidelity) / RESIDUAL_SCALE
        with config.wide_layers():
            given, embedding = network.guidance(fidelity, control, codec.condition(level, sent), inputs["bags"])
            noisy = interpolate(twice(residual), start, t)
            predicted = network(noisy, t, ([twice(features) for features in given], twice(embedding))).float()
        first, second = predicted.chunk(2)
        score = energy_score(first, second, residual)
        error = matching_loss(velocity(noisy, predicted, t), twice(residual), start, weight=t.square())
        return score + config.squared_error * error, {"energy_score": score, "squared_error": error}

    groups = [{"params": list(network.parameters()), "factor": 1.0, "wide": True}]
    return loop.run(network, groups, draw, loss_of, config, config.out / "flow.pt", report)

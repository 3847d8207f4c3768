"""Stage two of training nano: the generator, with the codec frozen (paper eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.captioners.descriptor import DescriptorCaptioner
from gsc_ros.generators.flow_network import RESIDUAL_SCALE, FlowNetwork
from gsc_ros.generators.rectified_flow import interpolate
from gsc_ros.generators.text_embedding import bag_of_words
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_sent
from gsc_ros.training.images import CropSource


@dataclass(frozen=True, kw_only=True)
class FlowTraining(loop.TrainingSettings):
    """Settings of stage two.

    ``texture`` weighs the difference in local gradient energy; captions and latents are left
    out of ``drop_text`` and ``drop_latent`` of the crops.
    """

    steps: int = 1700
    learning_rate: float = 7e-4
    seed: int = 2
    texture: float = 0.3
    drop_text: float = 0.2
    drop_latent: float = 0.03


def texture_energy(image: Tensor) -> Tensor:
    """Root mean squared gradient in blocks of 8x8 pixels: how much texture is where, wherever exactly."""
    grey = image.mean(dim=1, keepdim=True)
    across, down = grey[..., :-1, 1:] - grey[..., :-1, :-1], grey[..., 1:, :-1] - grey[..., :-1, :-1]
    return (F.avg_pool2d(across**2 + down**2, 8, ceil_mode=True) + 1e-5).sqrt()


def train(config: FlowTraining, codec: NanoCodec, report: loop.Report) -> FlowNetwork:
    """Run or resume stage two on a trained ``codec``; returns the averaged network."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device).eval().requires_grad_(False)
    channels, levels = codec.layout.channels, codec.levels
    network = FlowNetwork(channels, levels)
    source = CropSource(config.images, crop=config.crop, seed=config.seed)
    captioner = DescriptorCaptioner()

    def step_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        generator = loop.generator_of(config, step)
        crops = source.batch(step, config.batch)
        x = source.tensor(step, config.batch, config.device)
        level = torch.randint(levels, (config.batch,), generator=generator).to(config.device)
        sent = draw_sent(generator, config.batch, channels)
        sent[torch.rand(config.batch, generator=generator) < config.drop_latent] = 0
        sent = sent.to(config.device)
        silent = torch.rand(config.batch, generator=generator) < config.drop_text
        captions = [
            "" if quiet else captioner.caption(crop.permute(1, 2, 0).contiguous().numpy())
            for crop, quiet in zip(crops, silent.tolist(), strict=True)
        ]
        t = torch.rand(config.batch, generator=generator).to(config.device)
        noise = torch.randn(x.shape, generator=generator).to(config.device)
        with torch.no_grad():
            output = codec(x, level, sent, hard=True)
            fidelity = output.image.clamp(0, 1)
            steps = codec.steps(level)
            control = NanoLatents.control_map(output.symbols[0] * steps[0], output.symbols[1] * steps[1])
        residual = (x - fidelity) / RESIDUAL_SCALE
        bags = bag_of_words(captions).to(config.device)
        guidance = network.guidance(fidelity, control, codec.condition(level, sent), bags)
        predicted = network(interpolate(residual, noise, t), t, guidance)
        error = (predicted - residual).square().mean()
        painted = fidelity + RESIDUAL_SCALE * predicted
        texture = (texture_energy(painted) - texture_energy(x)).abs().mean() / RESIDUAL_SCALE
        return error + config.texture * texture, {"squared_error": error, "texture": texture}

    groups = [{"params": list(network.parameters()), "factor": 1.0}]
    return loop.run(network, groups, step_loss, config, config.out / "flow.pt", report)

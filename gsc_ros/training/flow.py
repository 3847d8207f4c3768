"""Stage two of training nano: the generator, with the codec frozen (paper eq. 6)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.captioners.descriptor import DescriptorCaptioner
from gsc_ros.generators.flow_network import RESIDUAL_SCALE, FlowNetwork
from gsc_ros.generators.rectified_flow import interpolate
from gsc_ros.generators.text_embedding import bag_of_words
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.training import checkpoint
from gsc_ros.training.codec import draw_sent
from gsc_ros.training.images import CropSource

REPORT_EVERY = 50


@dataclass(frozen=True)
class FlowTraining:
    """Settings of stage two."""

    images: Path
    out: Path
    steps: int = 6000
    batch: int = 8
    crop: int = 160
    learning_rate: float = 7e-4
    seed: int = 2
    texture: float = 0.3
    drop_text: float = 0.2
    drop_latent: float = 0.03
    ema: float = 0.998
    largest_gradient: float = 30.0
    save_every: int = 200
    device: str = "cpu"


def texture_energy(image: Tensor) -> Tensor:
    """Root mean squared gradient in blocks of 8x8 pixels: how much texture is where, wherever exactly."""
    grey = image.mean(dim=1, keepdim=True)
    across, down = grey[..., :-1, 1:] - grey[..., :-1, :-1], grey[..., 1:, :-1] - grey[..., :-1, :-1]
    return (F.avg_pool2d(across**2 + down**2, 8, ceil_mode=True) + 1e-5).sqrt()


def train(config: FlowTraining, codec: NanoCodec, report: Callable[[int, dict[str, float]], None]) -> FlowNetwork:
    """Run or resume stage two on a trained ``codec``; returns the averaged network."""
    torch.manual_seed(config.seed)
    codec = codec.to(config.device).eval().requires_grad_(False)
    channels, levels = codec.layout.channels, codec.levels
    network = FlowNetwork(channels, levels).to(config.device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=1e-3)
    source = CropSource(config.images, crop=config.crop, seed=config.seed)
    captioner = DescriptorCaptioner()
    path = config.out / "flow.pt"
    start = 0
    if (state := checkpoint.load(path)) is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = int(state["step"])
    began = time.monotonic()
    totals = torch.zeros(3, device=config.device)
    for step in range(start, config.steps):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 200)
            group["lr"] = (
                config.learning_rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
            )
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        crops = source.batch(step, config.batch)
        x = crops.to(config.device).float().div_(255).contiguous(memory_format=torch.channels_last)
        level = torch.randint(levels, (config.batch,), generator=generator)
        sent = draw_sent(generator, config.batch, channels)
        sent[torch.rand(config.batch, generator=generator) < config.drop_latent] = 0
        silent = torch.rand(config.batch, generator=generator) < config.drop_text
        captions = [
            "" if quiet else captioner.caption(crop.permute(1, 2, 0).numpy())
            for crop, quiet in zip(crops, silent.tolist(), strict=True)
        ]
        t = torch.rand(config.batch, generator=generator).to(config.device)
        noise = torch.randn(x.shape, generator=generator).to(config.device)
        level, sent = level.to(config.device), sent.to(config.device)
        with torch.no_grad():
            output = codec(x, level, sent, hard=True)
            fidelity = output.image.clamp(0, 1)
            steps = codec.steps(level)
            control = NanoLatents.control_map(output.symbols[0] * steps[0], output.symbols[1] * steps[1])
        residual = (x - fidelity) / RESIDUAL_SCALE
        guidance = network.guidance(
            fidelity, control, codec.condition(level, sent), bag_of_words(captions).to(config.device)
        )
        predicted = network(interpolate(residual, noise, t), t, guidance)
        error = (predicted - residual).square().mean()
        texture = (
            texture_energy(fidelity + RESIDUAL_SCALE * predicted) - texture_energy(x)
        ).abs().mean() / RESIDUAL_SCALE
        loss = error + config.texture * texture
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if norm <= config.largest_gradient:  # false for nan as well
            optimizer.step()
        average.update_parameters(network)
        totals += torch.stack([error.detach(), texture.detach(), norm])
        if (step + 1) % REPORT_EVERY == 0:
            names = ("squared_error", "texture", "gradient_norm")
            report(
                step + 1,
                dict(zip(names, (totals / REPORT_EVERY).tolist(), strict=True)) | {"seconds": time.monotonic() - began},
            )
            totals.zero_()
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            checkpoint.save(
                path,
                {
                    "step": step + 1,
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
            )
    assert isinstance(average.module, FlowNetwork)
    return average.module

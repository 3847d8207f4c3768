"""Stage one of training nano: analysis, context model and fidelity decoder, end to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gsc_ros.latents.codec import NanoCodec
from gsc_ros.training import checkpoint
from gsc_ros.training.images import CropSource
from gsc_ros.training.initialise import principal_components
from gsc_ros.training.similarity import ms_ssim

REPORT_EVERY = 50


@dataclass(frozen=True)
class CodecTraining:
    """Settings of stage one.

    lambda of level q is ``rate_weight * rate_ratio**q`` per bit per pixel of the full frame.
    """

    images: Path
    out: Path
    steps: int = 9000
    batch: int = 12
    crop: int = 160
    learning_rate: float = 2.5e-4
    context_factor: float = 6.0
    seed: int = 1
    rate_weight: float = 160.0
    rate_ratio: float = 0.59
    squared_error: float = 20.0
    chroma: float = 20.0
    ema: float = 0.998
    hard_from: float = 0.8
    largest_gradient: float = 300.0
    save_every: int = 200
    device: str = "cpu"


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


def train(config: CodecTraining, report: Callable[[int, dict[str, float]], None]) -> NanoCodec:
    """Run or resume stage one; returns the averaged model. ``report`` gets (step, figures)."""
    torch.manual_seed(config.seed)
    source = CropSource(config.images, crop=config.crop, seed=config.seed)
    codec = NanoCodec()
    principal_components(codec, source)
    codec.to(config.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = torch.optim.swa_utils.AveragedModel(
        codec, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
    )
    # The context model starts from nothing and is small; the transforms start from a codec that
    # works, which large steps would undo.
    transforms = [*codec.analysis.parameters(), *codec.synthesis.parameters()]
    models = [*codec.context.parameters(), *codec.steps.parameters()]
    groups = [{"params": transforms, "factor": 1.0}, {"params": models, "factor": config.context_factor}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=1e-5)
    path = config.out / "codec.pt"
    start = 0
    if (state := checkpoint.load(path)) is not None:
        codec.load_state_dict(state["codec"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = int(state["step"])
    pixels = 4 * config.crop**2
    began = time.monotonic()
    totals = torch.zeros(4, device=config.device)
    for step in range(start, config.steps):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 100)
            decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            group["lr"] = config.learning_rate * group["factor"] * warm * decay
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        torch.manual_seed(config.seed * 1_000_003 + step)
        x = (
            source.batch(step, config.batch)
            .to(config.device)
            .float()
            .div_(255)
            .contiguous(memory_format=torch.channels_last)
        )
        level = torch.randint(codec.levels, (config.batch,), generator=generator).to(config.device)
        sent = draw_sent(generator, config.batch, codec.layout.channels).to(config.device)
        output = codec(x, level, sent, hard=step >= config.hard_from * config.steps)
        weight = config.rate_weight * config.rate_ratio ** level.float()
        worse = distortion(output.image, x, config)
        bpp = output.bits / pixels
        loss = (worse + weight * bpp).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        if norm <= config.largest_gradient:  # false for nan as well
            optimizer.step()
        average.update_parameters(codec)
        totals += torch.stack([loss.detach(), worse.detach().mean(), bpp.detach().mean(), norm])
        if (step + 1) % REPORT_EVERY == 0:
            names = ("loss", "distortion", "bpp", "gradient_norm")
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
                    "codec": codec.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
            )
    assert isinstance(average.module, NanoCodec)
    return average.module

"""``gsc train control``: the control branch on frozen FLUX (paper 3.3 and 4.1, eq. 6), under accelerate.

cache --> x, y_hat of C channels, caption --> FLUX + branch --> matching loss --> the branch alone learns
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from gsc_ros.generators.flux_control import LatentControl, condition_of
from gsc_ros.generators.rectified_flow import interpolate, matching_loss
from gsc_ros.training.control_cache import Cache, Sample

REPORT_EVERY = 50
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16}  # of FLUX and of products; the branch's weights are float32
MOST_GRADIENT = 1.0  # longer ones, over all parameters, are scaled down


@dataclass(frozen=True, kw_only=True)
class ControlTraining:
    """The paper's settings are the defaults.

    steps, batch, accumulation   optimiser steps, samples of one pass, passes a step (of every process)
    channels       C; 0: a number drawn for every sample, so that one model serves every rate
    levels         lowest and highest quality level that is drawn; None: the highest alone, the paper's round(y)
    drop_text, drop_latent   shares of the samples whose caption or latent is left out
    precision      ``no`` (float32) or ``bf16``
    ema            decay of the averaged weights that are the result; 0: none, the last weights are
    checkpointing  of gradients: activations are computed twice and not kept (``gsc bench operations --training``)
    """

    out: Path
    steps: int = 15_000
    batch: int = 1
    accumulation: int = 4
    learning_rate: float = 4e-5
    weight_decay: float = 0.01
    warm_up: int = 100
    channels: int = 0
    levels: tuple[int, int] | None = None
    drop_text: float = 0.1
    drop_latent: float = 0.05
    precision: str = "bf16"
    ema: float = 0.0
    checkpointing: bool = False
    save_every: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r}: {' and '.join(PRECISIONS)} are known")
        if min(self.steps, self.batch, self.accumulation, self.save_every) < 1:
            raise ValueError("steps, batch, accumulation and save_every: at least 1")
        if not 0 <= self.channels <= 320:
            raise ValueError(f"channels {self.channels}: 0 (any number) to 320")


def memory_needed(base: str, settings: ControlTraining) -> int:
    """Bytes of FLUX from ``base`` (folder or hub id) and of all that the branch is trained with, without activations."""
    with torch.device("meta"):  # shapes alone
        config = FluxTransformer2DModel.load_config(base, subfolder="transformer")
        transformer = FluxTransformer2DModel.from_config(config)
        branch = LatentControl.copy_of(transformer)
    frozen, learnt = (sum(p.numel() for p in model.parameters()) for model in (transformer, branch))
    copies = 5 if settings.ema else 4  # weights, gradients, AdamW's two averages, and that of the weights
    return frozen * PRECISIONS[settings.precision].itemsize + copies * learnt * torch.float32.itemsize


COUNTS = (1, 2, 4, 8, 16, 32)  # drawn where C is not fixed


@dataclass(frozen=True)
class Batch:
    """What one pass sees: data and noise (B,tokens,64), times (B,), text, and the latent as tokens."""

    x: Tensor
    noise: Tensor
    t: Tensor
    tokens: Tensor
    pooled: Tensor
    condition: Tensor


def draw(cache: Cache, step: Tensor, settings: ControlTraining, at: int) -> Batch:
    """The batch of pass ``at``, which depends on nothing but that: a resumed training equals an uninterrupted one.

    ``step`` (levels, N) are the quantisation steps of the latents.
    """
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + at)
    low, high = settings.levels or (len(step) - 1, len(step) - 1)
    samples: list[Sample] = []
    maps, masks, texts = [], [], []
    for _ in range(settings.batch):
        sample = cache[int(torch.randint(cache.count, (1,), generator=generator))]
        count = settings.channels or COUNTS[int(torch.randint(len(COUNTS), (1,), generator=generator))]
        level = int(torch.randint(low, high + 1, (1,), generator=generator))
        lost, silent = torch.rand(2, generator=generator).tolist()
        sent = torch.zeros(sample.y.shape[0])
        if lost >= settings.drop_latent:
            sent[sample.ranked[:count].long()] = 1
        size = step[level][:, None, None]
        maps.append((sample.y.float() / size).round().clamp(-127, 127) * size * sent[:, None, None])
        masks.append(sent)
        texts.append(cache.silent if silent < settings.drop_text else (sample.tokens, sample.pooled))
        samples.append(sample)
    x = torch.stack([sample.x for sample in samples]).float()
    return Batch(
        x=x,
        noise=torch.randn(x.shape, generator=generator),
        t=torch.rand(settings.batch, generator=generator),
        tokens=torch.stack([tokens for tokens, _ in texts]),
        pooled=torch.stack([pooled for _, pooled in texts]),
        condition=condition_of(torch.stack(maps), torch.stack(masks)),
    )


class Guided(torch.nn.Module):
    """FLUX with its branch as one module that predicts the velocity; only the branch has gradients."""

    def __init__(self, transformer: Any, branch: LatentControl, *, guidance: float, side: int) -> None:
        super().__init__()
        self.branch = branch
        self._frozen = [transformer]  # in a list: not a part of what is saved, trained or wrapped
        self._guidance, self._grid = guidance, side // 16

    def forward(self, z: Tensor, t: Tensor, tokens: Tensor, pooled: Tensor, condition: Tensor) -> Tensor:
        """The velocity (B,tokens,64) at ``z`` (B,tokens,64) and ``t`` (B,)."""
        transformer = self._frozen[0]
        inputs = {
            "hidden_states": z,
            "timestep": t.to(z.dtype),
            "guidance": torch.full_like(t, self._guidance) if transformer.config.guidance_embeds else None,
            "pooled_projections": pooled,
            "encoder_hidden_states": tokens,
            "txt_ids": torch.zeros(tokens.shape[1], 3, device=z.device, dtype=z.dtype),
            "img_ids": FluxPipeline._prepare_latent_image_ids(1, self._grid, self._grid, z.device, z.dtype),
        }
        residuals = self.branch.guide(transformer, condition, inputs)
        velocity: Tensor = transformer(**inputs, **residuals, return_dict=False)[0]
        return velocity


def train(
    settings: ControlTraining,
    cache: Cache,
    step_sizes: np.ndarray[Any, Any],
    transformer: Any,
    report: Callable[[int, dict[str, float]], None],
    *,
    guidance: float = 1.0,
    on_saved: Callable[[int, LatentControl], None] | None = None,
) -> LatentControl:
    """Train, or go on from the checkpoint in ``settings.out``; returns the branch, which is in ``out``/control as well.

    ``transformer`` is FLUX, frozen. Under ``accelerate launch`` every process draws batches of its own.
    ``report(step, figures)``, and ``on_saved(step, branch)`` after each checkpoint, are called in the first process alone.
    """
    from accelerate import Accelerator
    from accelerate.utils import set_seed
    from diffusers.training_utils import EMAModel

    set_seed(settings.seed)
    accelerator = Accelerator(mixed_precision=settings.precision, gradient_accumulation_steps=settings.accumulation)
    dtype = PRECISIONS[settings.precision]
    if transformer.dtype != dtype:
        transformer.to(dtype)
    transformer.to(accelerator.device).eval().requires_grad_(False)
    branch = LatentControl.copy_of(transformer, dtype=torch.float32).train()
    if settings.checkpointing:
        transformer.enable_gradient_checkpointing()
        branch.enable_gradient_checkpointing()
    optimizer = optimizer_of(branch, settings.learning_rate, settings.weight_decay)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: min(1.0, (at + 1) / settings.warm_up))
    guided = Guided(transformer, branch, guidance=guidance, side=cache.side)
    guided, optimizer = accelerator.prepare(guided, optimizer)
    accelerator.register_for_checkpointing(warm_up)
    average = EMAModel(branch.parameters(), decay=settings.ema) if settings.ema else None
    if average is not None:
        average.to(accelerator.device)
        accelerator.register_for_checkpointing(average)
    done = _resume(accelerator, settings)
    sizes = torch.from_numpy(np.asarray(step_sizes, dtype=np.float32))
    total, counted = torch.zeros((), device=accelerator.device), 0
    for step in range(done, settings.steps):
        for turn in range(settings.accumulation):
            at = (step * settings.accumulation + turn) * accelerator.num_processes + accelerator.process_index
            batch = draw(cache, sizes, settings, at)
            with accelerator.accumulate(guided):
                x, noise, t = (part.to(accelerator.device) for part in (batch.x, batch.noise, batch.t))
                z = interpolate(x, noise, t).to(dtype)
                rest = (part.to(accelerator.device, dtype) for part in (batch.tokens, batch.pooled, batch.condition))
                loss = matching_loss(guided(z, t, *rest), x, noise)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(branch.parameters(), MOST_GRADIENT)
                optimizer.step()
                optimizer.zero_grad()
                total += loss.detach()
                counted += 1
        warm_up.step()
        if average is not None:
            average.step(branch.parameters())
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == settings.steps:
            mean = float(accelerator.reduce(total / counted, reduction="mean"))  # of all processes
            if accelerator.is_main_process:
                report(step + 1, {"loss": mean, "learning_rate": float(warm_up.get_last_lr()[0])})
            total, counted = torch.zeros_like(total), 0
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            _save(accelerator, settings, branch, average, step + 1, on_saved)
    return LatentControl.from_pretrained(settings.out / "control")


def optimizer_of(branch: LatentControl, learning_rate: float = 4e-5, weight_decay: float = 0.01) -> torch.optim.AdamW:
    """AdamW of the paper (4.1), fused: other kinds need the branch once more, 6.5 GiB at full size, while they update."""
    return torch.optim.AdamW(
        branch.parameters(), lr=learning_rate, betas=(0.9, 0.999), weight_decay=weight_decay, fused=True
    )


def _resume(accelerator: Any, settings: ControlTraining) -> int:
    """Steps that were done before, whose state is loaded."""
    states = sorted(settings.out.glob("state-*"), key=lambda path: int(path.name.removeprefix("state-")))
    if not states:
        return 0
    accelerator.load_state(str(states[-1]))
    return int(states[-1].name.removeprefix("state-"))


def _save(
    accelerator: Any,
    settings: ControlTraining,
    branch: LatentControl,
    average: Any,
    step: int,
    on_saved: Callable[[int, LatentControl], None] | None,
) -> None:
    """Write the state to go on from, whole or not at all, and the branch as it would be used."""
    path, partial = settings.out / f"state-{step}", settings.out / "partial-state"
    accelerator.save_state(str(partial))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        earlier = [old for old in settings.out.glob("state-*") if old != path]
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
        for old in earlier:
            shutil.rmtree(old)
        if average is not None:
            average.store(branch.parameters())
            average.copy_to(branch.parameters())
        branch.save_pretrained(settings.out / "control")
        if on_saved is not None:
            on_saved(step, branch)
        if average is not None:
            average.restore(branch.parameters())
    accelerator.wait_for_everyone()

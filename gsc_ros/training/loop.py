"""The loop that all stages share: warm-up and cosine decay, averaging, guard, checkpoints, reports."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gsc_ros.precision import has_bfloat16
from gsc_ros.training import checkpoint
from gsc_ros.training.feed import Draw, inputs
from gsc_ros.training.graphed import Graphed, LossOf, eager
from gsc_ros.training.muon import Muon, adamw

REPORT_EVERY = 50
WARM_UP = 100
FLOOR = 0.02  # of the learning rate, at the end
PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "muon")
LOGGER = logging.getLogger(__name__)

Report = Callable[[int, dict[str, float]], None]
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What the stages have in common.

    images, out       folder of training images; folder of checkpoints
    batch, crop       crops a step, and their side in pixels
    ema               decay of the averaged weights, which are the result
    largest_gradient  a step whose gradient norm is larger is skipped (norms above 1 are scaled to 1)
    precision         ``float32``, or ``bfloat16`` for the wide layers, where the device has instructions for it
    optimizer         ``adamw``; or ``muon`` for the kernels of the groups that are ``wide``, and AdamW for the rest
    workers           processes that draw batches ahead of the steps; 0 draws them in this one
    graph             a step as one CUDA graph, on a GPU, which else waits for the launches of networks as small as these
    minutes           end when so much time has gone, if it comes before the last step: the learning rate falls with what is nearer its end
    """

    images: Path
    out: Path
    steps: int
    learning_rate: float
    batch: int = 8
    crop: int = 160
    seed: int = 1
    ema: float = 0.998
    largest_gradient: float = 300.0
    save_every: int = 200
    device: str = "cpu"
    precision: str = "float32"
    optimizer: str = "adamw"
    workers: int = 0
    graph: bool = False
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r}: {' and '.join(OPTIMIZERS)} are known")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r}: {' and '.join(PRECISIONS)} are known")
        if self.minutes is not None and self.minutes <= 0:
            raise ValueError(f"minutes {self.minutes}: more than 0 are needed")
        if self.graph and not self.device.startswith("cuda"):
            raise ValueError(f"graph is for a GPU, and the device is {self.device}")

    def wide_layers(self) -> torch.autocast:
        """The context in which the forward pass runs."""
        device = torch.device(self.device)
        rough = self.precision == "bfloat16" and has_bfloat16(device)
        return torch.autocast(device.type, torch.bfloat16, enabled=rough)


def run(
    model: Model,
    groups: list[dict[str, Any]],
    draw: Draw,
    loss_of: LossOf,
    settings: TrainingSettings,
    path: Path,
    report: Report,
) -> Model:
    """Train ``model`` from the checkpoint at ``path``, or from the start; returns the averaged model.

    ``groups`` are the optimizer's, each with a ``factor`` on the learning rate, and ``wide`` where Muon may have its
    kernels. ``draw(step)`` makes a step's inputs on the CPU and must depend on nothing but the step, so that a resumed run
    equals an uninterrupted one; ``loss_of(inputs)`` has them on the device, and torch's own random numbers of that step.
    """
    if settings.precision == "bfloat16" and not has_bfloat16(torch.device(settings.device)):
        LOGGER.warning("bfloat16: %s has no instructions for it; training in float32, faster here", settings.device)
    model.to(settings.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(settings.ema)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay)
    optimizer: torch.optim.Optimizer | Muon
    if settings.optimizer == "muon":
        optimizer = Muon(groups, learning_rate=settings.learning_rate)
    else:
        optimizer = adamw(groups, learning_rate=settings.learning_rate)
    start = 0
    if (state := checkpoint.load(path)) is not None:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        start = int(state["step"])
    began = time.monotonic()
    sums: dict[str, Tensor] = {}
    compute = None if settings.graph else eager(loss_of, model)
    batches = inputs(draw, range(start, settings.steps), workers=settings.workers, device=settings.device)
    for step, batch in enumerate(batches, start):
        gone = step / settings.steps
        if settings.minutes is not None:
            gone = min(1.0, max(gone, (time.monotonic() - began) / (60 * settings.minutes)))
        last = step + 1 == settings.steps or gone == 1
        scale = FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * gone))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * group["factor"] * scale * min(1.0, (step + 1) / WARM_UP)
        if compute is None:
            compute = Graphed(loss_of, model, batch)
        torch.manual_seed(settings.seed * 1_000_003 + step)
        loss, figures = compute(batch)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if norm <= settings.largest_gradient:  # false for nan as well
            optimizer.step()
        average.update_parameters(model)
        for name, value in {"loss": loss, **figures, "gradient_norm": norm}.items():
            share = value.detach() / REPORT_EVERY
            sums[name] = sums[name] + share if name in sums else share
        if (step + 1) % REPORT_EVERY == 0:
            report(
                step + 1, {name: float(value) for name, value in sums.items()} | {"seconds": time.monotonic() - began}
            )
            sums.clear()
        if (step + 1) % settings.save_every == 0 or last:
            states = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoint.save(path, {"step": step + 1, **states})
        if last:
            break
    assert isinstance(average.module, type(model))
    return average.module


def generator_of(settings: TrainingSettings, step: int) -> torch.Generator:
    """The random numbers of one step, the same whichever steps were run before it."""
    return torch.Generator().manual_seed(settings.seed * 1_000_003 + step)

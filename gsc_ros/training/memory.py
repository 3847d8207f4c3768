"""Stage four of training nano: the context model that knows an earlier frame, with the codec frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gsc_ros.entropy.channels import ACTIVITIES, ACTIVITY_LIMITS, ChannelTables
from gsc_ros.entropy.context import ContextModel, bits
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.quantised import HOLD
from gsc_ros.training import loop
from gsc_ros.training.codec import draw_sent
from gsc_ros.training.feed import Inputs
from gsc_ros.training.graphed import Figures
from gsc_ros.training.images import CropSource
from gsc_ros.training.tables import restore_grid
from gsc_ros.weights import Weights

MARGIN = 48  # pixels at working resolution that a view may move beyond its crop
STILL = 0.3  # of the pairs: a parked camera, nothing but noise


@dataclass(frozen=True, kw_only=True)
class MemoryTraining(loop.TrainingSettings):
    """Settings of stage four.

    ``largest_motion`` in pixels at working resolution; ``start`` is a folder with the ``memory.safetensors`` to go on from.
    """

    steps: int = 4000
    learning_rate: float = 2e-3
    seed: int = 3
    largest_motion: float = 30.0
    start: Path | str | None = None


class MovingViews(CropSource):
    """Two views of one photograph, as a moving camera would take them one after the other."""

    def __init__(self, root: Path, *, crop: int, seed: int, largest_motion: float) -> None:
        super().__init__(root, crop=crop + 2 * MARGIN, seed=seed)
        self._view = crop
        self._largest = largest_motion

    def pairs(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """The earlier and the later views of ``step``, both (size,3,view,view) in 0..1."""
        rng = np.random.default_rng((self.seed, step))
        views = [self._pair(rng) for _ in range(size)]
        earlier, later = (torch.from_numpy(np.stack(v)).permute(0, 3, 1, 2) for v in zip(*views, strict=True))
        return earlier, later

    def _pair(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scene = self._crop(rng).astype(np.float32) / np.float32(255)
        side = self._view
        first = scene[MARGIN : MARGIN + side, MARGIN : MARGIN + side]
        second = first
        if rng.random() >= STILL:
            rows, columns = np.mgrid[:side, :side].astype(np.float32)
            dx, dy = self._flow(rng, rows, columns)
            second = cv2.remap(
                scene, columns + MARGIN + dx, rows + MARGIN + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
        noise = rng.uniform(0, 0.012)
        light = rng.uniform(0.94, 1.06) if rng.random() < 0.3 else 1.0
        seen = [view * gain + rng.normal(0, noise, view.shape) for view, gain in ((first, 1.0), (second, light))]
        return tuple(np.clip(view, 0, 1).astype(np.float32) for view in seen)  # type: ignore[return-value]

    def _flow(
        self, rng: np.random.Generator, rows: NDArray[np.float32], columns: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A turn of the camera plus a drive towards somewhere, faster where the scene is near."""
        amplitude = np.exp(rng.uniform(np.log(0.3), np.log(self._largest)))
        turn = rng.normal(size=2) * rng.random() * (1.0, 0.4)
        focus = rng.uniform(-0.5, 1.5, size=2) * self._view
        drive = rng.normal() * (1 - rng.random()) / self._view
        near = cv2.resize(rng.random((3, 3), dtype=np.float32), rows.shape[::-1], interpolation=cv2.INTER_CUBIC)
        dx = turn[0] + drive * (columns - focus[0]) * near
        dy = turn[1] + drive * (rows - focus[1]) * near
        scale = amplitude / max(1e-6, float(np.sqrt(dx**2 + dy**2).mean()))
        limit = MARGIN
        return (
            np.clip(scale * dx, -limit, limit).astype(np.float32),
            np.clip(scale * dy, -limit, limit).astype(np.float32),
        )


def initial(codec: NanoCodec) -> ContextModel:
    """A context model with memory that, untrained, predicts what the codec's own does."""
    context = ContextModel(codec.layout, codec.levels, memory=True)
    state = context.state_dict()
    for name, value in codec.context.state_dict().items():
        if name.endswith("condition.weight"):
            state[name].zero_()
            state[name][:, : value.shape[1]] = value
        else:
            state[name] = value
    context.load_state_dict(state)
    return context


def restored(codec: NanoCodec, folder: Path) -> ContextModel:
    """The context model with memory behind the tables in ``folder``."""
    context = ContextModel(codec.layout, codec.levels, memory=True)
    tables = ChannelTables.load(Weights(folder), "memory.safetensors", codec.layout, memory=True)
    for grid, network in zip(tables.grids, (context.grid64, context.grid32), strict=True):
        restore_grid(grid, network)
    return context


def train(config: MemoryTraining, codec: NanoCodec, report: loop.Report) -> ContextModel:
    """Run or resume stage four; returns the averaged model."""
    torch.manual_seed(config.seed)
    source = MovingViews(config.images, crop=config.crop, seed=config.seed, largest_motion=config.largest_motion)
    codec = codec.to(config.device).eval().requires_grad_(False)
    context = initial(codec) if config.start is None else restored(codec, Path(config.start))
    levels, channels, lead = codec.levels, codec.layout.channels, codec.layout.counts[0]
    limits = torch.tensor(ACTIVITY_LIMITS, device=config.device)

    def draw(step: int) -> Inputs:
        generator = loop.generator_of(config, step)
        before, now = source.pairs(step, config.batch)
        level = torch.randint(levels, (config.batch,), generator=generator)
        near = level + torch.randn(config.batch, generator=generator).mul(2).round().long()
        far = torch.randint(levels, (config.batch,), generator=generator)
        kind = torch.rand(config.batch, generator=generator)
        other = torch.where(kind < 0.4, level, torch.where(kind < 0.75, near, far)).clamp(0, levels - 1)
        sent, held = (draw_sent(generator, config.batch, channels) for _ in range(2))
        held = torch.where(torch.rand(config.batch, 1, generator=generator) < 0.8, sent, held)
        return {"before": before, "now": now, "level": level, "other": other, "sent": sent, "held": held}

    def loss_of(inputs: Inputs) -> tuple[Tensor, Figures]:
        level, other, sent, held = (inputs[name] for name in ("level", "other", "sent", "held"))
        views = torch.cat([inputs["before"], inputs["now"]]).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), config.wide_layers():
            both = codec.analysis(views)
        steps, other_steps = codec.steps(level), codec.steps(other)
        symbols, references = [], []
        changed = coded = torch.zeros(config.batch, device=config.device)
        parts = (slice(0, lead), slice(lead, channels))
        for y, step_now, step_then, part in zip(both, steps, other_steps, parts, strict=True):
            y_then, y_now = y.float().chunk(2)
            mask, kept = sent[:, part, None, None], held[:, part, None, None]
            reference = (y_then / step_then).round() * kept * step_then / step_now
            scaled, expected = y_now / step_now, reference.round()
            symbol = torch.where((scaled - expected).abs() < HOLD, expected, scaled.round())
            symbols.append(symbol.clamp(-127, 127) * mask)
            changed = changed + ((symbol != expected) * mask).sum(dim=(1, 2, 3))
            coded = coded + mask.expand_as(symbol).sum(dim=(1, 2, 3))
            references.append(reference.clamp(-127, 127))
        activity = torch.bucketize(changed / coded.clamp_min(1), limits, right=True)
        condition = torch.cat(
            [
                codec.condition(level, sent),
                F.one_hot(other, levels).float(),
                F.one_hot(activity, ACTIVITIES).float(),
            ],
            dim=1,
        )
        models = context(symbols[0], symbols[1], condition, (references[0], references[1]))
        total = torch.zeros(config.batch, device=config.device)
        for symbol, part, (mu, log_scale) in zip(symbols, parts, models, strict=True):
            total = total + (bits(symbol, mu, log_scale) * sent[:, part, None, None]).sum(dim=(1, 2, 3))
        bpp = total / (4 * config.crop**2)
        # Levels are some 7 % of the bytes apart: each of them is worth the same.
        return (1000 * bpp * 1.07 ** (levels / 2 - level)).mean(), {"bpp": bpp.mean()}

    groups = [{"params": list(context.parameters()), "factor": 1.0}]
    return loop.run(context, groups, draw, loss_of, config, config.out / "memory.pt", report)

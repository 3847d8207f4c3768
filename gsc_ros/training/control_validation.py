"""Pictures and points of rate and distortion while the control branch is trained."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from gsc_ros.evaluation.metrics import ms_ssim, psnr
from gsc_ros.generators.flux import FluxGenerator
from gsc_ros.generators.flux_control import LatentControl, condition_of
from gsc_ros.latents.quantised import QuantisedLatents
from gsc_ros.training.control_cache import Cache, square
from gsc_ros.training.images import read_rgb

COLUMNS = ("step", "channels", "channel_bytes", "psnr", "ms_ssim")


def validate(
    generator: FluxGenerator,
    branch: LatentControl,
    latents: QuantisedLatents,
    cache: Cache,
    chosen: Sequence[int],
    out: Path,
    step: int,
    *,
    counts: Sequence[int] = (1, 4, 16),
    steps: int = 8,
) -> list[dict[str, float]]:
    """Rebuild the samples ``chosen`` with C of ``counts``; write ``out``/step-N.png and append to ``out``/points.csv.

    A row of the picture is the photograph and what each C gives. ``channel_bytes`` are those of the
    channels alone, without head and caption.
    """
    out.mkdir(parents=True, exist_ok=True)
    level, side = latents.levels - 1, cache.side
    was_training = branch.training
    branch.eval()
    rows: list[dict[str, float]] = []
    pictures: list[list[NDArray[np.uint8]]] = [[square(read_rgb(cache.files[index]), side)] for index in chosen]
    for count in counts:
        found = []
        for row, index in enumerate(chosen):
            sample = cache[index]
            kept = sample.ranked[:count].long()
            planes = {int(channel): sample.y[channel].float().numpy() for channel in kept}
            symbols = latents.quantise(planes, level)
            y = torch.zeros(1, *sample.y.shape)
            y[0, kept] = torch.stack(
                [torch.from_numpy(symbols[int(c)] * latents.step[level, int(c)]).float() for c in kept]
            )
            sent = torch.zeros(1, sample.y.shape[0])
            sent[0, kept] = 1
            device, dtype = generator.pipeline.transformer.device, generator.pipeline.transformer.dtype
            with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                packed = generator.denoise(
                    sample.tokens[None].to(device, dtype), sample.pooled[None].to(device, dtype),
                    condition_of(y, sent).to(device, dtype), (side, side), steps, [torch.Generator().manual_seed(0)],
                )  # fmt: skip
                shown = generator.decode(packed, side, side)[0]
            picture = np.rint(255 * shown).astype(np.uint8)
            pictures[row].append(picture)
            bits = sum(latents.coder.cost(symbols, level, side, side).values())
            original = pictures[row][0]
            found.append((bits / 8, psnr(original, picture), ms_ssim(original, picture)))
        mean = np.mean(found, axis=0)
        rows.append(dict(zip(COLUMNS, (step, count, *mean.tolist()), strict=True)))
    grid = np.vstack([np.hstack(row) for row in pictures])
    cv2.imwrite(str(out / f"step-{step}.png"), grid[:, :, ::-1])
    table = out / "points.csv"
    fresh = not table.is_file()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerows(rows)
    branch.train(was_training)
    return rows

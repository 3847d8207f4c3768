"""What the training of the control branch reads again and again, computed once: captions, images and latents.

photographs --> VAE latents x --------+
          \\--> g_a --> y, SSIM ranking +--> shards of safetensors, a sample at a time by its number
captions --> CLIP, T5 ----------------+
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gsc_ros.latents.quantised import QuantisedLatents, luma
from gsc_ros.latents.selection import ranking, ssim_scores
from gsc_ros.training.images import image_files, read_rgb

SHARD = 64  # samples a file
OPEN_SHARDS = 8


@dataclass(frozen=True)
class Source:
    """One dataset of the mix: ``count`` images below ``root``, captions in a file as ``gsc caption`` writes it."""

    root: Path
    captions: Path
    count: int

    def pairs(self) -> list[tuple[Path, str]]:
        """Images and captions, spread over the folder; raises ValueError where there are fewer than ``count``."""
        try:
            lines = [json.loads(line) for line in self.captions.read_text(encoding="utf-8").splitlines()]
            known = {str(line["file"]): str(line["caption"]) for line in lines}
        except FileNotFoundError as error:
            raise ValueError(f"no captions at {self.captions}: write them with gsc caption {self.root}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.captions} is no file of captions: write it with gsc caption") from error
        files = [path for path in image_files(self.root) if str(path.relative_to(self.root)) in known]
        if len(files) < self.count:
            raise ValueError(f"{len(files)} images with captions below {self.root}: {self.count} are asked for")
        chosen = [files[index * len(files) // self.count] for index in range(self.count)]
        return [(path, known[str(path.relative_to(self.root))]) for path in chosen]


@dataclass(frozen=True)
class Sample:
    """One training example.

    x        packed VAE latents (tokens, 64)
    y        all channels of the codec's latent, unquantised (N,r,c)
    ranked   channel ids, the largest SSIM with the image first (N,)
    tokens, pooled   the caption, embedded: (L,4096) and (768,)
    """

    x: Tensor
    y: Tensor
    ranked: Tensor
    tokens: Tensor
    pooled: Tensor


def square(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The middle of ``image``, scaled so that its shorter side is ``side`` pixels."""
    factor = side / min(image.shape[:2])
    size = (max(side, round(image.shape[1] * factor)), max(side, round(image.shape[0] * factor)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    top, left = (scaled.shape[0] - side) // 2, (scaled.shape[1] - side) // 2
    return np.ascontiguousarray(scaled[top : top + side, left : left + side], dtype=np.uint8)


class Cache:
    """The samples in ``folder``; any number of processes may read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[int, Any] = OrderedDict()
        index = folder / "index.json"
        if not index.is_file():
            raise ValueError(f"no cache in {folder}: make it with gsc train control --stage cache")
        content = json.loads(index.read_text())
        self.count, self.side = int(content["count"]), int(content["side"])
        self.files = [Path(name) for name in content["files"]]
        missing = [
            name for number in range(-(-self.count // SHARD)) if not (folder / (name := shard_name(number))).is_file()
        ]
        if missing or not (folder / "silent.safetensors").is_file():
            raise ValueError(f"the cache in {folder} is not complete: run gsc train control --stage cache again")
        with safe_open(folder / "silent.safetensors", "pt") as file:
            self.silent = file.get_tensor("tokens"), file.get_tensor("pooled")

    def __getitem__(self, index: int) -> Sample:
        number = index // SHARD
        if number not in self._open:
            self._open[number] = safe_open(self.folder / shard_name(number), "pt")
            while len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        file = self._open[number]
        return Sample(**{name: file.get_tensor(f"{index}.{name}") for name in ("x", "y", "ranked", "tokens", "pooled")})


def shard_name(number: int) -> str:
    return f"shard-{number:05d}.safetensors"


def build(
    folder: Path,
    sources: Sequence[Source],
    *,
    side: int,
    latents: QuantisedLatents,
    pipeline: Any,
    embed: Callable[[str], tuple[Tensor, Tensor]],
    made_from: str,
    report: Callable[[int, int], None],
) -> Cache:
    """Write the shards that are not there yet; ``made_from`` names the models, so that a cache of others is refused."""
    if side % 16:
        raise ValueError(f"side {side}: a multiple of 16 pixels is needed")
    pairs = [pair for source in sources for pair in source.pairs()]
    recipe = hashlib.sha256(f"{made_from} {side}".encode())
    for path, caption in pairs:
        recipe.update(f"{path.name}\0{caption}\0".encode())
    content = {
        "count": len(pairs), "side": side, "made_from": recipe.hexdigest(), "files": [str(path) for path, _ in pairs],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.json"
    if index.is_file() and json.loads(index.read_text()).get("made_from") != content["made_from"]:
        raise ValueError(
            f"{folder} holds the cache of other images, captions or models: name another folder, or remove it"
        )
    index.write_text(json.dumps(content))
    tokens, pooled = embed("")
    _write(folder / "silent.safetensors", {"tokens": tokens[0], "pooled": pooled[0]})
    for number in range(-(-len(pairs) // SHARD)):
        path, first = folder / shard_name(number), number * SHARD
        if not path.is_file():
            chosen = list(enumerate(pairs[first : first + SHARD], first))
            _write(path, dict(_entries(chosen, side, latents, pipeline, embed)))
        report(min(first + SHARD, len(pairs)), len(pairs))
    return Cache(folder)


def _entries(
    chosen: Sequence[tuple[int, tuple[Path, str]]],
    side: int,
    latents: QuantisedLatents,
    pipeline: Any,
    embed: Callable[[str], tuple[Tensor, Tensor]],
) -> Iterator[tuple[str, Tensor]]:
    vae = pipeline.vae
    for index, (path, caption) in chosen:
        image = square(read_rgb(path), side)
        planes = latents.analyse(latents.tensor(image))
        scores = ssim_scores(planes, luma(image))
        with torch.inference_mode():
            pixels = latents.tensor(image).to(vae.device, vae.dtype) * 2 - 1
            z = (vae.encode(pixels).latent_dist.mean - vae.config.shift_factor) * vae.config.scaling_factor
            x = pipeline._pack_latents(z, 1, z.shape[1], z.shape[2], z.shape[3])
            tokens, pooled = embed(caption)
        yield f"{index}.x", x[0]
        yield f"{index}.y", torch.from_numpy(np.stack([planes[channel] for channel in range(len(planes))])).half()
        yield f"{index}.ranked", torch.tensor(ranking("ssim", scores=scores, gain_per_bit={}), dtype=torch.int16)
        yield f"{index}.tokens", tokens[0]
        yield f"{index}.pooled", pooled[0]


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    partial = path.with_suffix(".partial")
    save_file({name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, partial)
    partial.replace(path)

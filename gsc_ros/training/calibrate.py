"""``gsc calibrate``: a published codec made ready for links that carry a few of its channels.

weights, images --> y --> gain of every channel --> steps of every level
                      \\-> context model --> integer tables, bytes of every channel
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from gsc_ros.entropy.channels import ChannelCoder, ChannelTables
from gsc_ros.entropy.context import GridContext, bits
from gsc_ros.latents.compressai import FILE, LEVELS, model_class
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.latents.quantised import luma
from gsc_ros.latents.selection import ssim_scores
from gsc_ros.profiles import ProfileError, share_directory, write_sha256
from gsc_ros.training.images import image_files, read_rgb
from gsc_ros.training.tables import fit, quantise

HIDDEN = 8  # of the context model of one channel
PROBES = 4  # random directions by which the gain of an image is measured
WINDOW = 16  # symbols a side of the crops that the context model is trained on
TEXT = "text.safetensors"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What to calibrate, and on what.

    model, quality   as CompressAI's zoo calls them
    checkpoint       weights of that model in a file; None: the zoo's, which are downloaded
    images           folder of photographs like those that will be sent
    count            how many of them are used
    side             their longer side in pixels; larger ones are averaged down
    steps, batch     of the training of the context model
    """

    model: str
    quality: int
    images: Path
    out: Path
    checkpoint: Path | None = None
    count: int = 64
    side: int = 768
    steps: int = 400
    batch: int = 8
    seed: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class ChannelBytes:
    """One channel, means over the images: its bytes at every level, and its SSIM with the luma (paper 3.2)."""

    channel: int
    ssim: float
    bytes_by_level: tuple[float, ...]


def load_codec(settings: Calibration) -> nn.Module:
    """The published codec with its weights; raises ProfileError in one line for anything that is not that."""
    kind = model_class(settings.model)
    if settings.checkpoint is None:
        from compressai import zoo

        try:
            return zoo.models[settings.model](quality=settings.quality, metric="mse", pretrained=True).eval()
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise ProfileError(
                f"{settings.model} at quality {settings.quality} could not be had from the zoo ({str(error).splitlines()[0]}); "
                "name its weights with --checkpoint"
            ) from error
    from compressai.zoo import load_state_dict

    try:
        state = torch.load(settings.checkpoint, map_location="cpu", weights_only=True)
        net = kind.from_state_dict(load_state_dict(state.get("state_dict", state)))  # type: ignore[attr-defined]
    except FileNotFoundError as error:
        raise ProfileError(f"no weights at {settings.checkpoint}") from error
    except Exception as error:  # whatever a damaged or foreign file makes the readers raise
        raise ProfileError(
            f"{settings.checkpoint} holds no weights of {settings.model}: {str(error).splitlines()[0]}"
        ) from error
    return net.eval()


def views(settings: Calibration, layout: LatentLayout) -> list[tuple[NDArray[np.uint8], Geometry]]:
    """The images, padded to whole blocks, and how."""
    import cv2

    files = image_files(settings.images)
    found = []
    for path in files[:: max(1, len(files) // settings.count)][: settings.count]:
        image = read_rgb(path)
        factor = settings.side / max(image.shape[:2])
        if factor < 1:
            size = (max(16, round(image.shape[1] * factor)), max(16, round(image.shape[0] * factor)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        geometry = Geometry(*image.shape[:2])
        found.append((geometry.shrink(image, layout), geometry))
    if not found:
        raise ProfileError(f"no images in {settings.images}")
    return found


def gain_of(synthesis: nn.Module, y: Tensor, generator: torch.Generator) -> Tensor:
    """Squared error in the image, in sums over pixels, for each squared unit of y_hat, (N,).

    The columns of the Jacobian of g_s, squared and summed, by random directions in the image.
    """
    y = y.round().requires_grad_(True)
    x = synthesis(y)
    total = torch.zeros(y.shape[1], device=y.device)
    for probe in range(PROBES):
        signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
        (slope,) = torch.autograd.grad((x * signs).sum(), y, retain_graph=probe + 1 < PROBES)
        total += slope.square().mean(dim=(0, 2, 3))
    return total / PROBES


def steps_of(gain: Tensor) -> Tensor:
    """Quantisation steps, (LEVELS, N).

    The highest level is the paper's round(y): 1 for every channel. Each level below is coarser by the root
    of two, and channels that matter less to the image are coarser than others by up to twice.
    """
    relative = (gain.clamp_min(1e-12).log().mean().exp() / gain.clamp_min(1e-12)).sqrt().clamp(0.5, 2.0)
    levels = [torch.ones_like(gain)]
    for below in range(1, LEVELS):
        levels.insert(0, (2.0 ** (below / 2) * relative ** min(1.0, below / 4)).clamp_min(1.0))
    return torch.stack(levels)


def train_context(
    latents: Sequence[Tensor], step: Tensor, settings: Calibration, report: Callable[[int], None]
) -> GridContext:
    """The context model of every channel alone, on crops of the latents of real images."""
    generator = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    channels = step.shape[1]
    network = GridContext(0, channels, LEVELS, channels, alone=True, hidden=HIDDEN).to(settings.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=settings.steps)
    for at in range(settings.steps):
        level = torch.randint(LEVELS, (settings.batch,), generator=generator)
        crops = []
        for which in torch.randint(len(latents), (settings.batch,), generator=generator).tolist():
            y = latents[which]
            y = F.pad(y, (0, max(0, WINDOW - y.shape[3]), 0, max(0, WINDOW - y.shape[2])))
            top = int(torch.randint(y.shape[2] - WINDOW + 1, (1,), generator=generator))
            left = int(torch.randint(y.shape[3] - WINDOW + 1, (1,), generator=generator))
            crops.append(y[:, :, top : top + WINDOW, left : left + WINDOW])
        symbols = (torch.cat(crops).to(settings.device) / step[level][:, :, None, None].to(settings.device)).round()
        condition = F.one_hot(level, LEVELS).float().to(settings.device)
        mu, log_scale = network(None, symbols.clamp(-127, 127), condition)
        loss = bits(symbols, mu, log_scale).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(at + 1)
    return network


def symbols_of(y: Tensor, step: NDArray[np.float32], level: int) -> dict[int, NDArray[np.int64]]:
    planes = np.rint(y[0].numpy() / step[level][:, None, None]).clip(-127, 127).astype(np.int64)
    return dict(enumerate(planes))


def calibrate(settings: Calibration, report: Callable[[str, int, int], None]) -> list[ChannelBytes]:
    """Write a complete folder of weights with its profile; returns what every channel costs.

    ``report(stage, done, of)`` is called on the way. Raises ProfileError.
    """
    net = load_codec(settings).to(settings.device).requires_grad_(False)
    analysis, synthesis = net.get_submodule("g_a"), net.get_submodule("g_s")
    generator = torch.Generator().manual_seed(settings.seed)
    layout = LatentLayout(strides=(16,), counts=(320,), reduction=1)
    seen = views(settings, layout)
    latents, gains = [], []
    for index, (image, _) in enumerate(seen):
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).to(settings.device)
        with torch.no_grad():
            y = analysis(x)
        if y.shape[1] != layout.channels:
            raise ProfileError(
                f"{settings.model} at this quality has {y.shape[1]} channels: take one of the qualities with {layout.channels}"
            )
        latents.append(y.cpu())
        corner = y[:, :, :WINDOW, :WINDOW]
        gains.append(gain_of(synthesis, corner, generator).cpu())
        report("gain", index + 1, len(seen))
    gain = torch.stack(gains).mean(dim=0)
    step = steps_of(gain)
    network = train_context(latents, step, settings, lambda done: report("context", done, settings.steps))
    tables = quantise(network.cpu())
    steps = step.numpy()
    coder = ChannelCoder(tables, layout)
    observed = (
        coder.statistics(symbols_of(y, steps, level), level, geometry.height, geometry.width)
        for y, (_, geometry) in zip(latents, seen, strict=True)
        for level in range(0, LEVELS, 3)
    )
    tables = fit(tables, observed)
    write(settings, net, step, gain, tables)
    return channel_bytes(tables, layout, latents, seen, steps, report)


def channel_bytes(
    tables: ChannelTables,
    layout: LatentLayout,
    latents: Sequence[Tensor],
    seen: Sequence[tuple[NDArray[np.uint8], Geometry]],
    steps: NDArray[np.float32],
    report: Callable[[str, int, int], None],
) -> list[ChannelBytes]:
    """What every channel costs alone, in whole symbols' ideal code length, and how like the scene it looks."""
    coder = ChannelCoder(tables, layout)
    costs, scores = np.zeros((LEVELS, layout.channels)), np.zeros(layout.channels)
    for index, (y, (image, geometry)) in enumerate(zip(latents, seen, strict=True)):
        for level in range(LEVELS):
            cost = coder.cost(symbols_of(y, steps, level), level, geometry.height, geometry.width)
            costs[level] += np.array([cost[channel] for channel in range(layout.channels)]) / 8
        found = ssim_scores(dict(enumerate(y[0].numpy())), luma(image))
        scores += np.array([found[channel] for channel in range(layout.channels)])
        report("bytes", index + 1, len(seen))
    count = len(seen)
    return [
        ChannelBytes(channel, float(scores[channel] / count), tuple((costs[:, channel] / count).tolist()))
        for channel in range(layout.channels)
    ]


def write(settings: Calibration, net: nn.Module, step: Tensor, gain: Tensor, tables: ChannelTables) -> None:
    """The files that both ends share, and the profile that names them."""
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items() if name.startswith("g_a.")}
    save_file({**state, "step": step.contiguous(), "gain": gain.contiguous()}, out / FILE)
    tables.save(out / "channels.safetensors")
    shutil.copyfile(share_directory() / "models" / "nano" / TEXT, out / TEXT)
    profile = yaml.safe_load((share_directory() / "config" / "profiles" / "paper.yaml").read_text(encoding="utf-8"))
    profile["weights"] = "."
    profile["codec"] = {"model": settings.model, "quality": settings.quality}
    (out / "profile.yaml").write_text(yaml.safe_dump(profile, sort_keys=False, width=100), encoding="utf-8")
    write_sha256(out / "profile.yaml")

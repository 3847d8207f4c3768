"""From checkpoints to the files a profile names: weights, integer tables, caption table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file

from gsc_ros.captioners.descriptor import DescriptorCaptioner
from gsc_ros.entropy.channels import ChannelTables
from gsc_ros.entropy.context import ContextModel
from gsc_ros.generators import BACK_ENDS as GENERATORS
from gsc_ros.generators.flow_network import FlowNetwork
from gsc_ros.generators.nano_painter import FILE
from gsc_ros.generators.painter_network import PainterNetwork
from gsc_ros.latents import BACK_ENDS
from gsc_ros.latents.codec import NanoCodec
from gsc_ros.latents.geometry import Geometry
from gsc_ros.latents.layout import LatentLayout
from gsc_ros.latents.nano import NanoLatents
from gsc_ros.memory import Remembered
from gsc_ros.profiles import share_directory, write_sha256
from gsc_ros.training import checkpoint, confidence
from gsc_ros.training.images import image_files, read_rgb, whole_blocks
from gsc_ros.training.memory import MemoryTraining, MovingViews
from gsc_ros.training.painter import Trained
from gsc_ros.training.tables import fit, quantise
from gsc_ros.training.text import build
from gsc_ros.weights import Weights

HELD_OUT = 1500  # captions at the end of the corpus that the table never sees
LEVELS_APART = 3  # of the levels at which frequencies are counted: neighbours say much the same
DESCRIPTOR_REPEATS = 4  # how often a descriptor caption counts against one of the corpus


def half_precision(module: torch.nn.Module, path: Path) -> None:
    """Write the weights of ``module`` as float16: what both ends load, to the bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in module.state_dict().items()}, path)


def averaged(path: Path, key: str, module: torch.nn.Module) -> torch.nn.Module:
    """``module`` with the averaged weights of the checkpoint at ``path``; raises ValueError without one."""
    state = checkpoint.load(path)
    if state is None:
        raise ValueError(f"no checkpoint {path}: run this stage of the training first")
    values = {name.removeprefix("module."): value for name, value in state[key].items() if name.startswith("module.")}
    if missing := module.load_state_dict(values, strict=False).missing_keys:
        raise ValueError(f"{path} holds another network than this version's: {missing[0]} is not in it")
    return module


def training_views(images: Path, count: int) -> Iterator[NDArray[np.uint8]]:
    """``count`` images spread over the folder, each as it stands at working resolution, whole blocks."""
    files = image_files(images)
    for path in files[:: max(1, len(files) // count)][:count]:
        yield whole_blocks(read_rgb(path), LatentLayout())


def measure_gain(latents: NanoLatents, images: Path, level: int) -> torch.Tensor:
    """Squared error in the image for each squared unit of error in a channel, (N,)."""
    generator = np.random.default_rng(0)
    totals = np.zeros((latents.layout.channels, 2))
    for view in training_views(images, 12):
        geometry = Geometry(2 * view.shape[0], 2 * view.shape[1])
        symbols = latents.quantise(latents.analyse(latents.tensor(view)), level)
        base = latents.synthesise(symbols, level, geometry).image
        for channel, plane in symbols.items():
            signs = generator.choice([-1, 1], size=plane.shape)
            moved = latents.synthesise({**symbols, channel: plane + signs}, level, geometry).image
            totals[channel] += (
                float((moved - base).square().sum()),
                float(plane.size * latents.step[level, channel] ** 2),
            )
    return torch.from_numpy(totals[:, 0] / totals[:, 1]).float()


def export_codec(checkpoint_path: Path, images: Path, out: Path, *, views: int = 120) -> NanoLatents:
    """Write the files of the codec, its tables and its confidence; returns the latents as they will be loaded."""
    codec = averaged(checkpoint_path, "average", NanoCodec())
    assert isinstance(codec, NanoCodec)
    latents = NanoLatents(codec, quantise(codec.context.grid64, codec.context.grid32))
    codec.gain.copy_(measure_gain(latents, images, latents.levels // 2))
    half_precision(codec, out / "codec.safetensors")
    latents = export_tables(codec, images, out, views=views)
    confidence.fit(latents, training_views(images, views)).save(out)
    return latents


def export_tables(codec: NanoCodec, images: Path, out: Path, *, views: int) -> NanoLatents:
    """Write ``channels.safetensors``: the codec's context model in integers; returns the latents as they will be loaded."""
    tables = quantise(codec.context.grid64, codec.context.grid32)
    fit_tables(NanoLatents(codec, tables), tables, images, views=views).save(out / "channels.safetensors")
    return NanoLatents.load(Weights(out))


def export_context(checkpoint_path: Path, images: Path, out: Path, *, views: int = 400) -> NanoLatents:
    """Put the context model of the checkpoint in the place of the codec's in ``out``; returns the latents as they will be loaded."""
    codec = NanoLatents.load_codec(Weights(out))
    context = averaged(checkpoint_path, "average", ContextModel(codec.layout, codec.levels))
    codec.context.load_state_dict(context.state_dict())
    half_precision(codec, out / "codec.safetensors")
    return export_tables(codec, images, out, views=views)


def fit_tables(latents: NanoLatents, tables: ChannelTables, images: Path, *, views: int) -> ChannelTables:
    """``tables`` with frequencies fitted to the symbols of real images at levels spread over all."""
    observations: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for view in training_views(images, views):
        geometry = Geometry(2 * view.shape[0], 2 * view.shape[1])
        planes = latents.analyse(latents.tensor(view))
        observations.extend(
            latents.coder.statistics(latents.quantise(planes, level), level, *geometry.nominal)
            for level in range(0, latents.levels, LEVELS_APART)
        )
    return fit(tables, observations)


def export_memory(checkpoint_path: Path, images: Path, out: Path, *, pairs: int = 400) -> None:
    """Write ``memory.safetensors``: the context model with memory, its frequencies and the steps in integers."""
    latents = NanoLatents.load(Weights(out))
    codec = latents.codec
    context = averaged(checkpoint_path, "average", ContextModel(codec.layout, codec.levels, memory=True))
    assert isinstance(context, ContextModel)
    tables = replace(
        quantise(context.grid64, context.grid32),
        steps=np.rint(latents.step.astype(np.float64) * 2**16).astype(np.int64),
    )
    latents = NanoLatents(codec, latents.coder.tables, tables)
    source = MovingViews(images, crop=192, seed=97, largest_motion=MemoryTraining.largest_motion)
    generator = np.random.default_rng(97)
    observations = []
    for index in range(pairs):
        views = [latents.analyse(view) for view in source.pairs(index, 1)]
        level = int(generator.integers(latents.levels))
        near = int(np.clip(level + np.rint(generator.normal(0, 2)), 0, latents.levels - 1))
        geometry = Geometry(2 * 192, 2 * 192)
        earlier = latents.quantise(views[0], near)
        held = Remembered(
            sequence=0, width=geometry.width, height=geometry.height, scale=geometry.scale, level=near,
            symbols={channel: plane.astype(np.int8) for channel, plane in earlier.items()},
        )  # fmt: skip
        expected = latents.expect(held, level)
        symbols = latents.quantise(views[1], level, expected=expected)
        expected = expected.observed(symbols)
        observations.append(latents.coder_for(expected).statistics(symbols, level, *geometry.nominal, expected))
    fit(tables, observations).save(out / "memory.safetensors")


def export_text(captions: Path, images: Path, out: Path) -> None:
    """Write ``text.safetensors`` from a corpus (one caption a line) and the descriptor's own captions."""
    lines = captions.read_text(encoding="utf-8").splitlines()[:-HELD_OUT]
    described = [DescriptorCaptioner().caption(view) for view in training_views(images, 10**9)]
    build([*lines, *(DESCRIPTOR_REPEATS * described)]).save(out / "text.safetensors")


def export_flow(checkpoint_path: Path, latents: NanoLatents, out: Path) -> None:
    """Write ``flow.safetensors``."""
    half_precision(
        averaged(checkpoint_path, "average", FlowNetwork(latents.layout.channels, latents.levels)),
        out / "flow.safetensors",
    )


def export_profile(out: Path) -> Path | None:
    """Write ``profile.yaml``, the shipped profile with these weights; None while a stage has not written its files yet."""
    files = BACK_ENDS["nano"].files + GENERATORS["nano_flow"].files + ("memory.safetensors", "text.safetensors")
    if not all((out / name).is_file() for name in files):
        return None
    shipped = (share_directory() / "config" / "profiles" / "nano.yaml").read_text(encoding="utf-8")
    path = out / "profile.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(shipped) | {"weights": "."}, sort_keys=False), encoding="utf-8")
    write_sha256(path)
    return path


def export_painter(checkpoint_path: Path, latents: NanoLatents, out: Path) -> None:
    """Write ``painter.safetensors``, without the critic that it may have been trained with."""
    trained = Trained(PainterNetwork(latents.layout.channels, latents.levels), None)
    averaged(checkpoint_path, "average", trained)
    half_precision(trained.painter, out / FILE)

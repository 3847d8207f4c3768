"""``gsc train``: the stages of the nano profile and the export of its files; the control branch of FLUX."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gsc_ros.cli.errors import UsageError

Settings = TypeVar("Settings")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["nano", "control"])
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="YAML, as config/train_nano.yaml and config/train_control.yaml are",
    )
    parser.add_argument("--images", type=Path, help="folder of training images, in place of the one in the config")
    parser.add_argument("--out", type=Path, help="folder of checkpoints and curves, in place of the one in the config")
    parser.add_argument("--export", type=Path, help="write the profile's files to this folder when the stages are done")
    parser.add_argument(
        "--stage",
        choices=["codec", "context", "flow", "painter", "memory", "text", "cache", "train", "all"],
        default="all",
    )
    parser.add_argument("--steps", type=int, help="number of steps of each stage, in place of those in the config")
    parser.add_argument(
        "--minutes", type=float, help="end each stage of nano after so much time, with what is there by then"
    )
    parser.add_argument("--device", default=None, help="cpu or cuda; the default is cuda where there is one")


STAGES = {
    "nano": ("codec", "context", "flow", "painter", "memory", "text", "all"),
    "control": ("cache", "train", "all"),
}


def run(options: argparse.Namespace) -> None:
    if options.stage not in STAGES[options.what]:
        raise UsageError(f"--stage {options.stage}: {', '.join(STAGES[options.what])} are the stages of {options.what}")
    if options.what == "control":
        if options.minutes is not None:
            raise UsageError("--minutes: only the stages of nano end by the clock")
        from gsc_ros.cli.train_control import train_control

        train_control(options)
    else:
        train_nano(options)


def train_nano(options: argparse.Namespace) -> None:
    """Run the stages of nano that were asked for."""
    import torch

    from gsc_ros.training.export import export_profile
    from gsc_ros.weights import Weights

    config = yaml.safe_load(options.config.read_text()) or {}
    images, out = Path(options.images or config["images"]), Path(options.out or config["out"])
    if not images.is_dir():
        raise UsageError(f"no folder of training images at {images}: name one with --images")
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    common: dict[str, Any] = {"images": images, "out": out, "device": device} | (
        {name: value for name in ("steps", "minutes") if (value := getattr(options, name)) is not None}
    )
    export = options.export or out / "export"
    if options.stage in ("codec", "all"):
        from gsc_ros.training import codec

        codec.train(settings(codec.CodecTraining, config.get("codec", {}), common), curves(out / "curves" / "codec"))
        from gsc_ros.training.export import export_codec

        export_codec(out / "codec.pt", images, export)
    if options.stage in ("context", "all"):
        from gsc_ros.latents.nano import NanoLatents
        from gsc_ros.training import context
        from gsc_ros.training.export import export_context

        context.train(
            settings(context.ContextTraining, config.get("context", {}), common),
            NanoLatents.load_codec(Weights(export)),
            curves(out / "curves" / "context"),
        )
        export_context(out / "context.pt", images, export)
    if options.stage in ("flow", "all"):
        from gsc_ros.latents.nano import NanoLatents
        from gsc_ros.training import flow
        from gsc_ros.training.export import export_flow

        latents = NanoLatents.load(Weights(export), device=device)
        flow.train(
            settings(flow.FlowTraining, config.get("flow", {}), common), latents.codec, curves(out / "curves" / "flow")
        )
        export_flow(out / "flow.pt", latents, export)
    if options.stage == "painter":
        from gsc_ros.latents.nano import NanoLatents
        from gsc_ros.training import painter
        from gsc_ros.training.export import export_painter

        latents = NanoLatents.load(Weights(export), device=device)
        painter.train(
            settings(painter.PainterTraining, config.get("painter", {}), common),
            latents.codec,
            curves(out / "curves" / "painter"),
        )
        export_painter(out / "painter.pt", latents, export)
    if options.stage in ("memory", "all"):
        from gsc_ros.latents.nano import NanoLatents
        from gsc_ros.training import memory
        from gsc_ros.training.export import export_memory

        latents = NanoLatents.load(Weights(export), device=device)
        memory.train(
            settings(memory.MemoryTraining, config.get("memory", {}), common),
            latents.codec,
            curves(out / "curves" / "memory"),
        )
        export_memory(out / "memory.pt", images, export)
    if options.stage in ("text", "all"):
        from gsc_ros.training.export import export_text

        export_text(Path(config["captions"]), images, export)
    profile = export_profile(export)
    print(f"the files of the profile are in {export}" + (f", and {profile} names them" if profile else ""))


def settings(kind: Callable[..., Settings], values: dict[str, Any], common: dict[str, Any]) -> Settings:
    """The settings of one stage; an unknown name or a value out of range is a UsageError."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise UsageError(f"unknown setting {', '.join(unknown)} in the config: {', '.join(sorted(known))} are known")
    try:
        return kind(**{**values, **common})
    except ValueError as error:
        raise UsageError(f"the config: {error}") from error


def curves(folder: Path) -> Callable[[int, dict[str, float]], None]:
    """Prints each report and, where TensorBoard is installed, draws it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        writer = None
    else:
        writer = SummaryWriter(str(folder))

    def report(step: int, figures: dict[str, float]) -> None:
        print(f"step {step}  " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)
        if writer is not None:
            for name, value in figures.items():
                writer.add_scalar(name, value, step)

    return report

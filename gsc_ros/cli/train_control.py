"""``gsc train control``: the cache of a mix of datasets, and the training of the control branch on it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gsc_ros.cli.errors import UsageError

KEYS = ("profile", "data", "side", "cache", "out", "training", "validation")


def train_control(options: argparse.Namespace) -> None:
    """Run the stages that were asked for; every one of them goes on where it was stopped."""
    config = yaml.safe_load(options.config.read_text()) or {}
    if unknown := sorted(set(config) - set(KEYS)):
        raise UsageError(f"unknown setting {', '.join(unknown)} in {options.config}: {', '.join(KEYS)} are known")
    if missing := [key for key in ("profile", "data", "out") if key not in config]:
        raise UsageError(f"{options.config} lacks {', '.join(missing)}")
    import torch

    try:
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env
    except ImportError as error:
        raise UsageError(f"training needs accelerate and diffusers: pip install 'gsc-ros[paper]' ({error})") from error

    from gsc_ros.latents import load_latents
    from gsc_ros.profiles import load_profile
    from gsc_ros.training.control_cache import Cache

    if options.device not in (None, "cpu", "cuda"):
        raise UsageError(f"--device {options.device}: cpu or cuda; CUDA_VISIBLE_DEVICES chooses among several GPUs")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; install torch with CUDA, or use --device cpu")
    # Asked for no CPU where there is nothing else, accelerate would take every process for the only one.
    cpu = options.device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    process = PartialState(cpu=cpu)  # one of several, under accelerate launch
    if process.num_processes > 1 and options.stage != "train":
        raise UsageError("several processes: run --stage cache in one of its own first, then --stage train in them")
    device = str(process.device)
    out = Path(options.out or config["out"])
    folder = Path(config.get("cache", out / "cache"))
    profile = load_profile(config["profile"])
    latents = load_latents(profile, device=device)
    if options.stage in ("cache", "all"):
        _build_cache(config, profile, latents, folder, device)
    if options.stage in ("train", "all"):
        _train(options, config, profile, latents, Cache(folder), out, device)
        if process.is_main_process:
            print(f"the branch is in {out / 'control'}: name it in the profile, under flux, as control")


def _without_control(profile: Any) -> Any:
    """The profile with FLUX alone: the branch is what is made here."""
    return replace(profile, options={**profile.options, "flux": {**profile.options.get("flux", {}), "control": ""}})


def _build_cache(config: dict[str, Any], profile: Any, latents: Any, folder: Path, device: str) -> None:
    from rich.progress import Progress

    from gsc_ros.generators.flux import TYPES, FluxGenerator, FluxSettings, check, load_pipeline, place
    from gsc_ros.training.control_cache import Source, build

    try:
        sources = [
            Source(
                Path(entry["root"]),
                Path(entry.get("captions", Path(entry["root"]) / "captions.jsonl")),
                int(entry["count"]),
            )
            for entry in config["data"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            "data: a list of root, count and, unless it is captions.jsonl in the root, captions"
        ) from error
    for source in sources:
        source.pairs()  # a dataset that is not there is told before FLUX is loaded
    flux = FluxSettings.of(_without_control(profile))
    models = ("text_encoder", "text_encoder_2", "vae")  # the transformer is not asked here
    base, _ = check(flux, profile.weights, device, models)
    generator = FluxGenerator(load_pipeline(base, TYPES[flux.dtype], models), None, latents, flux, device=device)
    place(generator.pipeline, flux, device)
    with Progress(transient=True) as bar:
        task = bar.add_task("cache", total=None)
        build(
            folder, sources, side=int(config.get("side", 512)), latents=latents, pipeline=generator.pipeline, embed=generator.embed,
            made_from=f"{profile.fingerprint} {profile.options['flux']['base']}",
            report=lambda done, of: bar.update(task, completed=done, total=of),
        )  # fmt: skip


def _train(
    options: argparse.Namespace, config: dict[str, Any], profile: Any, latents: Any, cache: Any, out: Path, device: str
) -> None:
    from gsc_ros.cli.train import curves, settings
    from gsc_ros.generators.flux import FluxGenerator, FluxSettings, check, check_memory, load_pipeline
    from gsc_ros.training.control import PRECISIONS, ControlTraining, memory_needed, train
    from gsc_ros.training.control_validation import validate

    values = dict(config.get("training", {}))
    if "levels" in values:
        values["levels"] = tuple(values["levels"])
    common: dict[str, Any] = {"out": out} | ({"steps": options.steps} if options.steps else {})
    training = settings(ControlTraining, values, common)
    flux = replace(FluxSettings.of(_without_control(profile)), memory="full")  # the other modes are for painting
    models = ("transformer", "vae")  # the captions are in the cache, embedded
    base, _ = check(flux, profile.weights, device, models)
    check_memory(
        memory_needed(base, training), device, what="FLUX, the branch and its optimizer take",
        instead="set training.precision to bf16, if it is not",
    )  # fmt: skip
    pipeline = load_pipeline(base, PRECISIONS[training.precision], models)
    pipeline.vae.to(device)
    every = config.get("validation", {})
    chosen = [index * cache.count // 4 for index in range(min(4, cache.count))]

    def on_saved(step: int, branch: Any) -> None:
        generator = FluxGenerator(pipeline, branch, latents, flux, device=device)
        rows = validate(generator, branch, latents, cache, chosen, out / "validation", step, **every)
        for row in rows:
            print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)

    train(training, cache, latents.step, pipeline.transformer, curves(out / "curves"), on_saved=on_saved)

"""``gsc bench``: the figures of the documents, measured here."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from gsc_ros.cli.errors import CommandError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="WHAT", required=True)
    speed = kinds.add_parser("speed", help="every stage of a frame beside a fixed reference, start-up and memory")
    speed.add_argument(
        "--frames", default="768x512,320x240,640x480,1280x720,1920x1080", help="sizes; the first one in full"
    )
    speed.add_argument("--repeats", type=int, default=10, metavar="N", help="of each measurement; medians are given")
    text = kinds.add_parser("text", help="what captions cost")
    text.add_argument("--captions", type=Path, required=True, metavar="FILE", help="one caption a line")
    text.add_argument("--last", type=int, help="only the last N lines; `gsc train` holds out 1500")
    confidence = kinds.add_parser("confidence", help="confidence beside the true likeness, block by block")
    confidence.add_argument("--images", type=Path, required=True, metavar="DIR")
    confidence.add_argument("--bytes", default="130,300,600", help="budgets, e.g. 130,300,600")
    confidence.add_argument("--realism", type=float, default=0.0)
    memory = kinds.add_parser("memory", help="what building on earlier frames saves on a drive and on a parked camera")
    memory.add_argument("--bag", type=Path, required=True, metavar="BAG")
    memory.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth frame of the drive")
    memory.add_argument("--levels", default="6,11,20", help="quality levels, e.g. 6,11,20")
    memory.add_argument("--budget", type=int, default=300, metavar="BYTES", help="of the parked camera's frames")
    memory.add_argument("--key-interval", type=int, default=15, metavar="FRAMES")
    memory.add_argument("--delay", type=int, default=1, metavar="FRAMES", help="until a frame is acknowledged")
    choice = kinds.add_parser(
        "choice", help="the encoder's choice of channels, steps and scale against trying all of them"
    )
    choice.add_argument("--images", type=Path, required=True, metavar="DIR", help="searched with all folders below")
    choice.add_argument("--count", type=int, default=50, metavar="N", help="images, spread over the folder")
    choice.add_argument("--bytes", default="130,300", help="budgets, e.g. 130,300")
    soak = kinds.add_parser(
        "soak",
        help="the real nodes over a bad link for a long time: memory, ages on the screen, and kills of every node",
    )
    soak.add_argument("--seconds", type=float, default=600.0)
    soak.add_argument("--restarts", type=int, default=3, metavar="N", help="kills of every node, after these seconds")
    soak.add_argument("--link", default="16k", help="a rate or a preset (docs/link.md)")
    soak.add_argument("--loss", type=float, default=0.2)
    soak.add_argument("--max-age", type=float, default=5.0, metavar="S")
    soak.add_argument(
        "--domain", type=int, default=60, help="ROS domain of the robot's side; the base has the next one"
    )
    realism = kinds.add_parser("realism", help="a generator beside realism 0, noise and other codecs at the same bytes")
    realism.add_argument("--images", type=Path, required=True, metavar="DIR", help="searched with all folders below")
    realism.add_argument("--count", type=int, metavar="N", help="only the first N images")
    realism.add_argument("--bytes", type=int, default=300, help="the budget")
    realism.add_argument(
        "--codecs",
        default="nano,nano:noise=matched,nano:realism=1",
        help="as of `gsc eval`; a profile may be a YAML file",
    )
    realism.add_argument("--detector", type=Path, metavar="ONNX", help="agreement of its boxes")
    realism.add_argument("--features", default="", metavar="ONNX,...", help="networks whose features are compared")
    realism.add_argument("--sheet", type=Path, metavar="PNG", help="the pictures' middles side by side")
    generate = kinds.add_parser("generate", help="seconds and memory of FLUX with its branch, and of the captioner")
    generate.add_argument(
        "--frames", default="512x512,1216x352,1024x768,2048x1024", help="sizes, e.g. 512x512,1216x352"
    )
    generate.add_argument("--steps", default="4,8,28", help="of the flow, e.g. 4,8,28")
    generate.add_argument("--compile", action="store_true", help="with torch.compile")
    generate.add_argument(
        "--memory", choices=["full", "offload", "nf4", "fp8"], default="full", help="flux.memory of the profile"
    )
    generate.add_argument("--tokens", type=int, default=128, help="of the text; max_text_tokens of the profile")
    generate.add_argument("--no-caption", action="store_true", help="leave the captioner out")
    train = kinds.add_parser("train", help="seconds and memory of a step of `gsc train control`")
    train.add_argument("--side", type=int, default=512)
    train.add_argument("--tokens", type=int, default=128, help="of the text; max_text_tokens of the profile")
    train.add_argument("--checkpointing", action="store_true", help="of gradients: computed twice and not kept")
    operations = kinds.add_parser(
        "operations", help="what there is to compute for FLUX with its branch, and the memory that takes: no GPU needed"
    )
    operations.add_argument(
        "--training", action="store_true", help="for a step of `gsc train control` in place of a frame"
    )
    operations.add_argument("--sides", default="512,1024", help="of the pictures trained on, e.g. 512,1024")
    operations.add_argument(
        "--frames", default="512x512,1216x352,1024x768,2048x1024", help="sizes, e.g. 512x512,1216x352"
    )
    operations.add_argument("--steps", type=int, default=28, help="of the flow")
    operations.add_argument("--tokens", type=int, default=128, help="of the text; max_text_tokens of the profile")
    operations.add_argument("--size", choices=["flux-dev", "tiny"], default="flux-dev")
    for sub in (generate, train):
        sub.add_argument(
            "--random-weights", action="store_true", required=True, help="the only way there is: nothing is downloaded"
        )
        sub.add_argument("--size", choices=["flux-dev", "tiny"], default="flux-dev")
        sub.add_argument("--device", default=None, help="cpu or cuda; the default is cuda where there is one")
    for sub in (speed, text, confidence, memory, choice, soak):
        sub.add_argument("--profile", default="nano")
    for sub in kinds.choices.values():
        sub.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> None:
    {
        "speed": _speed,
        "text": _text,
        "confidence": _confidence,
        "memory": _memory,
        "choice": _choice,
        "soak": _soak,
        "realism": _realism,
        "generate": _generate,
        "train": _train,
        "operations": _operations,
    }[options.kind](options)


def _full_size(options: argparse.Namespace) -> tuple[str, Any]:
    """Device and type; raises UsageError for a text of nothing, and for full-size models without a GPU."""
    import torch

    if options.tokens < 1:
        raise UsageError(f"--tokens {options.tokens}: at least 1")
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu" and options.size == "flux-dev":
        raise UsageError("--size flux-dev needs a GPU, and torch sees none here; --size tiny runs anywhere")
    return device, torch.bfloat16 if device.startswith("cuda") else torch.float32


def _generate(options: argparse.Namespace) -> None:
    device, dtype = _full_size(options)
    from gsc_ros.bench import full_size

    frames = _sizes(options.frames)
    steps = _numbers(options.steps, "--steps", "4,8,28")
    if options.memory in ("offload", "nf4") and not device.startswith("cuda"):
        raise UsageError(f"--memory {options.memory} needs a GPU")
    rows = list(
        full_size.generate(
            options.size, frames, steps, device=device, dtype=dtype, compiled=options.compile, memory=options.memory,
            tokens=options.tokens,
        )
    )  # fmt: skip
    full_size.free()
    if not options.no_caption:
        captioner = "qwen2.5-vl-7b" if options.size == "flux-dev" else "tiny"
        width, height = frames[0]
        rows.append(full_size.caption(captioner, width=width, height=height, device=device, dtype=dtype))
    _print_timings(options, device, rows)


def _train(options: argparse.Namespace) -> None:
    device, dtype = _full_size(options)
    if options.side < 16 or options.side % 16:
        raise UsageError(f"--side {options.side}: a multiple of 16 pixels")
    from gsc_ros.bench import full_size

    try:
        row = full_size.train(
            options.size, side=options.side, tokens=options.tokens, device=device, dtype=dtype,
            checkpointing=options.checkpointing,
        )  # fmt: skip
    except RuntimeError as error:
        if "out of memory" not in str(error) and "CUDA error" not in str(error):
            raise
        raise CommandError(
            f"{device}: {str(error).splitlines()[0]}; --checkpointing takes less memory, "
            "DIFFUSERS_ATTN_BACKEND=_native_flash in the environment other kernels for attention"
        ) from error
    _print_timings(options, device, [row])


def _sizes(text: str) -> list[tuple[int, int]]:
    try:
        return [(int(width), int(height)) for width, height in (part.split("x") for part in text.split(","))]
    except ValueError as error:
        raise UsageError(f"--frames {text}: sizes separated by commas, e.g. 512x512,1216x352") from error


def _operations(options: argparse.Namespace) -> None:
    for name, value in (("--steps", options.steps), ("--tokens", options.tokens)):
        if value < 1:
            raise UsageError(f"{name} {value}: at least 1")
    try:
        from gsc_ros.bench.operations import count, count_training
    except (ImportError, RuntimeError) as error:  # the latter where torchvision is not the one for this torch
        reason = str(error).strip().splitlines()[-1]
        raise UsageError(f"diffusers and transformers do not load ({reason}): pip install 'gsc-ros[paper]'") from error
    if options.training:
        sides = _numbers(options.sides, "--sides", "512,1024")
        if any(side < 16 or side % 16 for side in sides):
            raise UsageError(f"--sides {options.sides}: multiples of 16 pixels")
        rows = count_training(options.size, sides, tokens=options.tokens)
    else:
        rows = count(options.size, _sizes(options.frames), steps=options.steps, tokens=options.tokens)
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    if options.training:
        print(f"a step of {options.size}'s branch at batch 1, a text of {options.tokens} tokens\n")
        print("| what | size | 10^12 operations | GiB at most |\n|---|---|---|---|")
        for row in rows:
            print(f"| {row.part} | {row.size} | {row.tera:.3g} | {row.gib:.1f} |")
        return
    parts = list(dict.fromkeys(row.part for row in rows))
    print(f"10^12 operations for a frame of {options.size}: {options.steps} steps, a text of {options.tokens} tokens\n")
    print(f"| size | {' | '.join(parts)} | in all | GiB at most |\n|---|{'---|' * (len(parts) + 2)}")
    for size in dict.fromkeys(row.size for row in rows):
        found = {row.part: row for row in rows if row.size == size}
        values = [*(found[part].tera for part in parts), sum(row.tera for row in found.values())]
        most = max(row.gib for row in found.values())
        print(f"| {size} | {' | '.join(f'{value:.3g}' for value in values)} | {most:.1f} |")


def _print_timings(options: argparse.Namespace, device: str, rows: list[Any]) -> None:
    import torch

    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    print(
        f"{options.size} with random weights on {torch.cuda.get_device_name() if device.startswith('cuda') else 'a CPU'}\n"
    )
    print("| what | size | steps or tokens | seconds | seconds for each | peak GiB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.what} | {row.size} | {row.steps or ''} | {row.seconds:.3f} | {row.seconds / max(1, row.steps):.4f} | {row.peak_gib:.1f} |"
        )


def _budgets(text: str) -> list[int]:
    return _numbers(text, "--bytes", "130,300,600")


def _numbers(text: str, option: str, example: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{option} {text}: numbers separated by commas, e.g. {example}") from error


def _confidence(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from gsc_ros.bench.confidence import measure
    from gsc_ros.left_out import LeftOut, silently
    from gsc_ros.sources import image_folder

    count = sum(1 for _ in image_folder(options.images, LeftOut(silently)))  # told when they are measured
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=count)
        figures = measure(
            options.images, _budgets(options.bytes), options.profile, options.realism, lambda: bar.advance(task)
        )
    if options.json:
        print(json.dumps(dataclasses.asdict(figures)))
        return
    print(f"{figures.blocks} blocks, rank correlation of confidence and SSIM {figures.rank_correlation:.2f}\n")
    print("| confidence | share of blocks | mean confidence | mean SSIM | mean absolute error |")
    print("|---|---|---|---|---|")
    for row in figures.bins:
        print(
            f"| {row.low:.1f} to {row.high:.1f} | {row.share:.2f} | {row.confidence:.2f} | {row.ssim:.2f} | {row.error:.1f} |"
        )


def _memory(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from gsc_ros.bench.memory import drive, parked
    from gsc_ros.sources import bag_images

    frames = list(bag_images(options.bag, None))
    if options.every < 1 or len(frames[:: options.every]) < 2:
        raise UsageError(f"--every {options.every}: at least two of the {len(frames)} frames are needed")
    levels = _numbers(options.levels, "--levels", "6,11,20")
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("runs", total=None)
        savings = list(
            drive(
                frames[:: options.every], levels, profile=options.profile, key_interval=options.key_interval,
                delay=options.delay, done=lambda: bar.advance(task),
            )
        )  # fmt: skip
        still = list(
            parked(
                frames[0], profile=options.profile, level=levels[0], budget=options.budget,
                key_interval=options.key_interval,
            )
        )  # fmt: skip
    if options.json:
        rows = [dataclasses.asdict(saving) | {"saved": saving.share} for saving in savings]
        print(json.dumps({"drive": rows, "parked": [dataclasses.asdict(row) for row in still]}))
        return
    print("| level | bytes with memory | MS-SSIM | independent bytes at that MS-SSIM | saved |")
    print("|---|---|---|---|---|")
    for saving in savings:
        ours = saving.memory
        print(
            f"| {saving.level} | {ours.bytes:.0f} | {ours.ms_ssim:.3f} | {saving.independent_bytes:.0f} | {100 * saving.share:.0f} % |"
        )
    print(
        f"\n| parked | realism | bytes | MS-SSIM | change, mean | largest | largest after frame {options.key_interval} |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in still:
        run = row.run
        print(
            f"| {row.setting} | {row.realism:g} | {run.bytes:.0f} | {run.ms_ssim:.3f} | {run.change:.2f} | {run.largest_change:.2f} | {run.settled_change:.2f} |"
        )


def _choice(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from gsc_ros.bench.choice import measure, pictures

    images, budgets = pictures(options.images, options.count), _budgets(options.bytes)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("images", total=len(images) * len(budgets))
        rows = measure(images, budgets, options.profile, lambda: bar.advance(task))
    if options.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    print(
        "| budget | images | MS-SSIM | of a search | share | worst share | extra ms, median | attempts of the search |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.budget} | {row.images} | {row.ms_ssim:.4f} | {row.searched:.4f} | {row.share:.4f} | {row.worst_share:.3f} | {row.extra_ms:.0f} | {row.attempts} |"
        )


def _realism(options: argparse.Namespace) -> None:
    from gsc_ros.bench.realism import measure

    try:
        found = measure(
            options.images, options.codecs.split(","), budget=options.bytes, count=options.count,
            detector=options.detector, features=[Path(name) for name in options.features.split(",") if name],
            sheet=options.sheet,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.json:
        print(json.dumps(found))
        return
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    print(f"| codec | {' | '.join(name.replace('_', ' ') for name in names)} |\n|---|{'---|' * len(names)}")
    for codec, figures in found.items():
        print(f"| {codec} | " + " | ".join(f"{figures[n]:.4g}" if n in figures else "" for n in names) + " |")


def _soak(options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from gsc_ros.bench.soak import soak
    from gsc_ros.demo.run import DemoError
    from gsc_ros.link.presets import link_spec

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("soak", total=options.seconds)
        try:
            result = soak(
                seconds=options.seconds, restarts=options.restarts, link=options.link,
                bits_per_second=link_spec(options.link).bits_per_second, loss=options.loss, max_age_s=options.max_age, domain=options.domain,
                done=lambda passed: bar.update(task, completed=passed),
            )  # fmt: skip
        except DemoError as error:
            raise CommandError(str(error)) from error
    frames: dict[str, int] = {}
    for restart in result.restarts:
        frames[f"{restart.node}_frames"] = max(restart.frames, frames.get(f"{restart.node}_frames", 0))
    figures: dict[str, float] = {
        "shown": result.shown, "backwards": result.backwards, "oldest_s": result.oldest_s, "wire_bps": result.wire_bps, "lost": result.lost,
        "growth": result.growth, **{f"{name}_mb": last for name, (_, last) in result.memory.items()}, **frames,
    }  # fmt: skip
    _print(figures, options.json)


def _speed(options: argparse.Namespace) -> None:
    from gsc_ros.bench.speed import REFERENCE_GFLOP, measure

    if options.repeats < 1:
        raise UsageError(f"--repeats {options.repeats}: at least 1")
    figures = measure(options.profile, _sizes(options.frames), options.repeats)
    if options.json:
        print(json.dumps(dataclasses.asdict(figures)))
        return
    print(
        f"reference: {REFERENCE_GFLOP:.1f} GFLOP in {figures.reference_ms:.0f} ms, {figures.gflops:.0f} GFLOP/s, {figures.threads} threads\n"
    )
    print("| process | first frame, s | at most, MB |\n|---|---|---|")
    for name, values in figures.processes.items():
        print(f"| {name} | {values['first_frame_s']:.1f} | {values['mb']:.0f} |")
    sizes = list(dict.fromkeys(stage.size for stage in figures.stages))
    of = {(stage.stage, stage.size): stage for stage in figures.stages}
    print(f"\n| stage | {' | '.join(f'{size}, ms' for size in sizes)} | references at {sizes[0]} |")
    print(f"|{'---|' * (len(sizes) + 2)}")
    for name in dict.fromkeys(stage.stage for stage in figures.stages):
        cells = [f"{of[name, size].ms:.1f}" if (name, size) in of else "" for size in sizes]
        print(f"| {name} | {' | '.join(cells)} | {of[name, sizes[0]].references:.2f} |")


def _text(options: argparse.Namespace) -> None:
    from gsc_ros.bench.text import measure
    from gsc_ros.entropy.text import TextCoder, TextTable
    from gsc_ros.profiles import load_profile

    lines = [line for line in options.captions.read_text(encoding="utf-8").splitlines() if line.strip()]
    coder = TextCoder(TextTable.load(load_profile(options.profile).files))
    _print(measure(coder, lines[-options.last :] if options.last else lines), options.json)


def _print(figures: dict[str, float], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:30} {value:.3f}" if isinstance(value, float) else f"{name:30} {value}")

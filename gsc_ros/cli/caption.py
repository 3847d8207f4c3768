"""``gsc caption``: captions of a folder of images, for training and for evaluation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gsc_ros.captioners.endpoint import EndpointError
from gsc_ros.cli.errors import CommandError, UsageError
from gsc_ros.printable import printable

if TYPE_CHECKING:
    from gsc_ros.captioners.endpoint import EndpointCaptioner
    from gsc_ros.captioners.qwen_vl import QwenVlCaptioner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, help="folder of images; folders in it are looked through as well")
    parser.add_argument(
        "--model",
        required=True,
        help="folder or hub id of Qwen2.5-VL or a later one; with --url the server's name of it",
    )
    parser.add_argument("--url", help="ask an OpenAI-compatible server there, e.g. http://computer:8000/v1")
    parser.add_argument("--length", choices=["short", "medium", "long"], default="short")
    parser.add_argument("--most-tokens", type=int, metavar="N", help="of a caption, in place of the length's")
    parser.add_argument("--batch", type=int, default=4, help="images at once (default: 4)")
    parser.add_argument("--memory", choices=["full", "offload", "nf4"], default="full")
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--device", default=None, help="cpu or cuda; the default is cuda where there is one")
    parser.add_argument(
        "--out", type=Path, help="JSON lines of file and caption (default: captions.jsonl in the folder)"
    )


def run(options: argparse.Namespace) -> None:
    from rich.progress import Progress

    from gsc_ros.training.images import image_files, read_rgb

    if not options.images.is_dir():
        raise UsageError(f"no folder {options.images}: name one with images")
    if options.batch < 1:
        raise UsageError(f"--batch {options.batch}: at least 1")
    out = options.out or options.images / "captions.jsonl"
    names = [str(path.relative_to(options.images)) for path in image_files(options.images)]
    done = captioned(out)
    left = [name for name in names if name not in done]
    if not left:
        print(f"all {len(names)} images have a caption in {printable(out)}")
        return
    captioner = _captioner(options)
    unreadable = 0
    # Line by line, so that an interrupted run goes on where it was.
    with out.open("a", encoding="utf-8") as file, Progress(transient=True) as bar:
        task = bar.add_task("captions", total=len(names), completed=len(names) - len(left))
        for start in range(0, len(left), options.batch):
            batch = {}
            for name in left[start : start + options.batch]:
                try:
                    batch[name] = read_rgb(options.images / name)
                except ValueError:
                    unreadable += 1
            try:
                captions = captioner.captions(list(batch.values())) if batch else []
            except EndpointError as error:
                raise CommandError(f"{error}; run the same command again to go on") from error
            for name, text in zip(batch, captions, strict=True):
                file.write(json.dumps({"file": name, "caption": text}, ensure_ascii=False) + "\n")
            file.flush()
            bar.advance(task, min(options.batch, len(left) - start))
    skipped = f"; {unreadable} could not be read as images" if unreadable else ""
    print(
        f"{len(left) - unreadable} captions written to {printable(out)}, {len(done & set(names))} were there{skipped}"
    )


def captioned(path: Path) -> set[str]:
    """The files that have a caption in ``path``; a last line that was cut off by a crash is taken out of it."""
    if not path.is_file():
        return set()
    lines, found = path.read_text(encoding="utf-8").splitlines(), set()
    for index, line in enumerate(lines):
        try:
            found.add(json.loads(line)["file"])
        except (ValueError, KeyError, TypeError) as error:
            if index + 1 < len(lines):
                raise UsageError(
                    f"{path}, line {index + 1}, is no caption: mend it, or write to another file with --out"
                ) from error
            path.write_text("".join(f"{line}\n" for line in lines[:-1]), encoding="utf-8")
    return found


def _captioner(options: argparse.Namespace) -> EndpointCaptioner | QwenVlCaptioner:
    if options.url:
        from gsc_ros.captioners.endpoint import EndpointCaptioner

        return EndpointCaptioner(options.url, options.model, length=options.length, most_tokens=options.most_tokens)
    import torch

    from gsc_ros.captioners.qwen_vl import QwenVlCaptioner

    return QwenVlCaptioner.load(
        options.model, length=options.length, most_tokens=options.most_tokens, memory=options.memory, dtype=options.dtype,
        device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
    )  # fmt: skip

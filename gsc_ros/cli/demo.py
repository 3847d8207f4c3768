"""``gsc demo``: camera, compressor and reconstructor as ROS nodes, recorded and reported."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gsc_ros.cli.errors import CommandError, UsageError
from gsc_ros.cli.source_options import add_source_options, as_arguments, source_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_source_options(parser)
    parser.add_argument("--frames", type=int, default=24, help="at most so many frames (default 24)")
    parser.add_argument("--rate", type=float, default=1.0, help="frames a second of the camera (default 1)")
    parser.add_argument("--max-bytes", type=int, default=300, help="hard limit for a packet (default 300)")
    parser.add_argument("--realism", type=float, help="0: fidelity, 1: sampled (default: the profile's)")
    parser.add_argument("--profile", default="nano")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="where the results go (default out/demo)")
    parser.add_argument("--json", action="store_true", help="print report.json in place of the table")


def run(options: argparse.Namespace) -> None:
    if options.frames < 1 or not 0 < options.rate <= 240:
        raise UsageError("--frames must be at least 1 and --rate above 0 and at most 240")
    try:
        import rclpy  # noqa: F401

        import gsc_ros.msg  # noqa: F401
    except ImportError as error:
        raise CommandError(
            f"{error.name} is not there: run `make demo`, or source the workspace that gsc_ros was built in"
        ) from error
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table

    from gsc_ros.demo import page as demo_page
    from gsc_ros.demo.link_bag import write_mcap
    from gsc_ros.demo.report import shown_frames, summarise
    from gsc_ros.demo.run import DemoError, run_nodes
    from gsc_ros.left_out import LeftOut, on_stderr, silently
    from gsc_ros.profiles import load_profile

    profile = load_profile(options.profile)
    source = source_of(options)
    if source.camera is None:
        # A source that cannot be read is reported before anything starts; what is left out of it, by the camera.
        next(iter(source.frames(LeftOut(silently))))
    realism = {} if options.realism is None else {"realism": float(options.realism)}
    camera = ["--rate", str(options.rate), "--frames", str(options.frames), *as_arguments(options)]
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("frames over the link", total=options.frames)
        try:
            recording, figures = run_nodes(
                camera_arguments=camera,
                compressor={"profile": options.profile, "max_bytes_per_frame": options.max_bytes},
                reconstructor={"profile": options.profile} | realism,
                frames=options.frames,
                logs=options.out / "logs",
                progress=lambda shown, total: bar.update(task, completed=min(shown, total)),
            )
        except DemoError as error:
            raise CommandError(str(error)) from error
    for line in (options.out / "logs" / "camera.log").read_text(errors="replace").splitlines():
        if line.startswith("gsc: "):
            on_stderr(line.removeprefix("gsc: "))
    captions = _captions(recording, options.profile)
    shown = shown_frames(recording, captions)
    if not shown:
        raise CommandError(f"no frame reached the screen; the logs of the nodes are in {options.out / 'logs'}")
    report = summarise(shown, recording, profile, figures)
    (options.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    demo_page.write(options.out, report, shown, source.name)
    write_mcap(options.out / "link.mcap", recording.messages)
    if options.json:
        print(json.dumps(report))
        return
    table = Table(
        title=f"{source.name}: generated at the base station from at most {options.max_bytes} bytes a frame",
        show_header=False,
        title_justify="left",
    )
    for row in demo_page.table(report):
        table.add_row(*row)
    Console().print(table)
    print(f"{options.out}/index.html, side_by_side.png, report.json, link.mcap")


def _captions(recording: object, profile: str) -> dict[int, str]:
    """The captions as the base station read them, by sequence number."""
    from gsc_ros.decoder import Decoder
    from gsc_ros.frame_messages import frame_of
    from gsc_ros.nodes.recorder import Recording

    assert isinstance(recording, Recording)
    decoder = Decoder.load(profile)
    frames = [seen.frame for _, seen in sorted(recording.frames.items()) if seen.frame is not None]
    return {frame.sequence: decoder.read(frame_of(frame)).caption for frame in frames}

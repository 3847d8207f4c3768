"""``gsc view``: the operator's page, served from the base station."""

from __future__ import annotations

import argparse

from gsc_ros.cli.errors import CommandError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cameras", default="/camera", help="base names of the cameras, separated by commas")
    parser.add_argument("--gateway", default="/gateway", help="name of the base's gateway node")
    parser.add_argument(
        "--clocks-differ", action="store_true", help="the robot's clock is another: ages count from the fastest picture"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8047)


def run(options: argparse.Namespace) -> None:
    cameras = [name.rstrip("/") for name in options.cameras.split(",") if name.rstrip("/")]
    if not cameras or not 0 <= options.port <= 65_535:
        raise UsageError("--cameras needs a name, and --port a number from 0 to 65535")
    try:
        from gsc_ros.nodes.viewer import run as serve
    except ImportError as error:
        raise CommandError(
            f"{error.name} is not there: source the workspace that gsc_ros was built in, and pip install 'gsc-ros[view]'"
        ) from error
    serve(
        cameras, options.gateway.rstrip("/"), options.host, options.port,
        clocks_agree=not options.clocks_differ, ready=lambda port: _ready(options.host, port),
    )  # fmt: skip


def _ready(host: str, port: int) -> None:
    from gsc_ros.view.connections import in_url, is_loopback

    print(f"http://{in_url(host)}:{port}  (Ctrl-C ends it)", flush=True)
    if not is_loopback(host):
        print("anyone who reaches this address sees the pictures and can ask things of the robot", flush=True)

"""The ``gsc`` command: picks the subcommand, and turns errors into one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from gsc_ros import __version__
from gsc_ros.cli.errors import CommandError, UsageError
from gsc_ros.printable import printable

COMMANDS = {
    "encode": "an image file to a packet file",
    "decode": "a packet file to an image file",
    "inspect": "every field of a packet file",
    "bag": "a rosbag2 with camera topics to one with GscFrame, and back",
    "demo": "camera, compressor and reconstructor as ROS nodes, and a report",
    "view": "the operator's page: pictures, confidence, ages, and requests to the robot",
    "experiment": "links x codecs over a drive: age, pictures a second, likeness, a detector",
    "key": "a new pre-shared key for the two gateways of a link",
    "caption": "captions of a folder of images by a vision-language model",
    "calibrate": "a published CompressAI codec made ready for a profile",
    "train": "train the nano profile, or the control branch of FLUX",
    "eval": "datasets x codecs x measures, with real packet bytes: tables and curves",
    "bound": "what the relevant part of images would cost alone, beside what packets cost",
    "bench": "measure one part: speed, memory across frames, confidence, captions, full size",
    "profiles": "the profiles that are installed",
}


class Parser(argparse.ArgumentParser):
    """An argument parser that reports bad usage in one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise UsageError(f"{message} (see `{self.prog} --help`)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``gsc``."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    parser = Parser(
        prog="gsc",
        description="Generative Semantic Coding: camera images over links of 0.5 to 16 kbit/s. Decoded images are generated.",
    )
    parser.add_argument("--version", action="version", version=f"gsc {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    # Only the command that was named is imported: torch alone takes two seconds.
    named = next((argument for argument in arguments if argument in COMMANDS), None)
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == named:
            module = importlib.import_module(f"gsc_ros.cli.{name}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    try:
        options = parser.parse_args(arguments)
        options.run(options)
    except UsageError as error:
        print(f"gsc: {printable(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("gsc: interrupted", file=sys.stderr)
        return 130
    except (CommandError, ValueError, OSError) as error:
        message = (
            f"{error.strerror}: {error.filename}"
            if isinstance(error, OSError) and error.strerror and error.filename
            else str(error)
        )
        print(f"gsc: {printable(' '.join(message.split()))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()

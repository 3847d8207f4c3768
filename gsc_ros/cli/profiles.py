"""``gsc profiles``: what is installed, and what it is known by."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gsc_ros.profiles import ProfileError, available_profiles, load_profile, write_sha256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--sha256",
        type=Path,
        metavar="PROFILE.yaml",
        help="write the SHA-256 of its weights into that profile, no more",
    )


def run(options: argparse.Namespace) -> None:
    if options.sha256 is not None:
        digests = write_sha256(options.sha256)
        print(f"{options.sha256}: {len(digests)} files, fingerprint {load_profile(options.sha256).fingerprint}")
        return
    rows = []
    for name in available_profiles():
        try:
            profile = load_profile(name)
        except ProfileError as error:
            rows.append({"name": name, "problem": str(error)})
        else:
            rows.append(
                {
                    "name": name,
                    "fingerprint": profile.fingerprint,
                    "summary": profile.summary,
                    "weights": str(profile.weights),
                }
            )
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print("  ".join(row.values()))

"""``gsc profiles``: what is installed, and what it is known by."""

from __future__ import annotations

import argparse
import json

from gsc_ros.profiles import ProfileError, available_profiles, load_profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def run(options: argparse.Namespace) -> None:
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

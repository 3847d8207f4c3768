"""Profiles: which parts make up a codec, where their weights are, and what they are known by."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


class ProfileError(ValueError):
    """A profile that does not exist, is incomplete, or whose weights are missing."""


@cache
def share_directory() -> Path:
    """The folder with config/ and models/: the source checkout, or share/gsc_ros of an installation."""
    package = Path(__file__).resolve().parent
    candidates = [
        package.parent,
        *(parent / "share" / "gsc_ros" for parent in package.parents),
        Path(sys.prefix) / "share" / "gsc_ros",
    ]
    for candidate in candidates:
        if (candidate / "config" / "profiles").is_dir():
            return candidate
    raise ProfileError(f"no config/profiles beside {package} or in {candidates[-1]}: install the package again")


@dataclass(frozen=True)
class Profile:
    """One profile file, its paths made absolute.

    name         as given to ``profile=``
    latents      name of the latent back end
    channels     channels of the latent in all
    generator    name of the generator back end
    weights      folder of the weights
    fingerprint  16 hex digits over the files that both ends must share
    defaults     what the encoder and decoder do unless told otherwise
    options      the rest of the file: what single parts need to know
    """

    name: str
    summary: str
    latents: str
    channels: int
    generator: str
    weights: Path
    fingerprint: str
    defaults: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def wire_fingerprint(self) -> int:
        """The 16 bits of the fingerprint that every packet carries."""
        return int(self.fingerprint[:4], 16)


REQUIRED = ("summary", "latents", "channels", "generator", "weights", "shared_files", "defaults")


def available_profiles() -> list[str]:
    """Names of the profiles that ship with the package."""
    return sorted(path.stem for path in (share_directory() / "config" / "profiles").glob("*.yaml"))


def load_profile(name: str | Path) -> Profile:
    """The profile called ``name``, or the one in the YAML file of that path; raises ProfileError."""
    text = str(name)
    path = (
        Path(text) if text.endswith((".yaml", ".yml")) else share_directory() / "config" / "profiles" / f"{text}.yaml"
    )
    if not path.is_file():
        raise ProfileError(
            f"no profile {text!r}: {', '.join(available_profiles())} ship with the package, or give the path of a YAML file"
        )
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ProfileError(f"profile {path} is not YAML: {str(error).splitlines()[0]}") from error
    missing = [key for key in REQUIRED if not isinstance(content, dict) or key not in content]
    if missing:
        raise ProfileError(f"profile {path} lacks {', '.join(missing)}")
    weights = (path.parent / content["weights"]).resolve()
    if not weights.is_dir():
        weights = (share_directory() / "models" / Path(content["weights"]).name).resolve()
    digest = hashlib.sha256()
    for file in content["shared_files"]:
        if not (weights / file).is_file():
            hint = content.get("get_weights", "install the package again, with its models folder")
            raise ProfileError(f"profile {path.stem!r} needs {weights / file}, which is missing: {hint}")
        digest.update(file.encode() + b"\0" + hashlib.sha256((weights / file).read_bytes()).digest())
    return Profile(
        name=path.stem, summary=content["summary"], latents=content["latents"], channels=int(content["channels"]), generator=content["generator"],
        weights=weights, fingerprint=digest.hexdigest()[:16], defaults=content["defaults"],
        options={key: value for key, value in content.items() if key not in REQUIRED},
    )  # fmt: skip

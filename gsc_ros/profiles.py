"""Profiles: which parts make up a codec, where their weights are, and what they are known by."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gsc_ros import captioners, generators, latents
from gsc_ros.entropy.text import FILE as TEXT
from gsc_ros.latents.selection import SELECTIONS
from gsc_ros.profile_fields import Field, Reads, check, shown
from gsc_ros.profile_fields import ProfileError as ProfileError
from gsc_ros.weights import Weights
from gsc_ros.whole_output import whole

MOST_BYTES = 65_536  # of a profile's file; those that ship have 3,000
INSTALL = "install the package again, with its models folder"
FIELDS = {
    "summary": Field(required=True),
    "latents": Field(choices=tuple(latents.BACK_ENDS), required=True),
    "generator": Field(choices=tuple(generators.BACK_ENDS), required=True),
    "weights": Field(required=True),
    "shared_files": Field(kind=list, required=True),
    "sha256": Field(kind=dict),
    "get_weights": Field(),
}
DEFAULTS = {"selection": Field(choices=SELECTIONS, required=True)}
OWN = ("summary", "latents", "channels", "generator", "weights", "shared_files", "sha256", "defaults")


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
    sha256       hex digests of its files, by name
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
    sha256: Mapping[str, str]
    fingerprint: str
    defaults: Mapping[str, Any]
    options: Mapping[str, Any]

    @property
    def wire_fingerprint(self) -> int:
        """The 16 bits of the fingerprint that every packet carries."""
        return int(self.fingerprint[:4], 16)

    @property
    def files(self) -> Weights:
        """The files, to be loaded from: each is compared with its SHA-256."""
        return Weights(self.weights, self.sha256, self.options.get("get_weights", INSTALL))


def available_profiles() -> list[str]:
    """Names of the profiles that ship with the package."""
    return sorted(path.stem for path in (share_directory() / "config" / "profiles").glob("*.yaml"))


def load_profile(name: str | Path) -> Profile:
    """The profile called ``name``, or the one in the YAML file of that path; raises ProfileError.

    The weights' sizes and heads are looked at here; their contents when they are loaded (:mod:`gsc_ros.weights`).
    """
    path = _path_of(str(name))
    content = _read(path)
    reads = _check(content, path)
    weights = _folder(content, path)
    digests = content.get("sha256", {})
    names = [file for read in reads for file in read.files]
    if missing := [file for file in names if file not in digests]:
        raise ProfileError(
            f"profile {path} has no SHA-256 of {', '.join(missing)}: `gsc profiles --sha256 {path}` adds them"
        )
    shared = {file for read in reads if read.shared for file in (*read.files, *read.optional) if file in digests}
    if missing := sorted(shared - set(content["shared_files"])):
        raise ProfileError(f"profile {path}, shared_files lacks {', '.join(missing)}, which both ends must share")
    profile = Profile(
        name=path.stem, summary=content["summary"], latents=content["latents"], channels=content["channels"],
        generator=content["generator"], weights=weights, sha256=digests, fingerprint=_fingerprint(content, path),
        defaults=content["defaults"], options={key: value for key, value in content.items() if key not in OWN},
    )  # fmt: skip
    profile.files.check()
    return profile


def write_sha256(path: Path) -> dict[str, str]:
    """Write the SHA-256 of the weights, as they are now, into the profile at ``path``; raises ProfileError."""
    content = _read(path)
    reads = _check(content, path)
    weights = _folder(content, path)
    given = Weights(weights, hint=content.get("get_weights", INSTALL))
    names = [file for read in reads for file in read.files]
    names += [file for read in reads for file in read.optional if file in given]
    digests = {name: hashlib.sha256(given.read(name)).hexdigest() for name in names}
    text = path.read_text(encoding="utf-8")
    block = "sha256:\n" + "".join(f"  {name}: {digest}\n" for name, digest in digests.items())
    text, count = re.subn(
        r"^sha256:.*\n(?:[ \t]+.*\n)*", block, text if text.endswith("\n") else text + "\n", flags=re.M
    )
    text = text if count else text + block
    try:
        right = yaml.load(text, _PlainLoader) == {**content, "sha256": digests}
    except yaml.YAMLError:
        right = False
    if not right:
        raise ProfileError(
            f"profile {path}: its sha256 cannot be written in place; take that section out, and try again"
        )
    with whole(path) as place:
        place.write_text(text, encoding="utf-8")
    return digests


def _path_of(text: str) -> Path:
    path = (
        Path(text) if text.endswith((".yaml", ".yml")) else share_directory() / "config" / "profiles" / f"{text}.yaml"
    )
    if not path.is_file():
        raise ProfileError(
            f"no profile {shown(text)}: {', '.join(available_profiles())} ship with the package, or give the path of a YAML file"
        )
    return path


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, which a few bytes can make endless, and without keys that are there twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := [name for name in names if isinstance(name, str) and names.count(name) > 1]:
            raise yaml.YAMLError(f"{shown(twice[0])} is there twice")
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[Any, Any]:
    """The mapping in the YAML file ``path``; raises ProfileError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ProfileError(f"profile {path} has more than {MOST_BYTES} bytes: it is no profile")
        content = yaml.load(data.decode("utf-8"), _PlainLoader)
    except OSError as error:
        raise ProfileError(f"profile {path} cannot be read ({error.strerror or error}): name another") from error
    except ProfileError:
        raise
    except RecursionError as error:
        raise ProfileError(f"profile {path} is nested too deeply: it is no profile") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ProfileError(f"profile {path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"profile {path} is no mapping: copy one that ships, in {share_directory() / 'config'}")
    return content


def _check(content: dict[Any, Any], path: Path) -> tuple[Reads, ...]:
    """What the profile's parts read of it; raises ProfileError on whatever none of them does, or cannot be."""
    where = f"profile {path}"
    # The parts say what else is allowed: they come first.
    for name in ("latents", "generator"):
        check({key: content[key] for key in (name,) if key in content}, {name: FIELDS[name]}, where)
    latent, generator = latents.BACK_ENDS[content["latents"]], generators.BACK_ENDS[content["generator"]]
    if generator.latents and content["latents"] not in generator.latents:
        raise ProfileError(
            f"{where}: the generator {content['generator']} needs the latents {' or '.join(generator.latents)}"
        )
    channels = content.get("channels")
    fewer = Field(kind=int, low=1, high=channels if type(channels) is int else 1)
    defaults = {**DEFAULTS, **latent.defaults, **generator.defaults, "channels": fewer}
    fields = {
        **FIELDS, **latent.fields, **generator.fields, "captioner": Field(kind=dict),
        "defaults": Field(kind=dict, fields=defaults, required=True),
    }  # fmt: skip
    check(content, fields, where)
    captioners.check_section(content.get("captioner", {}), where)
    reads = (latent, Reads(files=(TEXT,), shared=True), generator)
    files = [file for read in reads for file in (*read.files, *read.optional)]
    check(content.get("sha256", {}), dict.fromkeys(files, Field()), f"{where}, sha256")
    for name, digest in content.get("sha256", {}).items():
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise ProfileError(f"{where}, sha256, {name} {shown(digest)}: 64 hex digits are needed")
    for name in content["shared_files"]:
        Field(choices=tuple(files)).check(name, f"{where}, shared_files")
    return reads


def _folder(content: Mapping[str, Any], path: Path) -> Path:
    """The folder of the weights, which lies relative to the profile's file, as in the checkout so below share/."""
    try:
        folder = (path.parent / Path(content["weights"]).expanduser()).resolve()
        if folder.is_dir():
            return folder
    except (OSError, ValueError, RuntimeError):  # a name too long, a zero byte in it, a home of nobody
        folder = path.parent / "?"
    raise ProfileError(
        f"profile {path} needs the folder {folder} (weights {content['weights'][:200]!r}), which is missing: "
        f"{content.get('get_weights', INSTALL)[:200]}; the weights that ship are in {share_directory() / 'models'}"
    )


def _fingerprint(content: Mapping[str, Any], path: Path) -> str:
    """docs/bitstream.md, section 7."""
    digest = hashlib.sha256()
    for file in content["shared_files"]:
        if file not in content["sha256"]:
            raise ProfileError(
                f"profile {path}, shared_files names {file}, of which sha256 says nothing: `gsc profiles --sha256 {path}` adds it"
            )
        digest.update(file.encode() + b"\0" + bytes.fromhex(content["sha256"][file]))
    return digest.hexdigest()[:16]

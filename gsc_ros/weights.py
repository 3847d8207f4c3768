"""Weights on disk: the one way in for the files of a profile, and a look at folders in other layouts.

name --> size and head (check_safetensors) --> bytes, once --> SHA-256 --> arrays of the expected shapes

What is wrong with a file is one ProfileError that names it and says what to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gsc_ros.profile_fields import ProfileError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)

WEIGHT_SUFFIXES = (".safetensors", ".bin")
MOST_HEAD = 100_000_000  # bytes of a safetensors file's head, as its format allows
Shape = tuple[int | None, ...]  # None: any length


@dataclass(frozen=True)
class Weights:
    """A folder of weights, and what its files are known by.

    sha256  hex digests of the files; None: a training run's own folder, whose files are taken as they are
    hint    what to do where a file is missing or damaged
    """

    folder: Path
    sha256: Mapping[str, str] | None = None
    hint: str = "name a folder that gsc train or gsc calibrate has written"

    def __contains__(self, name: str) -> bool:
        """Whether the file ``name`` belongs to these weights."""
        return (self.folder / name).is_file() if self.sha256 is None else name in self.sha256

    def check(self) -> None:
        """A look at the size and the head of each file; raises ProfileError."""
        for name in self.sha256 or ():
            check_safetensors(self.folder / name, hint=self.hint)

    def read(self, name: str) -> bytes:
        """The file ``name``, whole and unchanged; raises ProfileError."""
        path = self.folder / name
        check_safetensors(path, hint=self.hint)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ProfileError(f"{path} cannot be read ({error.strerror or error}): {self.hint}") from error
        if self.sha256 is not None:
            if name not in self.sha256:
                raise ProfileError(
                    f"{path} has no SHA-256 in the profile: `gsc profiles --sha256 PROFILE.yaml` adds it"
                )
            found, wanted = hashlib.sha256(data).hexdigest(), self.sha256[name]
            if found != wanted:
                raise ProfileError(
                    f"{path} is damaged or another file than the profile names "
                    f"(SHA-256 {found[:12]}..., not {wanted[:12]}...): {self.hint}"
                )
        return data


def damaged(weights: Weights, name: str, what: str) -> ProfileError:
    """The error for a file whose contents do not fit: ``what`` is wrong with them."""
    return ProfileError(
        f"{weights.folder / name}: {what}; it is of another model or version of this package: {weights.hint}"
    )


def load_arrays(
    weights: Weights,
    name: str,
    shapes: Mapping[str, Shape],
    *,
    kinds: Any,
    optional: Mapping[str, Shape] | None = None,
) -> dict[str, NDArray[Any]]:
    """The arrays of the file ``name``, which has ``shapes`` and may have ``optional``; raises ProfileError.

    ``kinds`` is the dtype, or the kind of dtypes (``numpy.integer``), of all arrays or of each by its name.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(weights.read(name))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, ProfileError):
            raise
        raise damaged(weights, name, f"it cannot be read ({error})") from error
    _fit(weights, name, {key: value.shape for key, value in arrays.items()}, shapes, optional or {})
    for key, value in arrays.items():
        kind = kinds[key] if isinstance(kinds, Mapping) else kinds
        if not np.issubdtype(value.dtype, kind):
            raise damaged(weights, name, f"{key} is of {value.dtype}, {kind.__name__} is needed")
    return arrays


def load_tensors(weights: Weights, name: str) -> dict[str, Tensor]:
    """The tensors of the file ``name``; raises ProfileError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(weights.read(name))
    except (SafetensorError, KeyError, TypeError) as error:
        raise damaged(weights, name, f"it cannot be read ({error})") from error


def fill(network: Network, weights: Weights, name: str) -> Network:
    """``network`` with the tensors of the file ``name``, which are all of its own; raises ProfileError."""
    tensors = load_tensors(weights, name)
    wanted: dict[str, Shape] = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    _fit(weights, name, {key: tuple(value.shape) for key, value in tensors.items()}, wanted, {})
    for key, value in tensors.items():
        if not value.is_floating_point():
            raise damaged(weights, name, f"{key} is of {value.dtype}, floating point is needed")
    network.load_state_dict({key: value.float() for key, value in tensors.items()})
    return network


def _fit(
    weights: Weights,
    name: str,
    found: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, Shape],
    optional: Mapping[str, Shape],
) -> None:
    """Raise ProfileError on the first array that is missing, too many or of another shape."""
    if missing := sorted(set(wanted) - set(found)):
        raise damaged(
            weights, name, f"it lacks {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else "")
        )
    for key, shape in found.items():
        expected = wanted.get(key, optional.get(key))
        if expected is None:
            raise damaged(weights, name, f"it holds {key[:60]!r}, which nothing reads")
        if len(shape) != len(expected) or any(b not in (a, None) for a, b in zip(shape, expected, strict=True)):
            sizes = "x".join("n" if size is None else str(size) for size in expected)
            raise damaged(weights, name, f"another shape of {key}: {'x'.join(map(str, shape))}, {sizes} is needed")
    for key, shape in found.items():
        if not all(shape):
            raise damaged(weights, name, f"{key} is empty")


def read_json(path: Path, *, hint: str) -> dict[str, Any]:
    """The JSON object in ``path``; raises ProfileError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProfileError(f"{path} is missing: {hint}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ProfileError(f"{path} cannot be read as JSON ({error}): {hint}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{path} holds no JSON object: {hint}")
    return content


def check_model(folder: Path, *, classes: tuple[str, ...], hint: str, config: str = "config.json") -> int:
    """Bytes of the weights of one model folder; raises ProfileError unless it is whole and of one of ``classes``."""
    if not folder.is_dir():
        raise ProfileError(f"no folder {folder}: {hint}")
    if (folder / "adapter_config.json").is_file() or (folder / "pytorch_lora_weights.safetensors").is_file():
        raise ProfileError(f"{folder} holds a LoRA adapter, not a model: merge it into its model first, and name that")
    content = read_json(folder / config, hint=hint)
    found = content.get("_class_name") or ", ".join(content.get("architectures") or []) or "nothing"
    if not any(name in found for name in classes):
        raise ProfileError(f"{folder} holds {found}: {' or '.join(classes)} is needed; {hint}")
    return check_files(folder, hint=hint)


def check_files(folder: Path, *, hint: str) -> int:
    """Bytes of the weight files in ``folder``; raises ProfileError where one is missing, empty or cut short."""
    names: set[str] = set()
    for index in folder.glob("*.index.json"):
        names |= set(read_json(index, hint=hint).get("weight_map", {}).values())
    names = names or {path.name for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES}
    if not names:
        raise ProfileError(f"{folder} holds no weights (*.safetensors): {hint}")
    for name in sorted(names):
        path = folder / name
        if not path.is_file():
            raise ProfileError(f"{path} is missing, the folder is only half there: {hint}")
        if path.suffix == ".safetensors":
            check_safetensors(path, hint=hint)
        elif not path.stat().st_size:
            raise ProfileError(f"{path} is empty: {hint}")
    return sum((folder / name).stat().st_size for name in names)


def check_safetensors(path: Path, *, hint: str) -> None:
    """Raise ProfileError where ``path`` cannot be read, or is shorter or longer than its own head says."""
    try:
        if not path.is_file():
            raise ProfileError(f"{path} is {'no file' if path.exists() else 'missing'}: {hint}")
        with path.open("rb") as file:
            size = path.stat().st_size
            head = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(head)) if 0 < head < min(size, MOST_HEAD) else {}
            ends = [value["data_offsets"][1] for key, value in entries.items() if key != "__metadata__"]
            whole = bool(ends) and 8 + head + max(ends) == size
    except ProfileError:
        raise
    except OSError as error:
        raise ProfileError(f"{path} cannot be read ({error.strerror or error}): {hint}") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ProfileError(f"{path} is damaged or only half there ({size} bytes): {hint}")


def check_pipeline(folder: Path, *, pipeline: str, models: Mapping[str, tuple[str, ...]], hint: str) -> int:
    """Bytes of the weights of a diffusers folder; raises ProfileError unless every model of ``models`` is there."""
    if not folder.is_dir():
        raise ProfileError(f"no folder {folder}: {hint}")
    if (folder / "pytorch_lora_weights.safetensors").is_file():
        raise ProfileError(
            f"{folder} holds a LoRA adapter, not a pipeline: merge it into its model first, and name that"
        )
    found = read_json(folder / "model_index.json", hint=hint).get("_class_name")
    if found != pipeline:
        raise ProfileError(f"{folder} holds a {found}: a {pipeline} is needed; {hint}")
    return sum(check_model(folder / name, classes=classes, hint=hint) for name, classes in models.items())

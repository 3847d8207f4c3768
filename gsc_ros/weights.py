"""Looks at a folder of weights before anything heavy is loaded: is it whole, and is it what was asked for?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gsc_ros.profiles import ProfileError

WEIGHT_SUFFIXES = (".safetensors", ".bin")


def read_json(path: Path, *, hint: str) -> dict[str, Any]:
    """The JSON object in ``path``; raises ProfileError."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ProfileError(f"{path} is missing: {hint}") from error
    except (OSError, ValueError) as error:
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
    """Raise ProfileError where ``path`` is shorter or longer than its own head says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = int.from_bytes(file.read(8), "little")
        try:
            entries = json.loads(file.read(head)) if 0 < head < size else {}
            ends = [value["data_offsets"][1] for key, value in entries.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            ends = []
    if not ends or 8 + head + max(ends) != size:
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

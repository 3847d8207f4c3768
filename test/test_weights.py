"""Weights: every kind of damage to every file is one line that names the file and says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from gsc_ros.decoder import Decoder
from gsc_ros.encoder import Encoder
from gsc_ros.profiles import ProfileError, load_profile, share_directory, write_sha256

FILES = ("codec", "channels", "memory", "text", "flow", "confidence")
REMEDY = "git checkout models/nano"


@pytest.fixture
def mine(tmp_path) -> Path:
    """A profile with a copy of nano's weights beside it; those that are not touched are links."""
    shipped = share_directory()
    content = yaml.safe_load((shipped / "config" / "profiles" / "nano.yaml").read_text())
    (tmp_path / "weights").mkdir()
    for name in FILES:
        (tmp_path / "weights" / f"{name}.safetensors").symlink_to(shipped / "models" / "nano" / f"{name}.safetensors")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content | {"weights": "weights"}))
    return tmp_path / "mine.yaml"


def touched(profile: Path, name: str) -> Path:
    """The file ``name`` of the weights of ``profile``, to be damaged."""
    path = profile.parent / "weights" / f"{name}.safetensors"
    whole = path.resolve()
    path.unlink()
    shutil.copyfile(whole, path)
    return path


def refused(profile: Path, file: Path, *said: str) -> None:
    """Both ends refuse ``profile`` in one line about ``file``, unless they never load it."""
    loads = [Decoder.load] if file.stem in ("flow", "confidence") else [Decoder.load, Encoder.load]
    for load in loads:
        with pytest.raises(ProfileError) as caught:
            load(profile)
        line = str(caught.value)
        assert "\n" not in line
        assert str(file) in line
        assert REMEDY in line
        for words in said:
            assert words in line, line


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_whole(mine, name) -> None:
    path = touched(mine, name)
    whole = path.read_bytes()
    for data in (b"", whole[:5], whole[: len(whole) // 2], whole[:-1], whole + b"\0", b"\xff" * 4096, b"\0" * 4096,
                 (20).to_bytes(8, "little") + b"{" * 20, (9000).to_bytes(8, "little") + b"[" * 9000,
                 (64).to_bytes(8, "little") + b'{"a": {"data_offsets": [0, "x"]}}'.ljust(64)):  # fmt: skip
        path.write_bytes(data)
        refused(mine, path, "damaged or only half there")


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_one_flipped_byte(mine, name) -> None:
    path = touched(mine, name)
    data = bytearray(path.read_bytes())
    data[-len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))
    refused(mine, path, "SHA-256")


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_the_place_of_another(mine, name) -> None:
    path = touched(mine, name)
    other = FILES[FILES.index(name) - 1]
    shutil.copyfile(share_directory() / "models" / "nano" / f"{other}.safetensors", path)
    refused(mine, path, "SHA-256")
    # Even where the profile says that it is the right one, it is not of this network.
    write_sha256(mine)
    refused(mine, path, "another model or version")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_no_file(mine, name, monkeypatch) -> None:
    path = mine.parent / "weights" / f"{name}.safetensors"
    path.unlink()
    refused(mine, path, "is missing")
    path.symlink_to(path)
    refused(mine, path, "is missing")
    path.unlink()
    path.mkdir()
    refused(mine, path, "is no file")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read(mine, name, monkeypatch) -> None:
    path, opened = mine.parent / "weights" / f"{name}.safetensors", Path.open

    def forbidden(self, *arguments, **named):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", forbidden)
    refused(mine, path, "Permission denied")


def other_shape(array: np.ndarray) -> np.ndarray:
    return array[:-1].copy()


def other_kind(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32 if array.dtype.kind in "iu" else np.int32)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [None, other_shape, other_kind])
def test_a_right_looking_file_whose_arrays_do_not_fit(mine, name, change) -> None:
    """One array is missing, of another shape, or of another dtype; the profile's SHA-256 is that of the file."""
    path = touched(mine, name)
    arrays = load_file(path)
    for key in sorted(arrays)[:: max(1, len(arrays) // 5)]:
        changed = {k: v for k, v in arrays.items() if k != key} | ({key: change(arrays[key])} if change else {})
        save_file(changed, path)
        write_sha256(mine)
        refused(mine, path, "another model or version")
    save_file(arrays | {"more": np.zeros(3, np.float32)}, path)
    write_sha256(mine)
    refused(mine, path, "'more', which nothing reads")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("channels", "frequencies", 0),
        ("channels", "grid1.out", 2**31 - 1),
        ("memory", "steps", 0),
        ("text", "keys", 7),
        ("text", "symbols", 255),
        ("text", "counts", 0),
        ("text", "distinct", 3),
    ],
)
def test_tables_whose_values_cannot_be(mine, name, key, value) -> None:
    path = touched(mine, name)
    arrays = load_file(path)
    save_file(arrays | {key: np.full_like(arrays[key], value)}, path)
    write_sha256(mine)
    refused(mine, path, "another model or version")


def test_tables_of_other_levels(mine) -> None:
    """All of their grids agree; only the codec has another number of them."""
    path = touched(mine, "channels")
    arrays = load_file(path)
    save_file(arrays | {k: v[..., 1:].copy() for k, v in arrays.items() if k.endswith("condition")}, path)
    write_sha256(mine)
    refused(mine, path, "31 quality levels, 32 are needed")


def test_what_is_loaded_is_what_was_checked(mine, monkeypatch) -> None:
    """A file is read once: another that takes its place in between is never loaded unseen."""
    path, reads = mine.parent / "weights" / "flow.safetensors", []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or read(self))
    Decoder.load(mine)
    assert reads.count(path) == 1
    assert len(reads) == len(FILES)


def test_a_profile_without_memory(mine) -> None:
    """memory.safetensors is the one file that a profile can do without."""
    content = yaml.safe_load(mine.read_text())
    del content["sha256"]["memory.safetensors"]
    mine.write_text(yaml.safe_dump(content))
    with pytest.raises(ProfileError, match=r"memory\.safetensors"):
        load_profile(mine)
    content["shared_files"].remove("memory.safetensors")
    mine.write_text(yaml.safe_dump(content))
    assert not Encoder.load(mine).latents.has_memory
    assert load_profile(mine).fingerprint != load_profile("nano").fingerprint


def test_the_exported_profile_is_one(mine, tmp_path) -> None:
    from gsc_ros.training.export import export_profile

    folder = mine.parent / "weights"
    flow = folder / "flow.safetensors"
    kept = flow.readlink()
    flow.unlink()
    assert export_profile(folder) is None
    flow.symlink_to(kept)
    path = export_profile(folder)
    assert path is not None
    assert load_profile(path).fingerprint == load_profile("nano").fingerprint
    assert load_profile(path).weights == folder
    Encoder.load(path)

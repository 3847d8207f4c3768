"""Profiles: whatever a file says that no part reads, or cannot be, is one line when it is loaded."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gsc_ros.profiles import ProfileError, available_profiles, load_profile, share_directory, write_sha256

SHIPPED = share_directory() / "config" / "profiles" / "nano.yaml"


@pytest.fixture
def nano() -> dict:
    """The shipped profile, its weights named by their whole path."""
    return yaml.safe_load(SHIPPED.read_text()) | {"weights": str(share_directory() / "models" / "nano")}


def refused(path: Path, *said: str) -> str:
    """The one line with which ``path`` is refused; all of ``said`` is in it."""
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 900
    assert str(path) in line or path.stem in line
    for words in said:
        assert words in line, line
    return line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sumary": "x"}, "sumary not known (did you mean summary?)"),
        ({7: "x"}, "7 not known"),
        ({"flux": {"base": "x"}}, "flux not known"),
        ({"latents": "nanno"}, "did you mean nano?"),
        ({"latents": ["nano"]}, "a text is needed"),
        ({"latents": "compressai"}, "needs the latents nano"),
        ({"generator": "nano-flow"}, "did you mean nano_flow?"),
        ({"channels": 0}, "only 20 is possible"),
        ({"channels": "20"}, "a whole number is needed"),
        ({"channels": True}, "a whole number is needed"),
        ({"weights": 5}, "a text is needed"),
        ({"weights": ""}, "not empty"),
        ({"summary": None}, "a text is needed"),
        ({"shared_files": "codec.safetensors"}, "a list is needed"),
        ({"shared_files": ["codec.safetensor"]}, "did you mean codec.safetensors?"),
        ({"shared_files": ["../nano/codec.safetensors"]}, "are known"),
        ({"shared_files": [["codec.safetensors"]]}, "a text is needed"),
        ({"shared_files": ["codec.safetensors"]}, "lacks channels.safetensors, memory.safetensors, text.safetensors"),
        ({"sha256": {"codec.safetensors": "5"}}, "64 hex digits"),
        ({"sha256": {"weights.bin": "5"}}, "weights.bin not known"),
        ({"sha256": "abc"}, "a mapping is needed"),
        ({"sha256": {}}, "gsc profiles --sha256"),
        ({"get_weights": 5}, "a text is needed"),
        ({"defaults": []}, "a mapping is needed"),
        ({"captioner": None}, "a mapping is needed"),
        ({"captioner": {"name": "qwen"}}, "did you mean qwen_vl?"),
        ({"captioner": {"model": "x"}}, "lacks name"),
        ({"captioner": {"name": "endpoint", "model": "x"}}, "lacks url"),
        ({"captioner": {"name": "endpoint", "url": "http://x", "model": "x", "volume": 1}}, "volume not known"),
        ({"captioner": {"name": "qwen_vl", "model": "x", "length": "tall"}}, "short, medium, long"),
        ({"captioner": {"name": "qwen_vl", "model": "x", "most_tokens": 0}}, "1 to 4096"),
    ],
)
def test_what_no_part_reads_or_can_be_is_refused(nano, tmp_path, changes, said) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(nano | changes))
    refused(path, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"realism": 7}, "0 to 1 are allowed"),
        ({"realism": "much"}, "a number is needed"),
        ({"realism": float("nan")}, "a number is needed"),
        ({"steps": 99}, "1 to 16 are allowed"),
        ({"steps": 2.5}, "a whole number is needed"),
        ({"level": 32}, "0 to 31 are allowed"),
        ({"level": -1}, "0 to 31 are allowed"),
        ({"selection": "orders"}, "did you mean order?"),
        ({"channels": 21}, "1 to 20 are allowed"),
        ({"realsim": 0.5}, "did you mean realism?"),
    ],
)
def test_defaults_out_of_range_are_refused(nano, tmp_path, changes, said) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(nano | {"defaults": nano["defaults"] | changes}))
    refused(path, "defaults", said)


@pytest.mark.parametrize("name", ["summary", "latents", "generator", "channels", "weights", "shared_files", "defaults"])
def test_what_a_profile_must_say(nano, tmp_path, name) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in nano.items() if key != name}))
    refused(path, f"lacks {name}")


def test_a_value_of_any_length_is_one_short_line(nano, tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(nano | {"latents": 5000 * "x"}))
    refused(path, "nano, compressai are known")
    path.write_text(yaml.safe_dump(nano | {5000 * "y": "z\n\n"}))
    refused(path, "not known")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no mapping"),
        (b"- summary\n- latents\n", "no mapping"),
        (b"7", "no mapping"),
        (b"a: [", "not YAML"),
        (b"summary: \xff\xfe\n", "not YAML"),
        (b"\x00\x01\x02", "not YAML"),
        (b"summary: 2024-99-99\n", "not YAML"),
        (b"summary: a\nsummary: b\n", "'summary' is there twice"),
        (b"summary: &a x\nlatents: *a\n", "aliases"),
        (b"a: &a [*a, *a]\n", "aliases"),
        (b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nsummary: [*c,*c]\n", "aliases"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
        (b"? [a, b]\n: c\n", "not YAML"),
        (20_000 * b"[", "nested too deeply"),
        (200_000 * b"#", "65536 bytes"),
    ],
)
def test_a_file_that_is_no_profile(tmp_path, data, said) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    refused(path, said)


def test_a_profile_that_is_a_folder_or_unreadable(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.yaml").mkdir()
    refused(tmp_path / "mine.yaml", "nano, paper ship with the package")
    path = tmp_path / "other.yaml"
    path.write_text("x")

    def forbidden(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    refused(path, "Permission denied")


def test_a_mistyped_folder_is_never_that_of_the_shipped_weights(nano, tmp_path) -> None:
    """Its last part is the name of a folder that ships."""
    path = tmp_path / "mine.yaml"
    for folder in ("/nowhere/nano", "wieghts/nano", "../../models/nano"):
        path.write_text(yaml.safe_dump(nano | {"weights": folder}))
        refused(path, "which is missing", folder, str(share_directory() / "models"))


def test_weights_are_found_beside_the_profile_in_the_checkout_and_in_an_installation(tmp_path) -> None:
    """CMakeLists.txt and setup.py put config and models below share/gsc_ros, as they lie in the source."""
    share = tmp_path / "share" / "gsc_ros"
    for folder in ("config", "models"):
        shutil.copytree(share_directory() / folder, share / folder)
    installed = load_profile(share / "config" / "profiles" / "nano.yaml")
    assert installed.weights == share / "models" / "nano"
    assert dataclasses.replace(installed, weights=load_profile("nano").weights) == load_profile("nano")
    cmake = (Path(__file__).resolve().parents[1] / "CMakeLists.txt").read_text()
    assert "install(DIRECTORY launch config rviz models DESTINATION share/${PROJECT_NAME})" in cmake


@pytest.mark.parametrize("folder", ["a\0b", 5000 * "x", "~nobody-at-all/x", "loop"])
def test_a_folder_that_can_be_no_name(nano, tmp_path, folder) -> None:
    path = tmp_path / "mine.yaml"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path.write_text(yaml.safe_dump(nano | {"weights": folder}))
    refused(path, "which is missing")


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 5000),
    st.integers(0, 40),
    st.binary(max_size=12) | st.sampled_from([b"{", b"[", b"- ", b": ", b"!!", b"? "]),
)
def test_a_profile_changed_anywhere_loads_or_is_one_line(at, length, data) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = SHIPPED.read_bytes().replace(b"../../models/nano", bytes(share_directory() / "models" / "nano"))
        path = Path(folder) / "mine.yaml"
        path.write_bytes(text[: at % len(text)] + data + text[at % len(text) + length :])
        try:
            load_profile(path)
        except ProfileError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)


def test_what_back_ends_declare_is_what_they_read() -> None:
    from gsc_ros import captioners, generators, latents
    from gsc_ros.captioners.qwen_vl import MODES
    from gsc_ros.generators.flux import TYPES, FluxSettings
    from gsc_ros.latents.codec import LEVELS
    from gsc_ros.latents.compressai import LEVELS as CALIBRATED
    from gsc_ros.latents.compressai import MODELS
    from gsc_ros.latents.layout import LatentLayout

    flux = generators.BACK_ENDS["flux"].fields["flux"].fields
    assert list(flux) == [field.name for field in dataclasses.fields(FluxSettings)]
    assert flux["dtype"].choices == tuple(TYPES)
    assert captioners.BACK_ENDS["qwen_vl"]["memory"].choices == MODES
    nano, compressai = latents.BACK_ENDS["nano"], latents.BACK_ENDS["compressai"]
    assert (nano.defaults["level"].high, compressai.defaults["level"].high) == (LEVELS - 1, CALIBRATED - 1)
    assert nano.fields["channels"].low == nano.fields["channels"].high == LatentLayout().channels
    assert tuple(MODELS) == latents.CODECS


def test_the_fingerprint_is_that_of_the_files_themselves() -> None:
    """docs/bitstream.md, section 7, computed from the contents."""
    import hashlib

    profile, digest = load_profile("nano"), hashlib.sha256()
    for file in yaml.safe_load(SHIPPED.read_text())["shared_files"]:
        digest.update(file.encode() + b"\0" + hashlib.sha256((profile.weights / file).read_bytes()).digest())
    assert profile.fingerprint == digest.hexdigest()[:16]
    assert available_profiles() == ["nano", "paper"]


def test_sha256_are_written_into_a_profile_and_nothing_else_changes(nano, tmp_path, capsys) -> None:
    from gsc_ros.cli.main import run

    path = tmp_path / "mine.yaml"
    text = SHIPPED.read_text().replace("../../models/nano", str(share_directory() / "models" / "nano"))
    bare = text[: text.index("sha256:")]
    for begin in (bare, text, bare.replace("get_weights", "sha256: {}\nget_weights"), bare.rstrip("\n")):
        path.write_text(begin)
        assert run(["profiles", "--sha256", str(path)]) == 0
        assert load_profile(path).fingerprint == load_profile("nano").fingerprint in capsys.readouterr().out
        assert yaml.safe_load(path.read_text()) == nano
        assert path.read_text().count("#") == text.count("#")
    assert list(write_sha256(path)) == list(nano["sha256"])
    path.write_text(yaml.safe_dump(nano | {"weights": "gone"}))
    assert run(["profiles", "--sha256", str(path)]) == 1
    assert "which is missing" in capsys.readouterr().err


def test_a_section_that_cannot_be_replaced_leaves_the_profile_as_it_is(tmp_path) -> None:
    text = share_directory().joinpath("config/profiles/nano.yaml").read_text()
    text = text.replace("weights: ", f"weights: {share_directory() / 'config' / 'profiles'}/", 1)
    digests = text[text.index("sha256:") :]
    lines = [line for line in digests.splitlines()[1:] if line.startswith("  ")]
    odd = "sha256:\n" + lines[0] + "\n\n" + "\n".join(lines[1:])
    path = tmp_path / "mine.yaml"
    path.write_text(text[: text.index("sha256:")] + odd + "\n")
    load_profile(path)
    before = path.read_text()
    with pytest.raises(ProfileError, match="cannot be written in place"):
        write_sha256(path)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.yaml"]

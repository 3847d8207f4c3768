"""CompressAI latents: calibration, coding of a few channels, refusals."""

from __future__ import annotations

import csv
import dataclasses
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from gsc_ros.cli.main import run
from gsc_ros.profiles import ProfileError, load_profile, write_sha256


@pytest.fixture(scope="module")
def encoder(calibrated):
    from gsc_ros.encoder import Encoder

    return Encoder.load(calibrated / "profile.yaml")


def test_channels_are_round_y_at_the_highest_level_and_come_back_exactly(encoder, calibrated, photograph) -> None:
    from gsc_ros.encoder import EncodeSettings
    from gsc_ros.latents.compressai import analysis_of
    from gsc_ros.latents.geometry import Geometry

    encoded = encoder.for_another_camera().encode(photograph, EncodeSettings(channels=4, caption_mode="off"))
    frame = encoded.frame
    assert len(frame.channel_ids) == 4
    assert frame.channel_count == 320
    assert frame.level == encoder.latents.levels - 1
    symbols = encoder.latents.coder.decode(frame.channels, frame.channel_ids, frame.level, frame.height, frame.width)
    analysis = analysis_of("mbt2018-mean", load_file(calibrated / "codec.safetensors"))
    x = torch.from_numpy(photograph).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        y = analysis(x)[0].numpy()
    for channel, plane in symbols.items():
        assert plane.shape == (480 // 16, 640 // 16)
        assert np.array_equal(plane, np.rint(y[channel]).clip(-127, 127))
    assert Geometry(480, 640).working(encoder.latents.layout) == (480, 640)


@pytest.mark.parametrize("count", [1, 2, 8, 16, 40])
def test_any_number_of_channels_can_be_sent(encoder, photograph, count) -> None:
    from gsc_ros.bitstream import unpack
    from gsc_ros.encoder import EncodeSettings

    encoded = encoder.for_another_camera().encode(photograph, EncodeSettings(channels=count, caption_mode="off"))
    frame = unpack(encoded.packet, channel_count=320)
    assert len(frame.channel_ids) == count
    coder = encoder.latents.coder
    symbols = coder.decode(frame.channels, frame.channel_ids, frame.level, frame.height, frame.width)
    bits = sum(coder.cost(symbols, frame.level, frame.height, frame.width).values())
    assert 8 * len(frame.channels) <= bits + 64


def test_the_channels_with_the_largest_ssim_are_sent(encoder, photograph) -> None:
    from gsc_ros.encoder import EncodeSettings
    from gsc_ros.latents.quantised import luma
    from gsc_ros.latents.selection import ssim_scores

    frame = encoder.for_another_camera().encode(photograph, EncodeSettings(channels=4, caption_mode="off")).frame
    scores = ssim_scores(encoder.latents.analyse(encoder.latents.tensor(photograph)), luma(photograph))
    best = sorted(scores, key=lambda channel: -scores[channel])[:4]
    assert set(frame.channel_ids) == set(best)


@pytest.mark.parametrize("budget", [80, 150, 400])
def test_a_byte_budget_holds(encoder, photograph, budget) -> None:
    from gsc_ros.encoder import EncodeSettings

    settings = EncodeSettings(max_bytes=budget, caption_mode="off")
    encoded = encoder.for_another_camera().encode(photograph, settings)
    assert len(encoded.packet) <= budget
    assert encoded.frame.channel_ids


def test_the_tables_fit_the_codec_better_than_no_training(calibrated, encoder, photograph) -> None:
    from gsc_ros.entropy.channels import ChannelCoder
    from gsc_ros.entropy.context import GridContext
    from gsc_ros.training.tables import quantise

    latents = encoder.latents
    symbols = latents.quantise(latents.analyse(latents.tensor(photograph)), 5)
    few = {channel: symbols[channel] for channel in range(0, 320, 10)}
    torch.manual_seed(0)
    untrained = quantise(GridContext(0, 320, latents.levels, 320, alone=True, hidden=8))
    ours = sum(latents.coder.cost(few, 5, 480, 640).values())
    theirs = sum(ChannelCoder(untrained, latents.layout).cost(few, 5, 480, 640).values())
    assert ours < 0.8 * theirs


def test_the_command_writes_a_profile_and_what_every_channel_costs(
    tmp_path, paper_packages, photographs, capsys
) -> None:
    import tiny

    checkpoint = tiny.save_codec(tmp_path / "weights.pth")
    out = tmp_path / "paper"
    arguments = [
        "--checkpoint",
        str(checkpoint),
        "--images",
        str(photographs),
        "--out",
        str(out),
        "--count",
        "1",
        "--steps",
        "2",
    ]
    assert run(["calibrate", *arguments]) == 0
    assert "most like the scene" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "channels.csv").open()))
    assert len(rows) == 320
    assert float(rows[0]["bytes_level_0"]) <= float(rows[0]["bytes_level_7"]) + 1
    profile = load_profile(out / "profile.yaml")
    assert profile.latents == "compressai"
    assert profile.options["codec"] == {"model": "mbt2018-mean", "quality": 7}


def test_two_calibrations_are_two_profiles(calibrated, tmp_path) -> None:
    other = tmp_path / "other"
    shutil.copytree(calibrated, other)
    state = load_file(other / "codec.safetensors")
    state["g_a.0.bias"] += 1
    save_file(state, other / "codec.safetensors")
    write_sha256(other / "profile.yaml")
    assert load_profile(other / "profile.yaml").fingerprint != load_profile(calibrated / "profile.yaml").fingerprint


def test_weights_of_another_codec_are_refused_in_one_line(
    calibrated, tmp_path, paper_packages, photographs, capsys
) -> None:
    import tiny

    from gsc_ros.encoder import Encoder

    broken = tmp_path / "broken.pth"
    broken.write_bytes(tiny.save_codec(tmp_path / "whole.pth").read_bytes()[:1000])
    foreign = tmp_path / "foreign.pth"
    torch.save({"layer.weight": torch.zeros(3)}, foreign)
    narrow = tiny.save_codec(tmp_path / "narrow.pth", channels=192)
    for checkpoint, said in ((broken, "no weights of"), (foreign, "no weights of"), (narrow, "192 channels")):
        arguments = [
            "--checkpoint",
            str(checkpoint),
            "--images",
            str(photographs),
            "--out",
            str(tmp_path / "x"),
            "--count",
            "1",
        ]
        assert run(["calibrate", *arguments]) == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    profile = load_profile(calibrated / "profile.yaml")
    wrong = dataclasses.replace(profile, options={**profile.options, "codec": {"model": "elic2022-official"}})
    with pytest.raises(ProfileError, match="do not fit elic2022-official"):
        Encoder.load(wrong)
    unknown = dataclasses.replace(profile, options={**profile.options, "codec": {"model": "jpeg"}})
    with pytest.raises(ProfileError, match="are known"):
        Encoder.load(unknown)


def test_the_shipped_paper_profile_says_what_is_missing() -> None:
    from gsc_ros.profiles import share_directory

    with pytest.raises(ProfileError, match="gsc calibrate writes them"):
        load_profile("paper")
    shipped = yaml.safe_load((share_directory() / "config" / "profiles" / "paper.yaml").read_text())
    assert shipped["generator"] == "flux"


@pytest.mark.parametrize(
    "name", ["bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018", "elic2022-official"]
)
def test_every_codec_that_is_named_gives_320_channels_at_stride_16(paper_packages, name) -> None:
    from gsc_ros.latents.compressai import analysis_of, model_class

    torch.manual_seed(0)
    model = model_class(name)() if name == "elic2022-official" else model_class(name)(8, 320)
    again = analysis_of(name, model.state_dict())
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        y = again(x)
        assert torch.equal(y, model.g_a(x))
    assert y.shape == (1, 320, 4, 6)

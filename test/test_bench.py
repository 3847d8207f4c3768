"""The measurements: a confidence worth its name."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from gsc_ros.bench import confidence as confidence_bench


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("photographs")
    for index, image in enumerate(moving_photographs()):
        if index % 8 == 0:
            cv2.imwrite(str(folder / f"{index:02d}.png"), image[:, :, ::-1])
    return folder


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_blocks_of_high_confidence_are_more_like_the_original(photographs, realism) -> None:
    figures = confidence_bench.measure(photographs, [300], "nano", realism, lambda: None)
    assert figures.rank_correlation > 0.4
    likeness = [row.ssim for row in figures.bins if row.share > 0.02]
    assert likeness == sorted(likeness)
    assert sum(row.share for row in figures.bins) == pytest.approx(1.0)
    assert sum(row.share * (row.confidence - row.ssim) for row in figures.bins) == pytest.approx(0.0, abs=0.05)


def test_rank_correlation_knows_order_from_disorder() -> None:
    values = np.arange(50.0)
    assert confidence_bench.rank_correlation(values, values**3) == pytest.approx(1.0)
    assert confidence_bench.rank_correlation(values, -values) == pytest.approx(-1.0)


def test_speed_names_every_stage_beside_a_reference_of_known_operations(capsys) -> None:
    from gsc_ros.bench import speed
    from gsc_ros.cli.main import run

    assert pytest.approx(14.5, abs=0.1) == speed.REFERENCE_GFLOP
    assert run(["bench", "speed", "--frames", "160x120,192x128", "--repeats", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    stages = {(stage["stage"], stage["size"]): stage for stage in figures["stages"]}
    for stage in stages.values():
        assert stage["references"] == pytest.approx(stage["ms"] / figures["reference_ms"])
        assert stage["ms"] > 0
    both = {name for name, size in stages if size == "192x128"}
    assert {"analysis", "encode, all", "synthesis", "entropy decoding", "decode, realism 0"} <= both
    coded = [name for name, _ in stages if name.startswith("code ")]
    sizes = [int(name.split()[3]) for name in coded]
    assert len(coded) == 5 and sizes == sorted(sizes)
    memory = figures["processes"]
    assert 100 < memory["encoder"]["mb"] < memory["both"]["mb"] < 2000
    assert figures["gflops"] == pytest.approx(1e3 * speed.REFERENCE_GFLOP / figures["reference_ms"])


def test_realism_is_measured_beside_noise_for_the_same_packets(photographs, tmp_path, capsys) -> None:
    import tiny

    from gsc_ros.cli.main import run

    tiny.make_torchvision_importable()
    pytest.importorskip("piq")
    command = ["bench", "realism", "--images", str(photographs), "--count", "2", "--bytes", "200", "--json"]
    command += ["--codecs", "nano,nano:noise=matched,nano:realism=1,halved", "--sheet", str(tmp_path / "sheet.png")]
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)
    plain, noise, painted, halved = found.values()
    assert plain["bytes"] == noise["bytes"] == painted["bytes"] <= 200
    assert "equal_symbols" not in halved and halved["psnr"] > plain["psnr"]
    assert noise["gradient_energy"] == pytest.approx(1, abs=0.05)
    assert plain["gradient_energy"] < painted["gradient_energy"]
    assert plain["psnr"] > max(noise["psnr"], painted["psnr"])
    assert plain["equal_symbols"] > 0.9
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * 288, 5 * 288, 3)
    assert run(["bench", "realism", "--images", str(photographs), "--codecs", "webp"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_way_down_ends_where_sizes_grow_again() -> None:
    from gsc_ros.evaluation.feature_distance import way_down

    sizes = [
        ("picture", 3, 64),
        ("a", 16, 32),
        ("b", 16, 32),
        ("padded", 16, 33),
        ("c", 32, 16),
        ("up", 32, 32),
        ("d", 64, 8),
    ]
    assert way_down([(name, (1, channels, side, side)) for name, channels, side in sizes]) == ["b", "c"]
    assert way_down([("flat", (1, 1000)), ("tiny", (1, 64, 4, 4))]) == []


def test_features_of_a_detector_tell_near_from_far(shared_data, photograph) -> None:
    from gsc_ros.evaluation.feature_distance import FeatureDistance

    look = FeatureDistance(shared_data / "instruments" / "yolox_nano.onnx")
    assert len(look.taps) == 5
    blurred = [cv2.GaussianBlur(photograph, (0, 0), sigma) for sigma in (1, 3, 9)]
    found = [look(photograph, picture) for picture in (photograph, *blurred)]
    assert found == sorted(found) and abs(found[0]) < 1e-4 and found[1] > 0.005

"""The entropy of what matters: between nothing and the whole, and where it is asked for."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from gsc_ros.cli.main import run
from gsc_ros.evaluation import bound, relevance
from gsc_ros.evaluation.datasets import Picture
from gsc_ros.latents.geometry import Geometry


def test_weights_are_means_of_cells_and_nothing_matters_beyond_the_frame() -> None:
    mattering = np.zeros((96, 80), np.float32)
    mattering[:64, :32] = 1
    mattering[64:, 64:] = 1
    found = bound.weights(mattering, (2, 2), (96, 80), 64)
    np.testing.assert_allclose(found, [[0.5, 0.0], [0.0, 1.0]], atol=1e-6)
    whole = bound.weights(np.ones((96, 80), np.float32), (4, 4), (96, 80), 32)
    assert whole[:3, :3].tolist() == np.ones((3, 3)).tolist() and not whole[3].any() and not whole[:, 3].any()


def test_information_adds_up_to_what_the_coder_spends(encoder, photograph) -> None:
    latents = encoder.latents
    geometry = Geometry(*photograph.shape[:2])
    symbols = latents.quantise(latents.analyse(latents.tensor(geometry.shrink(photograph, latents.layout))), 14)
    found = latents.coder.information(symbols, 14, *geometry.nominal)
    assert {channel: plane.shape for channel, plane in found.items()} == {c: p.shape for c, p in symbols.items()}
    spent = 8 * len(latents.coder.encode(symbols, 14, *geometry.nominal))
    total = sum(plane.sum() for plane in found.values())
    assert total - 8 <= spent <= total + 64  # whole words of the coder
    channel = max(found, key=lambda c: found[c].max())
    place = np.unravel_index(found[channel].argmax(), found[channel].shape)
    assert symbols[channel][place] != 0  # what costs most is a symbol that says something


def test_the_bound_is_the_entropy_where_all_matters_and_less_where_not(encoder, decoder, photograph) -> None:
    view = np.ascontiguousarray(photograph[:448, :640])  # whole cells
    everything, half = np.ones(view.shape[:2], np.float32), np.zeros(view.shape[:2], np.float32)
    half[:, :320] = 1
    coarse, fine = bound.measure(encoder, decoder, "a", view, everything, [4, 16])
    assert fine.bound_bits == pytest.approx(fine.entropy_bits) and fine.relevant_psnr == pytest.approx(
        fine.psnr, abs=1e-4
    )
    assert fine.entropy_bits < fine.packet_bits < fine.entropy_bits + 8 * 30
    assert coarse.bound_bits < 0.6 * fine.bound_bits and coarse.psnr < fine.psnr
    (left,) = bound.measure(encoder, decoder, "a", view, half, [16])
    (right,) = bound.measure(encoder, decoder, "a", view, 1 - half, [16])
    assert left.bound_bits + right.bound_bits == pytest.approx(fine.entropy_bits)
    assert 0.1 < left.bound_bits / fine.entropy_bits < 0.9
    with pytest.raises(ValueError, match="not 0 everywhere"):
        bound.measure(encoder, decoder, "a", view, 0 * half, [16])


def test_what_stands_out_is_found(tmp_path) -> None:
    image = np.full((240, 320, 3), 120, np.uint8)
    image += np.random.default_rng(0).integers(0, 6, image.shape).astype(np.uint8)
    image[60:100, 220:270] = (250, 30, 20)
    found = relevance.saliency(Picture("a", tmp_path), image)
    assert found.shape == (240, 320) and found.min() >= 0 and found.max() <= 1
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 40 < row < 120 and 200 < column < 290
    assert found[150:, :150].mean() < 0.3 * found[60:100, 220:270].mean()


def test_the_command_prints_and_draws_what_it_measured(tmp_path, capsys, photograph) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "maps").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), photograph[:256, :320, ::-1])
    mattering = np.zeros((256, 320), np.uint8)
    mattering[:, :160] = 255
    cv2.imwrite(str(tmp_path / "maps" / "a.png"), mattering)
    command = ["bound", "--root", str(tmp_path / "images"), "--levels", "6,14", "--out", str(tmp_path / "out")]
    assert run([*command, "--maps", str(tmp_path / "maps")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "out" / "bound.json").read_text())["rows"]
    assert [row["level"] for row in rows] == [6, 14] and len(lines) == 4
    assert all(row["entropy_bytes"] < row["independent_bytes"] for row in rows)
    assert all(row["bound_bytes"] < row["entropy_bytes"] < row["packet_bytes"] for row in rows)
    assert cv2.imread(str(tmp_path / "out" / "bound.png")) is not None
    assert run(command) == 0  # without maps: what stands out
    assert capsys.readouterr().out.splitlines() != lines
    for options, said in (
        (["--levels", "40"], "0 to 31 are there"),
        (["--levels", "a"], "whole numbers"),
        (["--maps", str(tmp_path / "images"), "--detector", "x.onnx"], "one of them"),
        (["--maps", str(tmp_path / "out")], "no map a.png"),
    ):
        assert run([*command, *options]) != 0
        error = capsys.readouterr().err.lstrip()  # after the line of the progress bar
        assert said in error and error.count("\n") == 1


def test_entropy_without_context_is_that_of_the_frequencies() -> None:
    plane = np.array([[0, 0, 0, 1], [0, 0, 0, 1]])
    common = {"image": "", "level": 0, "pixels": 1, "packet_bits": 0, "entropy_bits": 0.0, "bound_bits": 0.0}
    common |= {"psnr": 0.0, "relevant_psnr": 0.0, "ms_ssim": 0.0}
    points = [
        bound.Point(**common, symbols={0: plane, 1: 0 * plane}),
        bound.Point(**common, symbols={0: plane, 1: 0 * plane}),
    ]
    assert bound.without_context(points) == pytest.approx(16 * (-0.75 * np.log2(0.75) - 0.25 * np.log2(0.25)))

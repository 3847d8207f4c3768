"""Patch FID and KID: against definitions written otherwise, and through `gsc eval` with the real network on random weights."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import tiny
import torch

from gsc_ros.cli.main import run
from gsc_ros.evaluation import distribution


def clouds(count: int, wide: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    a = generator.normal(size=(count, wide)).astype(np.float32)
    b = (generator.normal(size=(count + 3, wide)) * 1.5 + 0.3).astype(np.float32)
    return a, b


def test_fid_is_the_frechet_distance_of_both_normal_distributions() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = clouds(60, 8)
    first, second = (np.cov(part, rowvar=False) for part in (a, b))
    root = linalg.sqrtm(first @ second).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert distribution.fid(a, b) == pytest.approx(expected, rel=1e-5)
    few = clouds(5, 100)  # fewer points than dimensions
    assert distribution.fid(few[0], few[0]) == pytest.approx(0, abs=1e-3)
    assert distribution.fid(*few) > 50


def test_kid_is_the_unbiased_estimate_of_piq() -> None:
    tiny.make_torchvision_importable()
    piq = pytest.importorskip("piq")
    a, b = clouds(60, 8)
    expected = float(piq.KID()(torch.from_numpy(a), torch.from_numpy(b[:60])))
    assert distribution.kid(a, b[:60]) == pytest.approx(expected, rel=1e-4)
    # Unbiased: of two samples of one distribution it is nothing but noise, below zero as often as above.
    generator = np.random.default_rng(0)
    same = [distribution.kid(*generator.normal(size=(2, 20, 8)).astype(np.float32)) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)


def test_patches_lie_side_by_side_and_between() -> None:
    image = np.arange(512 * 768, dtype=np.uint32).reshape(512, 768, 1).repeat(3, axis=2).astype(np.uint8)
    found = distribution.patches(image)
    assert found.shape == (6 + 2, 256, 256, 3)
    assert np.array_equal(found[1], image[:256, 256:512])
    assert np.array_equal(found[6], image[128:384, 128:384])
    assert distribution.patches(image[:160, :250]).shape == (1, 160, 160, 3)


@pytest.fixture
def inception(tmp_path, monkeypatch):
    """FID's Inception with random weights, in the file that the real ones come in."""
    tiny.make_torchvision_importable()
    module = pytest.importorskip("piq.feature_extractors.fid_inception")
    torch.manual_seed(0)
    distribution.network.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
        patch.setattr(module, "load_state_dict_from_url", lambda *arguments, **named: {})
        model = module.InceptionV3.fid_inception_v3()
    torch.save(model.state_dict(), folder / distribution.WEIGHTS)
    yield folder
    distribution.network.cache_clear()


def test_a_run_with_fid_and_kid(inception, tmp_path, capsys, photograph) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for index in range(2):
        cv2.imwrite(str(images / f"{index}.png"), photograph[:200, index * 40 : index * 40 + 420, ::-1])
    command = ["eval", "--root", str(images), "--codecs", "nano,original", "--bytes", "40,400", "--out", str(out)]
    command += ["--jobs", "1"]  # in this process, where torchvision is importable
    assert run([*command, "--measures", "psnr,fid,kid", "--anchor", "original"]) == 0
    coarse, fine, *originals = json.loads((out / "summary.json").read_text())["rows"]
    for name in ("fid", "kid"):
        assert coarse[name] > fine[name] > 0, name
        assert abs(originals[0][name]) < 1e-3 * coarse[name] or name == "kid"
    assert originals[0]["kid"] <= 0  # without the bias of each point's likeness to itself
    assert (
        "patch FID" in (out / "quality.md").read_text()
        and "patch KID $\\downarrow$" in (out / "quality.tex").read_text()
    )


def test_without_weights_there_is_one_line(tmp_path, monkeypatch, capsys) -> None:
    tiny.make_torchvision_importable()
    pytest.importorskip("piq")
    distribution.network.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def unreachable(*arguments, **named):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    command = ["eval", "--root", str(tmp_path), "--codecs", "nano", "--bytes", "60", "--out", str(tmp_path / "out")]
    assert run([*command, "--measures", "fid"]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/hub/checkpoints" in error and distribution.WEIGHTS in error and error.count("\n") == 1

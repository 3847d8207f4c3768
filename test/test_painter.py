"""The painter: starts from the fidelity image, learns from features, keeps to the symbols, decodes by seed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from gsc_ros.decoder import Decoder, DecodeSettings
from gsc_ros.generators.flow_network import enlarged
from gsc_ros.generators.nano_painter import NanoPainter
from gsc_ros.generators.painter_network import PainterNetwork
from gsc_ros.latents.geometry import Geometry
from gsc_ros.profiles import write_sha256
from gsc_ros.training import checkpoint
from gsc_ros.training import painter as stage
from gsc_ros.training.deep_features import DeepFeatures
from gsc_ros.training.export import export_painter
from gsc_ros.training.feature_critic import FeatureCritic
from gsc_ros.training.observed import rounded


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("images")
    for index, image in enumerate(moving_photographs()):
        if index % 6 == 0:
            cv2.imwrite(str(folder / f"{index}.png"), image[::2, ::2, ::-1])
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    """Random kernels: even those tell edges from none."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("features") / "random.safetensors"
    DeepFeatures(((0, 1), (1, 1))).save(path)
    return path


@pytest.fixture
def shallow(monkeypatch) -> None:
    load = DeepFeatures.load
    monkeypatch.setattr(DeepFeatures, "load", lambda path: load(path, taps=((0, 1), (1, 1))))


def painted(painter: NanoPainter, encoder, photograph: np.ndarray, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What the painter makes of a photograph at level 10, and the fidelity image."""
    latents = encoder.latents
    geometry = Geometry(*photograph.shape[:2])
    x = latents.tensor(geometry.shrink(photograph, latents.layout))
    symbols = latents.quantise(latents.analyse(x), 10)
    decoded = latents.synthesise(symbols, 10, geometry)
    fidelity = decoded.image.clamp(0, 1)[None]
    condition = latents.condition(list(symbols), 10)
    return painter.generate(
        fidelity, decoded.pyramid, decoded.control, condition, steps=1, seeds=[seed]
    ), fidelity  # fmt: skip


def lively(network: PainterNetwork) -> PainterNetwork:
    """``network`` with something in all that starts at zero."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def test_the_pyramid_ends_in_the_image(encoder, photograph) -> None:
    latents = encoder.latents
    geometry = Geometry(*photograph.shape[:2])
    symbols = latents.quantise(latents.analyse(latents.tensor(geometry.shrink(photograph, latents.layout))), 10)
    decoded = latents.synthesise(symbols, 10, geometry)
    synthesis = latents.codec.synthesis
    lead, rest = latents.dense(symbols, 10, geometry)
    with torch.inference_mode():
        image = synthesis(lead, rest, latents.condition(list(symbols), 10))[0]
    assert torch.equal(decoded.image, image)
    height, width = image.shape[1:]
    assert [tuple(f.shape[2:]) for f in decoded.pyramid] == [(height // n, width // n) for n in (16, 8, 4)]


def test_an_untrained_painter_shows_the_fidelity_image(encoder, photograph) -> None:
    picture, fidelity = painted(NanoPainter(PainterNetwork(20, 32)), encoder, photograph, 0)
    assert torch.equal(picture, enlarged(fidelity))


def test_a_seed_gives_one_picture_and_another_seed_another(encoder, photograph) -> None:
    torch.manual_seed(0)
    painter = NanoPainter(lively(PainterNetwork(20, 32)))
    first, again, other = (painted(painter, encoder, photograph, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 1e-4


def test_the_finest_octave_has_no_say_in_what_is_larger() -> None:
    torch.manual_seed(0)
    network = lively(PainterNetwork(20, 32))
    fine = network.fine(torch.randn(1, 32, 16, 16), torch.randn(1, 3, 32, 32))
    assert fine.std() > 1e-3
    assert torch.nn.functional.avg_pool2d(fine, 2).abs().max() < 1e-5


@pytest.mark.parametrize("samples", [pytest.param(1, marks=pytest.mark.exhaustive), 2])
@pytest.mark.usefixtures("shallow")
def test_the_painter_learns_resumes_and_exports(encoder, images, features, tmp_path, photograph, samples) -> None:
    codec = encoder.latents.codec
    config = stage.PainterTraining(
        images=images, out=tmp_path / "a", steps=50, batch=2, crop=64, save_every=25, learning_rate=2e-3, ema=0.9,
        samples=samples, large=samples - 1, features=features, optimizer="muon", midway=0.5, validation=images, critic=0.1 * (samples - 1),
    )  # fmt: skip
    figures: list[dict[str, float]] = []
    whole = stage.train(config, codec, lambda step, f: figures.append(f))
    assert 0.5 < figures[-1]["val_low_pass"] < 1.1 and 0.5 < figures[-1]["val_deep"] < 1.1
    assert ("fine_bands" in figures[-1]) == ("critic" in figures[-1]) == (samples == 2)
    resumed = stage.train(config, codec, lambda step, f: None)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    for file in encoder.profile.weights.glob("*.safetensors"):
        shutil.copy(file, tmp_path)
    export_painter(tmp_path / "a" / "painter.pt", encoder.latents, tmp_path)
    profile = yaml.safe_load((Path("config") / "profiles" / "nano.yaml").read_text()) | {"weights": str(tmp_path)}
    (tmp_path / "painted.yaml").write_text(yaml.safe_dump(profile))
    assert "painter.safetensors" in write_sha256(tmp_path / "painted.yaml")
    decoder = Decoder.load(tmp_path / "painted.yaml")
    packet = encoder.for_another_camera().encode(photograph).packet
    plain, half, full = (decoder.decode(packet, DecodeSettings(realism=r, steps=1)).image for r in (0.0, 0.5, 1.0))
    steps = [np.abs(a.astype(int) - b).mean() for a, b in ((plain, half), (half, full))]
    assert min(steps) > 0.01
    assert steps[0] == pytest.approx(steps[1], rel=0.5)  # a continuum


def test_a_picture_that_says_the_symbols_is_consistent_and_another_is_not(encoder, photograph) -> None:
    codec = encoder.latents.codec
    x = encoder.latents.tensor(cv2.resize(photograph, (256, 192), interpolation=cv2.INTER_AREA))
    level, sent = torch.tensor([10]), torch.ones(1, 20)
    with torch.no_grad():
        symbols = rounded(codec, x, level, sent)
        assert stage.inconsistency(codec, x, symbols, level) < 1e-9
        other = stage.inconsistency(codec, x.flip(3), symbols, level)
        unsent = stage.inconsistency(codec, x.flip(3), (symbols[0], torch.zeros_like(symbols[1])), level)
    assert 0 < unsent < other


def test_a_training_by_the_clock_ends_with_what_is_there(encoder, images, features, tmp_path, shallow) -> None:
    config = stage.PainterTraining(
        images=images, out=tmp_path, steps=10**6, batch=1, crop=64, save_every=10**6, samples=1, large=0, minutes=1e-4,
        features=features,
    )  # fmt: skip
    stage.train(config, encoder.latents.codec, lambda step, figures: None)
    state = checkpoint.load(tmp_path / "painter.pt")
    assert state is not None and 1 <= state["step"] < 50


def test_a_critic_learns_what_tells_originals_from_samples_and_bounds_its_pull() -> None:
    torch.manual_seed(0)
    critic = FeatureCritic([8])
    generator = torch.Generator().manual_seed(1)

    def pictures(stripes: float) -> list[torch.Tensor]:
        values = torch.randn((4, 8, 16, 16), generator=generator)
        values[..., ::2] += stripes
        return [values / values.square().sum(dim=1, keepdim=True).sqrt()]

    known = pictures(0.0)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    errors = []
    for _ in range(60):
        optimizer.zero_grad()
        error = critic.error(pictures(0.0), pictures(2.0), known)
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[0] > 0.8 and errors[-1] < 0.3
    drawn = pictures(0.0)[0].requires_grad_()
    critic.zero_grad()
    pull = critic.pull([drawn], known)
    pull.backward()
    assert all(parameter.grad is None for parameter in critic.parameters())
    assert all(parameter.requires_grad for parameter in critic.parameters())
    slope = drawn.grad
    assert slope is not None
    with torch.no_grad():
        assert critic.pull([drawn - 20 * slope], known) < pull
        assert critic.pull(pictures(2.0), known) < critic.pull(pictures(0.0), known)
    detached = pictures(0.0)[0].requires_grad_()
    critic.error([detached], pictures(2.0), known).backward()
    assert detached.grad is None


def test_a_checkpoint_of_another_network_is_refused(encoder, tmp_path) -> None:
    other = {"average": {"module.painter.out.bias": torch.zeros(3)}, "step": 1}
    checkpoint.save(tmp_path / "painter.pt", other)
    with pytest.raises(ValueError, match="another network than this version's"):
        export_painter(tmp_path / "painter.pt", encoder.latents, tmp_path)


def test_features_lie_differently_on_the_codecs_grid_in_every_step() -> None:
    generator = torch.Generator().manual_seed(0)
    windows = [stage.draw_window(generator, 64) for _ in range(200)]
    for window in windows:
        assert window.shape == (2, 64 - stage.SHIFT) and (window.diff(dim=1) == 1).all()
        assert window.min() >= 0 and window.max() < 64
    firsts = torch.stack(windows)[:, :, 0]
    assert [set(column.tolist()) for column in firsts.T] == [set(range(stage.SHIFT + 1))] * 2


def test_settings_that_do_not_go_together_are_refused(images, tmp_path) -> None:
    for values, said in (
        ({"samples": 3}, "samples 3"),
        ({"samples": 1, "large": 1}, "large 1"),
        ({"large": 4}, "large 4"),
    ):
        with pytest.raises(ValueError, match=said):
            dataclasses.replace(stage.PainterTraining(images=images, out=tmp_path), **values)

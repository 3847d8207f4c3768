"""Training: it learns, it repeats itself, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gsc_ros.training import checkpoint, loop, muon
from gsc_ros.training import codec as codec_stage
from gsc_ros.training import context as context_stage
from gsc_ros.training import flow as flow_stage
from gsc_ros.training import memory as memory_stage
from gsc_ros.weights import Weights


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    from gsc_ros.sources import moving_photographs

    folder = tmp_path_factory.mktemp("images")
    for index, image in enumerate(moving_photographs()):
        if index % 6 == 0:
            cv2.imwrite(str(folder / f"{index}.png"), image[::2, ::2, ::-1])
    return folder


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_a_resumed_run_of_the_codec_equals_an_uninterrupted_one(images, tmp_path) -> None:
    whole = codec_stage.CodecTraining(images=images, out=tmp_path / "whole", steps=4, batch=2, crop=96, save_every=2)
    expected = codec_stage.train(whole, lambda step, figures: None)
    parted = dataclasses.replace(whole, out=tmp_path / "parted")

    class KilledError(Exception):
        pass

    def kill(path: Path, state: dict) -> None:
        save(path, state)
        raise KilledError

    save, checkpoint.save = checkpoint.save, kill
    try:
        with pytest.raises(KilledError):
            codec_stage.train(parted, lambda step, figures: None)
    finally:
        checkpoint.save = save
    again = codec_stage.train(parted, lambda step, figures: None)
    assert torch.equal(weights(expected), weights(again))


@pytest.fixture
def kernels() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(8, 24, 3), torch.nn.SiLU(), torch.nn.Conv2d(24, 3, 1))
    return layers.to(memory_format=torch.channels_last)


def test_muon_moves_the_kernels_of_the_model_in_every_direction_alike(kernels) -> None:
    """All singular values of a step are alike (five iterations bring them to 0.7 .. 1.2), those of the gradient are not."""
    before = kernels[0].weight.detach().clone()
    optimizer = muon.Muon([{"params": list(kernels.parameters()), "factor": 1.0, "wide": True}], learning_rate=0.01)
    assert {group["factor"] for group in optimizer.param_groups} == {1.0}
    kernels[0].weight.grad = torch.randn_like(before) * torch.linspace(0.1, 1, 24).view(-1, 1, 1, 1)
    gradient = torch.linalg.svdvals(muon.as_matrix(kernels[0].weight.grad))
    optimizer.step()
    step = torch.linalg.svdvals(muon.as_matrix(kernels[0].weight.detach() - before))
    assert gradient[0] / gradient[-1] > 5
    assert step[0] / step[-1] < 2.5
    assert step.square().mean().sqrt() == pytest.approx(0.01 * 0.2 * 72**0.5, rel=0.3)  # 24 rows of 72


def test_a_resumed_run_with_muon_equals_an_uninterrupted_one(images, tmp_path) -> None:
    config = codec_stage.CodecTraining(
        images=images, out=tmp_path / "whole", steps=4, batch=2, crop=96, save_every=2, optimizer="muon"
    )
    expected = codec_stage.train(config, lambda step, figures: None)
    parted = dataclasses.replace(config, out=tmp_path / "parted")
    state: dict = {}

    def keep(path: Path, found: dict) -> None:
        if found["step"] == 2:
            state.update(copy.deepcopy(found))

    save, checkpoint.save = checkpoint.save, keep
    try:
        codec_stage.train(parted, lambda step, figures: None)
    finally:
        checkpoint.save = save
    checkpoint.save(parted.out / "codec.pt", state)
    assert torch.equal(weights(expected), weights(codec_stage.train(parted, lambda step, figures: None)))


def test_batches_drawn_by_other_processes_are_the_same(images, tmp_path) -> None:
    config = codec_stage.CodecTraining(images=images, out=tmp_path / "here", steps=3, batch=2, crop=96)
    here = codec_stage.train(config, lambda step, figures: None)
    there = dataclasses.replace(config, out=tmp_path / "there", workers=2)
    assert torch.equal(weights(here), weights(codec_stage.train(there, lambda step, figures: None)))


def test_a_graph_is_for_a_gpu(images, tmp_path) -> None:
    with pytest.raises(ValueError, match="graph is for a GPU, and the device is cpu"):
        codec_stage.CodecTraining(images=images, out=tmp_path, graph=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")
def test_a_step_as_a_graph_is_the_step(images, tmp_path) -> None:
    config = codec_stage.CodecTraining(images=images, out=tmp_path / "a", steps=5, batch=2, crop=96, device="cuda")
    plain = codec_stage.train(config, lambda step, figures: None)
    graphed = codec_stage.train(dataclasses.replace(config, out=tmp_path / "b", graph=True), lambda step, figures: None)
    assert torch.allclose(weights(plain), weights(graphed), atol=1e-4)


def test_crops_in_another_light_keep_their_edges_and_change_with_the_numbers_alone(photograph) -> None:
    from gsc_ros.training.images import in_another_light

    lit = [in_another_light(photograph, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (lit[0] == lit[1]).all()
    assert np.abs(lit[0].astype(int) - lit[2]).mean() > 1
    for channel in range(3):  # monotonous, black stays black and white white
        curve = {int(a): int(b) for a, b in zip(photograph[..., channel].flat, lit[0][..., channel].flat, strict=True)}
        ordered = [curve[value] for value in sorted(curve)]
        assert ordered == sorted(ordered)


def test_tables_of_kernels_in_any_layout_are_written_alike(tmp_path) -> None:
    """A codec that was run has its kernels channels last; files are written as arrays lie in memory."""
    from gsc_ros.entropy.channels import ChannelTables
    from gsc_ros.entropy.context import ContextModel
    from gsc_ros.latents.layout import LatentLayout
    from gsc_ros.training.tables import quantise

    context = ContextModel(LatentLayout(), 8)
    expected = quantise(context.grid64, context.grid32)
    context.to(memory_format=torch.channels_last)
    quantise(context.grid64, context.grid32).save(tmp_path / "channels.safetensors")
    for found, grid in zip(
        ChannelTables.load(Weights(tmp_path), "channels.safetensors", LatentLayout()).grids, expected.grids, strict=True
    ):
        assert (found.across == grid.across).all()
        assert (found.within == grid.within).all()


def test_the_codec_learns(images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "REPORT_EVERY", 10)
    from_nothing = {"optimizer": "muon", "learning_rate": 5e-4, "context_factor": 3.0}
    config = codec_stage.CodecTraining(
        images=images, out=tmp_path, steps=40, batch=2, crop=64, save_every=1000, **from_nothing
    )
    losses: list[float] = []
    codec_stage.train(config, lambda step, figures: losses.append(figures["loss"]))
    assert losses[-1] < 0.8 * losses[0]


def test_the_rate_pulls_by_what_the_next_symbol_costs() -> None:
    """In expectation the gradient of the bits is the difference between the next symbol up and down."""
    from gsc_ros.entropy.context import bits
    from gsc_ros.latents.codec import NanoCodec

    class Given(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.y64 = torch.nn.Parameter(torch.full((1, 4, 16, 16), 0.3))
            self.y32 = torch.nn.Parameter(torch.full((1, 16, 32, 32), 0.3))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.y64, self.y32

    torch.manual_seed(0)
    codec = NanoCodec()
    codec.analysis = Given()
    for parameter in [*codec.context.parameters(), codec.steps.log_step]:  # mu 0, scale 1, step 1
        torch.nn.init.zeros_(parameter)
    output = codec(torch.zeros(1, 3, 512, 512), torch.zeros(1, dtype=torch.int64), torch.ones(1, 20))
    output.bits.sum().backward()
    zero, at = torch.zeros(()), torch.tensor(0.3)
    expected = float(bits(at + 0.5, zero, zero) - bits(at - 0.5, zero, zero))
    assert float(codec.analysis.y32.grad.mean()) == pytest.approx(expected, rel=0.05)
    exact = float(bits(zero, zero, zero)) * (4 * 256 + 16 * 1024)
    assert output.bits.item() == pytest.approx(exact, rel=1e-4)


def test_training_goes_on_from_given_weights(encoder, images, tmp_path) -> None:
    config = codec_stage.CodecTraining(
        images=images, out=tmp_path, steps=1, batch=1, crop=96, learning_rate=0.0, start=encoder.profile.weights
    )
    started = codec_stage.train(config, lambda step, figures: None)
    assert torch.equal(weights(started), weights(encoder.latents.codec))


def test_weights_of_another_shape_are_refused_in_one_line(encoder, images, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(encoder.profile.weights / "codec.safetensors")
    save_file({**state, "steps.log_step": state["steps.log_step"][:8].contiguous()}, tmp_path / "codec.safetensors")
    config = codec_stage.CodecTraining(images=images, out=tmp_path / "out", steps=1, start=tmp_path)
    with pytest.raises(ValueError, match="another shape") as caught:
        codec_stage.train(config, lambda step, figures: None)
    assert "\n" not in str(caught.value)


def test_an_unknown_optimizer_or_precision_is_refused(images, tmp_path) -> None:
    with pytest.raises(ValueError, match="adamw and muon are known"):
        codec_stage.CodecTraining(images=images, out=tmp_path, optimizer="sgd")
    with pytest.raises(ValueError, match="float32 and bfloat16 are known"):
        codec_stage.CodecTraining(images=images, out=tmp_path, precision="float8")


def test_flows_begin_at_noise_and_now_and_then_midway() -> None:
    generator = torch.Generator().manual_seed(0)
    assert flow_stage.draw_times(generator, 100, 0.0).eq(1).all()
    t = flow_stage.draw_times(generator, 4000, 0.2)
    assert 0.82 < float(t.eq(1).float().mean()) < 0.88
    assert 0 < float(t.min()) < 0.1


def test_the_noise_is_of_unit_variance_and_mostly_grey() -> None:
    from gsc_ros.generators.rectified_flow import COMMON, noise

    sample = noise((2, 3, 200, 200), torch.Generator().manual_seed(0))
    assert sample.var(dim=(0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.05)
    colours = torch.corrcoef(sample.permute(1, 0, 2, 3).flatten(1))
    assert float(colours[0, 1]) == pytest.approx(COMMON, abs=0.02)


def test_the_flow_resumes_and_predicts_better_than_nothing(encoder, images, tmp_path) -> None:
    codec = encoder.latents.codec
    config = flow_stage.FlowTraining(
        images=images, out=tmp_path / "a", steps=50, batch=2, crop=192, save_every=25, learning_rate=1e-3
    )
    figures: list[dict] = []
    whole = flow_stage.train(config, codec, lambda step, f: figures.append(f))
    assert figures[-1]["squared_error"] > 0
    resumed = flow_stage.train(dataclasses.replace(config, steps=50), codec, lambda step, f: None)
    assert torch.equal(weights(whole), weights(resumed))


def test_the_shipped_flow_reduces_the_error_of_a_noisy_residual(encoder, decoder, photograph) -> None:
    """At small t the network sees most of the truth: what it predicts must be nearer to it than its input."""
    from gsc_ros.generators.flow_network import RESIDUAL_SCALE, enlarged
    from gsc_ros.generators.rectified_flow import interpolate
    from gsc_ros.generators.text_embedding import bag_of_words
    from gsc_ros.latents.geometry import Geometry

    latents, network = decoder.latents, decoder.generator.flow.network
    geometry = Geometry(*photograph.shape[:2])
    x = latents.tensor(geometry.shrink(photograph, latents.layout))
    symbols = latents.quantise(latents.analyse(x), 4)
    decoded = latents.synthesise(symbols, 4, geometry)
    fidelity = enlarged(decoded.image.clamp(0, 1)[None])
    height, width = fidelity.shape[2:]
    truth = latents.tensor(cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA))
    residual = (truth - fidelity) / RESIDUAL_SCALE
    t = torch.tensor([0.4])
    z = interpolate(residual, torch.randn(residual.shape, generator=torch.Generator().manual_seed(0)), t)
    with torch.inference_mode():
        guidance = network.guidance(
            fidelity,
            decoded.control,
            latents.condition(list(symbols), 4),
            bag_of_words(["a clear view"]),
        )
        predicted = network(z, t, guidance)
    assert (predicted - residual).square().mean() < 0.5 * (z - residual).square().mean()
    assert (predicted - residual).square().mean() < residual.square().mean()


def test_the_context_stage_learns_resumes_and_exports(encoder, images, tmp_path, photograph) -> None:
    import shutil

    from gsc_ros.latents.nano import NanoLatents
    from gsc_ros.training.export import export_context

    codec = encoder.latents.codec
    config = context_stage.ContextTraining(images=images, out=tmp_path / "a", steps=150, batch=4, learning_rate=3e-3)
    losses: list[float] = []
    trained = context_stage.train(config, codec, lambda step, figures: losses.append(figures["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "context.pt", tmp_path / "b" / "context.pt")
    resumed = context_stage.train(dataclasses.replace(config, out=tmp_path / "b"), codec, lambda step, figures: None)
    assert torch.equal(weights(trained), weights(resumed))
    shutil.copy(encoder.profile.weights / "codec.safetensors", tmp_path)
    latents = export_context(tmp_path / "a" / "context.pt", images, tmp_path, views=2)
    assert torch.equal(weights(latents.codec.context), weights(trained.half().float()))
    planes = latents.analyse(latents.tensor(photograph[:256, :320]))
    symbols = latents.quantise(planes, 12)
    data = latents.coder.encode(symbols, 12, 512, 640)
    assert all(
        (plane == symbols[c]).all() for c, plane in latents.coder.decode(data, list(symbols), 12, 512, 640).items()
    )
    # The transforms are the ones that were there; the shipped context model knows more than this one.
    shipped = NanoLatents.load(encoder.profile.files)
    assert torch.equal(weights(latents.codec.analysis), weights(shipped.codec.analysis))
    assert len(shipped.coder.encode(symbols, 12, 512, 640)) < len(data)


def test_whole_photographs_keep_their_places(encoder, images) -> None:
    """Latents of a group are those of the photographs, resized to whole blocks as frames are."""
    from gsc_ros.latents.geometry import Geometry
    from gsc_ros.training.images import image_files, read_rgb, whole_blocks

    codec, latents = encoder.latents.codec, encoder.latents
    odd = read_rgb(image_files(images)[0])[:150, :230]
    (group,) = context_stage.latents(codec, iter([whole_blocks(odd, latents.layout)]), "cpu")
    planes = latents.analyse(latents.tensor(whole_blocks(odd, latents.layout)))
    assert group.rest.shape[2:] == latents.layout.grid(1, 300, 460) == planes[4].shape
    assert np.allclose(group.rest[0].numpy(), np.stack([planes[c] for c in range(4, 20)]), atol=1e-4)
    assert Geometry(300, 460).working(latents.layout) == (160, 224)


def test_context_with_memory_starts_as_the_one_without(encoder) -> None:
    import torch

    codec = encoder.latents.codec
    context = memory_stage.initial(codec)
    generator = torch.Generator().manual_seed(0)
    lead, rest = (torch.randint(-3, 4, shape, generator=generator).float() for shape in ((2, 4, 3, 4), (2, 16, 6, 8)))
    before = tuple(torch.randn(x.shape, generator=generator) for x in (lead, rest))
    condition = codec.condition(torch.tensor([3, 20]), torch.ones(2, 20))
    more = torch.cat([condition, torch.randn(2, 36, generator=generator)], dim=1)
    with torch.inference_mode():
        alone, built = codec.context(lead, rest, condition), context(lead, rest, more, before)
    for a, b in zip(alone, built, strict=True):
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_moving_views_are_two_views_of_one_scene(images) -> None:
    source = memory_stage.MovingViews(images, crop=96, seed=1, largest_motion=20.0)
    still = 0
    for step in range(12):
        earlier, later = source.pairs(step, 2)
        again = source.pairs(step, 2)
        assert (again[0] == earlier).all()
        assert (again[1] == later).all()
        for a, b in zip(earlier, later, strict=True):
            still += bool((a - b).abs().mean() < 0.02)
            # The same scene in another place: its colours are much the same.
            assert (a.mean(dim=(1, 2)) - b.mean(dim=(1, 2))).abs().max() < 0.2
    assert 0 < still < 24


def test_the_memory_stage_learns_and_exports(encoder, images, tmp_path) -> None:
    import shutil

    from gsc_ros.latents.nano import NanoLatents
    from gsc_ros.profiles import load_profile
    from gsc_ros.training.export import export_memory

    losses: list[float] = []
    config = memory_stage.MemoryTraining(
        images=images, out=tmp_path / "run", steps=150, batch=4, crop=96, largest_motion=10.0
    )
    memory_stage.train(config, encoder.latents.codec, lambda step, figures: losses.append(figures["loss"]))
    assert losses[-1] < 0.9 * losses[0]
    for name in ("codec.safetensors", "channels.safetensors"):
        shutil.copy(load_profile("nano").weights / name, tmp_path / name)
    export_memory(tmp_path / "run" / "memory.pt", images, tmp_path, pairs=6)
    latents = NanoLatents.load(Weights(tmp_path))
    assert latents.has_memory


def test_training_of_the_memory_goes_on_from_shipped_tables(encoder, images, tmp_path) -> None:
    """What is restored from the integers gives the same integers."""
    from gsc_ros.entropy.channels import ChannelTables
    from gsc_ros.training.tables import quantise

    config = memory_stage.MemoryTraining(
        images=images, out=tmp_path, steps=1, batch=1, crop=96, learning_rate=0.0, start=encoder.profile.weights
    )
    context = memory_stage.train(config, encoder.latents.codec, lambda step, figures: None)
    shipped = ChannelTables.load(encoder.profile.files, "memory.safetensors", encoder.latents.layout, memory=True)
    for again, before in zip(quantise(context.grid64, context.grid32).grids, shipped.grids, strict=True):
        for name, value in vars(before).items():
            np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)

"""The control branch: its cache, that a killed training goes on as if nothing had been, and that it learns."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import LIMIT_S

from gsc_ros.cli.main import run

pytestmark = pytest.mark.usefixtures("paper_packages")
SIDE = 64


@pytest.fixture(scope="module")
def dataset(photographs, tmp_path_factory) -> Path:
    """The four photographs with captions beside them."""
    folder = tmp_path_factory.mktemp("dataset")
    shutil.copytree(photographs, folder, dirs_exist_ok=True)
    lines = [json.dumps({"file": path.name, "caption": "a rock on the road"}) for path in sorted(folder.glob("*.png"))]
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def config(calibrated, tiny_flux, dataset, tmp_path_factory) -> Path:
    """A configuration of `gsc train control` for tiny models."""
    folder = tmp_path_factory.mktemp("control")
    profile = yaml.safe_load((calibrated / "profile.yaml").read_text()) | {"weights": str(calibrated)}
    profile["flux"] = {"base": str(tiny_flux), "dtype": "float32", "max_text_tokens": 8}
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    content = {
        "profile": str(folder / "profile.yaml"), "data": [{"root": str(dataset), "count": 4}], "side": SIDE,
        "cache": str(folder / "cache"), "out": str(folder / "run"),
        "training": {"steps": 2, "precision": "no", "save_every": 2, "accumulation": 2}, "validation": {"counts": [2], "steps": 2},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(content))
    assert (
        run(["train", "control", "--config", str(folder / "config.yaml"), "--stage", "cache", "--device", "cpu"]) == 0
    )
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def cache(config):
    from gsc_ros.training.control_cache import Cache

    return Cache(config.parent / "cache")


@pytest.fixture(scope="module")
def latents(config):
    from gsc_ros.latents import load_latents
    from gsc_ros.profiles import load_profile

    return load_latents(load_profile(config.parent / "profile.yaml"))


def flux(folder: Path):
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel.from_pretrained(folder / "transformer")


def settings_of(out: Path, **changes):
    from gsc_ros.training.control import ControlTraining

    return ControlTraining(out=out, **({"precision": "no", "save_every": 2, "accumulation": 2} | changes))


def test_the_cache_holds_what_the_models_make_of_the_images(cache, latents, dataset) -> None:
    from gsc_ros.latents.quantised import luma
    from gsc_ros.latents.selection import ssim_scores
    from gsc_ros.training.control_cache import square
    from gsc_ros.training.images import read_rgb

    assert cache.count == 4
    image = square(read_rgb(cache.files[2]), SIDE)
    sample = cache[2]
    assert sample.x.shape == ((SIDE // 16) ** 2, 16)
    assert sample.y.shape == (320, SIDE // 16, SIDE // 16)
    planes = latents.analyse(latents.tensor(image))
    assert torch.allclose(sample.y[7].float(), torch.from_numpy(planes[7]), atol=0.02)
    scores = ssim_scores(planes, luma(image))
    assert int(sample.ranked[0]) == max(scores, key=lambda channel: scores[channel])
    assert sample.tokens.shape == (8, 32)


def test_a_cache_is_resumed_and_one_of_something_else_is_refused(
    config, dataset, tmp_path, monkeypatch, capsys
) -> None:
    from gsc_ros.training import control_cache

    monkeypatch.setattr(control_cache, "SHARD", 2)
    content = yaml.safe_load(config.read_text()) | {"cache": str(tmp_path / "cache")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    arguments = ["train", "control", "--config", str(tmp_path / "config.yaml"), "--stage", "cache", "--device", "cpu"]
    assert run(arguments) == 0
    first, second = sorted((tmp_path / "cache").glob("shard-*"))
    before, whole = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    with pytest.raises(ValueError, match="not complete"):
        control_cache.Cache(tmp_path / "cache")
    assert run(arguments) == 0
    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == whole
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content | {"side": 80}))
    assert run(arguments) == 1
    assert "other images, captions or models" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content | {"data": [{"root": str(dataset), "count": 5}]}))
    assert run(arguments) == 1
    assert "5 are asked for" in capsys.readouterr().err


def test_a_killed_training_goes_on_as_if_nothing_had_been(cache, latents, tiny_flux, tmp_path) -> None:
    from gsc_ros.training.control import train

    def weights(out: Path, *stops: int) -> dict[str, torch.Tensor]:
        for steps in stops:
            branch = train(
                settings_of(out, steps=steps, ema=0.9), cache, latents.step, flux(tiny_flux), lambda step, figures: None
            )
        return branch.state_dict()

    whole, resumed = weights(tmp_path / "whole", 4), weights(tmp_path / "resumed", 2, 4)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    start = weights(tmp_path / "start", 2)
    assert any(not torch.equal(value, start[name]) for name, value in whole.items())


def test_the_loss_after_a_resumption_is_that_of_the_steps_since(cache, latents, tiny_flux, tmp_path) -> None:
    from gsc_ros.training.control import train

    told: dict[int, float] = {}
    for steps in (3, 4):
        note = lambda step, figures: told.update({step: figures["loss"]})  # noqa: E731
        train(settings_of(tmp_path / "a", steps=steps, save_every=10), cache, latents.step, flux(tiny_flux), note)
    # Untrained and trained for three tiny steps, the loss is about what noise and data make of it: no fraction of that.
    assert 0.5 < told[4] / told[3] < 2.0


def test_the_branch_alone_learns_and_flux_stays(cache, latents, tiny_flux, tmp_path) -> None:
    from gsc_ros.training.control import train

    transformer = flux(tiny_flux)
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    train(settings_of(tmp_path, steps=2), cache, latents.step, transformer, lambda step, figures: None)
    assert all(torch.equal(value, before[name]) for name, value in transformer.state_dict().items())


def test_what_a_pass_sees_depends_on_its_number_alone(cache, latents, tmp_path) -> None:
    from gsc_ros.training.control import draw

    sizes = torch.from_numpy(latents.step)
    settings = settings_of(tmp_path, batch=3)
    one, same, other = (draw(cache, sizes, settings, at) for at in (11, 11, 12))
    for field in dataclasses.fields(one):
        assert torch.equal(getattr(one, field.name), getattr(same, field.name))
    assert not torch.equal(one.noise, other.noise)
    fixed = draw(cache, sizes, settings_of(tmp_path, batch=8, channels=4, drop_latent=0.0), 0)
    assert fixed.condition[:, 0, 320:].sum(dim=1).tolist() == [4.0] * 8
    none = draw(cache, sizes, settings_of(tmp_path, batch=2, drop_latent=1.0, drop_text=1.0), 0)
    assert not none.condition.any()
    assert torch.equal(none.tokens[0], cache.silent[0])


def test_it_learns_to_paint_what_the_latent_says(cache, latents, tiny_flux, tmp_path) -> None:
    """Four photographs by heart: each picture nearer to its own source than to the others, and not with another's latent."""
    from diffusers import FluxPipeline

    from gsc_ros.generators.flux import FluxGenerator, FluxSettings
    from gsc_ros.generators.flux_control import condition_of
    from gsc_ros.training.control import train

    settings = settings_of(
        tmp_path, steps=250, batch=4, accumulation=1, learning_rate=1e-2, warm_up=20, channels=16, drop_text=0.0, drop_latent=0.0,
        save_every=250, checkpointing=False,
    )  # fmt: skip
    losses: list[float] = []
    branch = train(
        settings,
        cache,
        latents.step,
        flux(tiny_flux),
        lambda step, figures: losses.append(figures["loss"]),
        guidance=3.5,
    )
    assert losses[-1] < 0.8 * losses[0]
    pipeline = FluxPipeline.from_pretrained(tiny_flux)
    generator = FluxGenerator(pipeline, branch.eval(), latents, FluxSettings(base=str(tiny_flux), dtype="float32"))
    sources = torch.stack([cache[index].x for index in range(4)])

    def painted(index: int) -> torch.Tensor:
        sample = cache[index]
        sent = torch.zeros(1, 320)
        sent[0, sample.ranked[:16].long()] = 1
        condition = condition_of((sample.y.float().round()[None] * sent[:, :, None, None]), sent)
        with torch.inference_mode():
            return generator.denoise(
                sample.tokens[None], sample.pooled[None], condition, (SIDE, SIDE), 8, [torch.Generator().manual_seed(3)]
            )[0]

    pictures = torch.stack([painted(index) for index in range(4)])
    distance = (pictures[:, None] - sources[None]).square().mean(dim=(2, 3))
    assert distance.argmin(dim=1).tolist() == [0, 1, 2, 3]
    own, swapped = distance.diagonal(), distance.roll(1, dims=0).diagonal()
    assert (own < swapped).all()


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_command_trains_validates_and_goes_on(config, tmp_path, capsys, precision) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate has one precision for each process
    content, out = yaml.safe_load(config.read_text()), tmp_path / "run"
    content["training"]["precision"] = precision
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content | {"out": str(out)}))
    arguments = ["train", "control", "--config", str(tmp_path / "config.yaml"), "--stage", "train", "--device", "cpu"]
    assert run(arguments) == 0
    assert (out / "control" / "config.json").is_file()
    assert (out / "validation" / "step-2.png").is_file()
    assert run([*arguments, "--steps", "4"]) == 0
    assert [path.name for path in out.glob("state-*")] == ["state-4"]
    lines = (out / "validation" / "points.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4"]
    assert "name it in the profile" in capsys.readouterr().out
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stepps": 1}, "unknown setting stepps"),
        ({"training": {"stepps": 1}}, "unknown setting stepps"),
        ({"training": {"precision": "fp4"}}, "no and bf16"),
        ({"cache": "nowhere"}, "--stage cache"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_in_one_line(config, tmp_path, capsys, change, said) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | change))
    assert run(["train", "control", "--config", str(path), "--stage", "train", "--device", "cpu"]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_cache_is_built_without_the_transformer_and_training_needs_no_text_encoder(
    config, tiny_flux, tmp_path, capsys
) -> None:
    content = yaml.safe_load(config.read_text())
    profile = yaml.safe_load(Path(content["profile"]).read_text())
    profile["flux"]["base"] = str(tmp_path / "flux")
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(profile))
    changes = {name: str(tmp_path / name) for name in ("cache", "out")} | {"profile": str(tmp_path / "profile.yaml")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content | changes))
    for stage, absent in (("cache", ["transformer"]), ("train", ["text_encoder", "text_encoder_2", "tokenizer_2"])):
        shutil.copytree(tiny_flux, tmp_path / "flux", ignore=shutil.ignore_patterns(*absent))
        arguments = ["train", "control", "--config", str(tmp_path / "config.yaml"), "--stage", stage]
        assert run([*arguments, "--device", "cpu"]) == 0, capsys.readouterr().err
        shutil.rmtree(tmp_path / "flux")
    assert (tmp_path / "out" / "control" / "config.json").is_file()


def test_memory_that_cannot_hold_the_training_is_told_before_anything_is_loaded(config, monkeypatch, capsys) -> None:
    import gsc_ros.generators.flux as module

    monkeypatch.setattr(module, "load_pipeline", lambda *_, **__: pytest.fail("loaded"))
    monkeypatch.setattr(os, "sysconf", lambda name: 1024 if name == "SC_PAGE_SIZE" else 4096)  # 4 MiB
    assert run(["train", "control", "--config", str(config), "--stage", "train", "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert "larger device" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "flux_bytes", "branch_bytes"), [({}, 4, 16), ({"precision": "bf16"}, 2, 16), ({"ema": 0.9}, 4, 20)]
)
def test_memory_of_the_training_is_that_of_the_weights_gradients_and_averages(
    tiny_flux, tmp_path, changes, flux_bytes, branch_bytes
) -> None:
    from gsc_ros.generators.flux_control import LatentControl
    from gsc_ros.training.control import memory_needed

    transformer = flux(tiny_flux)
    branch = LatentControl.copy_of(transformer)
    frozen, learnt = (sum(p.numel() for p in model.parameters()) for model in (transformer, branch))
    needed = memory_needed(str(tiny_flux), settings_of(tmp_path, **changes))
    assert needed == flux_bytes * frozen + branch_bytes * learnt


def test_packages_that_are_not_there_are_named(config, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert run(["train", "control", "--config", str(config), "--device", "cpu"]) == 2
    assert "gsc-ros[paper]" in capsys.readouterr().err


def test_one_of_several_gpus_is_not_chosen_by_its_number(config, capsys) -> None:
    assert run(["train", "control", "--config", str(config), "--device", "cuda:1"]) == 2
    assert "CUDA_VISIBLE_DEVICES" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_in_one_line(config, capsys) -> None:
    assert run(["train", "control", "--config", str(config), "--device", "cuda"]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err


@pytest.fixture(scope="module")
def two_processes(cache, latents, config, tiny_flux, tmp_path_factory) -> tuple[Path, str]:
    """Where two processes trained the branch (``two``) and where the command did (``run``), and what that printed."""
    folder = tmp_path_factory.mktemp("two")
    arguments = ["train", "control", "--config", str(config), "--out", str(folder / "run"), "--stage", "train"]
    program = folder / "worker.py"
    program.write_text(
        f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
import numpy as np
import tiny
tiny.make_torchvision_importable()
from pathlib import Path
from diffusers import FluxTransformer2DModel
from gsc_ros.cli.main import run
from gsc_ros.training.control import ControlTraining, train
from gsc_ros.training.control_cache import Cache
settings = ControlTraining(out=Path({str(folder / "two")!r}), precision="no", save_every=2, accumulation=1, steps=4, learning_rate=1e-3)
transformer = FluxTransformer2DModel.from_pretrained({str(tiny_flux / "transformer")!r})
train(settings, Cache(Path({str(cache.folder)!r})), np.load({str(folder / "step.npy")!r}), transformer, lambda step, figures: None)
sys.exit(run({arguments!r}))
"""
    )
    np.save(folder / "step.npy", latents.step)
    return folder, launch(program)


def test_two_processes_learn_what_one_learns_from_the_same_batches(
    two_processes, cache, latents, tiny_flux, tmp_path
) -> None:
    """Two processes of one pass a step are one process of two: the same draws, the same mean gradient."""
    from gsc_ros.generators.flux_control import LatentControl

    one = train_here(settings_of(tmp_path / "one", steps=4, learning_rate=1e-3), cache, latents, tiny_flux)
    two = LatentControl.from_pretrained(two_processes[0] / "two" / "control").state_dict()
    untrained = LatentControl.copy_of(flux(tiny_flux)).state_dict()
    assert any(not torch.equal(value, untrained[name]) for name, value in two.items())
    for name, value in one.state_dict().items():
        assert torch.allclose(value, two[name], atol=1e-5), name


def test_the_command_in_two_processes_reports_and_validates_once(two_processes) -> None:
    out, printed = two_processes[0] / "run", two_processes[1]
    assert printed.count("step 2  loss") == 1
    assert printed.count("name it in the profile") == 1
    lines = (out / "validation" / "points.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2"]
    # The state of both processes is there to go on from.
    assert sorted(path.name for path in (out / "state-2").glob("random_states_*")) == [
        "random_states_0.pkl",
        "random_states_1.pkl",
    ]


def launch(program: Path) -> str:
    """What ``program`` prints, run by two processes on the CPU."""
    launched = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    return launched.stdout


def train_here(settings, cache, latents, tiny_flux):
    from gsc_ros.training.control import train

    return train(settings, cache, latents.step, flux(tiny_flux), lambda step, figures: None)

"""The benchmarks of the full-size models: on tiny ones here, and counted on shapes."""

from __future__ import annotations

import json

import pytest
import torch

pytestmark = pytest.mark.usefixtures("paper_packages")


def test_the_full_size_benchmark_runs_on_tiny_modules(capsys) -> None:
    from gsc_ros.cli.main import run

    assert (
        run(
            [
                "bench",
                "generate",
                "--random-weights",
                "--size",
                "tiny",
                "--frames",
                "64x48",
                "--steps",
                "1,2",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert printed.count("| denoise | 64x48") == 2
    assert "| VAE | 64x48" in printed
    assert "| caption | 64x48 | 64 |" in printed
    train = ["bench", "train", "--random-weights", "--side", "64", "--device", "cpu"]
    for extra, row in ([], "| training step | 64x64"), (["--checkpointing"], "| training step, checkpointed | 64x64"):
        assert run([*train, "--size", "tiny", *extra]) == 0
        assert row in capsys.readouterr().out
    assert run([*train, "--tokens", "0"]) == 2
    assert "--tokens 0" in capsys.readouterr().err
    assert run(train) == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_operations_of_the_full_size_are_counted_without_a_gpu(capsys) -> None:
    from gsc_ros.cli.main import run

    totals = {}
    for tokens in (512, 128):
        assert run(["bench", "operations", "--frames", "512x512", "--tokens", str(tokens), "--json"]) == 0
        rows = {row["part"]: row for row in json.loads(capsys.readouterr().out)}
        # The transformer multiplies each of its parameters of the blocks with every token, and attention comes on top.
        assert 400 < rows["FLUX"]["tera"] < 700
        assert 0.09 < rows["branch"]["tera"] / rows["FLUX"]["tera"] < 0.13  # 6 of 57 blocks
        # An H200 took 25.8 GiB for denoising and 26.2 for the VAE (docs/paper.md), the weights among it.
        assert rows["FLUX"]["gib"] == pytest.approx(25.8, rel=0.03)
        assert rows["VAE"]["gib"] == pytest.approx(26.2, rel=0.03)
        totals[tokens] = sum(row["tera"] for row in rows.values())
    assert totals[128] < 0.75 * totals[512]
    assert run(["bench", "operations", "--tokens", "0"]) == 2
    assert "--tokens 0" in capsys.readouterr().err


def test_operations_and_memory_of_a_training_step_are_counted_without_a_gpu(capsys) -> None:
    from gsc_ros.cli.main import run

    arguments = ["bench", "operations", "--training", "--sides", "512", "--json"]
    assert run(arguments) == 0
    kept, again = json.loads(capsys.readouterr().out)
    # Forward, and back by way of all the activations and of the branch's weights; checkpointing is one forward more.
    frame = (443 + 50.1) / 28
    assert 2 * frame < kept["tera"] < 2.4 * frame
    assert again["tera"] == pytest.approx(kept["tera"] + frame, rel=0.05)
    # bfloat16 of FLUX, and of the branch four times float32: weights, gradients and AdamW's two averages.
    weights = (11.9e9 * 2 + 1.745e9 * 16) / 2**30
    assert weights < again["gib"] < kept["gib"] < weights + 6
    assert run([*arguments[:4], "500"]) == 2
    assert "multiples of 16" in capsys.readouterr().err


def test_memory_is_counted_from_making_to_freeing() -> None:
    from gsc_ros.bench.live_memory import LiveMemory

    with LiveMemory() as live:
        a = torch.zeros(1024)
        b = a[:512].view(2, 256)
        assert live.now == 4096
        c = a + 1
        assert live.now == 8192
        del a
        assert live.now == 8192  # b is a part of it
        del b, c
    assert (live.now, live.peak) == (0, 8192)
    live.restart()
    assert live.peak == 0


@pytest.mark.parametrize("said", ["CUDA error: an illegal memory access was encountered\nmore", "CUDA out of memory."])
def test_a_gpu_that_fails_while_it_is_measured_is_told_in_one_line(monkeypatch, capsys, said) -> None:
    from gsc_ros.bench import full_size
    from gsc_ros.cli.main import run

    def fail(*_, **__) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(full_size, "train", fail)
    assert run(["bench", "train", "--random-weights", "--size", "tiny", "--device", "cpu"]) == 1
    error = capsys.readouterr().err
    assert said.splitlines()[0] in error
    assert "--checkpointing" in error
    assert error.count("\n") == 1

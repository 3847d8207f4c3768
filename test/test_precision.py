"""bfloat16 where the processor has instructions for it, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from conftest import scene
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gsc_ros.precision import has_bfloat16
from gsc_ros.training import codec as codec_stage
from gsc_ros.training import muon

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "convolution", "convolution_backward", "linear")


class Products(TorchDispatchMode):
    """The types that matrices and images are multiplied in while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            self.types |= {leaf.dtype for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without bfloat16"])
def products(request, monkeypatch) -> set[torch.dtype]:
    """The types of all products that the processor, with instructions or without, is expected to make."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": request.param})
    return {torch.float32, torch.bfloat16} if request.param else {torch.float32}


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "bf16"])
def test_any_of_the_instructions_will_do(monkeypatch, name) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True}, raising=False)
    assert has_bfloat16(torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: False})
    assert not has_bfloat16(torch.device("cpu"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in older torch
    assert not has_bfloat16(torch.device("cpu"))
    assert not has_bfloat16(torch.device("meta"))


def test_muon_multiplies_in_what_the_processor_has(products) -> None:
    kernel = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    optimizer = muon.Muon([{"params": [kernel], "factor": 1.0, "wide": True}], learning_rate=0.01)
    kernel.grad = torch.randn_like(kernel)
    with Products() as seen:
        optimizer.step()
    assert seen.types == ({torch.bfloat16} if torch.bfloat16 in products else {torch.float32})


def test_training_multiplies_in_what_the_processor_has_and_says_so_once(
    products, photographs, tmp_path, caplog
) -> None:
    config = codec_stage.CodecTraining(
        images=photographs, out=tmp_path, steps=2, batch=1, crop=96, precision="bfloat16", optimizer="muon"
    )
    with Products() as seen:
        codec_stage.train(config, lambda step, figures: None)
    assert seen.types == products
    told = [record.getMessage() for record in caplog.records if "bfloat16" in record.getMessage()]
    assert len(told) == (torch.bfloat16 not in products)
    assert all("cpu has no instructions for it; training in float32" in line for line in told)


def test_the_search_multiplies_in_what_the_processor_has(products, encoder) -> None:
    from gsc_ros.encoder import EncodeSettings

    wish = EncodeSettings(caption_mode="off", max_bytes=60)
    with Products() as seen:
        encoder.for_another_camera().encode(scene(3, 64, 64), dataclasses.replace(wish, search=2))
    assert seen.types == products

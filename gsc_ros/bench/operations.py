"""How much there is to compute, and the memory that takes, at full size: counted on shapes, without memory or a GPU.

Every operation of the real modules is run on fake tensors, which have shapes and no values. What is counted are
products, a multiplication with its addition as two: convolutions, linear layers and attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import T5Config, T5EncoderModel

from gsc_ros.bench.full_size import FLUX, branch_of, built_on, training_step, transformer_of, vae_of
from gsc_ros.bench.live_memory import LiveMemory
from gsc_ros.generators.flux import in_tiles
from gsc_ros.generators.flux_control import LATENT_CHANNELS

T5 = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu", "vocab_size": 32128}  # fmt: skip
DEVICE, TYPE = "cpu", torch.bfloat16  # a fake tensor on the CPU is dealt with as a real one on a GPU, attention fused


@dataclass(frozen=True)
class Count:
    """Operations of one part for one frame or step, ``tera`` in 10**12; ``times`` is how often it runs for that.

    ``gib`` is the most memory that is in use meanwhile in GiB, the weights of FLUX, its branch and the VAE included.
    """

    part: str
    size: str
    times: int
    tera: float
    gib: float


def _attention(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_flop_count(q, k, v))


def _attention_backward(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return int(sdpa_backward_flop_count(grad, q, k, v))


# torch's counter knows attention's kernels for GPUs alone.
KERNELS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def _count(work: Callable[[], Any], live: LiveMemory) -> tuple[float, float]:
    """10**12 operations of ``work``, and GiB: one after the other, for the counter keeps tensors alive."""
    with FlopCounterMode(display=False, custom_mapping=KERNELS) as counter, live:
        work()
    live.restart()
    with live:
        work()
    return counter.get_total_flops() / 1e12, live.peak / 2**30


def _t5() -> Any:
    with built_on(DEVICE, TYPE):
        return T5EncoderModel(T5Config(**T5))


def count(size: str, frames: Sequence[tuple[int, int]], *, steps: int, tokens: int) -> list[Count]:
    """The parts of a frame of each of ``frames`` (width, height) at ``steps`` of the flow, with a text of ``tokens``."""
    shape: Any = FLUX[size]["transformer"]
    live, rows = LiveMemory(), []

    def empty(*sides: int) -> torch.Tensor:
        return torch.empty(sides, dtype=TYPE)

    with FakeTensorMode(), torch.inference_mode():
        with live:
            transformer, vae = transformer_of(size, DEVICE, TYPE), vae_of(size, DEVICE, TYPE)
            branch = branch_of(transformer, DEVICE, TYPE)
        encoder = _t5() if size == "flux-dev" else None
        for width, height in frames:
            down, across = -(-height // 16), -(-width // 16)
            inputs: dict[str, Any] = {
                "hidden_states": empty(1, down * across, shape["in_channels"]),
                "timestep": empty(1),
                "guidance": empty(1),
                "pooled_projections": empty(1, shape["pooled_projection_dim"]),
                "encoder_hidden_states": empty(1, tokens, shape["joint_attention_dim"]),
                "txt_ids": empty(tokens, 3),
                "img_ids": empty(down * across, 3),
            }
            condition = empty(1, down * across, 2 * LATENT_CHANNELS)
            packed = empty(1, vae.config.latent_channels, 2 * down, 2 * across)
            text = torch.zeros(1, tokens, dtype=torch.long)
            vae.use_tiling = in_tiles(16 * down, 16 * across)
            parts: dict[str, tuple[int, Callable[[], Any]]] = {
                "FLUX": (steps, partial(transformer, **inputs)),
                "branch": (steps, partial(branch.guide, transformer, condition, inputs)),
                "VAE": (1, partial(vae.decode, packed)),
            }
            if encoder is not None:
                parts["T5, once a caption"] = 1, partial(encoder, text)
            for part, (times, work) in parts.items():
                tera, gib = _count(work, live)
                rows.append(Count(part, f"{width}x{height}", times, times * tera, gib))
    return rows


def count_training(size: str, sides: Sequence[int], *, tokens: int) -> list[Count]:
    """A step of ``gsc train control`` at each of ``sides`` and batch 1, with and without checkpointing of gradients."""
    rows = []
    for side in sides:
        for checkpointing in (False, True):
            live = LiveMemory()
            with FakeTensorMode():
                with live:
                    step = training_step(
                        size, side=side, tokens=tokens, device=DEVICE, dtype=TYPE, checkpointing=checkpointing
                    )
                    step()  # AdamW has its averages from the first one on
                tera, gib = _count(step, live)
            part = "training step" + (", checkpointed" if checkpointing else "")
            rows.append(Count(part, f"{side}x{side}", 1, tera, gib))
    return rows

"""How much there is to compute for a frame of the full-size models, part by part: counted on shapes, without memory or a GPU.

Every operation of the real modules is run on torch's ``meta`` device, which has shapes and no values. What is
counted are products: convolutions, linear layers and attention, a multiplication with its addition as two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from gsc_ros.bench.full_size import FLUX, pipeline_of
from gsc_ros.generators.flux_control import LATENT_CHANNELS, LatentControl

T5 = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu", "vocab_size": 32128}  # fmt: skip
DEVICE, TYPE = "meta", torch.bfloat16


@dataclass(frozen=True)
class Count:
    """Operations of one part for one frame, ``tera`` in 10**12; ``times`` is how often it runs for that."""

    part: str
    size: str
    times: int
    tera: float


def _count(work: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        work()
    return counter.get_total_flops() / 1e12


def _t5() -> Any:
    return T5EncoderModel(T5Config(**T5)).to(TYPE)


def count(size: str, frames: Sequence[tuple[int, int]], *, steps: int, tokens: int) -> list[Count]:
    """The parts of a frame of each of ``frames`` (width, height) at ``steps`` of the flow, with a text of ``tokens``."""
    shape: Any = FLUX[size]["transformer"]
    pipeline = pipeline_of(size, DEVICE, TYPE)
    transformer, vae = pipeline.transformer, pipeline.vae
    with torch.device(DEVICE):
        branch = LatentControl.copy_of(transformer)
        encoder = _t5() if size == "flux-dev" else None

    def empty(*sides: int) -> torch.Tensor:
        return torch.empty(sides, device=DEVICE, dtype=TYPE)

    rows = []
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
        text = torch.zeros(1, tokens, dtype=torch.long, device=DEVICE)
        parts: dict[str, tuple[int, Callable[[], Any]]] = {
            "FLUX": (steps, partial(transformer, **inputs)),
            "branch": (steps, partial(branch.guide, transformer, condition, inputs)),
            "VAE": (1, partial(vae.decode, packed)),
        }
        if encoder is not None:
            parts["T5, once a caption"] = 1, partial(encoder, text)
        rows += [Count(part, f"{width}x{height}", times, times * _count(work)) for part, (times, work) in parts.items()]
    return rows

"""Generator ``nano_flow``: the small rectified flow on top of the fidelity image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gsc_ros.generators import MOST_STEPS
from gsc_ros.generators.flow_network import RESIDUAL_SCALE, FlowNetwork
from gsc_ros.generators.rectified_flow import noise, sample, timesteps, velocity
from gsc_ros.generators.text_embedding import bag_of_words
from gsc_ros.weights import Weights, fill

MAX_STEPS = MOST_STEPS["nano_flow"]


class NanoFlow:
    """Paints onto the fidelity image what caption and latent make likely."""

    def __init__(self, network: FlowNetwork, *, device: str = "cpu") -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.device = device

    @classmethod
    def load(cls, weights: Weights, *, channels: int, levels: int, device: str = "cpu") -> NanoFlow:
        """The network of ``flow.safetensors``; raises ProfileError."""
        return cls(fill(FlowNetwork(channels, levels), weights, "flow.safetensors"), device=device)

    def generate(
        self,
        fidelity: Tensor,
        control: Tensor,
        captions: Sequence[str],
        conditions: Tensor,
        *,
        steps: int,
        seeds: Sequence[int],
    ) -> Tensor:
        """Sampled images as large as ``fidelity``, in 0..1, the same for the same seed.

        fidelity    the fidelity images (B,3,2h,2w) in 0..1, :func:`gsc_ros.generators.flow_network.enlarged`
        control     y_hat on the finer grid (B,N,r,c)
        conditions  level and channels sent (B, levels + channels)
        """
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"steps {steps}: 1 to {MAX_STEPS} are allowed")
        one = (1, *fidelity.shape[1:])
        start = torch.cat([noise(one, torch.Generator().manual_seed(seed)) for seed in seeds]).to(self.device)
        with torch.inference_mode():
            guidance = self.network.guidance(fidelity, control, conditions, bag_of_words(captions).to(self.device))
            residual = sample(lambda z, t: velocity(z, self.network(z, t, guidance), t), start, timesteps(steps))
        return (fidelity + RESIDUAL_SCALE * residual).clamp(0, 1)

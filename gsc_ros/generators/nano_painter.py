"""The painter at run time: samples of the picture from what g_s knows of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gsc_ros.generators.flow_network import RESIDUAL_SCALE, enlarged
from gsc_ros.generators.nano_flow import MAX_STEPS
from gsc_ros.generators.painter_network import PainterNetwork, Pyramid
from gsc_ros.generators.rectified_flow import noise, sample, timesteps, velocity
from gsc_ros.weights import Weights, fill

FILE = "painter.safetensors"


class NanoPainter:
    """Paints onto the fidelity image what the latent makes likely; captions say nothing to it."""

    def __init__(self, network: PainterNetwork, *, device: str = "cpu") -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload]
        self.device = device

    @classmethod
    def load(cls, weights: Weights, *, channels: int, levels: int, device: str = "cpu") -> NanoPainter:
        """The network of ``painter.safetensors``; raises ProfileError."""
        return cls(fill(PainterNetwork(channels, levels), weights, FILE), device=device)

    def generate(
        self,
        fidelity: Tensor,
        pyramid: Pyramid,
        control: Tensor,
        conditions: Tensor,
        *,
        steps: int,
        seeds: Sequence[int],
    ) -> Tensor:
        """Sampled images (B,3,2h,2w) in 0..1, the same for the same seed.

        fidelity    the fidelity images (B,3,h,w) in 0..1
        pyramid     g_s's features on the way to them, :meth:`gsc_ros.latents.transform.Synthesis.pyramid`
        control     y_hat on the finer grid (B,N,h/16,w/16)
        conditions  level and channels sent (B, levels + channels)
        """
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"steps {steps}: 1 to {MAX_STEPS} are allowed")
        _, colours, height, width = fidelity.shape
        one = (1, colours, 2 * height, 2 * width)
        start = torch.cat([noise(one, torch.Generator().manual_seed(seed)) for seed in seeds]).to(self.device)
        with torch.inference_mode():
            guidance = self.network.guidance(fidelity, pyramid, control, conditions)
            residual = sample(lambda z, t: velocity(z, self.network(z, t, guidance), t), start, timesteps(steps))
        return (enlarged(fidelity) + RESIDUAL_SCALE * residual).clamp(0, 1)

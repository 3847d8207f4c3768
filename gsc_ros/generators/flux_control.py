"""The control branch: a trainable copy of FLUX's first blocks that sees the latent (paper 3.3).

    z_t --> x_embedder --(+)--> M multi-stream blocks --> S single-stream blocks
                          ^            | zero-initialised linear layers |
    y_sel, mask --> Linear             v                                v
    (one token a position)     added to the first M            and the first S blocks of FLUX

FLUX's tokens and CompressAI's y lie on the same grid, 16 pixels a position, so that the latent enters
token by token.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FluxControlNetModel, FluxTransformer2DModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

MULTI_STREAM, SINGLE_STREAM = 4, 2  # M and S of the paper
LATENT_CHANNELS = 320


class LatentControl(FluxControlNetModel):
    """FLUX's ControlNet, given y_hat and which channels of it were sent in place of a packed image."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: int = 1,
        in_channels: int = 64,
        num_layers: int = MULTI_STREAM,
        num_single_layers: int = SINGLE_STREAM,
        attention_head_dim: int = 128,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        pooled_projection_dim: int = 768,
        guidance_embeds: bool = False,
        axes_dims_rope: tuple[int, ...] = (16, 56, 56),
        latent_channels: int = LATENT_CHANNELS,
        num_mode: None = None,  # these two are the parent's, and written into every config
        conditioning_embedding_channels: None = None,
    ) -> None:
        super().__init__(
            patch_size=patch_size,
            in_channels=in_channels,
            num_layers=num_layers,
            num_single_layers=num_single_layers,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            joint_attention_dim=joint_attention_dim,
            pooled_projection_dim=pooled_projection_dim,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=axes_dims_rope,
        )
        # y_hat and, channel by channel, whether it was sent: 0 is a value as well.
        self.controlnet_x_embedder = nn.Linear(2 * latent_channels, self.inner_dim)
        nn.init.zeros_(self.controlnet_x_embedder.weight)
        nn.init.zeros_(self.controlnet_x_embedder.bias)

    @classmethod
    def copy_of(
        cls,
        transformer: FluxTransformer2DModel,
        *,
        multi_stream: int = MULTI_STREAM,
        single_stream: int = SINGLE_STREAM,
        latent_channels: int = LATENT_CHANNELS,
        dtype: torch.dtype | None = None,
    ) -> LatentControl:
        """The branch before training: the first blocks of ``transformer``, outputs and latent input at zero.

        Its weights are of ``dtype``; None: as the transformer's.
        """
        known = cls.__init__.__wrapped__.__code__.co_varnames  # type: ignore[attr-defined]
        config = {name: value for name, value in transformer.config.items() if name in known}
        config |= {
            "num_layers": multi_stream, "num_single_layers": single_stream, "latent_channels": latent_channels
        }  # fmt: skip
        branch = cls(**config)
        for name in ("pos_embed", "time_text_embed", "context_embedder", "x_embedder"):
            branch.get_submodule(name).load_state_dict(transformer.get_submodule(name).state_dict())
        for name, count in (("transformer_blocks", multi_stream), ("single_transformer_blocks", single_stream)):
            for index in range(count):
                source = transformer.get_submodule(f"{name}.{index}")
                branch.get_submodule(f"{name}.{index}").load_state_dict(source.state_dict())
        wanted = dtype or transformer.dtype
        return branch if branch.dtype == wanted else branch.to(wanted)

    def guide(self, transformer: FluxTransformer2DModel, condition: Tensor, inputs: dict[str, Any]) -> dict[str, Any]:
        """What ``transformer`` is to be given beside ``inputs``: residuals for its first blocks, zero for the others.

        ``condition`` (B,tokens,2*latent_channels), as :func:`condition_of` makes it. diffusers spreads the
        residuals that it is given evenly over all blocks; a full list of them goes one to each.
        """
        multi, single = self(controlnet_cond=condition, return_dict=False, **inputs)
        nothing = torch.zeros((), dtype=condition.dtype, device=condition.device)
        counts = transformer.config.num_layers, transformer.config.num_single_layers
        lists = [
            [*(found or []), *[nothing] * (count - len(found or []))]
            for found, count in zip((multi, single), counts, strict=True)
        ]
        return {
            "controlnet_block_samples": lists[0] or None,
            "controlnet_single_block_samples": lists[1] or None,
        }


def condition_of(y: Tensor, sent: Tensor) -> Tensor:
    """y_hat (B,N,r,c), zero where nothing was sent, and ``sent`` (B,N) of 0 and 1 -> (B,r*c,2*N)."""
    mask = sent.to(y)[:, :, None, None].expand_as(y)
    return torch.cat([y, mask], dim=1).flatten(2).transpose(1, 2).contiguous()

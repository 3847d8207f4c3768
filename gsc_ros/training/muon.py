"""Muon for convolutions: every kernel is moved by a matrix of orthogonal rows, everything else by AdamW.

Muon (Jordan et al. 2024) takes the momentum of a weight matrix and makes its singular values alike before
it moves by it, so that rare directions are learned as fast as frequent ones. torch's own takes matrices, one at a
time; here kernels of one shape are taken together, which on a GPU is a tenth of the launches. Measured in
docs/nano.md, "Training".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from gsc_ros.precision import has_bfloat16

LEAST = 16  # rows and columns from which a kernel counts as a matrix
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 1e-5
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic, five times: singular values come to about 1
Groups = Iterable[dict[str, Any]]


def adamw(groups: Groups, *, learning_rate: float) -> torch.optim.AdamW:
    """AdamW as all stages use it; a group's own entries are kept."""
    return torch.optim.AdamW(
        [dict(group) for group in groups], lr=learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
    )


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (out,in,kh,kw) as the matrix (out, kh*kw*in)."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def orthogonal(matrices: Tensor) -> Tensor:
    """Each of (n,rows,columns) with all its singular values made about 1, in bfloat16 where that pays."""
    first, third, fifth = NEWTON_SCHULZ
    x = matrices.bfloat16() if has_bfloat16(matrices.device) else matrices
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), x, beta=first)
    return x.mT if tall else x


class Muon:
    """Muon for the kernels of the groups that are ``wide``, AdamW for the rest; used like an optimizer.

    Steps are scaled so that a learning rate means for Muon what it means for AdamW (root mean square 0.2).
    """

    def __init__(self, groups: Groups, *, learning_rate: float) -> None:
        self._wide: list[dict[str, Any]] = []  # a group for each shape of kernels: lr, params, momentum
        rest = []
        for group in groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if group.get("wide") and _is_wide(parameter):
                    shapes.setdefault(parameter.shape, []).append(parameter)
            taken = {id(kernel) for kernels in shapes.values() for kernel in kernels}
            rest.append({**group, "params": [p for p in group["params"] if id(p) not in taken]})
            for kernels in shapes.values():
                momentum = torch.stack([as_matrix(torch.zeros_like(kernel)) for kernel in kernels])
                self._wide.append({**group, "lr": learning_rate, "params": kernels, "momentum": momentum})
        self._adamw = adamw(rest, learning_rate=learning_rate)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [*self._wide, *self._adamw.param_groups]

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        self._adamw.zero_grad(set_to_none=set_to_none)
        for group in self._wide:
            for kernel in group["params"]:
                kernel.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step; every kernel has to have a gradient."""
        for group in self._wide:
            kernels, momentum = group["params"], group["momentum"]
            gradient = torch.stack([as_matrix(kernel.grad) for kernel in kernels])
            momentum.lerp_(gradient, 1 - MOMENTUM)
            moves = orthogonal(gradient.lerp_(momentum, MOMENTUM)).to(momentum.dtype)
            rows, columns = momentum.shape[1:]
            _, inputs, *window = kernels[0].shape
            back = moves.unflatten(2, (*window, inputs)).permute(0, 1, 4, 2, 3).unbind()
            torch._foreach_mul_(kernels, 1 - group["lr"] * WEIGHT_DECAY)
            torch._foreach_add_(kernels, list(back), alpha=-group["lr"] * 0.2 * max(rows, columns) ** 0.5)
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        return {"momentum": [group["momentum"] for group in self._wide], "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for group, momentum in zip(self._wide, state["momentum"], strict=True):
            group["momentum"].copy_(momentum)
        self._adamw.load_state_dict(state["adamw"])


def _is_wide(parameter: Tensor) -> bool:
    return parameter.dim() == 4 and parameter.shape[0] >= LEAST and parameter[0].numel() >= LEAST

"""Muon for convolutions: every kernel is moved by a matrix of orthogonal rows, everything else by AdamW.

Muon (Jordan et al. 2024) takes the momentum of a weight matrix and makes its singular values alike before
it moves by it, so that rare directions are learned as fast as frequent ones. torch's own takes matrices alone; here
it is given the kernels as matrices that share their memory. Measured in docs/nano.md, "Training".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

LEAST = 16  # rows and columns from which a kernel counts as a matrix
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 1e-5
Groups = Iterable[dict[str, Any]]


def adamw(groups: Groups, *, learning_rate: float) -> torch.optim.AdamW:
    """AdamW as all stages use it; a group's own entries are kept."""
    return torch.optim.AdamW(
        [dict(group) for group in groups], lr=learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
    )


def as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (out,in,kh,kw), channels last, as the matrix (out, kh*kw*in) over the same memory."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


class Muon:
    """Torch's Muon for the kernels of the groups that are ``wide``, AdamW for the rest; used like an optimizer.

    Steps are scaled so that a learning rate means for Muon what it means for AdamW. The model has to be in the
    channels-last format before its parameters come here, and to stay in it.
    """

    def __init__(self, groups: Groups, *, learning_rate: float) -> None:
        self._kernels: list[tuple[nn.Parameter, nn.Parameter]] = []  # as the model has it, as Muon sees it
        matrices, rest = [], []
        for group in groups:
            kernels = [p for p in group["params"] if group.get("wide") and _is_wide(p)]
            taken = {id(kernel) for kernel in kernels}
            rest.append({**group, "params": [p for p in group["params"] if id(p) not in taken]})
            pairs = [(kernel, nn.Parameter(as_matrix(kernel.detach()))) for kernel in kernels]
            assert all(matrix.data_ptr() == kernel.data_ptr() for kernel, matrix in pairs)
            self._kernels += pairs
            if pairs:
                matrices.append({**group, "params": [matrix for _, matrix in pairs]})
        self._adamw = adamw(rest, learning_rate=learning_rate)
        self._muon = torch.optim.Muon(
            matrices, lr=learning_rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        self._adamw.zero_grad(set_to_none=set_to_none)
        for kernel, _ in self._kernels:
            kernel.grad = None

    def step(self) -> None:
        for kernel, matrix in self._kernels:
            matrix.grad = None if kernel.grad is None else as_matrix(kernel.grad)
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])


def _is_wide(parameter: Tensor) -> bool:
    return parameter.dim() == 4 and parameter.shape[0] >= LEAST and parameter[0].numel() >= LEAST

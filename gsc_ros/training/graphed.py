"""A training step's loss and gradients as one CUDA graph: thousands of small launches become one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gsc_ros.training.feed import Inputs

Figures = dict[str, Tensor]
LossOf = Callable[[Inputs], tuple[Tensor, Figures]]


def eager(loss_of: LossOf, model: nn.Module) -> LossOf:
    """``loss_of``, leaving the gradients of ``model`` behind."""

    def step(inputs: Inputs) -> tuple[Tensor, Figures]:
        model.zero_grad(set_to_none=True)
        loss, figures = loss_of(inputs)
        loss.backward()
        return loss, figures

    return step


class Graphed:
    """The same, recorded for inputs of the shapes of ``example`` and played again for every other batch.

    Gradients stay where they are and are written anew: whoever uses this must not set them to None.
    """

    def __init__(self, loss_of: LossOf, model: nn.Module, example: Inputs) -> None:
        self._inputs = {name: value.clone() for name, value in example.items()}
        warm_up = eager(loss_of, model)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # as torch asks for: libraries choose their kernels before the recording
            for _ in range(3):
                warm_up(self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        model.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._figures = loss_of(self._inputs)
            self._loss.backward()

    def __call__(self, inputs: Inputs) -> tuple[Tensor, Figures]:
        for name, value in inputs.items():
            self._inputs[name].copy_(value, non_blocking=True)
        self._graph.replay()
        return self._loss, self._figures

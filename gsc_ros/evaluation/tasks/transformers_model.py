"""A vision model of transformers and its image processor, from a folder or by a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load(kind: str, model: Path, device: str) -> tuple[Any, Any]:
    """The processor and the model of ``transformers``' auto class ``kind``; raises ValueError with one line.

    The processor is the one that works on PIL images: it needs no torchvision.
    """
    try:
        import transformers
    except ImportError as error:
        raise ValueError("depth and segmentation need transformers: pip install 'gsc-ros[paper]'") from error
    if model.exists() and not (model / "config.json").is_file():
        raise ValueError(f"{model}: a folder with config.json, preprocessor_config.json and weights is expected")
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(str(model), backend="pil")
        network = getattr(transformers, kind).from_pretrained(str(model))
    except Exception as error:  # transformers has as many as there are ways to fail
        raise ValueError(f"{model} is not a model for {kind}: {str(error).strip().splitlines()[0]}") from error
    return processor, network.to(device).eval().requires_grad_(False)


def outputs(processor: Any, network: Any, image: NDArray[np.uint8]) -> Any:
    """What the network says about ``image`` (H,W,3)."""
    import torch
    from PIL import Image

    inputs = processor(images=Image.fromarray(image), return_tensors="pt").to(network.device)
    with torch.inference_mode():
        return network(**inputs)

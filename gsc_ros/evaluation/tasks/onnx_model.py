"""A vision model in ONNX, on one thread of the CPU: evaluation has a process for each core."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(path: Path) -> Any:
    """onnxruntime's session of the file ``path``; raises ValueError with one line."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError("models in ONNX need onnxruntime: pip install 'gsc-ros[experiment]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception of its own for each way to fail
        raise ValueError(f"{path} is not a model that onnxruntime reads: {str(error).splitlines()[0]}") from error

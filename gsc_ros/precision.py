"""Where bfloat16 pays: on devices that have instructions for it.

Elsewhere it is emulated: products of bfloat16 took 6 times as long as those of float32 on an x86 processor without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # x86, x86 with tiles, Arm


def has_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 by itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
    return any(has.get(name, False) for name in INSTRUCTIONS)

"""Which arithmetic the networks run in."""

import contextlib
from typing import Any, Literal

import torch

Precision = Literal["auto", "bf16", "fp32"]


def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where the arithmetic units have it; other CPUs emulate it, many times slower."""
    emulated = device == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.float32 if emulated else torch.bfloat16


def autocast(precision: Precision, device: str = "cpu") -> contextlib.AbstractContextManager[Any]:
    """Autocasting to bfloat16 if asked for, or under `auto` if it is fast here; float32 otherwise."""
    wanted = precision == "bf16" or (precision == "auto" and fast_dtype(device) == torch.bfloat16)
    return torch.autocast(device, dtype=torch.bfloat16, enabled=wanted)

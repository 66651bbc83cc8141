"""Images as they are stored, and as networks take them."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, R, R, 3) to float (B, 3, R, R) in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """float (B, 3, R, R) in [-1, 1] to uint8 (B, 3, R, R)."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

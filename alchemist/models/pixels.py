"""Images as they are stored, and as networks take them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, R, R, 3) to float (B, 3, R, R) in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """float (B, 3, R, R) in [-1, 1] to uint8 (B, 3, R, R)."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def psnr(images: NDArray[np.uint8], again: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of images (B, R, R, 3) and what became of them, (B,), in dB; 78 at most."""
    squares = np.square(again.astype(np.float64) - images).mean((1, 2, 3)).clip(1e-3)
    decibels: NDArray[np.float64] = 10 * np.log10(255**2 / squares)
    return decibels

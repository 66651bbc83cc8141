"""Published feature networks, each with the resizing that belongs to it; none is packaged.

| name | network | resized to | by |
|---|---|---|---|
| `inception` | pytorch-fid's InceptionV3, 2,048 | 299 | bilinear without antialias, as in pytorch-fid |
| `inception_clean` | the same | 299 | Pillow's antialiased bicubic in float, as clean-fid's mode clean |
| `dinov2_vitl14` | DINOv2 ViT-L/14 (Oquab et al. 2023), 1,024 | 224 | Pillow's bicubic, as in dgm-eval |
| `dinov2_vitb14` | DINOv2 ViT-B/14, 768 | 224 | the same |
| `cmmd` | CLIP ViT-L/14@336, 768, normalised | 336 | Pillow's antialiased bicubic in float |
"""

import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alchemist.core import files, weights
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import Further, WeightsSettings

META = torch.device("meta")
SIDE = {"dinov2_vitl14": 224, "dinov2_vitb14": 224, "cmmd": 336}
_DINO = {"dinov2_vitl14": "vit_large_patch14_dinov2", "dinov2_vitb14": "vit_base_patch14_dinov2"}
_PATCH = 14
_OFFSET = 0.1  # of DINOv2's own resampling of positions
_SPARE = ("mask_",)  # of DINOv2's training
_CLIP = "ViT-L-14-336"
# Means and deviations of the channels, in grey levels.
_IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_OPENAI = (122.7709383, 116.7460125, 104.09373615), (68.5005327, 66.6321579, 70.32316305)


class Scaled(nn.Module):
    """Images (B, 3, S, S) in [0, 255] to features (B, d) of a network that wants (x - mean) / deviation."""

    def __init__(
        self,
        body: nn.Module,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
        digest: str,
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.mean, self.deviation, self.unit = body, mean, deviation, unit
        self.digest = digest  # of the file of its weights

    def forward(self, images: Tensor) -> Tensor:
        """The features; of length 1 if `unit`."""
        middle, width = (images.new_tensor(x)[:, None, None] for x in (self.mean, self.deviation))
        out: Tensor = self.body((images - middle) / width)
        return F.normalize(out, dim=-1) if self.unit else out


def network(name: Further, where: WeightsSettings, device: torch.device) -> Scaled:
    """The network `name` of `evaluate.features` or `evaluate.further`, but lite0, float32, frozen.

    Raises Refusal where its weights are not here, out of reach, or of another network.
    """
    key = f"evaluate.weights.{'inception' if name == 'inception_clean' else name}"
    if name in ("inception", "inception_clean"):
        place = where.inception
        found = _released(key) if place is None else weights.find_file(place, key, _released_name())
        body = _joined(found.fill(inception(), found.tensors())).to(device)
        middle = 127.5 if name == "inception" else 128.0  # clean-fid has (x - 128) / 128
        return Scaled(body, (middle,) * 3, (middle,) * 3, files.sha256(found.path))
    if name == "cmmd":
        found = weights.find_file(where.cmmd, key, "open_clip_model.safetensors")
        whole = found.tensors()
        prefix = "visual."
        stored = {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)} or whole
        tower = found.fill(clip_tower(), stored).to(device)
        return Scaled(tower, *_OPENAI, files.sha256(found.path), unit=True)
    place = where.dinov2_vitl14 if "vitl" in name else where.dinov2_vitb14
    found = weights.find_file(place, key, "model.safetensors")
    stored = found.tensors()
    if "pos_embed" in stored:
        stored["pos_embed"] = resampled(stored["pos_embed"], SIDE[name] // _PATCH)
    trunk = found.fill(dinov2(name), stored, _SPARE).to(device)
    return Scaled(trunk, *_IMAGENET, files.sha256(found.path))


def resizer(name: Further) -> Callable[..., Any]:
    """The resizing (R, R, 3) uint8 to (S, S, 3) in [0, 255] that belongs to a network, by clean-fid."""
    from cleanfid.resize import build_resizer, make_resizer

    if name in SIDE:
        # dgm-eval's is of whole grey levels, CMMD's of real numbers.
        return make_resizer("PIL", name != "cmmd", "bicubic", (SIDE[name], SIDE[name]))
    return build_resizer("clean" if name == "inception_clean" else "legacy_pytorch")


def inception() -> Any:
    """pytorch-fid's InceptionV3 on the device meta: torchvision's, with the blocks that clean-fid brings."""
    from cleanfid import inception_pytorch as parts
    from torchvision.models import Inception3

    with META:
        body: Any = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
        body.Mixed_5b = parts.FIDInceptionA(192, pool_features=32)
        body.Mixed_5c = parts.FIDInceptionA(256, pool_features=64)
        body.Mixed_5d = parts.FIDInceptionA(288, pool_features=64)
        body.Mixed_6b = parts.FIDInceptionC(768, channels_7x7=128)
        body.Mixed_6c = parts.FIDInceptionC(768, channels_7x7=160)
        body.Mixed_6d = parts.FIDInceptionC(768, channels_7x7=160)
        body.Mixed_6e = parts.FIDInceptionC(768, channels_7x7=192)
        body.Mixed_7b, body.Mixed_7c = parts.FIDInceptionE_1(1280), parts.FIDInceptionE_2(2048)
    return body


def _joined(body: Any) -> nn.Module:
    """From images (B, 3, 299, 299) to the last average pool (B, 2048)."""
    mixed = [part for name, part in body.named_children() if name.startswith("Mixed_")]
    return nn.Sequential(
        *(body.Conv2d_1a_3x3, body.Conv2d_2a_3x3, body.Conv2d_2b_3x3, nn.MaxPool2d(3, 2)),
        *(body.Conv2d_3b_1x1, body.Conv2d_4a_3x3, nn.MaxPool2d(3, 2)),
        *mixed,
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def _released_name() -> str:
    from cleanfid.inception_pytorch import FID_WEIGHTS_URL

    return str(FID_WEIGHTS_URL).rsplit("/", 1)[1]


def _released(key: str) -> weights.Weights:
    """The file of pytorch-fid's release, in torch's cache."""
    from cleanfid.inception_pytorch import FID_WEIGHTS_URL

    path = Path(torch.hub.get_dir()) / "checkpoints" / _released_name()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(FID_WEIGHTS_URL, str(path), progress=False)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise Refusal(
                "evaluate.features or evaluate.further holds inception, whose weights (FID InceptionV3 of "
                f"pytorch-fid) could not be downloaded from github.com ({getattr(error, 'reason', error)}); "
                f"go online once, set evaluate.weights.inception to a file {path.name}, or evaluate.features "
                "to lite0."
            ) from None
    return weights.Weights(key, path.name, path)


def dinov2(name: Further) -> nn.Module:
    """timm's DINOv2 for images of 224 on the device meta: its features are the class embedding, normed."""
    import timm

    with META:
        out: nn.Module = timm.create_model(_DINO[name], pretrained=False, num_classes=0, img_size=SIDE[name])
    return out


def resampled(positions: Tensor, side: int) -> Tensor:
    """DINOv2's embeddings of positions (1, 1 + M M, d) for side x side patches, as its own code has them.

    Bicubic without antialias, by the factor (side + 0.1) / M; timm's would antialias. The first, of no
    place, stays. Positions of another form come back as they are.
    """
    if positions.ndim != 3 or (cells := round((positions.shape[1] - 1) ** 0.5)) == side or cells < 1:
        return positions
    if cells * cells + 1 != positions.shape[1]:
        return positions
    grid = positions[:, 1:].float().reshape(1, cells, cells, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, scale_factor=(side + _OFFSET) / cells, mode="bicubic")
    return torch.cat([positions[:, :1].float(), grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def clip_tower() -> nn.Module:
    """open_clip's image tower of ViT-L/14@336 on the device meta, with the activation of OpenAI's weights."""
    import open_clip

    with weights.quiet(), META:
        model = open_clip.create_model(_CLIP, pretrained=None, force_quick_gelu=True, device="meta")
    tower: nn.Module = model.visual
    return tower

"""The fixed networks that measure images and captions, counted on `meta`."""

from typing import Any

import torch
from torch import Tensor, nn

from alchemist.core import weights
from alchemist.core.settings.evaluation import LIT, Further
from alchemist.measures import published
from alchemist.models import text_outline
from alchemist.models.outline import META, Fixed, fixed

INCEPTION_SIDE = 299
SCORER_PIECES = 77  # of a caption, as the scorer cuts them
LITE0 = "tf_efficientnet_lite0"


def features(name: Further, size: int) -> Fixed:
    """A feature network at the size of image that it sees; `size`: that of lite0."""
    if name == "lite0":
        return lite0(size)
    if name in ("inception", "inception_clean"):
        body: Any = published.inception()
        body.fc = nn.Identity()  # the features are what it would read
        return _of_images(body, INCEPTION_SIDE)
    network = published.clip_tower() if name == "cmmd" else published.dinov2(name)
    return _of_images(network, published.SIDE[name])


def lite0(size: int) -> Fixed:
    """EfficientNet-Lite0 without its classes."""
    import timm

    with META:
        return _of_images(timm.create_model(LITE0, pretrained=False, num_classes=0), size)


def scorer(clip: str, size: int) -> tuple[Fixed, Fixed]:
    """The towers of images and of captions of `evaluate.clip`; `size`: pixels that lit sees."""
    if clip == LIT:
        return lite0(size), text_outline.minilm(SCORER_PIECES)
    import open_clip

    with weights.quiet(), META:
        model: Any = open_clip.create_model(clip.partition("/")[0], pretrained=None, device="meta").eval()
    side = model.visual.image_size
    images = _of_images(model.visual, side[0] if isinstance(side, tuple) else side)

    def run(captions: int) -> Tensor:
        pieces = torch.zeros(captions, model.context_length, dtype=torch.int64, device=META)
        out: Tensor = model.encode_text(pieces)
        return out

    seen = {id(p) for p in model.visual.parameters()}
    words = nn.ParameterList([p for p in model.parameters() if id(p) not in seen])
    return images, fixed(words, run)


def _of_images(network: nn.Module, side: int) -> Fixed:
    def run(images: int) -> Tensor:
        out: Tensor = network(torch.empty(images, 3, side, side, device=META))
        return out

    return fixed(network.eval(), run)

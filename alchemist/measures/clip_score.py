"""CLIP-Score: how well each image and its own caption agree, under a scorer of `alchemist.measures.scorers`.

That of the LiT scorer is 100 x cosine (`clip_lit`), that of a published model the raw cosine, as in the paper
(`clip_vit_l_14_openai`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from alchemist.core import devices, stateless
from alchemist.core.refusal import Refusal

OTHERS = 100  # pairs whose captions stand beside an image's own


@dataclass
class Scorer:
    """A contrastive model with the resizing and the splitter into word pieces that belong to it."""

    model: Any  # open_clip's, in eval mode
    preprocess: Callable[[Image.Image], Tensor]
    pieces: Callable[[list[str]], Tensor] | None  # captions to their word pieces; None: it was loaded without
    lit: bool
    device: torch.device
    digest: str = ""  # of the file of published weights, where a person names one
    embedded: dict[str, Tensor] = field(default_factory=dict)  # captions seen, normalised

    @property
    def scale(self) -> float:
        """What the cosine is multiplied by: 100 for LiT, 1 for a published model."""
        return 100.0 if self.lit else 1.0

    def precision(self) -> Any:
        """Of the image trunk: bf16, where it is fast, for LiT; float32 for published models."""
        return devices.autocast("auto" if self.lit else "fp32", self.device)


def score(scorer: Scorer, images: NDArray[np.uint8], captions: list[str], batch: int) -> NDArray[np.float64]:
    """Cosine of each image (n, R, R, 3) and its own caption, (n,), times 100 for LiT.

    No value depends on the batch or on its neighbours. Each caption is embedded once.
    """
    if len(images) != len(captions):
        raise Refusal(f"{len(images)} images and {len(captions)} captions cannot be paired.")
    pictures = embed_images(scorer, images, batch)
    words = embed_captions(scorer, captions, batch)
    cosines = (pictures.double() * words.double()).sum(dim=1)
    return scorer.scale * devices.host(cosines)


@torch.no_grad()
def embed_images(scorer: Scorer, images: NDArray[np.uint8], batch: int) -> Tensor:
    """Normalised embeddings (n, d) of images (n, R, R, 3)."""
    return of_images(scorer, images, batch, lambda x: F.normalize(_projected(scorer, x).float(), dim=-1))


@torch.no_grad()
def embed_captions(scorer: Scorer, captions: list[str], batch: int) -> Tensor:
    """Normalised embeddings (n, d) of captions; kept in the scorer for the next call."""
    new = sorted(set(captions) - scorer.embedded.keys())
    vectors = of_captions(scorer, new, batch, lambda x: F.normalize(_encoded(scorer, x).float(), dim=-1))
    scorer.embedded.update(zip(new, vectors, strict=True))
    return torch.stack([scorer.embedded[caption] for caption in captions])


def remember(scorer: Scorer, captions: list[str], vectors: NDArray[np.float32]) -> None:
    """Takes over embeddings of captions that `embed_captions` made elsewhere, as for the cells before this.

    They take longer than all other figures of a cell. Raises Refusal where there is not one a caption.
    """
    if len(captions) != len(vectors):
        raise Refusal(
            f"{len(vectors)} embeddings are no embeddings of {len(captions)} captions; run dvc repro."
        )
    scorer.embedded.update(zip(captions, torch.from_numpy(vectors), strict=True))


def of_images(
    scorer: Scorer, images: NDArray[np.uint8], batch: int, by: Callable[[Tensor], Tensor]
) -> Tensor:
    """What `by` makes of images (n, R, R, 3), resized and normalised: (n, d) on the host."""
    rows = []
    for start in range(0, len(images), batch):
        pixels = [scorer.preprocess(Image.fromarray(image)) for image in images[start : start + batch]]
        stacked = torch.stack(pixels).to(scorer.device, memory_format=torch.channels_last)
        rows.append(by(stacked).float().cpu())
    return torch.cat(rows)


def trunk(scorer: Scorer, pixels: Tensor) -> Tensor:
    """LiT's image features, in bf16 where it is fast: images are convolved one by one."""
    with scorer.precision():
        out: Tensor = scorer.model.visual.trunk(pixels)
    return out.float()


def _projected(scorer: Scorer, pixels: Tensor) -> Tensor:
    """Image embeddings; LiT's projection is float32 and image by image: products depend on the batch."""
    if not scorer.lit:
        whole: Tensor = scorer.model.encode_image(pixels)
        return whole
    return torch.cat([scorer.model.visual.head(one) for one in trunk(scorer, pixels).split(1)])


def _encoded(scorer: Scorer, pieces: Tensor) -> Tensor:
    out: Tensor = scorer.model.text(pieces) if scorer.lit else scorer.model.encode_text(pieces)
    return out


def of_captions(scorer: Scorer, captions: list[str], batch: int, by: Callable[[Tensor], Tensor]) -> Tensor:
    """What `by` makes of the word pieces of captions: (n, d) on the host.

    Captions of one length go together: no padding, hence no value that depends on neighbours. In float32:
    bfloat16 products of a text encoder depend on how many captions share the batch, by up to .07 points of
    CLIP-Score on a CPU with AMX.
    """
    if not captions:
        return torch.empty(0)
    assert scorer.pieces is not None, "captions that are not remembered"
    pieces = scorer.pieces(captions)
    lengths = (pieces != 0).sum(dim=1) if scorer.lit else torch.full((len(pieces),), pieces.shape[1])
    out: dict[int, Tensor] = {}
    for length in sorted(set(lengths.tolist())):
        for chosen in (lengths == length).nonzero().flatten().split(batch):
            rows = by(pieces[chosen, :length].to(scorer.device)).float().cpu()
            out.update(zip(chosen.tolist(), rows, strict=True))
    return torch.stack([out[i] for i in range(len(captions))])


@dataclass(frozen=True)
class Examination:
    """What a scorer says of n held-out pairs."""

    means: dict[str, float]  # mean scores of pairs, and of what is no pair
    auc: float  # how often an image is nearer to its own caption than to another's; .5 by guessing
    auc_se: float  # standard error over images

    @property
    def sure(self) -> float:
        """What `auc` is at least, but for a chance of one in forty."""
        return self.auc - 2 * self.auc_se


def examine(
    scorer: Scorer, batches: Iterable[NDArray[np.uint8]], captions: list[str], seed: int, batch: int
) -> Examination:
    """Mean scores of pairs, of other pairs' captions, and of blurred, noise and white images; and the AUC.

    Images come in batches (B, R, R, 3); the captions are of all of them.
    """
    # All at once: whom a caption goes with depends on no batch of images.
    words = embed_captions(scorer, captions, batch)
    turn = captions[1:] + captions[:1]
    noise = stateless.generator("scorer noise", seed)
    scores: dict[str, list[NDArray[np.float64]]] = {}
    start, pictures = 0, []
    for images in batches:
        pictures.append(embed_images(scorer, images, batch))
        beside = slice(start, start := start + len(images))
        cases = {
            "real": (images, captions),
            "shuffled": (images, turn),
            "blurred": (np.stack([_blurred(image) for image in images]), captions),
            "noise": (noise.integers(0, 256, images.shape, dtype=np.uint8), captions),
            "white": (np.full_like(images, 255), captions),
        }
        for name, (shown, told) in cases.items():
            scores.setdefault(name, []).append(score(scorer, shown, told[beside], batch))
    means = {name: float(np.concatenate(parts).mean()) for name, parts in scores.items()}
    return Examination(means, *told_apart(torch.cat(pictures), words, captions))


def told_apart(pictures: Tensor, words: Tensor, captions: list[str]) -> tuple[float, float]:
    """How often images (n, d) are nearer to their own captions (n, d) than to others, and the standard error.

    Beside the captions of the next `OTHERS` pairs; equal texts are left out, equal cosines count one half.
    The share is first taken for each image. Guesses give .5, and so do pairs of one caption.
    """
    pictures, words = pictures.double(), words.double()
    own = (pictures * words).sum(dim=1)
    number = {caption: i for i, caption in enumerate(captions)}
    text = torch.tensor([number[caption] for caption in captions])
    wins, beside = torch.zeros(len(own)).double(), torch.zeros(len(own)).double()
    for step in range(1, min(len(captions), OTHERS + 1)):
        theirs = (pictures * words.roll(-step, 0)).sum(dim=1)
        other = text != text.roll(-step)
        wins += torch.where(other, (own > theirs).double() + 0.5 * (own == theirs).double(), 0.0)
        beside += other
    shares = devices.host((wins / beside)[beside > 0])
    if not len(shares):
        return 0.5, 0.0
    return float(shares.mean()), float(shares.std(ddof=1) / len(shares) ** 0.5) if len(shares) > 1 else 0.5


def _blurred(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(image.shape[1] / 12)))

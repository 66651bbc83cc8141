"""The CLIP-Score model and the features of the evaluation images, once for all families."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices, files, progress
from alchemist.core.refusal import Refusal
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import LIT, EvaluateSettings, ScorerSettings
from alchemist.core.settings.given import block, section
from alchemist.measures import clip_score, features, references, scorer_split, scorers
from alchemist.measures.figures import Images
from alchemist.measures.figures import measured as measured_by
from alchemist.pools import store
from stages import stage


def run(
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and FLOPs to")],
) -> dict[str, float]:
    """Trains the LiT scorer (or fetches the published one) and takes the features of the evaluation split."""
    evaluate = block(EvaluateSettings, f"scales.{scale}.evaluate")
    settings = block(ScorerSettings, f"scales.{scale}.scorer")
    device = devices.chosen(device_setting(section("device")))
    store.check(pool)
    measured = store.rows(pool, references.SPLITS, [*references.COLUMNS, *store.PLACE])
    print(f"scorer: {evaluate.clip}, and {evaluate.features} features of {len(measured):,} images of {pool}")
    # What is too small for what is asked is told here.
    references.sides(measured, evaluate, f"scales.{scale}.evaluate")
    if evaluate.clip == LIT and store.rows(pool, ("scorer",), ["id"]).empty:
        raise Refusal(
            f"scales.{scale}.evaluate.clip is {LIT}, which is fitted on the split scorer, and {pool} has no "
            "pair in it (splits.scorer is 0); set it to a share or {pool: NAME}, or take a published model."
        )
    # All that is published is fetched here, so that no cell has to, and what is not here ends it at once.
    networks = features.extractors(evaluate, device)
    digests: dict[str, str] = {by.name: by.digest for by in networks if by.digest}
    if evaluate.clip != LIT:
        digests["clip"] = scorers.load_published(evaluate.clip, device, evaluate.weights.clip).digest
    card: dict[str, object] = {
        "evaluate": evaluate.model_dump(include={"clip", "features", "feature_size"}),
        "measured": len(measured),
    }

    def images(rows: pd.DataFrame, size: int, desc: str) -> Iterator[Images]:
        for at in progress.bar(range(0, len(rows), size), unit="batch", desc=desc):
            yield store.images(pool, rows.iloc[at : at + size])

    if digests:
        card["weights"] = digests  # by which what is generated has to be measured too
    with FlopCounterMode(display=False) as counter, files.whole_folder(out) as draft:
        if evaluate.clip == LIT:
            pairs = store.rows(pool, ("scorer",), ["caption", *scorer_split.COLUMNS, *store.PLACE])
            fitted, examined = scorer_split.divided(pairs, settings, f"scales.{scale}.scorer")
            train, rest = pairs[fitted], pairs[examined]
            order = store.forward(train)
            passing = images(train.iloc[order], scorers.AT_ONCE, "scorer")
            scorer = scorers.fit_lit(passing, list(train["caption"]), settings, device, order)
            beside = images(rest, evaluate.batch, "held out")
            words = list(rest["caption"])
            found = clip_score.examine(scorer, beside, words, settings.seed, evaluate.batch)
            scorers.save_lit(scorer, draft)
            card |= {
                "scorer": "LiT: EfficientNet-Lite0 (ImageNet, locked) and all-MiniLM-L6-v2 (locked)",
                "settings": settings.model_dump(),
                "pairs": {"trained": len(train), "held_out": len(rest)},
                "figures": {
                    "unit": "100 x cosine, mean over the held-out tenth of the split scorer",
                    **found.means,
                },
                "tells": {"auc": found.auc, "standard_error": found.auc_se, "least": settings.tells},
            }
            told = ", ".join(f"{name} {value:.1f}" for name, value in found.means.items())
            print(f"{evaluate.clip_name} on {len(rest):,} held-out pairs: {told}")
            if found.sure < settings.tells:
                card["silent"] = silent(found)
                print(card["silent"])
        else:
            card["scorer"] = f"open_clip {evaluate.clip}"
        order = store.forward(measured)
        taken = measured_by(
            images(measured.iloc[order], evaluate.batch, "features"), networks, evaluate.batch
        )
        features.write(draft, "features", taken.part(np.argsort(order)).features)
        files.write_json(draft / "card.json", card)
        files.write_manifest(draft)
    print(f"wrote {out}: features of {len(measured):,} images ({evaluate.features}), scorer {evaluate.clip}")
    return {"flops": float(counter.get_total_flops()), "peak_bytes": devices.peak_memory(device)}


def silent(found: clip_score.Examination) -> str:
    """What to say of a scorer that cannot tell captions apart."""
    means = found.means
    return (
        f"The scorer cannot tell right captions from shuffled ones ({means['real']:.0f} against "
        f"{means['shuffled']:.0f}; an image is nearer to its own in {100 * found.auc:.0f} of 100 cases, "
        f"with an error of {100 * found.auc_se:.0f}): CLIP-Score says nothing here."
    )


if __name__ == "__main__":
    stage(run)

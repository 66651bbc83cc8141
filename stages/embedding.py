"""Ratings of every pair of the pool by embeddings of pretrained networks: CLIP score, SemDeDup, aesthetic."""

from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from alchemist.core import devices, files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.rater import EmbeddingRater
from alchemist.pools import store
from alchemist.raters import bill
from alchemist.raters.embedding import Embedding
from alchemist.raters.table import KINDS, LISTS, rater_settings
from stages import stage


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    scorer: Annotated[Path, typer.Option(help="folder that stage scorer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write what was rated into")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the rating took to")],
) -> dict[str, Any]:
    """Rates the usable pairs of the pool, lent ones too, by the networks that measure the generators."""
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    if not isinstance(settings, EmbeddingRater):
        legal = ", ".join(name for name, place in LISTS.items() if place == EmbeddingRater.named_in)
        raise Refusal(
            f"raters.{rater}.kind is {settings.kind!r}; legal values in grid.embeddings are {legal}."
        )
    evaluate = block(EvaluateSettings, f"scales.{scale}.evaluate")
    device = devices.chosen(device_setting(section("device")))
    store.check(pool)
    rows = store.rated(store.read_index(pool))
    with (
        tqdm(total=len(rows), unit="img", desc=rater, mininterval=1) as bar,
        files.whole_folder(log_out) as drafts,
    ):
        embedding = Embedding(
            rater, pool, rows, scorer, evaluate, device, drafts, bar.update, devices.clock(device)
        )
        measure = KINDS[settings.kind].rate(embedding, settings)
        ids, lent = rows["id"].to_numpy(), rows["lent"].to_numpy()
        bill.write_table(out, ids, settings.direction * measure, lent)
        spent = bill.fixed_bill(rater, settings.kind, len(rows), embedding.flops())
        bill.write_facts(drafts, spent)
    print(f"wrote {out} and {log_out}")
    return {"score_seconds": embedding.seconds, "peak_bytes": devices.peak_memory(device)}


if __name__ == "__main__":
    stage(run)

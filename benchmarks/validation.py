"""How many meta-validation pairs a rating needs: agreement of ratings by parts of the split with that by all.

    python -m benchmarks.validation [--pairs 12,25,50,100,200] [--seeds 0,1] [--rater alchemist] [--images N]

Reads data/params.json and data/encoded/FAMILY of a pool that was encoded, and trains one rating a part and
seed at the scale in force. The parts are the first pairs by a hash of their ids, so that each holds the
smaller ones. A line a part: how often a pair is seen; Spearman's correlation over the split pool with the
rating by the whole split, of the same seed and of another one; that between the part's own seeds; and at the
end of the run the proxy's losses, of validation and of the pool.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.scratch import Scratch
from alchemist.core.settings import parse
from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.given import section
from alchemist.core.settings.model import model_settings
from alchemist.models import family
from alchemist.models.encoded import CODEC, Encoded, ValidationRows
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater
from alchemist.raters.run import Run
from alchemist.raters.table import KINDS, rater_settings

Floats = NDArray[np.float64]
LAST = 20  # rows of a log, of ten steps each, whose losses are told


def rated(
    data: Encoded, validation: ValidationRows, rater: str, seed: int, images: int | None
) -> tuple[Floats, float, float]:
    """Ratings of the split pool, and the proxy's last losses of validation and of the pool."""
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    assert isinstance(settings, MetaRater)
    scale, roles, device = section("scale"), section("roles"), torch.device("cpu")
    budget = parse(RateSettings, section(f"scales.{scale}.rate"), f"scales.{scale}.rate")
    budget = budget.model_copy(update={"images": images or budget.images})
    proxy, trunk = (
        model_settings(section(f"models.{roles[role]}"), f"models.{roles[role]}")
        for role in ("proxy", "rater")
    )
    chosen = family.load(proxy.family)
    codec = chosen.codec(data.folder / CODEC, device)
    with tempfile.TemporaryDirectory() as folder, Scratch(Path(folder), "0" * 16) as state:
        run = Run(
            lambda of: chosen.generator(proxy, codec, of), data, data.pool(), validation, data.pool(), seed,
            budget, state, lambda n, words: None, lambda n: None,
            name=rater, ids=[], network=lambda of: Rater(chosen.trunk(trunk, codec, of), of), device=device,
            elapsed=lambda: 0.0, assets=Path("assets/raters"), drafts=Path(folder),
        )  # fmt: skip
        found = KINDS[settings.kind].rate(run, settings)
    last = pd.DataFrame(found.log)[["validation_loss", "train_loss"]].tail(LAST).mean()
    return found.rating, float(last["validation_loss"]), float(last["train_loss"])


def agreement(one: Floats, other: Floats) -> float:
    """Spearman's correlation of two ratings of the same pairs."""
    return float(pd.Series(one).corr(pd.Series(other), method="spearman"))


def main() -> None:
    """Prints one line a part of the split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", default="200,100,50,25,12")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--rater", default="alchemist")
    parser.add_argument("--images", type=int, help="of the pool, where not the scale's")
    asked = parser.parse_args()
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    family_name = section(f"models.{section('roles.proxy')}.family")
    data = Encoded(Path("data/encoded") / family_name)
    numbers = data.validation().numbers
    order = numbers[np.argsort(stateless.id_positions(data.rows["id"].iloc[numbers]))]
    whole: dict[int, Floats] = {}
    for count in (len(order), *(int(one) for one in asked.pairs.split(","))):
        part = ValidationRows(np.sort(order[:count]))
        found = {seed: rated(data, part, asked.rater, seed, asked.images) for seed in seeds}
        ratings = {seed: rating for seed, (rating, _, _) in found.items()}
        whole = whole or ratings
        same = [agreement(ratings[seed], whole[seed]) for seed in seeds]
        across = [agreement(ratings[a], whole[b]) for a, b in itertools.permutations(seeds, 2)]
        own = [agreement(ratings[a], ratings[b]) for a, b in itertools.combinations(seeds, 2)]
        losses = np.mean([values[1:] for values in found.values()], axis=0)
        images = asked.images or section(f"scales.{section('scale')}.rate.images")
        told = [np.mean(values) if values else np.nan for values in (same, across, own)]
        print(
            f"{count:>5} pairs, each seen {images / count:6.1f} times: with the whole split's {told[0]:.3f}, "
            f"another seed's {told[1]:.3f}, between seeds {told[2]:.3f}; "
            f"loss {losses[0]:.3f} on validation, {losses[1]:.3f} on the pool",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Explains one pair: python -m stages.explain ID, or the path of its image.

Its rating and rank by every rater of the grid, which subsets hold it and why, in the words of the page, its
copies, and the pairs whose pictures are nearest to its own.
"""

import difflib
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from alchemist.analysis.grid import Study
from alchemist.core import devices, files, progress, stateless, tables
from alchemist.core.one_line import one_line
from alchemist.core.refusal import Refusal
from alchemist.core.settings.copies import CopiesSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import section
from alchemist.core.settings.rater import table_name
from alchemist.measures import copies
from alchemist.pools import store
from alchemist.pools.image import decode
from alchemist.pools.index import is_rated
from alchemist.pools.row import pixel_hash
from alchemist.pruning.laws import is_of, law_of
from alchemist.pruning.sampler import Sampler
from alchemist.report import explanation
from alchemist.report.explanation import Arm
from stages import stage
from stages.studied import study_in_force

LOOKED = 20_000  # pairs among which neighbours are looked for, by a hash of their ids
TOLD = 20  # copies


def run(
    pair: Annotated[str, typer.Argument(help="id of a pair, or the path of its image")],
    seed: Annotated[int | None, typer.Option(help="of grid.seeds; the first where it is left out")] = None,
    nearest: Annotated[int, typer.Option(help="pairs with the nearest pictures to tell", min=0)] = 5,
    pool: Annotated[Path, typer.Option(help="folder of the prepared pool")] = Path("data/pool"),
    ratings: Annotated[Path, typer.Option(help="folder of the raters' tables")] = Path("data/ratings"),
    subsets: Annotated[Path, typer.Option(help="folder of the kept ids")] = Path("data/subsets"),
) -> None:
    """Tells what became of one pair, and why."""
    study = study_in_force()
    seed = study.grid.seeds[0] if seed is None else seed
    if seed not in study.grid.seeds:
        raise Refusal(
            f"--seed is {seed}; legal are those of grid.seeds: {', '.join(map(str, study.grid.seeds))}."
        )
    store.check(pool, tables_alone=True)
    index = store.read_index(pool)
    number = _number(index, pair, pool)
    row: Any = index.iloc[number]
    name = str(row.id)
    print(*explanation.about(row), sep="\n")
    if is_rated(index.iloc[[number]]).item():
        rated = {rater: _rating(ratings, study, rater, seed) for rater in study.raters}
        # Of lent pairs too: what is worth training on, where a pool lends pairs to its own splits.
        kept = {
            arm: _table(subsets / arm[0] / str(arm[1]) / f"ids-{seed}.parquet", ["id"])["id"]
            for arm in study.arms()
        }
        for arm, ids in kept.items():
            _check(study, seed, name, rated, arm, ids)
        print(f"ratings, seed {seed}", *explanation.ratings(study, name, rated), sep="\n")
        told = explanation.subsets(study, seed, name, rated, {arm: set(ids) for arm, ids in kept.items()})
        print(f"ids worth training on, seed {seed}, of all pairs that are rated", *told, sep="\n")
    else:
        print("  not rated, so in no subset")
    if row.status == "ok":
        same = index[(index["cluster"] == row.cluster) & (index["id"] != name) & (index["status"] == "ok")]
        if len(same):
            more = f" and {len(same) - TOLD} more" if len(same) > TOLD else ""
            print(f"copies of it: {', '.join(map(one_line, same['id'].iloc[:TOLD]))}{more}")
        if nearest:
            among, found = _nearest(pool, index, number, nearest)
            print(f"nearest of {among:,} pictures, by the cosine of the copy finder")
            print(*explanation.neighbours(found), sep="\n")


def _number(index: pd.DataFrame, pair: str, pool: Path) -> int:
    """The row of an id, or of the pair with the pixels of a file. Raises Refusal where there is none."""
    here = np.flatnonzero(index["id"] == pair)
    if not len(here) and Path(pair).is_file():
        card = files.read_json(pool / store.CARD)
        pixels, why = decode(Path(pair).read_bytes(), card["resolution"])
        if pixels is None:
            raise Refusal(f"{pair} cannot be read: {why}.")
        here = np.flatnonzero((index["pixels"] == store.word(pixel_hash(pixels))) & (index["status"] == "ok"))
        if not len(here):
            raise Refusal(f"{pair} has the pixels of no usable pair of {pool} at {card['resolution']} px.")
    if not len(here):
        near = difflib.get_close_matches(pair, index["id"].iloc[:LOOKED].tolist(), 3)
        like = f"; ids look like {', '.join(map(one_line, near or index['id'].iloc[:1]))}"
        raise Refusal(f"{one_line(pair)} is no id of {pool} and no file{like}.")
    return int(here[0])


def _rating(folder: Path, study: Study, rater: str, seed: int) -> "pd.Series[float]":
    path = folder / table_name(rater, study.raters[rater], seed)
    return _table(path, ["id", "rating"]).set_index("id")["rating"]


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise Refusal(f"{path} is missing; run dvc repro prune.")
    return tables.read(path, columns)


def _check(
    study: Study, seed: int, name: str, rated: dict[str, "pd.Series[float]"], arm: Arm, kept: "pd.Series[str]"
) -> None:
    """Raises Refusal where a subset is not what its law keeps by these ratings, as before prune runs anew."""
    law = study.selections[arm[0]]
    assert isinstance(law, Sampler)
    table = rated[law.rater].rename_axis("id").reset_index(name="rating")
    if name not in rated[law.rater] or not is_of(kept, table, arm[1], law_of(law, seed)):
        raise Refusal(
            f"the subset {arm[0]} at {arm[1]}, seed {seed}, is not of the ratings of {law.rater}; "
            "run dvc repro prune."
        )


def _nearest(pool: Path, index: pd.DataFrame, number: int, count: int) -> tuple[int, pd.DataFrame]:
    """Among how many, and the rows whose pictures are nearest to one's, with their cosines."""
    own = index.iloc[[number]]
    usable = index[(index["status"] == "ok") & (index["id"] != own["id"].item())]
    usable = usable.iloc[stateless.id_order(usable["id"])[:LOOKED]]
    rows = pd.concat([own, usable])
    device = devices.chosen(device_setting(section("device")))
    with (
        tempfile.TemporaryDirectory() as scratch,
        progress.bar(total=len(rows), desc="features") as bar,
    ):
        out = Path(scratch) / "vectors.npy"
        copies.embed(pool, rows, CopiesSettings(), device, out, bar.update)
        vectors = np.load(out).astype(np.float32)
    cosine = vectors[1:] @ vectors[0]
    best = np.argsort(-cosine, kind="stable")[:count]
    return len(usable), usable.iloc[best].assign(cosine=cosine[best])


if __name__ == "__main__":
    stage(run)

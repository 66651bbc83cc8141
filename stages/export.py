"""The ids that a selection keeps, for other tools: python -m stages.export, after dvc repro prune."""

import contextlib
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files, progress, tables
from alchemist.core.refusal import Refusal
from alchemist.core.settings.given import section
from alchemist.kept import lists, pictures
from alchemist.kept.outcome import HELD_OUT, KEPT, OUTCOMES, REJECTED, Selected, Verdicts
from alchemist.pools import store
from alchemist.pruning.laws import is_of, law_of
from alchemist.pruning.rated import checked
from alchemist.pruning.samplers import selection_settings
from stages import stage
from stages.prune import table_of

FACTS = "export.json"  # what was exported, beside it


class Format(StrEnum):
    """What is written."""

    PARQUET = "parquet"  # every pair with its rating, percentile, outcome and why
    DATACOMP = "datacomp"  # .npy of uids
    WEBDATASET = "webdataset"  # keys by tar, for webdataset.select
    INDICES = "indices"  # row numbers, for Dataset.select
    LOADER = "loader"  # the index of alchemist.kept.loader
    FOLDER = "folder"  # images and a metadata.jsonl
    TARS = "tars"  # new tars


LISTS = {
    Format.PARQUET: lists.parquet, Format.DATACOMP: lists.datacomp, Format.WEBDATASET: lists.keys,
    Format.INDICES: lists.indices, Format.LOADER: lists.loader,
}  # fmt: skip
NEW = {Format.FOLDER: pictures.folder, Format.TARS: pictures.tars}


def run(
    selection: Annotated[str, typer.Option(help="name of the block in `selections`")],
    out: Annotated[Path, typer.Option(help="folder to write, a new one")],
    ratio: Annotated[float, typer.Option(help="share that was kept")] = 0.5,
    seed: Annotated[int, typer.Option(help="of the rater and the sampler", min=0)] = 0,
    form: Annotated[Format, typer.Option("--format", help="what to write")] = Format.PARQUET,
    pool: Annotated[Path, typer.Option(help="folder of the prepared pool")] = Path("data/pool"),
    ratings: Annotated[Path, typer.Option(help="folder of the raters' tables")] = Path("data/ratings"),
    subsets: Annotated[Path, typer.Option(help="folder of the kept ids")] = Path("data/subsets"),
) -> None:
    """Writes the ids worth training on, of every rated pair, and tells where each pair of the pool went."""
    settings = selection_settings(section(f"selections.{selection}"), f"selections.{selection}")
    kept = tables.read(ids_of(subsets, selection, ratio, seed), ["id"])["id"]
    table = tables.read(table_of(ratings / settings.rater, seed), ["id", "rating"])
    store.check(pool, tables_alone=True)
    store.check_pixels(pool)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise Refusal(f"--out is {out}, which is there already; a new folder is legal, or an empty one.")
    law = law_of(settings, seed)
    if not is_of(kept, table, ratio, law):
        raise Refusal(
            f"the ids of {selection} at {ratio:g} of seed {seed} were not chosen by the ratings in "
            f"{ratings / settings.rater}; run dvc repro prune, or name the folder of those ratings."
        )
    selected = Selected(pool, Verdicts(checked(table, law.seed), kept), selection)
    del table
    counts, reasons = counted(selected)
    facts = {
        "selection": selection, "ratio": ratio, "seed": seed, "rater": settings.rater, "format": form.value,
        "pool": files.sha256(pool / files.MANIFEST), "pairs": counts, "why": reasons,
    }  # fmt: skip
    with files.whole_folder(out) as draft:
        if form in LISTS:
            LISTS[form](selected, draft)
        else:
            with progress.bar(total=counts[KEPT], desc=form.value) as bar:
                NEW[form](selected, draft, bar.update)
        files.write_json(draft / FACTS, facts)
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    why = ", ".join(f"{count:,} x {reason}" for reason, count in reasons.items())
    print(f"wrote {out}: {told} of {sum(counts.values()):,} pairs" + (f" ({why})" if why else ""))


def ids_of(subsets: Path, selection: str, ratio: float, seed: int) -> Path:
    """The table of the kept ids. Raises Refusal where there is none, with what there is."""
    found = {}
    for path in subsets.glob("*/*/ids-*.parquet"):
        with contextlib.suppress(ValueError):  # of a folder of a person's own
            found[path.parts[-3], float(path.parts[-2]), path.name] = path
    made = found.get((selection, ratio, f"ids-{seed}.parquet"))
    if made is None:
        others = sorted(f"{name} at {share:g} of seed {file[4:-8]}" for name, share, file in found)
        raise Refusal(
            f"{subsets} has no ids of {selection} at {ratio:g} of seed {seed}; dvc repro prune makes those "
            f"that grid names, and there are {'; '.join(others) or 'none'}."
        )
    return made


def counted(selected: Selected) -> tuple[dict[str, int], dict[str, int]]:
    """Pairs by outcome, and those that are rejected or held out by why. Raises Refusal as `rows` does."""
    outcomes, reasons = Counter[str](), Counter[str]()
    for rows in selected.rows():
        outcomes.update(rows["outcome"])
        reasons.update(rows["why"][rows["outcome"].isin([REJECTED, HELD_OUT])])
    return {name: outcomes[name] for name in OUTCOMES}, dict(sorted(reasons.items()))


if __name__ == "__main__":
    stage(run)

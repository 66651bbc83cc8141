"""The paper's own numbers, and which of our arms and models stand in the place of its own."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist.analysis.grid import FULL, Study
from alchemist.core.settings.rater import HeuristicRater
from alchemist.raters.kinds.meta import MetaRater

DATASET = "LAION-30M"  # the data of all but Table 3
MODEL = "STAR-0.3B"  # the model of all but Table 2, and its rater's proxy
PARAMETERS = 300e6  # of MODEL
RATER_MODEL = "STAR-40M"  # has the trunk of the paper's rater
LARGER_MODEL = "STAR-0.9B"
FAMILY = "star"  # of all those
OTHER_MODEL, OTHER_FAMILY = "FLUX-mini-3B-LoRA", "flux"  # trained on subsets by a rating of FAMILY

HEURISTICS = {
    "aesthetic": "Aesthetic",
    "clarity": "Clarity",
    "frequency": "Frequency",
    "edge_density": "Edge-density",
}
# Names of meta-trained selections, by the group gate of the rater and the sampler.
_META = {
    ("product", "shift_gsample"): ("Ours", "Ours-small", "Shift-Gsample+Group-MLP"),
    ("none", "shift_gsample"): ("Shift-Gsample",),
    ("product", "gsample"): ("Gsample",),
    ("product", "topk"): ("TopK",),
}


@functools.cache
def _published() -> pd.DataFrame:
    """Tables 1 to 4, for readers that leave it as it is."""
    return pd.read_csv(Path(__file__).with_name("paper_results.csv"))


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's tables, and the arm and model of ours that stand in its place."""

    table: str  # table1 to table4
    dataset: str
    model: str
    method: str
    ratio: float
    fid: float
    clip: float
    derived: bool  # not printed, but follows from a printed improvement
    selection: str | None  # None: the grid has no such cell
    our_model: str | None


def paper_rows(study: Study, models: Mapping[str, str | None]) -> list[PaperRow]:
    """Tables 1 to 4 of the paper. `models` gives, for Table 2, our model in the place of each of its models.

    The other tables are about one model; the first of the grid stands in its place. A heuristic has a row
    for each sampler that the grid has on it. Rows on other data sets have none of ours beside them: no
    pool of ours is such a set.
    """
    rows = []
    for row in _published().to_dict("records"):
        ours = models.get(row["model"]) if row["table"] == "table2" else _main(study)
        if row["dataset"] != DATASET or (row["table"] != "table2" and row["model"] != MODEL):
            ours = None
        arms = study.measured(ours) if ours is not None else []
        found = [n for n, r in arms if r == row["ratio"] and row["method"] in paper_methods(study, n)]
        # Of a heuristic the paper gives the best of several samplers without saying which: all of ours.
        several = row["method"] in HEURISTICS.values()
        quoted = float(row["fid"]), float(row["clip"]), row["source"] == "derived"
        where = row["table"], row["dataset"], row["model"], row["method"], float(row["ratio"])
        chosen: list[str | None] = [*(found if several else found[:1])]
        rows += [PaperRow(*where, *quoted, name, ours if name else None) for name in chosen or [None]]
    return rows


def paper_models(
    study: Study, roles: Mapping[str, str], parameters: Mapping[str, int]
) -> dict[str, str | None]:
    """Our model in the place of each model of Table 2, None where no cell trains one.

    Ours are the models that play the same roles, which `roles` of params.yaml names: the rater's trunk and
    its proxy; in the place of the paper's largest model stands the largest that is larger than both, and
    in that of its model of another family the first of that family.
    `parameters` are the numbers of parameters of every model that a cell trains.
    """
    played = {RATER_MODEL: roles["rater"], MODEL: roles["proxy"]}
    out: dict[str, str | None] = {name: m if m in study.models() else None for name, m in played.items()}
    known = [parameters[m] for m in played.values() if m in parameters]
    others = {m for m in study.models() if study.grid.family_of(m) != FAMILY} | set(played.values())
    larger = [m for m in study.models() if m not in others and parameters[m] > max(known, default=0)]
    other = study.grid.others.get(OTHER_FAMILY)
    return out | {
        LARGER_MODEL: max(larger, key=lambda m: parameters[m], default=None),
        OTHER_MODEL: next(iter(other.models), None) if other is not None else None,
    }


def _main(study: Study) -> str | None:
    """Our model in the place of `MODEL`, where the grid is of its family."""
    return study.grid.main if study.grid.family_of(study.grid.main) == FAMILY else None


def paper_numbers(study: Study, selection: str, ratio: float) -> dict[str, Any] | None:
    """The paper's row for the same method and ratio with `MODEL` on `DATASET`: fid, clip, source.

    None where the grid's main model is of another family.
    """
    if _main(study) is None:
        return None
    rows = _published()
    rows = rows[(rows["dataset"] == DATASET) & (rows["model"] == MODEL) & (rows["ratio"] == ratio)]
    rows = rows[rows["method"].isin(paper_methods(study, selection))]
    return None if rows.empty else dict(rows.iloc[0][["table", "fid", "clip", "source"]])


def paper_methods(study: Study, selection: str) -> tuple[str, ...]:
    """The names under which the paper has a selection; none for what it does not have.

    A sampler with values of one's own is none of the paper's: those are its defaults, as far as known. No
    more is a rating by a proxy of another family than its own.
    """
    if selection == FULL:
        return ("Full",)
    settings = study.selections[selection]
    rater = study.raters[settings.rater]
    if settings.sampler == "random":
        return ("Random",)
    if not settings.plain() or study.rated_by(selection) not in (None, FAMILY):
        return ()
    if isinstance(rater, HeuristicRater) or rater.kind == "aesthetic":
        # The paper gives the best of several samplers for each, and does not say which.
        return (HEURISTICS[rater.kind],) if rater.kind in HEURISTICS else ()
    if isinstance(rater, MetaRater) and rater.credit == "penalty" and rater.weights is None:
        return _META.get((rater.group, settings.sampler), ())
    return ()

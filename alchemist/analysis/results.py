"""The result tables of the report: the cells that the grid names, their scores, the paper's numbers.

Everything here is a function of files and settings; nothing looks at what else lies in a folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.settings.grid import GridSettings
from alchemist.settings.rater import HeuristicRater, MetaRater, RaterSettings
from alchemist.settings.selection import SelectionSettings

FULL = "full"
METRICS = ("fd", "fd_tokenized", "kid", "clip", "nll")
HIGHER = ("clip",)  # all other metrics are better when lower
_PAPER = Path(__file__).with_name("paper_results.csv")


@dataclass(frozen=True)
class Cell:
    """One trained and measured generator; the full-data run has ratio 1."""

    name: str
    selection: str
    ratio: float
    model: str
    seed: int


@dataclass(frozen=True)
class Study:
    """The grid, with the selections and raters that it names."""

    grid: GridSettings
    selections: dict[str, SelectionSettings]
    raters: dict[str, RaterSettings]

    def cells(self) -> list[Cell]:
        """All cells: the full data, the arms of the grid and its ablation, the models of the transfer."""
        grid, seeds = self.grid, self.grid.seeds
        out = [Cell(f"{FULL}-{m}-{s}", FULL, 1.0, m, s) for m in grid.models for s in seeds]
        runs = [(arm, m) for arm in grid.arms() for m in grid.models]
        runs += [
            ((n, r), m)
            for n in grid.transfer.selections
            for r in grid.transfer.ratios
            for m in grid.transfer.models
        ]
        return out + [Cell(f"{n}-{r}-{m}-{s}", n, r, m, s) for (n, r), m in runs for s in seeds]

    def arms(self) -> list[tuple[str, float]]:
        """Selections and ratios with a subset, ratios falling; those of the ablation last."""
        return self.grid.arms()

    def models(self) -> list[str]:
        """Every model that a cell trains; those of the transfer last."""
        return [*self.grid.models, *self.grid.transfer.models]

    def measured(self, model: str) -> list[tuple[str, float]]:
        """Arms of a model's cells, the full data first where it has some, ratios falling."""
        transfer = self.grid.transfer
        arms = self.arms() if model in self.grid.models else []
        arms += [(n, r) for n in transfer.selections for r in transfer.ratios if model in transfer.models]
        whole = [(FULL, 1.0)] if model in self.grid.models else []
        return [*whole, *sorted(arms, key=lambda arm: -arm[1])]

    def reads_truth(self, selection: str) -> bool:
        """Whether a selection sees planted truth, so that it is a bound and no method."""
        return selection != FULL and self.raters[self.selections[selection].rater].kind == "oracle"

    @property
    def baseline(self) -> str | None:
        """The first selection of the grid that draws at random."""
        for name in self.grid.selections:
            if self.selections[name].sampler == "random" or self._kind(name) == "random":
                return name
        return None

    @property
    def headline(self) -> str | None:
        """The first selection of the grid that is the paper's, or else as near to it as the grid has.

        That is Shift-Gsample on a meta-trained rating with Group MLP and credit penalty.
        """
        found = [name for name in self.grid.selections if self._kind(name) == "meta"]
        shifted = [name for name in found if self.selections[name].sampler == "shift_gsample"]
        ours = [name for name in shifted if "Ours" in paper_methods(self, name)]
        return next(iter(ours or shifted or found), None)

    def _kind(self, selection: str) -> str:
        return self.raters[self.selections[selection].rater].kind


def read_scores(folder: Path, cells: list[Cell]) -> dict[str, dict[str, Any]]:
    """The scores of every cell. Raises Refusal where one is missing or was measured otherwise."""
    scores: dict[str, dict[str, Any]] = {}
    for cell in cells:
        path = folder / f"{cell.name}.json"
        if not path.is_file():
            raise Refusal(f"{path} is missing, but the grid names the cell {cell.name}; run dvc repro.")
        scores[cell.name] = files.read_json(path)
        for key in ("names", "n", "reference_n", "floors"):
            first = scores[cells[0].name][key]
            if scores[cell.name][key] != first:
                raise Refusal(
                    f"the cells {cells[0].name} and {cell.name} differ in {key}, so their figures cannot be "
                    "compared; run dvc repro."
                )
    return scores


def columns(names: Mapping[str, str]) -> dict[str, str]:
    """Our short names of the figures and the full names that scores hold them under."""
    return {
        "fd": names["fd"],
        "fd_tokenized": f"{names['fd']}_tokenized",
        "kid": names["kid"],
        "kid_sd": f"{names['kid']}_sd",
        "clip": names["clip"],
        "nll": "nll",
    }


def tidy(study: Study, scores: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """One row a cell and point, under short names.

    A checkpoint that serves both comparisons, as the full data's last one does, gives two rows.
    """
    rows = []
    for cell in study.cells():
        score = scores[cell.name]
        chosen = study.selections.get(cell.selection)
        for at in score["checkpoints"]:
            for point in at["points"]:
                rows.append(
                    {
                        "cell": cell.name,
                        "selection": cell.selection,
                        "rater": chosen.rater if chosen else "",
                        "sampler": chosen.sampler if chosen else FULL,
                        "ratio": cell.ratio,
                        "model": cell.model,
                        "seed": cell.seed,
                        "subset_pairs": score["subset_pairs"],
                        "point": point,
                        "images": at["images"],
                        "epochs": at["epochs"],
                        **{short: at[full] for short, full in columns(score["names"]).items()},
                        "seconds": at["seconds"],
                    }
                )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Stat:
    """A mean over n seeds; `sd` (over n - 1) is None for one seed."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: "pd.Series[float]") -> "Stat":
        """Mean and spread of at least one value."""
        return cls(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Result:
    """One row of a result table: an arm at one point of the comparison."""

    selection: str
    ratio: float
    pairs: int
    images: int
    epochs: float
    figures: dict[str, Stat]
    to_random: dict[str, Stat]  # paired by seed, at equal size; empty where there is nothing to compare
    best: frozenset[str]  # metrics in which no other arm that is a method does better


def results(study: Study, table: pd.DataFrame, model: str, point: str) -> list[Result]:
    """Every arm of a model at a point, the full data first, then ratios falling."""
    here = table[(table["model"] == model) & (table["point"] == point)]
    by_arm = {
        arm: here[(here["selection"] == arm[0]) & (here["ratio"] == arm[1])].set_index("seed")
        for arm in study.measured(model)
    }
    figures = {arm: {m: Stat.of(rows[m]) for m in METRICS} for arm, rows in by_arm.items()}
    methods = [arm for arm in by_arm if not study.reads_truth(arm[0])]
    best = {}
    for metric in METRICS:
        means = [figures[arm][metric].mean for arm in methods]
        best[metric] = max(means) if metric in HIGHER else min(means)
    out = []
    for arm, rows in by_arm.items():
        name, ratio = arm
        to_random = {}
        beside = by_arm.get((study.baseline or FULL, ratio))  # the full data has no partner of its size
        if beside is not None and name not in (FULL, study.baseline):
            gaps = rows[list(METRICS)] - beside[list(METRICS)]
            to_random = {metric: Stat.of(gaps[metric]) for metric in METRICS}
        marked = [m for m in METRICS if arm in methods and figures[arm][m].mean == best[m]]
        first = rows.iloc[0]
        sizes = int(first["subset_pairs"]), int(first["images"]), float(first["epochs"])
        out.append(Result(name, ratio, *sizes, figures[arm], to_random, frozenset(marked)))
    return out


# ----------------------------------------------------------------------------- the paper's numbers

HEURISTICS = {
    "aesthetic": "Aesthetic",
    "clarity": "Clarity",
    "frequency": "Frequency",
    "edge_density": "Edge-density",
}


_META = {
    ("product", "shift_gsample"): ("Ours", "Ours-small", "Shift-Gsample+Group-MLP"),
    ("none", "shift_gsample"): ("Shift-Gsample",),
    ("product", "gsample"): ("Gsample",),
    ("product", "topk"): ("TopK",),
}


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

    The other tables are about one model, STAR-0.3B; the first of the grid stands in its place. A heuristic
    has a row for each sampler that the grid has on it. Rows on data sets other than LAION-30M have none of
    ours beside them: no pool of ours is such a set.
    """
    rows = []
    for row in pd.read_csv(_PAPER).to_dict("records"):
        ours = models.get(row["model"]) if row["table"] == "table2" else study.grid.models[0]
        if row["dataset"] != "LAION-30M" or (row["table"] != "table2" and row["model"] != "STAR-0.3B"):
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

    The paper's rater has the trunk of STAR-40M and its proxy is STAR-0.3B, so ours are the models that
    play those roles; STAR-0.9B is the largest model that is larger than both. `parameters` are those of
    every model that a cell trains.
    """
    played = {"STAR-40M": roles["rater"], "STAR-0.3B": roles["proxy"]}
    out: dict[str, str | None] = {name: m if m in study.models() else None for name, m in played.items()}
    known = [parameters[m] for m in played.values() if m in parameters]
    larger = [m for m in study.models() if m not in played.values() and parameters[m] > max(known, default=0)]
    return out | {"STAR-0.9B": max(larger, key=lambda m: parameters[m], default=None)}


def paper_numbers(study: Study, selection: str, ratio: float) -> dict[str, Any] | None:
    """The paper's row for the same method and ratio on LAION-30M with STAR-0.3B: fid, clip, source."""
    rows = pd.read_csv(_PAPER)
    rows = rows[(rows["dataset"] == "LAION-30M") & (rows["model"] == "STAR-0.3B") & (rows["ratio"] == ratio)]
    rows = rows[rows["method"].isin(paper_methods(study, selection))]
    return None if rows.empty else dict(rows.iloc[0][["table", "fid", "clip", "source"]])


def paper_methods(study: Study, selection: str) -> tuple[str, ...]:
    """The names under which the paper has a selection; none for what it does not have.

    A sampler with values of one's own is none of the paper's: those are its defaults, as far as known.
    """
    if selection == FULL:
        return ("Full",)
    settings = study.selections[selection]
    rater = study.raters[settings.rater]
    if settings.sampler == "random":
        return ("Random",)
    if any(value is not None for value in (settings.start, settings.drop, settings.mean, settings.sigma)):
        return ()
    if isinstance(rater, HeuristicRater) or rater.kind == "aesthetic":
        # The paper gives the best of several samplers for each, and does not say which.
        return (HEURISTICS[rater.kind],) if rater.kind in HEURISTICS else ()
    if isinstance(rater, MetaRater) and rater.credit == "penalty" and rater.weights is None:
        return _META.get((rater.group, settings.sampler), ())
    return ()


def read_beside(folder: Path, pool: str, scale: str, names: Mapping[str, str]) -> pd.DataFrame | None:
    """Tables of runs on other pools, under short names; None where there is none.

    `folder` holds tables as `tidy` gives them, with the columns pool and scale and figures under their full
    names. Rows of this pool or of another scale are left out; of a cell that two tables have, the one in the
    file whose name comes first counts. Raises Refusal where a table has not the same figures.
    """
    found = []
    for path in sorted(folder.glob("*.csv")):
        rows = pd.read_csv(path)
        wanted = ["pool", "scale", "selection", "ratio", "model", "seed", "point", *columns(names).values()]
        missing = [name for name in wanted if name not in rows]
        if missing:
            raise Refusal(
                f"{path} has no column {missing[0]}; it should be the table.csv of a run with the same "
                "figures as this one."
            )
        rows = rows[(rows["pool"] != pool) & (rows["scale"] == scale)]
        found.append(rows.rename(columns={full: short for short, full in columns(names).items()}))
    found = [rows for rows in found if len(rows)]
    if not found:
        return None
    cell = ["pool", "scale", "selection", "ratio", "model", "seed", "point", "images"]
    return pd.concat(found).drop_duplicates(cell, ignore_index=True)


def summary(study: Study, table: pd.DataFrame) -> dict[str, float]:
    """At most six figures for `dvc exp show`: FD and NLL at equal epochs, first model, largest ratio.

    `full` is the full data, `rnd` the random subset, `alc` Shift-Gsample on the meta-trained rating;
    `ratio` is the share that the last two keep. Means over seeds. The keys do not depend on the grid, so
    that experiments stand in one column.
    """
    ratio = max(study.grid.ratios)
    rows = {
        (r.selection, r.ratio): r.figures for r in results(study, table, study.grid.models[0], "equal_epochs")
    }
    arms = {"full": (FULL, 1.0)}
    for short, name in (("rnd", study.baseline), ("alc", study.headline)):
        if name is not None:
            arms[short] = (name, ratio)
    digits = {"fd": 1, "nll": 4}
    return {"ratio": ratio} | {
        f"{metric}_{short}": round(rows[arm][metric].mean, places)
        for metric, places in digits.items()
        for short, arm in arms.items()
    }

"""What the page is made of, and how it is read from the folders that earlier stages wrote."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist.analysis.agreement import Ratings, places
from alchemist.analysis.cost import Bills
from alchemist.analysis.grid import Study
from alchemist.analysis.metrics import measured, of_model
from alchemist.analysis.parts import Verdict
from alchemist.analysis.results import Result, results, summary
from alchemist.analysis.roles import Roles
from alchemist.analysis.statistics import Contrast
from alchemist.analysis.words import meaningless
from alchemist.core import files, tables
from alchemist.core.refusal import Refusal
from alchemist.core.settings.rater import table_name

Logs = dict[str, dict[int, dict[str, Any]]]  # rating.json and the rating's timing by rater and seed
Subsets = dict[tuple[str, float, int], "pd.Series[str]"]  # kept ids by selection, ratio and seed


@dataclass(frozen=True)
class Material:
    """Everything that the page is made of."""

    study: Study
    scores: dict[str, dict[str, Any]]  # by cell
    table: pd.DataFrame  # results.tidy
    by_reference: dict[str, pd.DataFrame]  # the same by every view, the deciding one first
    pool: Path
    index: pd.DataFrame  # the split that is pruned
    ratings: Ratings
    subsets: Subsets
    kinds: "pd.Series[str] | None"  # planted truth of the usable pairs, by id
    bills: Bills  # what the stages wrote down about their costs
    sheets: dict[str, dict[int, Path]]  # sample grids by cell and images seen; of all, or the first seed's
    pool_card: dict[str, Any]
    codec: dict[str, Any]  # the image codec of each family: its card and the hashes of its files
    params: dict[str, Any]  # what was in force
    contrasts: dict[str, list[Contrast]]  # by view, the deciding one first
    verdicts: list[Verdict]
    confidence: float  # of every interval
    elsewhere: pd.DataFrame | None  # tidy tables of other pools, with the columns pool and scale
    copies: dict[str, Any]  # what the stage copies found
    copied: pd.DataFrame  # rows of the index of the largest clusters outside the split that is pruned
    own: pd.DataFrame  # the index of the pool's own pairs, of all splits
    ids: Subsets  # worth training on, of all of these; empty where no pair is lent to another split
    labels: pd.DataFrame | None = None  # what people said of pairs, with the column id
    commit: str = ""  # of the code that made the page, in words

    @property
    def first(self) -> dict[str, Any]:
        """Scores of the first cell, for what all cells have in common, or those of the main model."""
        return self.scores[self.study.cells()[0].name]

    def first_of(self, family: str) -> dict[str, Any]:
        """Scores of a family's first cell, for what its cells have in common: floors and likelihood."""
        cells = self.study.cells()
        return self.scores[next(c.name for c in cells if self.study.grid.family_of(c.model) == family)]

    @property
    def meaningless(self) -> str:
        """The sentence that the scale's figures mean nothing; empty where they may be read."""
        scale: str = self.params["scale"]
        return "" if self.params[f"scales.{scale}"]["meaningful"] else meaningless(scale)

    @property
    def names(self) -> dict[str, str]:
        """Full names of the figures by short ones, and `silent` where CLIP-Score says nothing."""
        names: dict[str, str] = self.first["names"]
        return names | ({"silent": self.silent} if self.silent else {})

    @property
    def decided(self) -> list[Contrast]:
        """The named contrasts by the view that decides."""
        return next(iter(self.contrasts.values()))

    @property
    def primary(self) -> Contrast | None:
        """The one that was named as such before the run, by that view; None where none was, or could be."""
        return next((one for one in self.decided if one.primary), None)

    @property
    def silent(self) -> str:
        """The sentence that the scorer cannot tell captions apart; empty where it can."""
        return str(self.first.get("clip_silent", ""))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that some cells have."""
        return measured(self.table)

    def metrics_of(self, model: str) -> tuple[str, ...]:
        """Metrics that a model's cells have."""
        return measured(of_model(self.table, model))

    @cached_property
    def _results(self) -> dict[tuple[str, str], list[Result]]:
        return {}

    def results(self, model: str, point: str) -> list[Result]:
        """What `results.results` makes of the table, once for the many parts of the page that ask."""
        if (model, point) not in self._results:
            self._results[model, point] = results(self.study, self.table, model, point)
        return self._results[model, point]

    @cached_property
    def summary(self) -> dict[str, float]:
        """What `dvc exp show` has a column of each of."""
        return summary(self.study, self.results(self.study.grid.main, "equal_epochs"))

    @property
    def families(self) -> list[str]:
        """Families of the models that cells train, in the order of the cells."""
        return list(dict.fromkeys(self.study.grid.family_of(cell.model) for cell in self.study.cells()))

    def loss_unit(self, family: str) -> str:
        """The unit of a family's loss after a comma, as it ends a title; empty where it is no likelihood.

        Empty too for a family that only rates, whose cells would say it.
        """
        unit = self.first_of(family)["likelihood"] if family in self.families else None
        return "" if unit is None else f", {unit}"

    @property
    def roles(self) -> Roles:
        """Which selection plays which part."""
        return Roles.of(self.study)

    @property
    def parameters(self) -> dict[str, int]:
        """Number of parameters of every model that a cell trains."""
        return {cell.model: self.scores[cell.name]["parameters"] for cell in self.study.cells()}

    @property
    def pretrained(self) -> dict[str, dict[str, Any]]:
        """Of models that adapt a network: pairs and images of its training."""
        scores = {cell.model: self.scores[cell.name] for cell in self.study.cells()}
        return {model: score["pretrained"] for model, score in scores.items() if "pretrained" in score}


def read_ratings(folder: Path, study: Study, ids: "pd.Series[str]") -> Ratings:
    """Ratings of the split pool's usable pairs by rater and seed, in the order of `ids`.

    Those of pairs that a person's pool lent to other splits are left out: no cell trains on them.
    A rater without seeds has one table, which stands under every seed. Raises Refusal where a table is
    missing, damaged or does not hold each of these ids once.
    """
    found: dict[str, pd.Series[float]] = {}
    out: dict[str, dict[int, pd.Series[float]]] = {}
    for rater, settings in study.raters.items():
        for seed in study.grid.seeds:
            name = table_name(rater, settings, seed)
            if name not in found:
                found[name] = _rating(folder / name, rater, ids)
            out.setdefault(rater, {})[seed] = found[name]
    return out


def _rating(path: Path, rater: str, ids: "pd.Series[str]") -> "pd.Series[float]":
    if not path.is_file():
        raise Refusal(f"{path} is missing, but the grid uses the rater {rater}; run dvc repro.")
    table = tables.read(path, ["id", "rating", "lent"]).query("not lent")
    at = places(pd.Index(table["id"]), pd.Index(ids))
    if at is None:
        raise Refusal(
            f"{path} does not rate each of the {len(ids)} usable pairs of the pool once; run dvc repro."
        )
    return pd.Series(table["rating"].to_numpy()[at], index=pd.Index(ids), name="rating")


def read_logs(folder: Path, timings: Path, study: Study) -> Logs:
    """What every rater wrote of its work and what it took, by seed; a rater without seeds has one for all.

    The oracle works for nothing and has none. Raises Refusal where a file is missing or damaged.
    """
    logs: Logs = {}
    for rater, settings in study.raters.items():
        if settings.kind == "oracle":
            continue
        for seed in study.grid.seeds:
            name = Path(table_name(rater, settings, seed)).with_suffix("")
            told, took = folder / name / "rating.json", (timings / name).with_suffix(".json")
            for path in (told, took):
                if not path.is_file():
                    raise Refusal(f"{path} is missing, but the grid uses the rater {rater}; run dvc repro.")
            files.check_manifest(folder / name)
            logs.setdefault(rater, {})[seed] = files.read_json(told) | files.read_sealed(took)
    return logs


def read_subsets(folder: Path, study: Study, prefix: str = "") -> Subsets:
    """The kept ids of every arm and seed: what cells train on, or with the prefix `ids-` those of all pairs.

    Raises Refusal where a subset is missing or damaged.
    """
    kept = {}
    for name, ratio in study.arms():
        for seed in study.grid.seeds:
            path = folder / name / str(ratio) / f"{prefix}{seed}.parquet"
            if not path.is_file():
                raise Refusal(f"{path} is missing, but the grid names {name} at {ratio}; run dvc repro.")
            kept[name, ratio, seed] = tables.read(path, ["id"])["id"]
    return kept

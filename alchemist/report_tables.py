"""What the ratings and subsets of a grid are made of, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist import samplers, stateless
from alchemist.refusal import Refusal
from alchemist.report import FULL, Study


@dataclass(frozen=True)
class Material:
    """Everything that the page is made of."""

    study: Study
    scores: dict[str, dict[str, Any]]  # by cell
    table: pd.DataFrame  # report.tidy
    pool: Path
    index: pd.DataFrame  # the split that is pruned
    ratings: pd.DataFrame  # usable pairs x raters
    logs: dict[str, dict[str, Any]]  # rating.json of every rater that keeps one
    subsets: dict[tuple[str, float], "pd.Series[str]"]
    kinds: "pd.Series[str] | None"  # planted truth of the usable pairs, by id
    sheets: dict[str, bytes]  # sample grid of every cell, PNG
    pool_card: dict[str, Any]
    tokenizer: dict[str, Any]  # its card and the hashes of its files
    params: dict[str, Any]  # what was in force
    times: dict[str, float]  # seconds of the stages before rating


# ------------------------------------------------------------------------------------- ratings


def read_ratings(folder: Path, raters: list[str], ids: "pd.Series[str]") -> pd.DataFrame:
    """Ratings of the pool's usable pairs, one column a rater, in the order of `ids`.

    Raises Refusal where a table is missing or does not hold each of these ids once.
    """
    held = {}
    for rater in raters:
        path = folder / f"{rater}.parquet"
        if not path.is_file():
            raise Refusal(f"{path} is missing, but the grid uses the rater {rater}; run dvc repro.")
        table = pd.read_parquet(path)
        if len(table) != len(ids) or not pd.Index(table["id"]).is_unique or not table["id"].isin(ids).all():
            raise Refusal(
                f"{path} does not rate each of the {len(ids)} usable pairs of the pool once; run dvc repro."
            )
        held[rater] = table.set_index("id")["rating"].reindex(ids)
    return pd.DataFrame(held, index=pd.Index(ids))


def deciles(rating: "pd.Series[float]") -> "pd.Series[int]":
    """Decile of every pair, 0 for the best tenth; equal ratings in the order of the ids' hashes."""
    table = pd.DataFrame({"id": rating.index, "rating": rating.to_numpy()})
    best_first = samplers.percentile_ranks(table, seed=0).index
    return pd.Series(np.arange(len(rating)) * 10 // len(rating), index=best_first).reindex(rating.index)


def decile_shares(rating: "pd.Series[float]", kinds: "pd.Series[str]") -> pd.DataFrame:
    """Share of each planted kind in each decile, rows 0 to 9; a row sums to 1."""
    return pd.crosstab(deciles(rating).to_numpy(), kinds.reindex(rating.index).to_numpy(), normalize="index")


def percentiles(rating: "pd.Series[float]") -> "pd.Series[float]":
    """Percentile of every pair, near 0 for the best; equal ratings share their mean, so the mean is 50."""
    return (rating.rank(ascending=False, method="average") - 0.5) / len(rating) * 100


def auc(rating: "pd.Series[float]", positive: NDArray[np.bool_]) -> float:
    """Chance that a positive pair is rated above another, ties counted half; NaN where a side is empty."""
    ranks = rating.rank(method="average").to_numpy()
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def separation(ratings: pd.DataFrame, kinds: "pd.Series[str]") -> pd.DataFrame:
    """A row a rater: mean percentile of each kind, and `auc` of informative against the rest."""
    kinds = kinds.reindex(ratings.index)
    rows = {}
    for rater in ratings:
        means = percentiles(ratings[rater]).groupby(kinds).mean()
        rows[str(rater)] = {**means, "auc": auc(ratings[rater], (kinds == "informative").to_numpy())}
    return pd.DataFrame.from_dict(rows, orient="index")


def spearman(ratings: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of every two raters; NaN for a constant rating."""
    return ratings.rank(method="average").corr()


def examples(rating: "pd.Series[float]", each: int) -> list[list[str]]:
    """`each` ids of every decile, drawn by a hash of the id."""
    places = pd.Series(stateless.id_uniforms(rating.index, "report examples"), index=rating.index)
    order = places.sort_values(kind="stable").index
    grouped = deciles(rating).reindex(order)
    return [list(grouped.index[grouped == decile][:each]) for decile in range(10)]


# ------------------------------------------------------------------------------------- subsets


@dataclass(frozen=True)
class Account:
    """Where all pairs of the pool went in one arm: kept + pruned + rejected = total."""

    selection: str
    ratio: float
    kept: int
    pruned: int
    rejected: dict[str, int]  # by reason
    total: int


def read_subsets(folder: Path, study: Study) -> dict[tuple[str, float], "pd.Series[str]"]:
    """The kept ids of every arm. Raises Refusal where a subset is missing."""
    held = {}
    for name, ratio in study.arms():
        path = folder / name / f"{ratio}.parquet"
        if not path.is_file():
            raise Refusal(f"{path} is missing, but the grid names {name} at {ratio}; run dvc repro.")
        held[name, ratio] = pd.read_parquet(path)["id"]
    return held


def ledger(pool: pd.DataFrame, subsets: Mapping[tuple[str, float], "pd.Series[str]"]) -> list[Account]:
    """An account of every arm, the full data first. `pool` is the index of the split that is pruned.

    Raises Refusal where a subset holds an id twice or one that is no usable pair of the pool, or
    where an account does not add up.
    """
    usable = pool.loc[pool["status"] == "ok", "id"]
    reasons = pool.loc[pool["status"] == "rejected", "reason"].value_counts()
    rejected = {str(reason): int(count) for reason, count in sorted(reasons.items())}
    accounts = []
    for (name, ratio), ids in {(FULL, 1.0): usable, **subsets}.items():
        stray = ids[~ids.isin(usable)]
        if len(stray):
            raise Refusal(
                f"the subset {name} at {ratio} holds {stray.iloc[0]!r}, which is no usable pair of the pool; "
                "run dvc repro."
            )
        kept, pruned = len(ids), int((~usable.isin(ids)).sum())
        if kept + pruned + sum(rejected.values()) != len(pool):
            raise Refusal(
                f"the ledger of {name} at {ratio} does not add up: {kept} kept + {pruned} pruned + "
                f"{sum(rejected.values())} rejected are not {len(pool)} pairs; run dvc repro."
            )
        accounts.append(Account(name, ratio, kept, pruned, rejected, len(pool)))
    return accounts


def check_sizes(study: Study, accounts: list[Account], scores: Mapping[str, dict[str, Any]]) -> None:
    """Raises Refusal where a cell was trained on another number of pairs than its subset holds."""
    kept = {(account.selection, account.ratio): account.kept for account in accounts}
    for cell in study.cells():
        trained, here = scores[cell.name]["subset_pairs"], kept[cell.selection, cell.ratio]
        if trained != here:
            raise Refusal(
                f"the cell {cell.name} was trained on {trained} pairs, but its subset holds {here}; "
                "run dvc repro."
            )


def subset_shares(
    subsets: Mapping[tuple[str, float], "pd.Series[str]"], kinds: "pd.Series[str]"
) -> dict[tuple[str, float], dict[str, float]]:
    """Share of each planted kind in every subset, and in all of `kinds` as the full data."""
    made = {(FULL, 1.0): kinds, **{arm: kinds.reindex(ids) for arm, ids in subsets.items()}}
    return {
        arm: {str(k): float(v) for k, v in held.value_counts(normalize=True).items()}
        for arm, held in made.items()
    }


# ---------------------------------------------------------------------------------------- cost


@dataclass(frozen=True)
class Cost:
    """Training one arm until equal epochs, mean over seeds; seconds of its rater beside it."""

    selection: str
    ratio: float
    model: str
    seconds: float
    flops: float
    rating_seconds: float | None  # None for the full data and for a rating that nobody clocks
    share: float  # of the full data's seconds, without rating
    share_with_rating: float


def rating_seconds(facts: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds of training a rater and of scoring the pool with it.

    A run that was killed and resumed clocks only its last try as `seconds`; its log counts them all.
    """
    score = float(facts.get("score_seconds", 0.0))
    logged = float(facts["log"][-1].get("seconds", 0.0)) if facts["log"] else 0.0
    return max(float(facts["seconds"]) - score, logged), score


def costs(
    study: Study, scores: Mapping[str, dict[str, Any]], logs: Mapping[str, Mapping[str, Any]]
) -> list[Cost]:
    """The cost of every arm and model. Training time and FLOPs are proportional to the images seen."""
    rows = []
    for cell in study.cells():
        score = scores[cell.name]
        done = {p: at["images"] for at in score["checkpoints"] for p in at["points"]}
        part = done["equal_epochs"] / score["checkpoints"][-1]["images"]
        rows.append((cell, part * score["train_seconds"], part * score["train_flops"]))
    out = []
    for model in study.grid.models:
        for name, ratio in [(FULL, 1.0), *study.arms()]:
            runs = [r[1:] for r in rows if (r[0].model, r[0].selection, r[0].ratio) == (model, name, ratio)]
            seconds, flops = (float(mean) for mean in np.mean(runs, axis=0))
            if name == FULL:
                whole = seconds
            facts = logs.get(study.selections[name].rater) if name != FULL else None
            rating = sum(rating_seconds(facts)) if facts else None
            shares = seconds / whole, (seconds + (rating or 0.0)) / whole
            out.append(Cost(name, ratio, model, seconds, flops, rating, *shares))
    return out

"""What the ratings and subsets of a grid are made of, seed by seed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alchemist.analysis.agreement import Ratings
from alchemist.analysis.claims import Verdict
from alchemist.analysis.cost import Bills
from alchemist.analysis.results import FULL, Stat, Study
from alchemist.analysis.statistics import Contrast, Interval
from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.pruning import laws as samplers
from alchemist.settings.rater import table_name

Logs = dict[str, dict[int, dict[str, Any]]]  # rating.json by rater and seed
BySeed = Mapping[int, "pd.Series[float]"]
Subsets = dict[tuple[str, float, int], "pd.Series[str]"]  # kept ids by selection, ratio and seed


@dataclass(frozen=True)
class Material:
    """Everything that the page is made of."""

    study: Study
    scores: dict[str, dict[str, Any]]  # by cell
    table: pd.DataFrame  # report.tidy
    pool: Path
    index: pd.DataFrame  # the split that is pruned
    ratings: Ratings
    subsets: Subsets
    kinds: "pd.Series[str] | None"  # planted truth of the usable pairs, by id
    bills: Bills  # what the stages wrote down about their costs
    sheets: dict[str, bytes]  # sample grid of cells, PNG; of all, or of the first seed's
    pool_card: dict[str, Any]
    tokenizer: dict[str, Any]  # its card and the hashes of its files
    params: dict[str, Any]  # what was in force
    contrasts: list[Contrast]
    verdicts: list[Verdict]
    confidence: float  # of every interval
    elsewhere: pd.DataFrame | None  # tidy tables of other pools, with the columns pool and scale


# ------------------------------------------------------------------------------------- ratings


def read_ratings(folder: Path, study: Study, ids: "pd.Series[str]") -> Ratings:
    """Ratings of the pool's usable pairs by rater and seed, in the order of `ids`.

    A rater without seeds has one table, which stands under every seed. Raises Refusal where a table is
    missing or does not hold each of these ids once.
    """
    held: dict[str, pd.Series[float]] = {}
    out: dict[str, dict[int, pd.Series[float]]] = {}
    for rater, settings in study.raters.items():
        for seed in study.grid.seeds:
            name = table_name(rater, settings, seed)
            if name not in held:
                held[name] = _rating(folder / name, rater, ids)
            out.setdefault(rater, {})[seed] = held[name]
    return out


def _rating(path: Path, rater: str, ids: "pd.Series[str]") -> "pd.Series[float]":
    if not path.is_file():
        raise Refusal(f"{path} is missing, but the grid uses the rater {rater}; run dvc repro.")
    table = pd.read_parquet(path)
    if len(table) != len(ids) or not pd.Index(table["id"]).is_unique or not table["id"].isin(ids).all():
        raise Refusal(
            f"{path} does not rate each of the {len(ids)} usable pairs of the pool once; run dvc repro."
        )
    return table.set_index("id")["rating"].reindex(pd.Index(ids))


def read_logs(folder: Path, study: Study) -> Logs:
    """What every rater wrote of its work, by seed; a rater without seeds has one log for all.

    The oracle works for nothing and has none. Raises Refusal where a log is missing.
    """
    held: Logs = {}
    for rater, settings in study.raters.items():
        if settings.kind == "oracle":
            continue
        for seed in study.grid.seeds:
            path = folder / Path(table_name(rater, settings, seed)).with_suffix("") / "rating.json"
            if not path.is_file():
                raise Refusal(f"{path} is missing, but the grid uses the rater {rater}; run dvc repro.")
            held.setdefault(rater, {})[seed] = files.read_json(path)
    return held


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


def mean_decile_shares(by_seed: BySeed, kinds: "pd.Series[str]") -> pd.DataFrame:
    """`decile_shares` as a mean over seeds."""
    shares = [decile_shares(rating, kinds) for rating in by_seed.values()]
    return pd.concat(shares).groupby(level=0).mean()


def kind_percentiles(by_seed: BySeed, kinds: "pd.Series[str]") -> dict[str, Stat]:
    """Mean percentile of each planted kind, over seeds."""
    means = pd.DataFrame(
        {
            seed: percentiles(rating).groupby(kinds.reindex(rating.index)).mean()
            for seed, rating in by_seed.items()
        }
    )
    return {str(kind): Stat.of(row) for kind, row in means.iterrows()}


def loss_bands(by_seed: BySeed, losses: BySeed) -> pd.DataFrame:
    """Mean loss of each decile of a rating, rows 1 (best) to 10, a column a seed.

    `losses` are by seed and id, in nats a token.
    """
    means = {seed: losses[seed].groupby(deciles(rating) + 1).mean() for seed, rating in by_seed.items()}
    return pd.DataFrame(means)


def examples(rating: "pd.Series[float]", each: int) -> list[list[str]]:
    """`each` ids of every decile, drawn by a hash of the id."""
    places = pd.Series(stateless.id_uniforms(rating.index, "report examples"), index=rating.index)
    order = places.sort_values(kind="stable").index
    grouped = deciles(rating).reindex(order)
    return [list(grouped.index[grouped == decile][:each]) for decile in range(10)]


# ------------------------------------------------------------------------------------- subsets


@dataclass(frozen=True)
class Account:
    """Where all pairs of the pool went in one arm and seed: kept + pruned + rejected = total."""

    selection: str
    ratio: float
    seed: int | None  # None for the full data, which no seed draws
    kept: int
    pruned: int
    rejected: dict[str, int]  # by reason
    total: int


def read_subsets(folder: Path, study: Study) -> Subsets:
    """The kept ids of every arm and seed. Raises Refusal where a subset is missing."""
    held = {}
    for name, ratio in study.arms():
        for seed in study.grid.seeds:
            path = folder / name / str(ratio) / f"{seed}.parquet"
            if not path.is_file():
                raise Refusal(f"{path} is missing, but the grid names {name} at {ratio}; run dvc repro.")
            held[name, ratio, seed] = pd.read_parquet(path)["id"]
    return held


def ledger(pool: pd.DataFrame, subsets: Subsets) -> list[Account]:
    """An account of every arm and seed, the full data first. `pool` is the index of the split that is pruned.

    Raises Refusal where a subset holds an id twice or one that is no usable pair of the pool, or
    where an account does not add up.
    """
    usable = pool.loc[pool["status"] == "ok", "id"]
    reasons = pool.loc[pool["status"] == "rejected", "reason"].value_counts()
    rejected = {str(reason): int(count) for reason, count in sorted(reasons.items())}
    arms: list[tuple[str, float, int | None, pd.Series[str]]] = [(FULL, 1.0, None, usable)]
    arms += [(*arm, ids) for arm, ids in subsets.items()]
    accounts = []
    for name, ratio, seed, ids in arms:
        stray = ids[~ids.isin(usable)]
        if len(stray):
            raise Refusal(
                f"the subset {name} at {ratio}, seed {seed}, holds {stray.iloc[0]!r}, which is no usable "
                "pair of the pool; run dvc repro."
            )
        kept, pruned = len(ids), int((~usable.isin(ids)).sum())
        if kept + pruned + sum(rejected.values()) != len(pool):
            raise Refusal(
                f"the ledger of {name} at {ratio}, seed {seed}, does not add up: {kept} kept + {pruned} "
                f"pruned + {sum(rejected.values())} rejected are not {len(pool)} pairs; run dvc repro."
            )
        accounts.append(Account(name, ratio, seed, kept, pruned, rejected, len(pool)))
    return accounts


def merged(accounts: list[Account]) -> list[tuple[Account, list[int]]]:
    """Accounts of one arm that are alike but for the seed as one, with their seeds."""
    out: list[tuple[Account, list[int]]] = []
    for account in accounts:
        seeds = [] if account.seed is None else [account.seed]
        if out and replace(out[-1][0], seed=account.seed) == account:
            out[-1][1].extend(seeds)
        else:
            out.append((account, seeds))
    return out


def check_sizes(study: Study, accounts: list[Account], scores: Mapping[str, dict[str, Any]]) -> None:
    """Raises Refusal where a cell was trained on another number of pairs than its subset holds."""
    kept = {(account.selection, account.ratio, account.seed): account.kept for account in accounts}
    for cell in study.cells():
        trained = scores[cell.name]["subset_pairs"]
        here = kept[cell.selection, cell.ratio, None if cell.selection == FULL else cell.seed]
        if trained != here:
            raise Refusal(
                f"the cell {cell.name} was trained on {trained} pairs, but its subset holds {here}; "
                "run dvc repro."
            )


def subset_shares(subsets: Subsets, kinds: "pd.Series[str]") -> dict[tuple[str, float], dict[str, float]]:
    """Share of each planted kind in every subset, mean over seeds, and in all of `kinds` as the full data."""
    made = {(FULL, 1.0): [kinds.value_counts(normalize=True)]}
    for (name, ratio, _), ids in subsets.items():
        made.setdefault((name, ratio), []).append(kinds.reindex(ids).value_counts(normalize=True))
    means = {arm: pd.DataFrame(shares).fillna(0.0).mean() for arm, shares in made.items()}
    return {arm: {str(k): float(v) for k, v in held.items()} for arm, held in means.items()}


# ------------------------------------------------------------------------------------ statistics


def contrast_rows(contrasts: list[Contrast]) -> pd.DataFrame:
    """A row a contrast, the primary one first; no rows where none is asked for."""
    head = ["contrast", "primary", "arm", "against", "ratio", "model", "point", "metric"]
    rows = [
        {
            **dict(
                zip(
                    head,
                    (c.name, c.primary, c.arm, c.against, c.ratio, c.model, c.point, c.metric),
                    strict=True,
                )
            ),
            **_interval(c.interval),
            "p_holm": c.p_holm,
            "favours": c.favours or "",
        }
        for c in contrasts
    ]
    return pd.DataFrame(rows, columns=[*head, *INTERVAL, "p_holm", "favours"])


def verdict_rows(verdicts: list[Verdict]) -> pd.DataFrame:
    """A row a claim and part; a claim that was not tested has one row without an interval."""
    head = ["claim", "verdict", "sentence", "why"]
    parts = ["part", "decides", "part_verdict", "unit", "claimed"]
    rows: list[dict[str, Any]] = []
    for v in verdicts:
        said = {"claim": v.claim, "verdict": v.verdict, "sentence": v.sentence, "why": v.why}
        for p in v.parts:
            held = dict(zip(parts, (p.what, p.decides, p.verdict, p.unit, p.claimed), strict=True))
            rows.append({**said, **held, **_interval(p.interval)})
        if not v.parts:
            rows.append(said)
    return pd.DataFrame(rows, columns=[*head, *parts, *INTERVAL])


INTERVAL = ("n", "mean", "sd", "low", "high", "p_t", "p_flip")


def _interval(interval: Interval) -> dict[str, float]:
    return {name: getattr(interval, name) for name in INTERVAL}

"""Ratings, ids, weights and figures on other threads, in other folders, locales and batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alchemist.core import files
from alchemist.core.settings.budget import RateSettings
from torture.kills import differing
from torture.repo import Repo, copied, row

PROMISE = "same result anywhere"

STAGES = (
    "prepare", "copies", "codec@star", "encode@star", "scorer", "floors@star", "rate@alchemist-0",
    "rate@el2n-0", "embedding@clip_score", "heuristic@clarity", "prune@alchemist-0.5",
    "train@alchemist-0.5-xs-0", "evaluate@alchemist-0.5-xs-0",
)  # fmt: skip
RATERS = ("rate@alchemist-0", "rate@loss-0", "rate@el2n-0", "rate@reference_loss-0", "rate@best-0")
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
CASES = {
    "two threads": ("threads", {"OMP_NUM_THREADS": "2"}),
    "a folder with spaces and umlauts": ("Mein Ordner, groß", {}),
    "an ASCII locale, another time zone, other hash seeds": (
        "locale", {**ASCII, "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "77"},
    ),
}  # fmt: skip


def run(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """A row a case: every stage in turn, of what the ones before it left in that case."""
    return [*(_case(base, folder, name) for name in CASES), *_batches(base, folder)]


def _case(base: Repo, folder: Path, name: str) -> dict[str, Any]:
    place, environment = CASES[name]
    repo = copied(base, folder / place)
    others, faults = 0, []
    for stage in STAGES:
        before = base.bytes_of(stage)
        repo.remove(stage)
        done = repo.call(*repo.command(stage), **environment)
        if done.returncode:
            faults.append(f"{stage}: {done.stderr[-400:]}")
            break
        changed = differing(before, repo.bytes_of(stage))
        others += len(changed)
        faults += [f"{path} differs" for path in changed if not _near(base.folder / path, repo.folder / path)]
    figure = f"{len(STAGES)} stages, {others} files of other bytes" + "".join(
        f"; {one}" for one in faults[:3]
    )
    return row(PROMISE, name, figure, not faults)


def _batches(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """Ratings scored in other batches: within 1e-5 of their spread, and the same ranking."""
    repo = copied(base, folder / "batches")
    params = files.read_sealed(repo.folder / "data/params.json")
    size = RateSettings(**params["scales"]["tiny"]["rate"]).score_batch
    rows = []
    for score_batch in (7, 4 * size):
        params["scales"]["tiny"]["rate"]["score_batch"] = score_batch
        files.write_json(repo.folder / "data/params.json", files.sealed(params))
        for stage in RATERS:
            repo.remove(stage)
            done = repo.call(*repo.command(stage))
            table = next(path for path in repo.outs(stage) if path.suffix == ".parquet")
            holds = not done.returncode and _near(base.folder / table.relative_to(repo.folder), table)
            figure = "within 1e-5, the same ranking" if holds else f"differs; {done.stderr.strip()[-200:]}"
            case = f"{stage}, {score_batch} pairs at a time instead of {size}"
            rows.append(row(PROMISE, case, figure, holds))
    return rows


def _near(one: Path, other: Path) -> bool:
    """Whether ratings differ by 1e-5 of their spread at most, and rank alike; no other file may differ."""
    if one.suffix != ".parquet" or "ratings" not in one.parts or not other.is_file():
        return False
    first, second = (pd.read_parquet(path).set_index("id")["rating"] for path in (one, other))
    if not first.index.equals(second.index):
        return False
    a, b = first.to_numpy(), second.to_numpy()
    near = float(np.abs(a - b).max()) <= 1e-5 * float(np.ptp(a))
    return near and bool((np.argsort(a, kind="stable") == np.argsort(b, kind="stable")).all())

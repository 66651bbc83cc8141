"""Whether a sign of a rating goes with a worse result: what decides which signs warn.

    python -m benchmarks.signs DATA [DATA …]

DATA is the folder `data` of a finished run: its params.json, ratings, raters, subsets and scores. The
result of an arm and seed is its figure at equal images less that of the random subset of its size and seed,
so more is worse. Each sign parts arms and seeds in those on which it fires and those on which it does not.
Of several runs each counts where it has both parts, and stands at the middle of the two: pools differ in
how far any arm is behind, and the mean of all of a run's results goes with its larger part, which makes a
difference too small where runs differ in which part that is. It predicts where the t-interval of Welch of
the difference between both parts lies above zero in FD or in NLL, and above or around it in the other, and
where it fires on two arms at least: seeds of one arm share whatever else is wrong with it. Else it says
nothing yet. `EVIDENCE` in alchemist/raters/signs.py holds what was found.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from alchemist.analysis import results
from alchemist.analysis.advice import FIGURES, POINT
from alchemist.analysis.grid import Study
from alchemist.analysis.metrics import better, measured
from alchemist.analysis.roles import Roles
from alchemist.analysis.signs import of_copies, of_ratings
from alchemist.analysis.statistics import figures
from alchemist.core import files
from alchemist.core.settings import parse
from alchemist.core.settings.grid import GridSettings
from alchemist.core.settings.scale import scale_settings
from alchemist.core.settings.signs import SignSettings
from alchemist.pools import store
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.signs import LAWS
from alchemist.raters.table import rater_settings
from alchemist.report.material import read_ratings, read_subsets

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Result:
    """One arm and seed: how much worse than random it is, and which signs were asked and fired."""

    run: str
    arm: str
    worse: Mapping[str, float]  # by metric, positive where it is worse
    fires: Mapping[str, bool]  # by sign


def of_run(folder: Path) -> list[Result]:
    """The results of every rated arm of a run, for its main model."""
    params: dict[str, Any] = files.read_json(folder / "params.json")
    grid = parse(GridSettings, params["grid"], "grid")
    chosen = {n: selection_settings(params["selections"][n], n) for n in grid.chosen()}
    names = dict.fromkeys([*(selection.rater for selection in chosen.values()), *grid.rated()])
    study = Study(grid, chosen, {n: rater_settings(params["raters"][n], n) for n in names})
    scale = scale_settings(params["scales"][params["scale"]], "scale")
    index = store.read_index(folder / "pool")
    index = index[(index["split"] == "pool") & (index["status"] == "ok")]
    table = results.tidy(study, results.read_scores(folder / "scores", study))
    ratings = read_ratings(folder / "ratings", study, index["id"])
    subsets = read_subsets(folder / "subsets", study)
    clusters = index.set_index("id")["cluster"] if "cluster" in index else pd.Series(dtype="uint64")
    across = of_run_wide(study, ratings, clusters, subsets, scale.rate.signs)
    noted = {
        (rater, seed): {one["name"]: one["fires"] for one in files.read_json(path).get("signs", [])}
        for rater in study.raters
        for seed in grid.seeds
        for path in [folder / "raters" / rater / str(seed) / "rating.json"]
        if path.is_file()
    }
    random, out = Roles.of(study).random, []
    for arm, ratio in study.measured(grid.main):
        if arm not in chosen or arm == random or study.reads_truth(arm):
            continue
        gaps = {}
        for name in [n for n in FIGURES if n in measured(table)]:
            ours, theirs = (figures(table, a, ratio, grid.main, POINT, name) for a in (arm, random or ""))
            gaps[name] = -better(name) * (ours - theirs)
        rater = chosen[arm].rater
        for seed in grid.seeds:
            worse = {name: float(gap[seed]) for name, gap in gaps.items() if seed in gap}
            fires = {
                **across.get(rater, {}),
                **across.get(f"{arm} {ratio}", {}),
                **noted.get((rater, seed), {}),
            }
            if worse:
                out.append(Result(str(folder), f"{arm}-{ratio}", worse, fires))
    return out


def of_run_wide(
    study: Study, ratings: Any, clusters: "pd.Series[int]", subsets: Any, bounds: SignSettings
) -> dict[str, dict[str, bool]]:
    """Signs that several ratings give, by rater, and those of copies, by selection and ratio."""
    out: dict[str, dict[str, bool]] = {}
    seen = of_ratings(study, ratings, bounds)
    if len(clusters):
        seen += of_copies(clusters, subsets, bounds)
    for one in seen:
        of = one.of if one.ratio is None else f"{one.of} {one.ratio}"
        out.setdefault(of, {})[one.sign.name] = one.sign.fires
    return out


@dataclass(frozen=True)
class Finding:
    """What the results say of one sign."""

    sign: str
    arms: int  # on which it fires on some seed
    fired: int  # arms x seeds
    silent: int
    gaps: Mapping[str, tuple[float, float, float, float]]  # by metric: both means, the interval's ends

    @property
    def predicts(self) -> bool:
        """Whether firing goes with a worse result, in one figure at least and against none."""
        ends = [(low, high) for _, _, low, high in self.gaps.values()]
        worse, better_too = any(low > 0 for low, _ in ends), any(high < 0 for _, high in ends)
        return self.arms >= 2 and worse and not better_too


def find(found: Iterable[Result], sign: str) -> Finding:
    """A sign's finding over the arms and seeds of which it was asked."""
    asked = [one for one in found if sign in one.fires]
    fired = [one for one in asked if one.fires[sign]]
    silent = [one for one in asked if not one.fires[sign]]
    gaps = {}
    for metric in FIGURES:
        by_run: dict[str, tuple[list[float], list[float]]] = {}  # where it fires, and elsewhere
        for one in asked:
            if metric in one.worse:
                by_run.setdefault(one.run, ([], []))[not one.fires[sign]].append(one.worse[metric])
        whole = [parts for parts in by_run.values() if all(parts)]
        middles = [float(np.mean([np.mean(part) for part in parts])) for parts in whole]
        level = float(np.mean(middles)) if middles else 0.0
        sides = [
            [
                worse - middle + level
                for parts, middle in zip(whole, middles, strict=True)
                for worse in parts[side]
            ]
            for side in (0, 1)
        ]
        if min(map(len, sides)) >= 2:
            test = stats.ttest_ind(*sides, equal_var=False)
            ends = test.confidence_interval(CONFIDENCE)
            means = [float(np.mean(side)) for side in sides]
            gaps[metric] = (means[0], means[1], float(ends.low), float(ends.high))
    return Finding(sign, len({(one.run, one.arm) for one in fired}), len(fired), len(silent), gaps)


def told(finding: Finding) -> str:
    """A sign's line."""
    parts = [
        f"{metric} {fired:+.3f} where it fires, {silent:+.3f} elsewhere [{low:+.3f}, {high:+.3f}]"
        for metric, (fired, silent, low, high) in finding.gaps.items()
    ]
    verdict = "predicts" if finding.predicts else "says nothing yet"
    counts = f"fires on {finding.fired} of {finding.fired + finding.silent} ({finding.arms} arms)"
    return f"{finding.sign}: {verdict}; {'; '.join([counts, *parts])}"


def main() -> None:
    """Prints one line a sign: figures less those of random, positive where they are worse."""
    if not sys.argv[1:]:
        raise SystemExit(__doc__)
    found = [one for folder in sys.argv[1:] for one in of_run(Path(folder))]
    for sign in LAWS:
        print(told(find(found, sign)))


if __name__ == "__main__":
    main()

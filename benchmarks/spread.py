"""How far an arm's figures spread between seeds, on each pool, by what a seed draws anew.

    python -m benchmarks.spread STUDY [STUDY …] [--point equal_images]

Reads the kept parts of registered studies (reports/studies), by the reference that decides there. A seed of
an arm whose subset the index gives (everything, everything without copies) is a training alone, its start
and order; one of a random subset draws another subset beside, one of a rated subset another rating too. So
the difference of their variances is what each adds, as far as arms differ in nothing else: at equal epochs
a half trains for half as long, at equal images it repeats its pairs twice as often. `benchmarks.components`
tells them apart by a nested design, at the price of its trainings. Standard deviations are pooled over
arms, with their degrees of freedom and the range over arms; beside them the standard deviation of a
difference of two arms of one study, model and ratio (the middle of all pairs), and the correlation of two
arms by seed (the mean): at none, pairing by seed buys nothing.
"""

import argparse
from itertools import combinations

import numpy as np
import pandas as pd

from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import measured, metric
from alchemist.analysis.words import POINTS
from alchemist.params.registered import study_of
from stages.looks import read_parts
from stages.registration import registrations

ARM = ["study", "pool", "selection", "ratio", "model"]
DRAWS = {"training": "the training", "subset": "and a random subset", "rating": "and a rating"}


def drawn(selection: str, rater: str | float) -> str:
    """What a seed of an arm draws anew, by its last addition."""
    if selection == FULL or rater == "copies":
        return "training"
    return "subset" if rater == "random" else "rating"


def read(studies: list[str], point: str) -> pd.DataFrame:
    """A row a cell at a point, by the reference that decides, with metrics under their short names."""
    found = []
    for study in studies:
        asked = registrations(study)[-1:]
        kept = [part for one in asked for part in read_parts(study, [study_of(one)], one)[0]]
        if not kept:
            raise SystemExit(f"{study} has no part in reports/studies")
        for table, facts in kept:
            own = (table["point"] == point) & (table["reference"] == facts["reference"])
            found.append(table[own].assign(study=study))
    table = pd.concat(found, ignore_index=True)
    table["draws"] = [drawn(*row) for row in table[["selection", "rater"]].itertuples(index=False)]
    return table


def pooled(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """By pool: the standard deviation of the arms' figures over seeds, each about its arm's mean, its degrees
    of freedom, how many arms, and the smallest and the largest standard deviation of one."""
    arms = table.groupby(ARM)[name].agg(["var", "count"]).query("count > 1").reset_index()
    arms["freedom"] = arms["count"] - 1
    arms["squares"] = arms["var"] * arms["freedom"]
    out = arms.groupby("pool").agg(
        squares=("squares", "sum"),
        freedom=("freedom", "sum"),
        arms=("var", "size"),
        least=("var", "min"),
        most=("var", "max"),
    )
    out["sd"] = np.sqrt(out["squares"] / out["freedom"])
    out[["least", "most"]] = np.sqrt(out[["least", "most"]])
    return out[["sd", "freedom", "arms", "least", "most"]]


def pairs(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """By pool: the middle standard deviation of a difference of two arms, and their mean correlation by seed.
    Everything, whose ratio is 1, is beside arms of every ratio."""
    rows = []
    for (study, pool, model), own in table.groupby(["study", "pool", "model"]):
        wide = own.pivot_table(index="seed", columns=["selection", "ratio"], values=name)
        for a, b in combinations(wide.columns, 2):
            if a[1] == b[1] or FULL in (a[0], b[0]):
                both = wide[[a, b]].dropna()
                rows.append((study, pool, model, (both[a] - both[b]).std(), both[a].corr(both[b])))
    found = pd.DataFrame(rows, columns=["study", "pool", "model", "sd", "correlation"])
    return found.groupby("pool").agg(
        pairs=("sd", "size"), sd=("sd", "median"), correlation=("correlation", "mean")
    )


def main() -> None:
    """Prints, for every metric there is, a line a pool and what a seed draws, and a line a pool of pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--point", choices=POINTS, default="equal_images")
    asked = parser.parse_args()
    table = read(asked.studies, asked.point)
    for name in measured(table):
        shown = metric(name)
        print(f"{shown.word}, {asked.point}")
        for draws, said in DRAWS.items():
            own = pooled(table[table["draws"] == draws], name)
            for pool, one in own.iterrows():
                sd, least, most = (
                    f"{one[key] * shown.scale:.{shown.digits}f}" for key in ("sd", "least", "most")
                )
                print(
                    f"  {pool}: {said} {sd} ({one['freedom']:.0f} degrees of freedom, "
                    f"{one['arms']:.0f} arms from {least} to {most})"
                )
        for pool, one in pairs(table, name).iterrows():
            print(
                f"  {pool}: difference of two arms {one['sd'] * shown.scale:.{shown.digits}f}, "
                f"correlation {one['correlation']:.2f} ({one['pairs']:.0f} pairs)"
            )


if __name__ == "__main__":
    main()

"""How often a short run orders its arms as a longer one does: the decision accuracy of a pilot.

    python -m benchmarks.pilot PILOT/table.csv LONGER/table.csv [--model xs] [--seeds 2]
    python -m benchmarks.pilot PILOT/table.csv reports/studies/NAME/POOL-*.csv [--reference once]

The tables are those of reports, or the longer run is all parts of a registered study. Arms that both have are
compared at equal images, by means over seeds: every two of them are a decision, right where the pilot orders
them as the longer run does (Magnusson et al. 2025, DataDecide), and the winner is named right where the best
arm is the same. A pilot of --seeds is every such choice of the pilot's seeds. Decisions that share an arm are
no independent draws, so the exact binomial interval of one choice, which takes them as such, is narrower than
the truth.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from alchemist.analysis.advice import POINT, Blocks

METRICS = {"fd_lite0": -1, "kid_lite0": -1, "nll": -1, "clip_lit": 1}  # sign of what is better
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Accuracy:
    """Decisions of one pilot, in one metric."""

    right: float  # pairs of arms in the same order; a tie counts half
    pairs: int
    told: float  # the same among pairs that the longer run tells apart
    told_pairs: int
    winner: bool  # the best arm is the same
    place: int  # of the pilot's winner in the longer run, from 1
    arms: int


def wide(table: pd.DataFrame, model: str, metric: str) -> pd.DataFrame:
    """Figures at equal images, a row an arm (selection, ratio) and a column a seed, higher better."""
    rows = table[(table["model"] == model) & (table["point"] == POINT)]
    found = rows.pivot_table(index=["selection", "ratio"], columns="seed", values=metric)
    return METRICS[metric] * found


def read(paths: Sequence[Path], reference: str) -> pd.DataFrame:
    """Tables as one, by one reference where they have several. Raises ValueError where it is none of them."""
    table = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    if "reference" not in table:
        return table
    if reference not in set(table["reference"]):
        raise ValueError(
            f"--reference is {reference}; {', '.join(sorted(set(table['reference'])))} is legal."
        )
    return table[table["reference"] == reference]


def accuracy(pilot: pd.DataFrame, longer: pd.DataFrame) -> Accuracy:
    """Decisions of a pilot's figures (arms x seeds, higher better) against those of a longer run.

    Arms that one of them lacks are left out. Raises ValueError for fewer than two in common.
    """
    arms = [arm for arm in pilot.index if arm in longer.index]
    if len(arms) < 2:
        raise ValueError(f"The two runs have {len(arms)} arm in common; two or more are needed.")
    short, long = pilot.loc[arms].mean(axis=1), longer.loc[arms]
    blocks = Blocks(long, CONFIDENCE, 1) if long.shape[1] > 1 else None
    right = told = 0.0
    told_pairs = 0
    for one, other in itertools.combinations(arms, 2):
        gap = float(long.loc[[one]].mean(axis=1).iloc[0] - long.loc[[other]].mean(axis=1).iloc[0])
        agrees = 0.5 * (1 + np.sign(gap) * np.sign(float(short[one] - short[other])))
        right += agrees
        if blocks is not None and abs(gap) > blocks.half:
            told, told_pairs = told + agrees, told_pairs + 1
    order = long.mean(axis=1).sort_values(ascending=False)
    place = list(order.index).index(short.idxmax()) + 1
    return Accuracy(right, len(arms) * (len(arms) - 1) // 2, told, told_pairs, place == 1, place, len(arms))


def pilots(pilot: pd.DataFrame, longer: pd.DataFrame, seeds: int) -> list[Accuracy]:
    """Of every choice of so many of the pilot's seeds."""
    return [accuracy(pilot[list(c)], longer) for c in itertools.combinations(pilot.columns, seeds)]


def interval(right: float, pairs: int) -> tuple[float, float]:
    """The exact binomial interval of a share."""
    ci = stats.binomtest(round(right), pairs).proportion_ci(CONFIDENCE, method="exact")
    return float(ci.low), float(ci.high)


def told(found: Sequence[Accuracy]) -> str:
    """A metric's line: accuracy over the choices of seeds, and how often the winner is named."""
    first = found[0]
    mean = float(np.mean([a.right / a.pairs for a in found]))
    low, high = interval(mean * first.pairs, first.pairs)
    clear = ", none told apart by the longer run"
    if first.told_pairs:
        share = float(np.mean([a.told / a.told_pairs for a in found]))
        clear = f"; of the {first.told_pairs} that the longer run tells apart {share:.2f}"
    named = sum(a.winner for a in found)
    places = ", ".join(str(a.place) for a in found)
    return (
        f"{mean:.2f} [{low:.2f}, {high:.2f}] of {first.pairs} pairs of {first.arms} arms{clear}; "
        f"winner named by {named} of {len(found)} pilots (its place in the longer run: {places})"
    )


def main() -> None:
    """Prints one line a metric."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pilot", type=Path)
    parser.add_argument("longer", type=Path, nargs="+")
    parser.add_argument("--model", default="xs")
    parser.add_argument("--seeds", type=int, default=2, help="of a pilot")
    parser.add_argument("--reference", default="once", help="where a table has figures by several")
    asked = parser.parse_args()
    try:
        short, long = read([asked.pilot], asked.reference), read(asked.longer, asked.reference)
    except ValueError as error:
        parser.error(str(error))
    for metric in METRICS:
        if metric in short and metric in long:
            ours, theirs = (wide(table, asked.model, metric) for table in (short, long))
            print(f"{metric}: {told(pilots(ours, theirs, asked.seeds))}")


if __name__ == "__main__":
    main()

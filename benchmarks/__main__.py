"""All ratios of the repo, measured in one run.

    python -m benchmarks [NAME …] [--repeats 9] [--small]

NAMEs are training, flux, rating, evaluation, pruning, adapters, loader, memory and pipeline, or all of them.
The figures are medians of turns that alternate, on one thread; compare them within one run only. Ends with 1
where a goal is missed. `--small` shows that all of it runs: one turn at sizes of which no figure means
anything, and no goal.
"""

import argparse
import importlib
import os
from importlib import metadata

from alchemist.core import devices
from benchmarks import given
from benchmarks.ratio import Ratio

NAMES = ("training", "flux", "rating", "evaluation", "pruning", "adapters", "loader", "memory", "pipeline")


def met(ratio: Ratio) -> bool:
    """Whether the goal, such as "<= 0.30", is met; one without a goal always is."""
    if not ratio.goal:
        return True
    sign, number = ratio.goal.split()
    return ratio.value <= float(number) if sign == "<=" else ratio.value >= float(number)


def main() -> int:
    """Prints the table, a line a ratio as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in NAMES]:
        parser.error(f"{unknown[0]!r} is no benchmark; legal are {', '.join(NAMES)}")
    if asked.small:  # before the modules, which have their sizes by it
        os.environ[given.SMALL], asked.repeats = "1", 1
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "pandas"))
    print(f"{devices.hardware(devices.chosen('cpu'))}; {versions}; medians of {asked.repeats}", flush=True)
    print(f"{'ratio':<52}{'value':>8}  {'goal':<9}{'':<8}how", flush=True)
    missed = 0
    for name in asked.names or NAMES:
        for ratio in importlib.import_module(f"benchmarks.{name}").ratios(asked.repeats):
            goal = "" if asked.small else ratio.goal
            missed += bool(goal) and not met(ratio)
            verdict = ("met" if met(ratio) else "MISSED") if goal else ""
            print(f"{ratio.name:<52}{ratio.value:>8.3f}  {goal:<9}{verdict:<8}{ratio.words}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""How often the rule of a registered study errs: its verdicts on differences that are made up.

    python -m benchmarks.verdicts [--studies 4000] [--seeds 12] [--claims 5] [--sd 7.0] [--margin 5.0]

Every line is a true benefit of all claims, in margins, and a law of the differences between seeds (normal,
Student's t with three degrees, a skewed lognormal, and normal ones that all claims of a study share by half).
It tells how often the primary claim ends as verified, falsified or inconclusive, and how often any of the
other claims, which share Holm's correction, is verified or falsified. With no benefit, verified is an error
and should be at most 2.5 %; with one of a margin, falsified is, and should be at most 5 %.
"""

import argparse
import platform

import numpy as np
import scipy
from numpy.typing import NDArray

from alchemist.analysis.outcomes import decided, p_values
from alchemist.analysis.statistics import holm

ALPHA = 0.05
LAWS = ("normal", "student t3", "lognormal", "shared by half")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--claims", type=int, default=5)
    parser.add_argument("--sd", type=float, default=7.0)
    parser.add_argument("--margin", type=float, default=5.0)
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, SciPy {scipy.__version__}; {asked}")
    print("| benefit, margins | law | verified | falsified | inconclusive | any other verified | falsified |")
    print("|---|---|---|---|---|---|---|")
    for benefit in (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0):
        for law in LAWS:
            rng = np.random.default_rng([int(10 * benefit + 100), LAWS.index(law)])
            words = [study(rng, benefit * asked.margin, law, asked) for _ in range(asked.studies)]
            first = [w[0] for w in words]
            shares = [first.count(w) / len(words) for w in ("verified", "falsified", "inconclusive")]
            shares += [sum(w in one[1:] for one in words) / len(words) for w in ("verified", "falsified")]
            print(f"| {benefit:g} | {law} |", *(f"{share:.3f} |" for share in shares), flush=True)


def study(rng: np.random.Generator, benefit: float, law: str, asked: argparse.Namespace) -> list[str]:
    """The verdicts of one study's claims, the primary one first."""
    found = benefit + asked.sd * draws(rng, law, asked.claims, asked.seeds)
    p = [p_values(one, 1, asked.margin) for one in found]
    better = holm({str(i): one.better for i, one in enumerate(p) if i})
    less = holm({str(i): one.less for i, one in enumerate(p) if i})
    return [decided(one, better.get(str(i)), less.get(str(i)), ALPHA)[0] for i, one in enumerate(p)]


def draws(rng: np.random.Generator, law: str, claims: int, seeds: int) -> NDArray[np.float64]:
    """Values (claims, seeds) of mean 0 and standard deviation 1."""
    if law == "student t3":
        return rng.standard_t(3, (claims, seeds)) / np.sqrt(3)
    if law == "lognormal":
        sigma = 0.5
        spread = np.sqrt((np.exp(sigma**2) - 1) * np.exp(sigma**2))
        return (rng.lognormal(0, sigma, (claims, seeds)) - np.exp(sigma**2 / 2)) / spread
    own = rng.standard_normal((claims, seeds))
    if law == "shared by half":
        return (own + rng.standard_normal((1, seeds))) / np.sqrt(2)
    return own


if __name__ == "__main__":
    main()

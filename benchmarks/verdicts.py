"""How often the rule of a registered study errs: its verdicts on differences that are made up.

    python -m benchmarks.verdicts [--studies 4000] [--seeds 12 …] [--claims 5] [--sd 7.0] [--margin 5.0]

Every line is a true benefit of all claims, in margins, and a law of the differences between seeds (normal,
Student's t with three degrees, a skewed lognormal, and normal ones that all claims of a study share by half).
It tells how often the primary claim ends as verified, falsified or inconclusive, and how often any of the
other claims, which share Holm's correction, is verified, falsified, called worse or called equal. Several
numbers of seeds are looks, each at its part of the error, and a claim keeps what the first look that ended it
said. With no benefit, verified and worse are errors and should be at most 2.5 %; with one of a margin,
falsified is, and should be at most 5 %, as equal is with one of a margin on the other side.
"""

import argparse
import platform

import numpy as np
import scipy
from numpy.typing import NDArray

from alchemist.analysis.outcomes import after_holm, decided, p_values

ALPHA = 0.05
WORDS = ("verified", "falsified", "inconclusive")
REASONS = ("worse", "equal within the margin")
LAWS = ("normal", "student t3", "lognormal", "shared by half")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[12], help="of each look")
    parser.add_argument("--claims", type=int, default=5)
    parser.add_argument("--sd", type=float, default=7.0)
    parser.add_argument("--margin", type=float, default=5.0)
    asked = parser.parse_args()
    print(f"Python {platform.python_version()}, SciPy {scipy.__version__}; {asked}")
    head = ["benefit, margins", "law", *WORDS, *(f"any other {word}" for word in (*WORDS[:2], *REASONS))]
    print(f"| {' | '.join(head)} |")
    print("|---" * len(head) + "|")
    for benefit in (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 4.0):
        for law in LAWS:
            rng = np.random.default_rng([int(10 * benefit + 100), LAWS.index(law)])
            ends = [study(rng, benefit * asked.margin, law, asked) for _ in range(asked.studies)]
            first = [end[0][0] for end in ends]
            others = [{said for end in one[1:] for said in end} for one in ends]
            shares = [first.count(word) / len(ends) for word in WORDS]
            shares += [sum(said in one for one in others) / len(ends) for said in (*WORDS[:2], *REASONS)]
            print(f"| {benefit:g} | {law} |", *(f"{share:.3f} |" for share in shares), flush=True)


def study(
    rng: np.random.Generator, benefit: float, law: str, asked: argparse.Namespace
) -> list[tuple[str, str]]:
    """The verdicts and reasons of one study's claims, the primary one first."""
    found = benefit + asked.sd * draws(rng, law, asked.claims, asked.seeds[-1])
    ends = [("inconclusive", "open")] * asked.claims
    for count in asked.seeds:
        first, *others = [p_values(one[:count], 1, asked.margin) for one in found]
        shared = after_holm({str(i): one for i, one in enumerate(others)})
        now = [decided(one, ALPHA / len(asked.seeds)) for one in (first, *shared.values())]
        ends = [new if old[0] == "inconclusive" else old for old, new in zip(ends, now, strict=True)]
    return ends


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

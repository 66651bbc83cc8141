"""What the paper's gate does to a rating: as it is written, in the temperature, and as published.

    python -m benchmarks.gate [--seed 60] [--raters NAME,…] [--images N] [--proxy MODEL] [--pairs N]
        [--heads 3]

Reads data/params.json and data/encoded/FAMILY of a pool that was encoded. Of each rater a line of Spearman's
correlations over the split pool, or `--pairs` of it. Of the rating of one network: with that by the same
network whose gate is held at one value (`held`), and with the network's own logits (`logits`); under
rating_mode `batch` of two orders of the rows, with the gate and with it held (`orders`, `orders held`).
Of the logits of one network: with those of a network that was trained without a gate (`none`), beside the
numbers that the gate of another seed gave step by step, so that no batch is heard (`replayed`), by that other
seed (`other seed`), and with other first weights of the gate alone, `--heads` of them, least and largest
(`other heads`). Where `replayed` is among these, what the gate heard of its batches is not told from chance.
"""

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import stateless
from alchemist.core.scratch import Scratch
from alchemist.core.settings import parse
from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.given import section
from alchemist.core.settings.model import model_settings
from alchemist.models import family
from alchemist.models.encoded import CODEC, Encoded
from alchemist.models.family import Trunk
from alchemist.raters import meta, score
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Group, Rater
from alchemist.raters.proxy import Plain
from alchemist.raters.score import ratings
from alchemist.raters.table import rater_settings
from benchmarks.validation import agreement

Floats = NDArray[np.float64]
PLAIN = "alchemist_no_group"
RATERS = "alchemist,alchemist_literal,alchemist_temperature,alchemist_published"


class Recorded(Rater):
    """Keeps what its gate gave in training, step by step."""

    def __init__(self, trunk: Trunk, seed: int) -> None:
        super().__init__(trunk, seed)
        self.path: list[float] = []

    def gate(self, mean: Tensor, variance: Tensor) -> Tensor:
        """As ever."""
        found = super().gate(mean, variance)
        if self.training:
            self.path.append(float(found.detach()))
        return found


class Replayed(Rater):
    """Its gate gives the next of another's numbers and hears no batch."""

    def __init__(self, trunk: Trunk, seed: int, path: list[float]) -> None:
        super().__init__(trunk, seed)
        self.rest = iter(path)

    def gate(self, mean: Tensor, variance: Tensor) -> Tensor:
        """The next number."""
        return mean.new_tensor(next(self.rest))


class Bench:
    """A pool that was encoded, and networks trained on it."""

    def __init__(self, seed: int, images: int | None, proxy: str | None, pairs: int | None) -> None:
        roles, scale = section("roles"), section("scale")
        self.seed, self.cpu = seed, torch.device("cpu")
        budget = parse(RateSettings, section(f"scales.{scale}.rate"), f"scales.{scale}.rate")
        self.budget = budget.model_copy(update={"images": images or budget.images})
        self.sizes = [
            model_settings(section(f"models.{name}"), f"models.{name}")
            for name in (proxy or roles["proxy"], roles["rater"])
        ]
        self.family = family.load(self.sizes[0].family)
        self.data = Encoded(Path("data/encoded") / self.sizes[0].family)
        self.codec = self.family.codec(self.data.folder / CODEC, self.cpu)
        self.rows = self.data.pool().numbers[:pairs]

    def trunk(self, seed: int) -> Trunk:
        """A fresh trunk of the rater."""
        return self.family.trunk(self.sizes[1], self.codec, seed)

    def trained(self, name: str, network: Rater, seed: int) -> Rater:
        """The network, trained by the rater's block."""
        data = self.data
        with tempfile.TemporaryDirectory() as folder, Scratch(Path(folder), "0" * 16) as state:
            run = Plain(
                lambda of: self.family.generator(self.sizes[0], self.codec, of), data, data.pool(),
                data.validation(), data.pool(), seed, self.budget, state, lambda n, words: None,
                lambda n: None, name=name,
            )  # fmt: skip
            meta.meta_train(run, settings_of(name), network)
        return network.eval()

    def features(self, network: Rater) -> Tensor:
        """Of the pairs that are compared."""
        return score.pooled_features(network, self.data, self.rows, self.budget.score_batch)

    def logits(self, network: Rater) -> Floats:
        """Of the same pairs."""
        with torch.no_grad():
            return network.logits(self.features(network)).double().numpy()


def settings_of(name: str) -> MetaRater:
    """Its block in params.yaml."""
    found = rater_settings(section(f"raters.{name}"), f"raters.{name}")
    assert isinstance(found, MetaRater)
    return found


def held(network: Rater, seen: Tensor) -> Rater:
    """The same network, whose gate gives its value at all of the features and hears nothing."""
    still, mean, variance = copy.deepcopy(network), seen.mean(0), seen.var(0, correction=0)
    last = still.group[2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.copy_(network.group[:-1](torch.cat([mean, variance])))
        last.weight.zero_()
    return still


def of_rating(bench: Bench, network: Rater, settings: MetaRater) -> dict[str, float]:
    """What the rating of one network owes to its gate, and to the order of the rows."""
    seen, size = bench.features(network), bench.budget.score_batch
    members = score.group_members(bench.data.pool(), bench.budget.reference_group, bench.seed)
    beside = Group.of(network, score.pooled_features(network, bench.data, members, size))

    def rated(by: Rater, order: NDArray[np.int64]) -> Floats:
        parts = seen[torch.from_numpy(order)].split(size)
        found = np.empty(len(order))
        found[order] = torch.cat([ratings(by, part, beside, settings, None) for part in parts]).numpy()
        return found

    still, rows = held(network, seen), np.arange(len(seen))
    rating = rated(network, rows)
    with torch.no_grad():
        logits = network.logits(seen).double().numpy()
    out = {"held": agreement(rating, rated(still, rows)), "logits": agreement(rating, logits)}
    if settings.rating_mode == "batch":
        orders = [stateless.generator("order", number).permutation(len(seen)) for number in range(2)]
        for name, by in (("orders", network), ("orders held", still)):
            out[name] = agreement(*(rated(by, order) for order in orders))
    return out


def figures(bench: Bench, name: str, none: Floats, heads: int) -> dict[str, float]:
    """The line of a rater; beside its own three networks and more are trained for it."""
    seed = bench.seed

    def trained(network: Rater) -> Floats:
        return bench.logits(bench.trained(name, network, seed))

    first, next_seed = (Recorded(bench.trunk(one), one) for one in (seed, seed + 1))
    out = of_rating(bench, bench.trained(name, first, seed), settings_of(name))
    logits, other = bench.logits(first), bench.logits(bench.trained(name, next_seed, seed + 1))
    path = first.path
    out |= {"gate first": path[0], "at step 11": path[min(10, len(path) - 1)], "last": path[-1]}
    out["none"] = agreement(logits, none)
    out["replayed"] = agreement(logits, trained(Replayed(bench.trunk(seed), seed, next_seed.path)))
    out["other seed"] = agreement(logits, other)
    beside = []
    for number in range(heads):
        network = Rater(bench.trunk(seed), seed)
        network.group = Rater(bench.trunk(seed), seed + 1 + number).group
        beside.append(agreement(logits, trained(network)))
    return out | {"other heads, least": min(beside), "largest": max(beside)}


def main() -> None:
    """Prints a line a rater."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=60)
    parser.add_argument("--raters", default=RATERS)
    parser.add_argument("--images", type=int, help="of the pool, where not the scale's")
    parser.add_argument("--proxy", help="a model of params.yaml, where not that of the roles")
    parser.add_argument("--pairs", type=int, help="of the pool that are compared, where not all")
    parser.add_argument("--heads", type=int, default=3)
    asked = parser.parse_args()
    bench = Bench(asked.seed, asked.images, asked.proxy, asked.pairs)
    none = bench.logits(bench.trained(PLAIN, Rater(bench.trunk(asked.seed), asked.seed), asked.seed))
    for name in asked.raters.split(","):
        found = figures(bench, name, none, asked.heads)
        print(f"{name}: " + ", ".join(f"{what} {value:.4g}" for what, value in found.items()), flush=True)


if __name__ == "__main__":
    main()

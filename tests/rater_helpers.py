"""Settings, tiny networks and steps that the tests of the raters share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from conftest import CPU, TINY

from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import RateSettings
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.families.star.settings import StarSettings
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded
from alchemist.models.family import Generator
from alchemist.raters import credit, meta
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater
from alchemist.raters.proxy import Plain
from alchemist.raters.steps import MetaState, Step

SETTINGS = MetaRater(
    kind="meta", credit="penalty", reference_warmup=None, unroll_steps=None, group="product",
    rating_mode="reference_group", baseline="validation", bound=2.0,
    upper_weight=1.0, upper_decay=0.03, epochs=10, weights=None,
)  # fmt: skip
BUDGET = RateSettings(
    images=160, batch=8, proxy_learning_rate=1e-3, rater_learning_rate=1e-3, weight_decay=0.05, clip=2.0,
    warmup_images=16, caption_dropout=0.1, reference_group=15, score_batch=7, precision="fp32",
)  # fmt: skip
GROUPS = ("product", "temperature", "none")
CREDITS = ("penalty", "reference", "alignment", "unrolled")


def of_credit(credit: str, **values: object) -> MetaRater:
    """The settings of a credit, with others' values."""
    own = {
        "credit": credit,
        "baseline": "none",
        "reference_warmup": 0.2 if credit == "reference" else None,
        "unroll_steps": 3 if credit == "unrolled" else None,
    }
    return MetaRater(**{**SETTINGS.model_dump(), **own, **values})


def new_rater(codec: StarCodec, settings: StarSettings = TINY, seed: int = 0) -> Rater:
    return Rater(StarTrunk(settings, codec, seed), seed)


def sgd_state(codec: StarCodec, settings: StarSettings = TINY) -> MetaState:
    """Proxy and rater under plain gradient steps, so that a parameter moves by 0.1 of its gradient."""
    proxy, rater = StarGenerator(settings, codec, 0), new_rater(codec)
    return MetaState(
        proxy,
        rater,
        torch.optim.SGD(proxy.parameters(), 0.1),
        torch.optim.SGD(rater.parameters(), 0.1),
        credit.Scale(CPU),
    )


def step_of(data: Encoded, upper: float, start: int = 0, training: bool = False) -> Step:
    """Eight pairs of either split, from `start` on."""
    return Step(
        validation=data.batch(np.arange(80 + start, 88 + start)),
        train=data.batch(np.arange(start, start + 8)),
        upper=upper,
        proxy_chance=Chance.run(0, 0, 16, training),
        rater_chance=Chance.run(0, 0, 8, training),
    )


def weights_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def run_of(
    data: Encoded,
    proxy: Callable[[int], Generator],
    scratch: Scratch | None = None,
    seed: int = 0,
    budget: RateSettings = BUDGET,
    trained: Callable[[int, str], object] = lambda n, words: None,
    scored: Callable[[int], object] = lambda n: None,
) -> Plain:
    """A run on all pairs of a store; without `scratch` one that is asked for its steps alone."""
    scratch = scratch or Scratch(Path("nowhere"), "m")
    return Plain(
        proxy, data, data.pool(), data.validation(), data.rated(), seed, budget, scratch, trained, scored,
        name="x",
    )  # fmt: skip


def train_rater(
    folder: Path,
    data: Encoded,
    codec: StarCodec,
    tick: Callable[[int, str], object] = lambda n, words: None,
    settings: MetaRater = SETTINGS,
    images: int = 160,
) -> tuple[Rater, list[dict[str, float]]]:
    """A whole run on the tiny store, of seed 0; the rater and its log."""
    rater, budget = new_rater(codec), BUDGET.model_copy(update={"images": images})
    with Scratch(folder, "m", every_seconds=0) as scratch:
        run = run_of(
            data, lambda seed: StarGenerator(TINY, codec, seed), scratch, budget=budget, trained=tick
        )
        log = meta.meta_train(run, settings, rater)
    return rater.eval(), log

"""Settings, tiny networks and steps that the tests of the raters share."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from conftest import CPU, TINY, write_encoded

from alchemist.core import stateless
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.groups import GroupsSettings
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.families.star.settings import StarSettings
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded
from alchemist.models.family import Generator
from alchemist.raters import credit, meta
from alchemist.raters.groups import of_pool
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


# ------------------------------------------------------------------------------ a planted bad source

SOURCES = GroupsSettings(by="source", count=6, a_step=4)
BAD = "source-3"
PLANTED_SCHEDULE = {"upper_weight": 0.9, "upper_decay": 0.02}


def planted(folder: Path) -> tuple[Encoded, StarCodec]:
    """1500 pairs of a pool of six sources, one with captions of the other kind; 500 to validate."""
    config = TokenizerConfig(resolution=8, scales=(1, 2), codes=64, channels=8, width=16)
    rng = stateless.generator("planted group")
    kind, source = rng.integers(0, 2, 2000), rng.integers(0, 6, 2000)
    half = config.codes // 2
    tokens = half * kind[:, None] + rng.integers(0, half, (2000, config.tokens))
    states = [np.zeros((2, 384), np.float16), *rng.normal(size=(2, 2, 384)).astype(np.float16)]
    rows = pd.DataFrame(
        {
            "id": np.arange(2000).astype(str), "split": ["pool"] * 1500 + ["meta_val"] * 500,
            "text": 1 + (kind ^ (source == 3)), "lent": False, "cluster": 0,
            "origin": [f"source-{one}" for one in source],
        }
    )  # fmt: skip
    folder.mkdir()
    torch.manual_seed(0)
    codec = StarCodec(Tokenizer(config))
    return write_encoded(folder, rows, tokens.astype(np.uint16), states), codec


def rater_of_planted(
    folder: Path, data: Encoded, codec: StarCodec, settings: MetaRater, images: int
) -> tuple[Rater, Plain]:
    """A rater that was trained on planted pairs, of seed 1, and its run."""
    size = TINY.model_copy(update={"depth": 1, "width": 32})
    values = {"images": images, "batch": 32, "warmup_images": 160, "caption_dropout": 0.0}
    network, budget = new_rater(codec, size, 1), BUDGET.model_copy(update=values)
    with Scratch(folder, "m") as scratch:
        run = run_of(data, lambda seed: StarGenerator(size, codec, seed), scratch, 1, budget)
        if settings.groups is not None:
            run = replace(run, groups=of_pool(run, settings.groups, "raters.x.groups"))
        meta.meta_train(run, settings, network)
    return network.eval(), run

"""Rating, training and evaluation of families that have nothing in common with the first but the protocol."""

from pathlib import Path
from typing import Any, NamedTuple

import flux_helpers
import numpy as np
import pandas as pd
import pytest
import second_family
import torch
import yaml
from rater_helpers import run_of
from tiny import tiny_params

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.families.flux import family as flux
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.settings import FluxLaw
from alchemist.measures import generator as measure
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, Writer
from alchemist.models.family import Codec, Family, Generator
from alchemist.params.check import Params, check
from alchemist.raters import meta, score
from alchemist.raters.network import Group, Rater
from alchemist.raters.table import KINDS

SIDE = second_family.SIDE


class Case(NamedTuple):
    """A family of images of SIDE pixels: its size, codec and sampling law."""

    family: Family
    size: Any
    codec: Codec
    law: Any

    def proxy(self, seed: int = 1) -> Generator:
        """Stirred, since some weights of a fresh one are zero."""
        model: Generator = self.family.generator(self.size, self.codec, seed)
        rng = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=rng)
        return model

    def rater(self, seed: int = 1) -> Rater:
        return Rater(self.family.trunk(self.size, self.codec, seed), seed)


CASES = [
    Case(
        second_family.FAMILY,
        second_family.DenoiserSettings(),
        second_family.PixelCodec(),
        second_family.EulerLaw(),
    ),
    Case(flux.FAMILY, flux_helpers.TINY, PixelCodec(SIDE), FluxLaw(steps=3)),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.family.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def params() -> Params:
    given = tiny_params()
    given["scales"]["tiny"]["rate"] |= {"images": 24, "batch": 8, "reference_group": 9, "warmup_images": 8}
    return check(yaml.safe_load(yaml.safe_dump(given)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, case: Case) -> Encoded:
    """60 encoded pairs: 30 of the pool, 14 of meta_val, 16 of evaluation, in shards of 13 rows."""
    folder, rng = tmp_path_factory.mktemp("encoded"), stateless.generator("captions")
    splits = ["pool"] * 30 + ["meta_val"] * 14 + ["evaluation"] * 16
    ids = [f"pair-{i}" for i in range(60)]
    with Writer(folder, 13 * 384) as writer:
        writer.rows(
            pd.DataFrame(
                {"id": ids, "split": splits, "text": rng.integers(1, 9, 60), "lent": False, "cluster": 0}
            )
        )
        writer.append(case.codec.encode(second_family.images(60)))
        writer.captions((rng.normal(size=(2 + i % 3, 384)).astype(np.float16), None) for i in range(9))
    return Encoded(folder)


@pytest.mark.parametrize("rater", ["alchemist", "reference", "alignment", "unrolled", "alchemist_published"])
def test_a_rater_is_trained_and_rates_the_pool(
    case: Case, data: Encoded, params: Params, rater: str, tmp_path: Path
) -> None:
    settings, budget = params.raters[rater], params.scales["tiny"].rate
    network, start = case.rater(), case.rater()
    with Scratch(tmp_path, "0" * 16) as state:
        log = meta.meta_train(run_of(data, case.proxy, state, 1, budget), settings, network)
    assert np.isfinite([row["train_loss"] for row in log]).all()
    moved = [not torch.equal(a, b) for a, b in zip(network.parameters(), start.parameters(), strict=True)]
    assert any(moved)
    members = score.group_members(data.pool(), budget.reference_group, 1)
    group = Group.of(network, score.pooled_features(network, data, members, 4))
    ratings = score.rate_pool(network, data, data.pool(), group, settings, 7, lambda n: None)
    assert ratings.shape == (30,)
    assert len(np.unique(ratings)) > 20


@pytest.mark.parametrize("rater", ["loss", "loss_within", "caption_gain", "best", "reference_loss"])
def test_a_plain_proxy_rates_the_pool(
    case: Case, data: Encoded, params: Params, rater: str, tmp_path: Path
) -> None:
    settings = params.raters[rater]
    with Scratch(tmp_path, "0" * 16) as state:
        run = run_of(data, case.proxy, state, 1, params.scales["tiny"].rate)
        found = KINDS[settings.kind].rate(run, settings)
    assert np.isfinite(found.rating).all()
    assert found.train_flops > 0


def test_el2n_is_refused_where_the_family_defines_none(
    case: Case, data: Encoded, params: Params, tmp_path: Path
) -> None:
    with Scratch(tmp_path, "0" * 16) as state:
        run = run_of(data, case.proxy, state, 1, params.scales["tiny"].rate)
        if case.family is flux.FAMILY:  # defined for its squared error
            assert len(np.unique(KINDS["el2n"].rate(run, params.raters["el2n"]).rating)) == 30
            return
        with pytest.raises(Refusal, match="a denoiser has none"):
            KINDS["el2n"].rate(run, params.raters["el2n"])


@torch.no_grad()
def test_two_models_see_the_same_noise_on_a_pair_whatever_its_neighbours(case: Case, data: Encoded) -> None:
    pool = data.pool()
    whole = score.pool_losses(case.proxy(), data, pool, 30, lambda n: None)
    assert np.allclose(score.pool_losses(case.proxy(), data, pool, 7, lambda n: None), whole, rtol=1e-5)
    turned = type(pool)(pool.numbers[::-1].copy())
    assert np.allclose(
        score.pool_losses(case.proxy(), data, turned, 7, lambda n: None)[::-1], whole, rtol=1e-5
    )
    numbers = pool.numbers[:4]
    chances = Chance(0, data.positions(numbers)), Chance(1, data.positions(numbers))
    first, other = (case.proxy().losses(data.batch(numbers), chance) for chance in chances)
    assert not torch.allclose(first, other)


def test_images_are_drawn_by_the_familys_own_law(case: Case, data: Encoded, params: Params) -> None:
    held = data.rows.loc[data.rows["split"] == "evaluation", "id"]
    rows, settings = data.evaluation(held.iloc[:6]), params.scales["tiny"].evaluate

    def drawn_in(batch: int) -> np.ndarray:
        asked = settings.model_copy(update={"batch": batch})
        return np.concatenate([*measure.generate(case.proxy(), data, rows, case.law, asked, lambda n: None)])

    drawn = drawn_in(settings.batch)
    assert drawn.shape == (6, 8, 8, 3)
    again = drawn_in(4)
    assert np.abs(again.astype(int) - drawn).max() <= (case.family is flux.FAMILY)  # a level, by rounding
    assert case.proxy().likelihood is None
    assert np.array_equal(case.codec.reconstruct(second_family.images(3)), second_family.images(3))

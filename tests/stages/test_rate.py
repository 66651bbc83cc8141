"""What the stage rate passes on: splits, seeds, signs, the proxy and the trunk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stage_grid import PROXY, SEED, Grid

from alchemist.core.scratch import Scratch
from alchemist.models.batch import Chance
from alchemist.models.encoded import PoolRows, ValidationRows
from alchemist.models.family import Generator
from alchemist.models.training import train
from alchemist.raters import meta, proxy, score
from alchemist.raters.network import Group


def rows(grid: Grid) -> tuple[PoolRows, ValidationRows]:
    return (
        PoolRows(grid.numbers(grid.index("pool")["id"])),
        ValidationRows(grid.numbers(grid.index("meta_val")["id"])),
    )


def plain(grid: Grid, tmp_path: Path, split: str, seed: int = SEED) -> Generator:
    """A proxy trained on a split, without the stage."""
    budget, pairs = grid.scale.rate, grid.index(split)["id"]
    model = grid.generator(PROXY, seed)
    settings = proxy.train_settings(budget)
    with Scratch(tmp_path, f"{split}-{seed}" + "0" * 16) as state:
        numbers = PoolRows(grid.numbers(pairs))
        train(model, grid.encoded, numbers, settings, seed, [96], state, lambda n, g: None, lambda n, w: None)
    return model


@torch.no_grad()
def losses(grid: Grid, model: Generator, captioned: bool = True) -> Any:
    """The loss of every pair of the pool, in one batch, in its order."""
    numbers = rows(grid)[0].numbers
    batch = grid.encoded.batch(numbers, None if captioned else np.ones(len(numbers), dtype=bool))
    return model.losses(batch, Chance.run(0, 0, len(numbers))).double().numpy()


def test_the_rater_is_trained_on_the_pool_and_validated_on_the_meta_validation_split(
    grid: Grid, tmp_path: Path
) -> None:
    settings, budget = grid.params.raters["alchemist"], grid.scale.rate
    pool, validation = rows(grid)
    network = grid.rater(SEED)
    with Scratch(tmp_path, "0" * 16) as state:
        meta.meta_train(
            grid.generator(PROXY, SEED), network, grid.encoded, pool, validation, settings, SEED, budget,
            state, lambda n, words: None,
        )  # fmt: skip
    members = score.group_members(pool, budget.reference_group, SEED)
    group = Group.of(network, score.pooled_features(network, grid.encoded, members, budget.score_batch))
    expected = score.rate_pool(
        network, grid.encoded, pool, group, settings, budget.score_batch, lambda n: None
    )
    found = grid.rate("alchemist")
    assert list(found.index) == list(grid.index("pool")["id"])
    assert np.array_equal(found.to_numpy(), expected)


def test_another_seed_is_another_rater(grid: Grid) -> None:
    assert not np.allclose(grid.rate("alchemist"), grid.rate("alchemist", 4), rtol=1e-3)
    assert not np.allclose(grid.rate("loss"), grid.rate("loss", 4), rtol=1e-3)
    assert not np.allclose(grid.rate("random"), grid.rate("random", 4))


def test_low_loss_comes_first_where_the_direction_says_so(grid: Grid, tmp_path: Path) -> None:
    assert grid.params.raters["loss"].direction == -1
    expected = -losses(grid, plain(grid, tmp_path, "pool"))
    assert np.allclose(grid.rate("loss"), expected, rtol=1e-5)


def test_excess_loss_is_that_over_a_proxy_of_the_validation_pairs(grid: Grid, tmp_path: Path) -> None:
    direction = grid.params.raters["reference_loss"].direction
    ours, theirs = (losses(grid, plain(grid, tmp_path, split)) for split in ("pool", "meta_val"))
    assert np.allclose(grid.rate("reference_loss"), direction * (ours - theirs), atol=1e-5)


def test_caption_gain_is_the_loss_without_the_caption_less_that_with_it(grid: Grid, tmp_path: Path) -> None:
    direction = grid.params.raters["caption_gain"].direction
    model = plain(grid, tmp_path, "pool")
    expected = direction * (losses(grid, model, captioned=False) - losses(grid, model))
    assert np.abs(expected).max() > 1e-4
    assert np.allclose(grid.rate("caption_gain"), expected, atol=1e-5)


def test_the_band_puts_the_middle_of_the_losses_first_and_the_least_gain_last(
    grid: Grid, tmp_path: Path
) -> None:
    settings = grid.params.raters["best"]
    model = plain(grid, tmp_path, "pool")
    given = losses(grid, model)
    gain = losses(grid, model, captioned=False) - given
    rank, gain_rank = (np.argsort(np.argsort(x)) / (len(x) - 1) * 100 for x in (given, gain))
    found = grid.rate("best").to_numpy()
    least = gain_rank < settings.mismatched
    assert 0 < least.sum() < len(found) / 2
    assert found[least].max() < found[~least].min()
    nearest = np.argsort(np.abs(rank - settings.centre)[~least])
    assert np.all(np.diff(found[~least][nearest]) <= 1e-9)


def test_el2n_is_a_mean_over_the_errors_at_the_checkpoints_alone(grid: Grid, tmp_path: Path) -> None:
    settings, budget = grid.params.raters["el2n"], grid.scale.rate
    wanted = [max(1, round(c * (budget.images // budget.batch))) * budget.batch for c in settings.checkpoints]
    numbers, seen = rows(grid)[0], []
    with Scratch(tmp_path, "1" * 16) as state:

        @torch.no_grad()
        def measure(images: int, model: Generator) -> None:
            if images in wanted:
                batch = grid.encoded.batch(numbers.numbers)
                seen.append(model.error_norms(batch, Chance.run(0, 0, len(numbers))).double().numpy())

        train(
            grid.generator(PROXY, SEED), grid.encoded, numbers, proxy.train_settings(budget), SEED,
            sorted({*wanted, budget.images}), state, measure, lambda n, words: None,
        )  # fmt: skip
    assert np.allclose(grid.rate("el2n"), settings.direction * np.mean(seen, axis=0), atol=1e-6)


@pytest.mark.parametrize("rater", ["alchemist", "loss", "random"])
def test_a_table_rates_every_usable_pair_of_the_pool_and_no_other(grid: Grid, rater: str) -> None:
    assert set(grid.rate(rater).index) == set(grid.index("pool")["id"])

"""What the stage rate passes on: splits, seeds, signs, the proxy and the trunk."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from stage_grid import OTHER, PROXY, SEED, Grid
from tiny import REPO

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.models.batch import Chance
from alchemist.models.encoded import PoolRows, ValidationRows
from alchemist.models.family import Generator
from alchemist.models.training import train
from alchemist.raters import meta, proxy, score
from alchemist.raters.network import Group
from alchemist.raters.signs import at_end


def rows(grid: Grid) -> tuple[PoolRows, ValidationRows]:
    return (
        PoolRows(grid.numbers(grid.index("pool")["id"])),
        ValidationRows(grid.numbers(grid.index("meta_val")["id"])),
    )


def bill(grid: Grid, rater: str, seed: int = SEED) -> Any:
    return files.read_json(grid.folder / f"data/raters/{rater}/{seed}/rating.json")


def train_settings(grid: Grid) -> TrainSettings:
    """A plain proxy's: what a meta-trained rater's proxy has."""
    budget = grid.scale.rate
    return TrainSettings(
        images=budget.images, batch=budget.batch, learning_rate=budget.proxy_learning_rate,
        weight_decay=budget.weight_decay, clip=budget.clip, schedule="constant",
        warmup_images=budget.warmup_images, ema_images=0.0, caption_dropout=budget.caption_dropout,
        checkpoints=(), precision=budget.precision,
    )  # fmt: skip


Plain = Callable[[str], Generator]


@pytest.fixture(scope="module")
def plain(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """Gives a proxy trained on a split, without the stage; each split's is trained once."""

    @functools.cache
    def trained(split: str) -> Generator:
        model = grid.generator(PROXY, SEED)
        numbers = PoolRows(grid.numbers(grid.index(split)["id"]))
        with Scratch(tmp_path_factory.mktemp(split), "0" * 16) as state:
            train(
                model, grid.encoded, numbers, train_settings(grid), SEED, [96], state,
                lambda images, model: None, lambda images, words: None,
            )  # fmt: skip
        return model

    return trained


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
        run = proxy.Plain(
            lambda seed: grid.generator(PROXY, seed), grid.encoded, pool, validation, pool, SEED, budget,
            state, lambda n, words: None, lambda n: None, name="alchemist",
        )  # fmt: skip
        meta.meta_train(run, settings, network)
    found = grid.rate("alchemist")
    members = grid.numbers(bill(grid, "alchemist")["reference_ids"])
    group = Group.of(network, score.pooled_features(network, grid.encoded, members, budget.score_batch))
    expected = score.rate_pool(
        network, grid.encoded, pool, group, settings, budget.score_batch, lambda n: None
    )
    assert np.array_equal(found.to_numpy(), expected)


def test_the_reference_group_is_a_draw_from_the_pool_by_the_seed(grid: Grid) -> None:
    pool, count = list(grid.index("pool")["id"]), grid.scale.rate.reference_group
    groups = []
    for seed in (SEED, OTHER):
        grid.rate("alchemist", seed)
        groups.append(bill(grid, "alchemist", seed)["reference_ids"])
    for group in groups:
        assert len(set(group)) == len(group) == count
        assert set(group) < set(pool)
        places = [pool.index(name) for name in group]
        assert max(places) - min(places) > 2 * count, "a draw is no run of neighbours"
    assert groups[0] != groups[1]


def test_a_carried_rater_rates_by_the_weights_of_its_seed(grid: Grid) -> None:
    """Carried over as they are, the weights of the raters trained here rate as those do."""
    folder = grid.folder / "data/assets/ours"
    folder.mkdir(parents=True)
    trained = {seed: grid.rate("alchemist", seed) for seed in (SEED, OTHER)}
    for name, seed in ((SEED, SEED), (OTHER, OTHER), (0, OTHER), (1, SEED)):
        shutil.copytree(grid.folder / f"data/raters/alchemist/{seed}", folder / str(name))
    for seed in (SEED, OTHER):
        assert np.array_equal(grid.rate("carried", seed), trained[seed])
        facts = bill(grid, "carried", seed)
        assert facts["train_flops"] == 0
        assert facts["carried_from"] == f"data/assets/ours/{seed}"

    def refused(told: str) -> None:
        with pytest.raises(Refusal, match=told):
            grid(
                "rate", rater="carried", seed=SEED, family_name="star", encoded="data/encoded",
                assets="data/assets", scale="tiny", out="data/no.parquet", log_out="data/no",
                time_out="data/no.json", scratch=".scratch",
            )  # fmt: skip

    params = grid.folder / "data/params.json"
    before, wanted = params.read_bytes(), files.read_sealed(params)
    for group in ("compared", "within"):
        wanted["raters"]["carried"] |= {"group": group, "groups": {"a_step": 2}}
        files.write_json(params, files.sealed(wanted))
        refused(f"trained under group product, and here it is {group}; group product is legal")
    params.write_bytes(before)
    path = folder / f"{SEED}/rater.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused("is not the file that its manifest describes; git checkout brings")


def test_a_launcher_trains_one_rater_on_two_processes(grid: Grid) -> None:
    trained = grid.rate("alchemist")
    out, log = grid.folder / "data/two.parquet", grid.folder / "data/two"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         "-m", "stages.rate", "--rater", "alchemist", "--seed", str(SEED), "--family", "star", "--encoded",
         "data/encoded", "--assets", "data/assets", "--scale", "tiny", "--out", str(out),
         "--log-out", str(log), "--time-out", "data/two.json"],
        cwd=grid.folder, env={**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}, check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("wrote") == 1  # one speaks for both
    files.check_manifest(log)
    found = pd.read_parquet(out).set_index("id")["rating"].loc[trained.index]
    assert np.abs(found - trained).max() < 0.02 * trained.std()  # in bfloat16 where that is fast
    assert found.corr(trained, method="spearman") > 0.999
    facts, alone = files.read_json(log / "rating.json"), bill(grid, "alchemist")
    assert alone["train_flops"] <= facts["train_flops"] < 1.2 * alone["train_flops"]
    assert facts["reference_ids"] == alone["reference_ids"]


def test_a_random_rating_is_a_function_of_seed_and_id_alone(grid: Grid) -> None:
    for seed in (SEED, OTHER):
        found = grid.rate("random", seed)
        expected = [float(stateless.id_uniforms([name], "random", seed)[0]) for name in found.index]
        assert list(found) == expected
    assert not np.allclose(grid.rate("random"), grid.rate("random", OTHER))


def test_another_seed_is_another_rater(grid: Grid) -> None:
    assert not np.allclose(grid.rate("alchemist"), grid.rate("alchemist", OTHER), rtol=1e-3)
    assert not np.allclose(grid.rate("loss"), grid.rate("loss", OTHER), rtol=1e-3)


def test_low_loss_comes_first_where_the_direction_says_so(grid: Grid, plain: Plain) -> None:
    assert grid.params.raters["loss"].direction == -1
    expected = -losses(grid, plain("pool"))
    assert np.allclose(grid.rate("loss"), expected, rtol=1e-5)


def test_excess_loss_is_that_over_a_proxy_of_the_validation_pairs(grid: Grid, plain: Plain) -> None:
    direction = grid.params.raters["reference_loss"].direction
    ours, theirs = (losses(grid, plain(split)) for split in ("pool", "meta_val"))
    assert np.allclose(grid.rate("reference_loss"), direction * (ours - theirs), atol=1e-5)


def test_caption_gain_is_the_loss_without_the_caption_less_that_with_it(grid: Grid, plain: Plain) -> None:
    direction = grid.params.raters["caption_gain"].direction
    model = plain("pool")
    expected = direction * (losses(grid, model, captioned=False) - losses(grid, model))
    assert np.abs(expected).max() > 1e-4
    assert np.allclose(grid.rate("caption_gain"), expected, atol=1e-5)


def test_the_band_puts_the_middle_of_the_losses_first_and_the_least_gain_last(
    grid: Grid, plain: Plain
) -> None:
    settings = grid.params.raters["best"]
    model = plain("pool")
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
            grid.generator(PROXY, SEED), grid.encoded, numbers, train_settings(grid), SEED,
            sorted({*wanted, budget.images}), state, measure, lambda n, words: None,
        )  # fmt: skip
    assert np.allclose(grid.rate("el2n"), settings.direction * np.mean(seen, axis=0), atol=1e-6)


@pytest.mark.parametrize("rater", ["alchemist", "loss", "random"])
def test_a_table_rates_every_usable_pair_of_the_pool_and_no_other(grid: Grid, rater: str) -> None:
    assert set(grid.rate(rater).index) == set(grid.index("pool")["id"])


def test_the_bill_holds_the_signs_of_its_own_log_and_of_the_split_that_validated(grid: Grid) -> None:
    for rater in ("alchemist", "loss"):
        grid.rate(rater)
    facts, budget = bill(grid, "alchemist"), grid.scale.rate
    found = {one["name"]: one for one in facts["signs"]}
    assert found["passes"]["value"] == budget.images / len(rows(grid)[1])
    assert found["gate_zero"]["value"] == pytest.approx(at_end(facts["log"], "gate"))
    assert found["passes"]["threshold"] == budget.signs.passes
    assert [one["name"] for one in bill(grid, "loss")["signs"]] == ["equal"]

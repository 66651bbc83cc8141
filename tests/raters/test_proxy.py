"""Ratings of a plain proxy: each rule against the losses that it is made of, and its direction."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import TINY
from rater_helpers import BUDGET, run_of

from alchemist.core import stateless
from alchemist.core.scratch import Scratch
from alchemist.core.settings.rater import SeededRater
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models.encoded import Encoded, PoolRows, ValidationRows
from alchemist.models.family import Generator
from alchemist.models.training import train
from alchemist.raters import proxy, score
from alchemist.raters.kinds.caption_band import CaptionBandRater, band, percentiles
from alchemist.raters.kinds.caption_gain import CaptionGainRater
from alchemist.raters.kinds.el2n import El2nRater
from alchemist.raters.kinds.loss import LossRater
from alchemist.raters.kinds.loss_within import LossWithinRater, within
from alchemist.raters.kinds.reference_loss import ReferenceLossRater
from alchemist.raters.proxy import Found, stop_at, train_settings
from alchemist.raters.table import KINDS


def test_percentiles_do_not_depend_on_scale_and_share_ties() -> None:
    assert percentiles(np.array([3.0, -1.0, 7.0])).tolist() == [50, 0, 100]
    assert percentiles(np.exp([3.0, -1.0, 7.0])).tolist() == [50, 0, 100]
    assert percentiles(np.array([2.0, 1.0, 2.0, 3.0, 2.0])).tolist() == [50, 0, 50, 100, 50]
    assert percentiles(np.array([5.0])).tolist() == [0]


def test_the_caption_band_rates_the_middle_first_and_unhelpful_captions_last() -> None:
    losses = np.linspace(1, 3, 101)
    gains = np.linspace(0, 1, 101)[::-1].copy()  # the highest losses gain least
    rating = band(losses, gains, 30, 0)
    assert rating.tolist() == pytest.approx((-np.abs(np.arange(101) - 30.0)).tolist())
    banded = band(losses, gains, 30, 10)
    assert banded[:91].tolist() == rating[:91].tolist()
    assert banded[91:].tolist() == (rating[91:] - 100).tolist()
    assert banded[91:].max() < banded[:91].min()


def test_within_a_group_a_value_is_ranked_beside_its_like_alone() -> None:
    values, labels = np.array([9.0, 1.0, 5.0, 100.0, 300.0, 5.0]), np.array([0, 0, 0, 7, 7, 0])
    assert within(values, labels).tolist() == [87.5, 12.5, 50, 25, 75, 50]
    assert within(np.exp(-values / 99), labels).tolist() == [12.5, 87.5, 50, 75, 25, 50]


def test_above_any_percentile_within_groups_stand_like_shares_of_each() -> None:
    """Whatever one group's values are beside another's: within a pair, of groups of 10 and of 90."""
    labels = np.repeat([0, 1], [10, 90])
    values = stateless.generator("within").normal(size=100) + 50 * labels
    best = np.argsort(-within(values, labels), kind="stable")
    for count in range(10, 100, 10):
        assert np.bincount(labels[best[:count]]).tolist() == [count // 10, count - count // 10]


# --- the rules ---


class Bench:
    """A run of plain proxies on the tiny store, and the same proxies trained by hand; each of them once."""

    def __init__(self, folder: Path, data: Encoded, codec: StarCodec) -> None:
        self.folder, self.data, self.codec = folder, data, codec
        self.pool, self.validation = data.pool(), data.validation()
        self.budget = BUDGET.model_copy(update={"images": 64})
        self.told: dict[str, Told] = {}
        self.by_hand: dict[str, Generator] = {}

    def make(self, seed: int = 3) -> Generator:
        return StarGenerator(TINY, self.codec, seed)

    def rate(self, settings: SeededRater) -> "Told":
        asked = settings.model_dump_json()
        if asked not in self.told:
            self.told[asked] = self.rate_in(self.folder / f"rule {len(self.told)}", settings)
        return self.told[asked]

    def rate_in(self, folder: Path, settings: SeededRater) -> "Told":
        ticks, images = list[int](), list[int]()
        with Scratch(folder, "m" * 16) as scratch:
            run = run_of(
                self.data, self.make, scratch, 3, self.budget, lambda count, words: images.append(count),
                ticks.append,
            )  # fmt: skip
            return Told(KINDS[settings.kind].rate(run, settings), ticks, images)

    def trained(self, rows: PoolRows | ValidationRows, images: int = 64) -> Generator:
        name = f"by hand {type(rows).__name__} {images}"
        if name not in self.by_hand:
            self.by_hand[name] = self.make()
            with Scratch(self.folder / name, "m") as scratch:
                train(
                    self.by_hand[name], self.data, rows, train_settings(self.budget), 3, [images], scratch,
                    lambda seen, averaged: None, lambda count, words: None,
                )  # fmt: skip
        return self.by_hand[name]

    def losses(self, generator: Generator) -> np.ndarray:
        return score.pool_losses(generator, self.data, self.pool, 40, lambda n: None)


class Told(NamedTuple):
    """Ratings, and the counts of the progress that was told: of pairs scored and of images trained on."""

    found: Found
    ticks: list[int]
    images: list[int]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, data: Encoded, codec: StarCodec) -> Bench:
    return Bench(tmp_path_factory.mktemp("proxies"), data, codec)


@pytest.mark.parametrize("direction", [1, -1])
def test_the_loss_rater_rates_by_the_proxys_loss_in_its_direction(bench: Bench, direction: int) -> None:
    wanted = direction * bench.losses(bench.trained(bench.pool))
    found = bench.rate(LossRater(kind="loss", direction=direction)).found
    np.testing.assert_allclose(found.rating, wanted, rtol=0, atol=1e-5)
    assert found.rating.std() > 1e-3


@pytest.mark.parametrize("direction", [1, -1])
def test_the_loss_within_groups_takes_each_an_equal_share(bench: Bench, direction: int) -> None:
    """By caption length, whose bins here are of unequal sizes; in each the order is that of the loss."""
    found = bench.rate(LossWithinRater(kind="loss_within", direction=direction)).found
    losses = bench.losses(bench.trained(bench.pool))
    lengths = bench.data.lengths(bench.data.rows["text"].to_numpy()[bench.pool.numbers])
    told = found.facts["groups"]
    edges = [int(one["name"].split()[1]) for one in told]
    labels = np.searchsorted(edges, lengths, side="right")
    assert len(edges) > 1
    assert np.bincount(labels)[1:].tolist() == [one["pairs"] for one in told]
    for one in np.unique(labels):
        of = labels == one
        assert np.argsort(found.rating[of]).tolist() == np.argsort(direction * losses[of]).tolist()
        assert found.rating[of].mean() == pytest.approx(50)


@pytest.mark.parametrize("direction", [1, -1])
def test_the_reference_loss_takes_off_that_of_a_proxy_of_the_validation_split(
    bench: Bench, direction: int
) -> None:
    of_pool = bench.losses(bench.trained(bench.pool))
    of_validation = bench.losses(bench.trained(bench.validation))
    found, _, images = bench.rate(ReferenceLossRater(kind="reference_loss", direction=direction))
    np.testing.assert_allclose(found.rating, direction * (of_pool - of_validation), rtol=0, atol=1e-5)
    assert sum(images) == 64, "the second proxy is not told"
    assert found.train_flops == 2 * bench.rate(LossRater(kind="loss", direction=1)).found.train_flops


@pytest.mark.parametrize("direction", [1, -1])
def test_caption_gain_is_the_loss_without_the_caption_less_that_with_it(bench: Bench, direction: int) -> None:
    proxy_of_pool = bench.trained(bench.pool)
    given, empty = score.caption_losses(proxy_of_pool, bench.data, bench.pool, 40, lambda n: None)
    found = bench.rate(CaptionGainRater(kind="caption_gain", direction=direction)).found
    np.testing.assert_allclose(found.rating, direction * (empty - given), rtol=0, atol=1e-5)
    assert np.abs(found.rating).max() > 1e-3


def test_the_band_is_of_the_captioned_losses_and_of_the_gain(bench: Bench) -> None:
    given, empty = score.caption_losses(
        bench.trained(bench.pool), bench.data, bench.pool, BUDGET.score_batch, lambda n: None
    )
    found = bench.rate(CaptionBandRater(kind="caption_band", centre=40.0, mismatched=10.0)).found
    np.testing.assert_allclose(found.rating, band(given, empty - given, 40.0, 10.0), rtol=0, atol=1e-9)
    last = percentiles(empty - given) < 10
    assert found.rating[last].max() < found.rating[~last].min()
    assert found.rating[~last].argmax() == np.abs(percentiles(given)[~last] - 40).argmin()


def test_el2n_is_a_mean_over_the_stated_checkpoints(bench: Bench) -> None:
    norms = [
        score.error_norms(bench.trained(bench.pool, images), bench.data, bench.pool, 40, lambda n: None)
        for images in (16, 32)
    ]
    found = bench.rate(El2nRater(kind="el2n", direction=-1, checkpoints=(0.25, 0.5))).found
    np.testing.assert_allclose(found.rating, -np.mean(norms, axis=0), rtol=0, atol=1e-5)
    assert np.abs(norms[0] - norms[1]).max() > 1e-5


CASES: list[SeededRater] = [
    LossRater(kind="loss", direction=-1),
    LossWithinRater(kind="loss_within", direction=-1),
    ReferenceLossRater(kind="reference_loss", direction=1),
    El2nRater(kind="el2n", direction=1, checkpoints=(0.25, 0.5, 1.0)),
    CaptionGainRater(kind="caption_gain", direction=1),
    CaptionBandRater(kind="caption_band", centre=50.0, mismatched=10.0),
]


@pytest.mark.parametrize("settings", CASES, ids=lambda settings: settings.kind)
def test_a_rule_tells_its_progress_its_log_and_its_cost(bench: Bench, settings: SeededRater) -> None:
    found, ticks, _ = bench.rate(settings)
    assert found.rating.shape == (80,)
    assert sum(ticks) == settings.passes() * 80
    assert found.log[-1]["images"] == 64
    assert found.train_flops > 0
    one = bench.rate(LossRater(kind="loss", direction=-1)).found
    assert found.score_flops == pytest.approx(settings.passes() * one.score_flops)
    assert found.score_seconds > 0


def test_every_rater_of_a_plain_proxy_is_among_the_cases() -> None:
    seeded = {name for name, kind in KINDS.items() if issubclass(kind.BLOCK, SeededRater)}
    assert {settings.kind for settings in CASES} == seeded - {"meta", "random"}


@pytest.mark.parametrize("settings", CASES, ids=lambda settings: settings.kind)
def test_a_killed_proxy_rater_ends_where_an_unbroken_one_does(
    bench: Bench, settings: SeededRater, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed while it scores; EL2N behind its first checkpoint."""
    whole = bench.rate(settings).found

    class KilledError(Exception):
        pass

    def dying(measure: Callable[..., Any], alive: int) -> Callable[..., Any]:
        calls: list[int] = []

        def call(*arguments: Any) -> Any:
            calls.append(1)
            if len(calls) > alive:
                raise KilledError
            return measure(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name, alive in (("pool_losses", 0), ("caption_losses", 0), ("error_norms", 1)):
            patch.setattr(score, name, dying(getattr(score, name), alive))
        with pytest.raises(KilledError):
            bench.rate_in(tmp_path, settings)
    resumed = bench.rate_in(tmp_path, settings).found
    assert np.array_equal(resumed.rating, whole.rating)


def test_stops_lie_at_whole_batches_and_at_least_one() -> None:
    budget = BUDGET.model_copy(update={"images": 100, "batch": 8})
    assert [stop_at(budget, share) for share in (0.001, 0.25, 0.5, 1.0)] == [8, 24, 48, 96]


def test_a_plain_proxy_sees_as_many_images_as_a_meta_trained_rater_at_equal_rates() -> None:
    settings = train_settings(BUDGET)
    for name in ("images", "batch", "weight_decay", "clip", "warmup_images", "caption_dropout", "precision"):
        assert getattr(settings, name) == getattr(BUDGET, name)
    assert settings.learning_rate == BUDGET.proxy_learning_rate
    assert (settings.ema_images, settings.schedule, settings.checkpoints) == (0.0, "constant", ())


def test_flops_of_the_run_are_three_passes_an_image(bench: Bench, tmp_path: Path) -> None:
    found = bench.rate(LossRater(kind="loss", direction=1)).found
    with Scratch(tmp_path, "m") as scratch:
        run = run_of(bench.data, bench.make, scratch, 3, bench.budget)
        assert found.train_flops == 3 * 64 * proxy.pass_flops(run, bench.make(), 8, training=True)
        assert found.score_flops == 80 * proxy.pass_flops(
            run, bench.make(), BUDGET.score_batch, training=False
        )

"""What trained networks say of every pair: no neighbour changes it, but for the published ratings."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from broken import Broken
from conftest import TINY
from rater_helpers import GROUPS, SETTINGS, new_rater, of_credit

from alchemist.core.refusal import Refusal
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.raters import score
from alchemist.raters.network import Group, Rater

Measure = Callable[..., np.ndarray]


@pytest.fixture
def rater(codec: StarCodec) -> Rater:
    return new_rater(codec).eval()


@pytest.fixture(scope="module")
def proxy(codec: StarCodec) -> StarGenerator:
    """A generator whose head is far enough from zero for chances to differ."""
    generator = StarGenerator(TINY, codec, seed=3).eval()
    with torch.no_grad():
        head = generator.star.head
        assert head is not None
        head.weight.mul_(100)
    return generator


def silent(count: int) -> None:
    pass


def caption_gain(*arguments: object) -> np.ndarray:
    given, empty = score.caption_losses(*arguments)  # type: ignore[arg-type]
    return empty - given


# --- by a trained rater ---


@pytest.mark.parametrize("group", GROUPS)
def test_ratings_depend_on_no_neighbour(data: Encoded, codec: StarCodec, rater: Rater, group: str) -> None:
    pool = data.pool()
    settings = SETTINGS.model_copy(update={"group": group})
    members = score.group_members(pool, 15, 0)
    beside = Group.of(rater, score.pooled_features(rater, data, members, 7))

    def ratings(rows: PoolRows, batch: int) -> np.ndarray:
        return score.rate_pool(rater, data, rows, beside, settings, batch, lambda n: None)

    whole = ratings(pool, 80)
    assert whole.std() > 0
    for batch in (1, 7, 256):
        np.testing.assert_allclose(ratings(pool, batch), whole, rtol=0, atol=1e-6)
    turned = PoolRows(pool.numbers[::-1].copy())
    np.testing.assert_allclose(ratings(turned, 7)[::-1], whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ratings(PoolRows(pool.numbers[10:20]), 3), whole[10:20], rtol=0, atol=1e-6)
    twice = PoolRows(pool.numbers[[4, 9, 4]])
    again = ratings(twice, 3)
    assert again[0] == pytest.approx(again[2], abs=1e-9)


def test_published_ratings_depend_on_the_batch(data: Encoded, codec: StarCodec, rater: Rater) -> None:
    """Gate times softmax of sigmoids over each batch of the pool's rows in their order."""
    pool = data.pool()
    settings = of_credit("penalty", group="double_softmax", rating_mode="batch", bound=None)

    def ratings(rows: PoolRows, batch: int) -> np.ndarray:
        return score.rate_pool(rater, data, rows, None, settings, batch, lambda n: None)

    whole = ratings(pool, 20)
    features = score.pooled_features(rater, data, pool.numbers[20:40], 20)
    with torch.no_grad():
        gate = float(rater.gate(features.mean(0), features.var(0, correction=0)))
        wanted = gate * torch.sigmoid(rater.logits(features)).softmax(0).numpy()
    np.testing.assert_allclose(whole[20:40], wanted, rtol=1e-5)
    assert not np.allclose(ratings(pool, 16)[:16], whole[:16], rtol=1e-3)
    shuffled = np.random.default_rng(0).permutation(80)
    again = np.empty(80)
    again[shuffled] = ratings(PoolRows(pool.numbers[shuffled]), 20)
    assert np.abs(again / whole - 1).max() > 1e-6, "other neighbours give other ratings"
    assert np.array_equal(ratings(pool, 20), whole)


def test_the_reference_group_is_a_draw_of_the_pool_by_its_seed() -> None:
    pool = PoolRows(np.arange(1000, 2000))
    members = score.group_members(pool, 255, 3)
    assert len(np.unique(members)) == 255
    assert set(members.tolist()) <= set(pool.numbers.tolist())
    assert not np.array_equal(score.group_members(pool, 255, 4), members)
    assert np.array_equal(score.group_members(pool, 255, 3), members)
    assert score.group_members(pool, 5000, 3).tolist() == pool.numbers.tolist(), "at most the whole pool"


def test_the_digest_tells_the_features_of_the_group_apart(data: Encoded, rater: Rater) -> None:
    first, other = (score.pooled_features(rater, data, np.arange(n, n + 5), 3) for n in (0, 1))
    assert score.digest(first) == score.digest(score.pooled_features(rater, data, np.arange(5), 3))
    assert score.digest(first) != score.digest(other)


# --- by a proxy ---


def test_losses_of_the_pool_do_not_depend_on_the_batch(data: Encoded, codec: StarCodec) -> None:
    proxy, pool = StarGenerator(TINY, codec, 0), data.pool()
    whole = score.pool_losses(proxy, data, pool, 80, lambda n: None)
    np.testing.assert_allclose(
        score.pool_losses(proxy, data, pool, 7, lambda n: None), whole, rtol=0, atol=1e-5
    )
    one = proxy.losses(data.batch(pool.numbers[3:4]), Chance(0, np.zeros(1, dtype=np.int64)))
    assert whole[3] == pytest.approx(float(one.detach()), abs=1e-5)


def test_el2n_is_the_mean_over_the_tokens_of_a_pair(proxy: StarGenerator, data: Encoded) -> None:
    rows = PoolRows(data.pool().numbers[:12])
    with torch.no_grad():
        batch = data.batch(rows.numbers)
        difference = proxy.logits(batch, Chance.run(0, 0, 12)).double().softmax(-1)
        difference -= torch.eye(difference.shape[-1], dtype=torch.float64)[batch.inputs["tokens"]]
    expected = difference.square().sum(-1).sqrt().mean(1)
    found = score.error_norms(proxy, data, rows, 5, silent)
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert found.std() > 1e-3


def test_caption_losses_are_those_with_and_without_the_caption(proxy: StarGenerator, data: Encoded) -> None:
    rows = PoolRows(data.pool().numbers[:12])
    with torch.no_grad():
        batch = data.batch(rows.numbers)
        tokens, empty = batch.inputs["tokens"], data.null(len(rows), 1)
        losses = [
            torch.nn.functional.cross_entropy(
                proxy.star(proxy.tokenizer.teacher_inputs(tokens), text).double().flatten(0, 1),
                tokens.flatten(),
                reduction="none",
            ).view(len(rows), -1).mean(1)
            for text in (empty, batch.text)
        ]  # fmt: skip
    given, found = score.caption_losses(proxy, data, rows, 5, silent)
    assert given.dtype == found.dtype == np.float64
    assert found.tolist() == pytest.approx(losses[0].tolist(), abs=2e-6)
    assert given.tolist() == pytest.approx(losses[1].tolist(), abs=2e-6)
    assert (found - given).std() > 1e-3


def test_a_proxy_that_reads_no_caption_gains_nothing_by_one(
    proxy: StarGenerator, data: Encoded, codec: StarCodec
) -> None:
    deaf = StarGenerator(TINY, codec, seed=3).eval()
    with torch.no_grad():
        deaf.load_state_dict(proxy.state_dict())
        deaf.star.start.weight.zero_()
        for block in deaf.star.blocks:
            block.text_kv.weight.zero_()
    rows = PoolRows(data.pool().numbers[:9])
    assert np.abs(caption_gain(deaf, data, rows, 4, silent)).max() < 1e-6


@pytest.mark.parametrize(
    ("measure", "passes"), [(score.error_norms, 1), (caption_gain, 2)], ids=["el2n", "caption_gain"]
)
def test_a_value_depends_on_its_pair_alone(
    measure: Measure, passes: int, proxy: StarGenerator, data: Encoded
) -> None:
    rows = PoolRows(data.pool().numbers[:23])
    ticks: list[int] = []
    whole = measure(proxy, data, rows, 23, ticks.append)
    assert ticks == [23] * passes
    for batch in (1, 7):
        ticks.clear()
        assert measure(proxy, data, rows, batch, ticks.append) == pytest.approx(whole, abs=2e-6)
        assert sum(ticks) == 23 * passes
    turned = measure(proxy, data, PoolRows(rows.numbers[::-1].copy()), 7, silent)
    assert turned[::-1] == pytest.approx(whole, abs=2e-6)
    assert all(p.grad is None for p in proxy.parameters())


def test_every_score_has_the_same_chance_of_a_pair_whoever_is_asked(data: Encoded) -> None:
    """Two models that are compared differ by the models alone: seed and position are those of the pair."""
    seen: list[tuple[int, list[int], bool]] = []

    def heard(batch: object, chance: Chance) -> torch.Tensor:
        seen.append((chance.seed, chance.positions.tolist(), chance.training))
        return torch.zeros(len(chance))

    numbers, device = np.array([7, 3, 50]), torch.device("cpu")
    score.over_rows(heard, data, numbers, 3, device, silent)
    score.over_rows(heard, data, numbers, 3, device, silent, uncaptioned=True)
    score.over_rows(heard, data, numbers[1:], 2, device, silent)
    assert seen[0] == seen[1] == (score.SCORED, data.positions(numbers).tolist(), False)
    assert seen[2][1] == seen[0][1][1:]


@pytest.mark.parametrize("measure", [score.pool_losses, score.caption_losses])
def test_a_loss_that_is_no_number_is_told_with_its_id(
    data: Encoded, codec: StarCodec, measure: Measure
) -> None:
    proxy, rows = Broken(TINY, codec, 0), data.pool()
    proxy.at = int(data.positions(rows.numbers[[11]])[0])
    one = data.rows["id"].iloc[rows.numbers[11]]
    words = rf"of 1 of 80 pairs is not finite: '{one}' \(\.nan\); a smaller rate\.proxy_learning"
    with pytest.raises(Refusal, match=words):
        measure(proxy, data, rows, 7, silent)

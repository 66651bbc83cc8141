import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alchemist.core import stateless


def test_key_depends_on_every_part_its_type_and_the_order():
    parts = [("a", 1), (1, "a"), ("a", "1"), ("a1",), ("a", 1, ""), ("a", 1, 0)]
    assert len({stateless.key(*p) for p in parts}) == len(parts)
    assert all(0 <= stateless.key(*p) < 1 << 63 for p in parts)


def test_generator_ignores_what_was_drawn_elsewhere():
    first = stateless.generator("x", 1).random(5)
    stateless.generator("y", 1).random(100)
    np.random.default_rng(0).random(100)
    assert (first == stateless.generator("x", 1).random(5)).all()
    assert (first != stateless.generator("x", 2).random(5)).all()


def test_uniforms_broadcast_and_do_not_depend_on_the_shape():
    rows, columns = np.arange(6), np.arange(4)
    table = stateless.uniforms(7, rows[:, None], columns[None])
    assert table.shape == (6, 4)
    for row in rows:
        assert (table[row] == stateless.uniforms(7, int(row), columns)).all()
    assert table[3, 2] == stateless.uniforms(7, 3, 2)
    assert (table[::-1] == stateless.uniforms(7, rows[::-1, None], columns[None])).all()
    assert len(np.unique(table)) == table.size


def test_uniforms_tell_coordinates_apart():
    assert stateless.uniforms(7, 1, 2) != stateless.uniforms(7, 2, 1)
    assert stateless.uniforms(7, 1) != stateless.uniforms(7, 1, 0)
    assert stateless.uniforms(7, 1) != stateless.uniforms(8, 1)


def test_uniforms_take_any_integer_type_and_large_seeds():
    for kind in (np.int32, np.int64, np.uint64):
        assert stateless.uniforms(7, np.array([3], kind)) == stateless.uniforms(7, 3)
    assert 0 < stateless.uniforms((1 << 63) - 1, (1 << 62)) < 1


@pytest.mark.parametrize("draw", ["positions", "seeds", "second", "ids"])
def test_uniforms_are_uniform(draw):
    count = 20_000
    values = {
        "positions": lambda: stateless.uniforms(0, np.arange(count)),
        "seeds": lambda: np.array([stateless.uniforms(s, 5) for s in range(2_000)]),
        "second": lambda: stateless.uniforms(0, 3, np.arange(count)),
        "ids": lambda: stateless.id_uniforms([f"pool-{i:07d}" for i in range(count)], "ties", 0),
    }[draw]()
    assert ((values > 0) & (values < 1)).all()
    assert stats.kstest(values, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 4 / np.sqrt(len(values))


def test_streams_of_two_seeds_are_uncorrelated():
    a, b = (stateless.uniforms(seed, np.arange(20_000)) for seed in (0, 1))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_id_uniforms_depend_on_the_id_and_the_parts_alone():
    ids = ["pool-1", "", "größe", "\u0000x", "a" * 500]
    values = stateless.id_uniforms(ids, "ties", 3)
    assert (values[::-1] == stateless.id_uniforms(ids[::-1], "ties", 3)).all()
    for name, value in zip(ids, values, strict=True):
        assert stateless.id_uniforms([name], "ties", 3)[0] == value
    assert len(np.unique(values)) == len(ids)
    assert not (values == stateless.id_uniforms(ids, "ties", 4)).any()
    assert not (values == stateless.id_uniforms(ids, "gsample", 3)).any()
    # the text of the parts must not run together
    assert (stateless.id_uniforms(ids, "a", "b") != stateless.id_uniforms(ids, "ab")).all()


def test_id_uniforms_take_every_kind_of_column_alike():
    ids = ["b", "a", "größe", "a longer one"]
    wanted = stateless.id_uniforms(ids, 0)
    for column in (
        np.array(ids),
        np.array(ids, dtype=object),
        pd.Series(ids),
        pd.Series(ids, dtype=object),
        pd.Series(ids, index=[9, 8, 7, 6]),
        pd.Index(ids),
        pd.Series(ids).array,
        pd.Series(ids, dtype="string[pyarrow]"),
    ):
        assert (stateless.id_uniforms(column, 0) == wanted).all()
    assert stateless.id_uniforms([], 0).shape == (0,)


def test_id_uniforms_keep_their_values():
    """Selections of old runs stand on these values: a change of library must not move them."""
    values = stateless.id_uniforms(["pool-0000000", "größe"], "ties", 0)
    assert values == pytest.approx([0.39827767110067624, 0.6273843589636608], abs=0)


def test_epoch_order_is_a_permutation_of_its_seed_and_epoch():
    orders = [stateless.epoch_order(seed, epoch, 1000) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert (np.sort(order) == np.arange(1000)).all()
    for i, a in enumerate(orders):
        for b in orders[i + 1 :]:
            assert (a == b).sum() < 20
    assert (orders[0] == stateless.epoch_order(0, 0, 1000)).all()
    assert stateless.epoch_order(0, 0, 0).shape == (0,)

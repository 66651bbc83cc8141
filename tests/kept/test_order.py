import itertools

import numpy as np
import pytest

from alchemist.kept.order import Order


def epoch(order, number):
    """The rows of an epoch, window by window."""
    found, position = [], number * order.count
    while position < (number + 1) * order.count:
        begin, rows = order.window(position)
        assert begin == position
        found.append(rows)
        position += len(rows)
    assert position == (number + 1) * order.count
    return found


@pytest.mark.parametrize("count", [1, 7, 8, 9, 63, 64, 65, 100])
@pytest.mark.parametrize(("block", "mixed"), [(1, 1), (4, 2), (8, 3), (8, 8), (200, 1), (3, 1000)])
def test_every_epoch_has_every_row_once(count, block, mixed):
    order = Order(count, 5, block, mixed)
    for number in range(3):
        assert sorted(np.concatenate(epoch(order, number))) == list(range(count))


@pytest.mark.parametrize("count", [64, 61])
def test_the_window_of_any_position_is_that_of_the_pass(count):
    order = Order(count, 1, 8, 3)
    for number in (0, 2):
        begin = number * count
        for rows in epoch(order, number):
            for position in range(begin, begin + len(rows)):
                first, found = Order(count, 1, 8, 3).window(position)
                assert first == begin
                assert (found == rows).all()
            begin += len(rows)


def test_a_window_is_of_few_stretches_of_neighbours_mixed_with_one_another():
    order = Order(10_000, 2, 50, 4)
    for rows in epoch(order, 0):
        blocks = np.unique(rows // 50)
        assert len(rows) == 200
        assert len(blocks) == 4
        assert set(rows) == set(itertools.chain.from_iterable(range(50 * b, 50 * b + 50) for b in blocks))
        assert np.mean(np.diff(rows // 50) != 0) > 0.5  # not one block behind another
    spread = [np.ptp(rows // 50) for rows in epoch(order, 0)]
    assert np.mean(spread) > 80  # of 200 blocks: not neighbours


def test_another_seed_and_another_epoch_have_another_order():
    orders = [np.concatenate(epoch(Order(500, seed, 10, 5), number)) for seed in (0, 1) for number in (0, 1)]
    for one, other in itertools.combinations(orders, 2):
        assert np.mean(one == other) < 0.05
    assert (orders[0] == np.concatenate(epoch(Order(500, 0, 10, 5), 0))).all()


def test_blocks_are_shuffled_and_each_window_mixed_anew():
    order = Order(400, 0, 20, 2)
    blocks = [[rows.min() // 20 for rows in epoch(order, number)] for number in (0, 1)]
    assert blocks[0] != blocks[1]
    windows = [rows % 20 for number in (0, 1) for rows in epoch(Order(400, 0, 20, 1), number)]
    assert len({tuple(rows) for rows in windows}) == 40


def test_all_rows_come_equally_often_at_the_beginning():
    """Also those of the last, short block."""
    firsts = [Order(10, seed, 4, 1).window(0)[1][0] for seed in range(3000)]
    counts = np.bincount(firsts, minlength=10)
    # Each block is first with 1/3; its rows share that.
    wanted = np.array([1 / 12] * 8 + [1 / 6] * 2) * 3000
    assert (np.abs(counts - wanted) < 5 * np.sqrt(wanted)).all()

import threading

from alchemist.pools import memory


def test_what_does_not_fit_beside_others_waits_for_them():
    first, second, order = threading.Event(), threading.Event(), []

    def hold(name, amount, until):
        with memory.held(amount, 100):
            order.append(name)
            until.wait(10)

    threads = [threading.Thread(target=hold, args=("a", 60, first))]
    threads[0].start()
    while not order:
        pass
    threads += [threading.Thread(target=hold, args=(*one, second)) for one in (("b", 41), ("c", 40))]
    for thread in threads[1:]:
        thread.start()
    while len(order) < 2:
        pass
    assert order == ["a", "c"]
    first.set()
    threads[0].join(10)
    while len(order) < 3:  # 40 and 41 fit
        pass
    second.set()
    for thread in threads:
        thread.join(10)
    assert memory._used == 0


def test_what_is_more_than_all_there_is_comes_alone_and_what_holds_some_waits_for_no_more():
    with memory.held(10**9, 100), memory.held(50, 100):
        assert memory._used == 10**9
    assert memory._used == 0


def test_parts_end_at_a_count_or_at_a_weight():
    assert list(memory.parts([1, 1, 1, 9, 1, 20, 30, 1], 3, int, 10)) == [[1, 1, 1], [9, 1], [20], [30], [1]]
    assert not list(memory.parts([], 3, int, 10))

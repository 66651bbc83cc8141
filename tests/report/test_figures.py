from alchemist.report import figures as draw


def test_a_long_log_keeps_its_end() -> None:
    log = [{"images": float(i)} for i in range(1001)]
    kept = draw.thinned(log, 100)
    assert len(kept) <= 100
    assert kept[-1] is log[-1]
    assert draw.thinned(log[:7], 100) == log[:7]


def test_no_two_selections_look_alike() -> None:
    assert len({draw.look(i) for i in range(42)}) == 42

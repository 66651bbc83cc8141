import itertools

from report_helpers import params, study_of


def test_cell_names_are_those_of_dvc() -> None:
    held = params(models=["xs", "s"], seeds=[0, 7], ratios=[0.2, 0.5], selections=["topk", "loss"])
    grid = held["grid"]
    product = itertools.product(grid["selections"], grid["ratios"], grid["models"], grid["seeds"])
    wanted = {"-".join(map(str, values)) for values in product}
    wanted |= {f"full-{m}-{s}" for m, s in itertools.product(grid["models"], grid["seeds"])}
    names = [cell.name for cell in study_of(held).cells()]
    assert set(names) == wanted
    assert len(names) == len(wanted)

"""The figures by other references stand in the place of those that decide, and orders are compared."""

from analysis_helpers import falling, scores, study

from alchemist.analysis.references import of_reference, places, references, swapped
from alchemist.analysis.results import results, tidy


def test_the_figures_of_a_view_stand_in_the_place_of_the_deciding_ones() -> None:
    made = study("zero", "one", ratios=(0.5,), seeds=(0, 1))
    held = scores(made, falling)
    assert references(next(iter(held.values()))) == {}
    for number, score in enumerate(held.values()):
        score["decides"] = "once"
        for at in score["checkpoints"]:
            own = {key: value for key, value in at.items() if isinstance(value, float)}
            turned = own | {"F": 100.0 - 10 * number, "nll": -own["nll"], "n": 9, "reference_n": 11}
            at["references"] = {"as_is": turned, "once": own | {"n": 7, "reference_n": 8}}
    assert references(next(iter(held.values()))) == {"once": (7, 8), "as_is": (9, 11)}
    whole, once, as_is = (
        results(made, tidy(made, found), "xs", "equal_images")
        for found in (held, of_reference(held, "once"), of_reference(held, "as_is"))
    )
    assert once == whole
    assert [row.figures["nll"].mean for row in as_is] == [-row.figures["nll"].mean for row in whole]
    assert [row.figures["kid"].mean for row in as_is] == [row.figures["kid"].mean for row in whole]
    assert [row.figures["fd"].mean for row in as_is] == [95.0, 75.0, 55.0]
    assert places(as_is, "fd") == {("full", 1.0): 3, ("zero", 0.5): 2, ("one", 0.5): 1}
    assert ["fd" in row.best for row in as_is] == [False, False, True]


def test_pairs_that_are_turned_are_those_of_another_order_the_most_marked_first() -> None:
    made = study("zero", "one", "two", ratios=(0.5,), seeds=(0,))
    fd = {"full": (1.0, 1.0), "zero": (2.0, 4.0), "one": (3.0, 3.5), "two": (4.0, 2.0)}
    held = scores(made, falling)
    rows = []
    for side in (0, 1):
        for cell in made.cells():
            for at in held[cell.name]["checkpoints"]:
                at["F"] = fd[cell.selection][side]
        rows.append(results(made, tidy(made, held), "xs", "equal_images"))
    found = swapped(*rows, "fd")
    assert [(a[0], b[0]) for a, b in found] == [("zero", "two"), ("one", "two"), ("zero", "one")]
    assert [(b, a) for a, b in swapped(*rows[::-1], "fd")] == found
    assert swapped(rows[0], rows[0], "fd") == []

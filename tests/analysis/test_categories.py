import numpy as np
from analysis_helpers import falling, scores, study

from alchemist.analysis.categories import categories, of_category
from alchemist.analysis.results import results, tidy


def test_a_categorys_figures_stand_in_the_place_of_those_of_all_images() -> None:
    """With their own best arm, and NaN where the category has none: never the figure of all images."""
    made = study("zero", "one", ratios=(0.5,), seeds=(0, 1))
    held = scores(made, falling)
    assert categories(next(iter(held.values()))) == {}
    for number, score in enumerate(held.values()):
        for at in score["checkpoints"]:
            art = {"n": 7, "reference_n": 9, "C": float(number), "K": 0.5}
            at["categories"] = {"art": art, "food": {"n": 1, "reference_n": 9, "C": float(-number)}}
    first = next(iter(held.values()))
    assert categories(first) == {"art": (7, 9), "food": (1, 9)}
    whole, art, food = (
        results(made, tidy(made, found), "xs", "equal_images")
        for found in (held, of_category(held, "art"), of_category(held, "food"))
    )
    assert [row.selection for row in art] == [row.selection for row in whole]
    clips = [score["checkpoints"][0]["categories"]["art"]["C"] for score in held.values()]
    assert [row.figures["clip"].mean for row in art] == np.mean(np.reshape(clips, (-1, 2)), axis=1).tolist()
    assert [row.figures["clip"].mean for row in food] == [-row.figures["clip"].mean for row in art]
    assert (
        ["clip" in row.best for row in art]
        == ["clip" in row.best for row in food][::-1]
        == [False, False, True]
    )
    assert all(np.isnan(row.figures["fd"].mean) and not np.isnan(row.figures["kid"].mean) for row in art)
    assert all(np.isnan(row.figures["kid"].mean) for row in food)
    assert not any(np.isnan(row.figures["fd"].mean) for row in whole)

"""Signs of one rating: planted logs and tables on which each must fire, and must not."""

import numpy as np
import pytest

from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.signs import SignSettings
from alchemist.raters.signs import EVIDENCE, LAWS, Sign, at_end, line, lines, sign, signs, written
from alchemist.raters.table import rater_settings

META = {"kind": "meta", "baseline": "validation"}
SOUND = {"train_loss": 5.4, "validation_loss": 5.3, "gate": 0.5, "effective_sample_share": 0.4}
BUDGET = RateSettings(images=6400)
DISTINCT = np.arange(100.0)


def log(**end):
    """Twenty rows, of which the last four are the end; before it everything is sound."""
    return [SOUND] * 16 + [SOUND | end] * 4


def fired(block=META, rows=None, rating=DISTINCT, validation=1000, budget=BUDGET):
    settings = rater_settings(block, "raters.x")
    found = signs(settings, budget, log() if rows is None else rows, rating, validation)
    return {one.name for one in found if one.fires}


def test_a_sound_rating_fires_nothing():
    assert fired() == set()


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ({"validation_loss": 4.5, "train_loss": 7.3}, "memorised"),
        ({"gate": 1e-7}, "gate_zero"),
        ({"gate": 1.0}, "gate_one"),
        ({"effective_sample_share": 0.04}, "few"),
        ({"effective_sample_share": 0.999}, "flat"),
    ],
)
def test_a_planted_end_of_the_log_fires_its_sign_alone(end, name):
    assert fired(rows=log(**end)) == {name}
    # The same figures earlier in the run, recovered from, say nothing.
    assert fired(rows=[SOUND | end] * 4 + [SOUND] * 16) == set()


def test_passes_are_images_over_validation_pairs():
    found = signs(rater_settings(META, "x"), BUDGET, log(), DISTINCT, 335)
    passes = next(one for one in found if one.name == "passes")
    assert passes == Sign("passes", 6400 / 335, 10.0, True)
    assert fired(validation=640) == set(), "exactly ten passes are within the bound"
    assert "passes" not in fired(validation=0)


def test_a_rating_that_is_one_value_for_many_pairs_fires_of_any_kind():
    # 11 of 100 are equal: above a tenth; 10 are not.
    many = np.where(DISTINCT < 11, -1.0, DISTINCT)
    assert fired(rating=many) == {"equal"}
    assert fired(block={"kind": "loss", "direction": -1}, rows=[{"loss": 1.0}], rating=many) == {"equal"}
    assert fired(rating=np.where(DISTINCT < 10, -1.0, DISTINCT)) == set()
    assert fired(rating=np.ones(100)) == {"equal"}


def test_a_rater_without_a_gate_or_a_log_has_no_signs_of_them():
    bare = META | {"group": "none", "baseline": "none"}
    assert fired(block=bare, rows=log(gate=1e-9)) == set()
    for group in ("compared", "within"):  # whose gate in the log is a share
        assert fired(block=bare | {"group": group, "groups": {}}, rows=log(gate=1.0)) == set()
    carried = signs(rater_settings(META | {"weights": "there"}, "x"), BUDGET, [], DISTINCT, 5)
    assert [one.name for one in carried] == ["equal"]


def test_bounds_are_settings():
    loose = RateSettings(images=6400, signs=SignSettings(memorised=0.5, passes=30))
    assert fired(rows=log(validation_loss=4.5, train_loss=7.3), validation=335, budget=loose) == set()


def test_the_end_is_the_last_fifth_and_at_least_one_row():
    assert at_end([{"x": float(i)} for i in range(20)], "x") == pytest.approx(17.5)
    assert at_end([{"x": 1.0}, {"x": 5.0}], "x") == 5.0


def test_only_what_was_measured_to_be_worse_warns():
    """A sign without a measurement is a note; the words name value, bound and what to do."""
    assert set(EVIDENCE) == set(LAWS)
    for name, law in LAWS.items():
        one = sign(name, 2.0 if law.side == "above" else -2.0, 1.0)
        assert one.fires
        assert one.warns == EVIDENCE[name].predicts
        assert line(one).startswith("Warning: " if EVIDENCE[name].predicts else "Note: ")
        assert law.todo in line(one)
        assert f"{law.side} 1" in line(one)
        assert not sign(name, 1.0, 1.0).fires, "the bound itself is within"
    assert lines([sign("few", 0.5, 0.1)]) == []


def test_what_is_written_names_all_that_a_reader_needs():
    (held,) = written([sign("passes", 19.1, 10.0)])
    assert held["name"] == "passes"
    assert (held["value"], held["threshold"], held["fires"], held["warns"]) == (
        19.1, 10.0, True, EVIDENCE["passes"].predicts,
    )  # fmt: skip
    assert held["todo"].endswith(".")


def test_a_few_pairs_of_different_ratings_have_no_equal_ones():
    """Each of five is a fifth of them, which is above the bound of a tenth."""
    assert "equal" not in fired(rating=np.arange(5.0))
    assert "equal" in fired(rating=np.array([0.0, 0.0, 1.0, 2.0, 3.0]))

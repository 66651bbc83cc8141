"""Verdicts of registered studies: what decides, what stands beside, looks, pools together."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from study_helpers import BLOCK, study

from alchemist.analysis import history
from alchemist.analysis.registered import Also, alpha, also, has_ended, judged, kept, look, rows, together
from alchemist.core.refusal import Refusal
from alchemist.core.settings.study import StudySettings
from alchemist.report.study_page import also_text

GAINS = {"one": 10.0, "two": 0.0, "full": 10.5}  # of FD, by arm


def table(gains: dict[str, float], seed: int = 0, sd: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    out = []
    for arm, gain in gains.items():
        for number in range(100, 108):
            for point in ("curve", "equal_epochs", "equal_images"):
                for reference in ("once", "as_is"):
                    noise = sd * rng.standard_normal()
                    out.append(
                        {
                            "selection": arm, "ratio": 1.0 if arm == "full" else 0.5, "model": "xs",
                            "seed": number, "point": point, "reference": reference,
                            "fd": 300 - gain + noise, "nll": 5.0,
                        }
                    )  # fmt: skip
    return pd.DataFrame(out)


def ends(block: StudySettings, gains: dict[str, float]) -> dict[str, str]:
    tables = {"here": table(gains), "there": table(gains, 1)}
    found = judged(block, tables, block.seeds.all(), {"here": "once", "there": "once"})
    return {claim: together(found, claim) for claim in block.claims}


def test_a_claim_is_decided_by_metric_point_and_reference_that_were_named() -> None:
    block = study()
    tables = {"here": table(GAINS), "there": table(GAINS, 1)}
    found = judged(block, tables, block.seeds.all(), {"here": "once", "there": "as_is"})
    deciding = {
        (one.claim, one.pool, one.reference, one.metric, one.asked.point) for one in found if one.decides
    }
    assert deciding == {
        (claim, pool, reference, "fd", "equal_epochs")
        for claim in "AB"
        for pool, reference in (("here", "once"), ("there", "as_is"))
    }
    # Every other metric, point and reference stands beside, and no checkpoint of a curve.
    assert len(found) == 2 * 2 * 2 * 2 * 2
    assert {one.asked.point for one in found} == {"equal_epochs", "equal_images"}


def test_verdicts_by_claim() -> None:
    assert ends(study(), GAINS) == {"A": "verified", "B": "falsified"}
    assert ends(study(), GAINS | {"one": -10.0}) == {"A": "falsified", "B": "falsified"}
    assert ends(study(claims={"A": BLOCK["claims"]["A"] | {"metric": "nll"}}), GAINS) == {"A": "falsified"}


def test_pools_together() -> None:
    block = study()
    for second, word in ((GAINS, "verified"), (GAINS | {"one": 0.0}, "falsified")):
        tables = {"here": table(GAINS), "there": table(second, 1)}
        found = judged(block, tables, block.seeds.all(), {"here": "once", "there": "once"})
        assert together(found, "A") == word


def test_order_of_rows_and_seeds_that_are_not_of_the_look_mean_nothing() -> None:
    block = study(pools={"here": {}})
    plain = table(GAINS)
    mixed = pd.concat([plain.assign(seed=plain["seed"] + 50, fd=0.0), plain]).sample(frac=1, random_state=0)
    one = rows(judged(block, {"here": plain}, block.seeds.all(), {"here": "once"}))
    other = rows(judged(block, {"here": mixed}, block.seeds.all(), {"here": "once"}))
    key = ["claim", "reference", "metric", "point"]
    pd.testing.assert_frame_equal(
        one.sort_values(key, ignore_index=True), other.sort_values(key, ignore_index=True)
    )


def test_a_missing_seed_or_metric_is_refused() -> None:
    block = study(pools={"here": {}})
    whole = table(GAINS)
    short = whole[(whole["selection"] != "one") | (whole["seed"] != 103)]
    with pytest.raises(Refusal, match="paired arms"):
        judged(block, {"here": short}, block.seeds.all(), {"here": "once"})
    with pytest.raises(Refusal, match="the look is at"):
        judged(block, {"here": whole[whole["seed"] != 103]}, block.seeds.all(), {"here": "once"})
    with pytest.raises(Refusal, match="has no fd at equal_epochs"):
        judged(block, {"here": whole.drop(columns="fd")}, block.seeds.all(), {"here": "once"})


def test_holm_takes_what_decides_together_whatever_metric_each_claim_named() -> None:
    claims = {name: dict(BLOCK["claims"]["A"]) for name in "ABC"}
    claims["C"] |= {"metric": "nll"}
    block = study(pools={"here": {}}, claims=claims, margins={"fd": 0.5, "nll": 0.01})
    figures = table(GAINS | {"one": 0.0}, sd=0.0)
    # Benefits of mean 1, t of 2.6 at seven degrees: one-sided .018, below .025 alone and not in two.
    gaps = np.arange(8) - 3.5
    gaps = 1 + gaps / gaps.std(ddof=1) * np.sqrt(8) / 2.6
    for seed, gap in zip(range(100, 108), gaps, strict=True):
        figures.loc[(figures["seed"] == seed) & (figures["selection"] == "one"), ["fd", "nll"]] -= gap
    figures.loc[figures["selection"] == "one", "nll"] -= 5.0  # which nobody doubts
    found = judged(block, {"here": figures}, block.seeds.all(), {"here": "once"})
    words = {one.claim: one.outcome.word for one in found if one.decides}
    assert words == {"A": "verified", "B": "verified", "C": "verified"}, "the least p first, then the other"
    figures.loc[figures["selection"] == "one", "nll"] += 5.0 + gaps.mean()
    found = judged(block, {"here": figures}, block.seeds.all(), {"here": "once"})
    words = {one.claim: one.outcome.word for one in found if one.decides}
    assert words == {"A": "verified", "B": "inconclusive", "C": "inconclusive"}


def test_a_figure_that_decides_and_is_none_is_refused_and_hides_no_other_claim() -> None:
    block = study(pools={"here": {}})
    figures = table(GAINS | {"three": 0.0})
    figures.loc[(figures["selection"] == "three") & (figures["seed"] == 103), "fd"] = np.nan  # of no claim
    found = judged(block, {"here": figures}, block.seeds.all(), {"here": "once"})
    assert {one.claim for one in found if one.decides} == {"A", "B"}
    figures.loc[(figures["selection"] == "full") & (figures["seed"] == 103), "fd"] = np.nan
    with pytest.raises(Refusal, match="has no fd at equal_epochs of every seed, which decides B"):
        judged(block, {"here": figures}, block.seeds.all(), {"here": "once"})


def test_looks_share_the_error() -> None:
    block = study(looks=[4, 8])
    assert [look(block, count) for count in (0, 3, 4, 7, 8)] == [0, 0, 4, 4, 8]
    assert alpha(block) == pytest.approx(0.025)
    assert block.seeds.parts() == [(100, 101, 102, 103), (104, 105, 106, 107)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"looks": [4]}, "the last of looks should be seeds.count"),
        ({"looks": [8, 4]}, "each should be larger than the one before"),
        ({"primary": "C"}, "primary should be one of claims"),
        ({"metric": "kid"}, "margins should have kid"),
        ({"margins": {"fid": 5.0}}, "fid is not a known key"),
        ({"margins": {"fd": 0.0}}, "it should be"),
        ({"claims": {"A": {"says": "x", "arm": "one", "against": "one"}}}, "should be another arm than one"),
        ({"stop": 3}, "not a known key"),
    ],
)
def test_wrong_blocks(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        study(**change)


def test_history_takes_each_row_once_and_drops_none() -> None:
    block = study()
    tables = {"here": table(GAINS), "there": table(GAINS, 1)}
    found = judged(block, tables, block.seeds.all(), {"here": "once", "there": "once"})
    first = history.added(history.empty(), history.of_study("s", "abc", "reg", found, "tiny"))
    assert len(first) == len(found)
    assert len(history.added(first, history.of_study("s", "abc", "reg", found, "tiny"))) == len(first)
    again = history.added(first, history.of_study("s", "def", "reg", found, "tiny"))
    assert len(again) == 2 * len(first)
    pd.testing.assert_frame_equal(again.iloc[: len(first)], first)


def test_history_of_a_report_has_one_row_that_decides() -> None:
    row = {
        "contrast": "c", "primary": True, "arm": "a", "against": "b", "ratio": 0.5, "model": "xs",
        "point": "best", "metric": "fd", "n": 3, "mean": 1.0, "low": 0.5, "high": 1.5, "p_t": 0.1,
        "favours": None, "pool": "here", "scale": "tiny",
    }  # fmt: skip
    verdicts = pd.DataFrame(columns=["claim"])
    views = pd.DataFrame([row | {"reference": name} for name in ("as_is", "unseen", "once")])
    assert history.of_report("r", "abc", views, verdicts)["decides"].tolist() == [True, False, False]
    assert history.of_report("r", "abc", pd.DataFrame([row]), verdicts)["decides"].tolist() == [True]


def test_history_keeps_a_run_that_found_something_else_at_the_same_commit() -> None:
    block, found = study(pools={"here": {}}), []
    for seed in (0, 1):
        of_run = judged(block, {"here": table(GAINS, seed)}, block.seeds.all(), {"here": "once"})
        found.append(history.of_study("s", "abc", "reg", of_run, "tiny"))
    both = history.added(history.added(history.empty(), found[0]), found[1])
    other = [one for one in both["metric"] if one == "fd"]  # of nll both runs found the same
    assert len(other) == 2 * (found[0]["metric"] == "fd").sum()
    for change in ({"scale": "small"}, {"verdict": "inconclusive: open"}):  # of code that changed
        assert len(history.added(both, found[0].assign(**change))) == len(both) + len(found[0])
    read = pd.read_csv(io.StringIO(both.to_csv(index=False)))
    assert len(history.added(read, pd.concat(found))) == len(both)


def test_what_an_earlier_look_ended_stays_pool_by_pool() -> None:
    """By the second look A would be worse there, and B, open before, ends."""
    block = study(looks=[4, 8])
    turned = {"one": -10.0, "two": 0.0, "full": -30.0}
    deciding = {"here": "once", "there": "once"}
    first = judged(block, {"here": table(GAINS, sd=9.0), "there": table(GAINS, 1)}, range(100, 104), deciding)
    second = judged(block, {pool: table(turned) for pool in deciding}, block.seeds.all(), deciding)
    open_before = {
        (one.claim, one.pool) for one in first if one.decides and one.outcome.word == "inconclusive"
    }
    assert open_before
    assert ("A", "there") not in open_before
    both = kept(first, second)
    for one in (one for one in both if one.decides):
        is_open = (one.claim, one.pool) in open_before
        assert one in (second if is_open else first)
    assert len([one for one in both if one.decides]) == 4
    assert len(both) == len(second) + 4 - len(open_before)  # and nothing that the second look says is lost
    assert not has_ended(block, first)
    assert has_ended(block, both)
    assert kept([], first) == first


def test_what_other_figures_say_of_a_claim() -> None:
    """At its own point alone, by the same rule, the reference that decides first, without what decides."""
    block, found = study(pools={"here": {}}), table(GAINS)
    is_one, is_drawn = found["selection"] == "one", found["reference"] == "as_is"
    found.loc[is_one, "nll"] += 0.2
    found.loc[is_one & is_drawn, "fd"] += 40.0
    found.loc[is_one & (found["point"] == "equal_images"), "fd"] += 80.0
    ends = judged(block, {"here": found}, block.seeds.all(), {"here": "once"})
    told = {one.claim: metrics(also(ends, one)) for one in ends if one.decides}
    assert told["A"] == [("once", [], ["nll"]), ("as_is", [], ["fd", "nll"])]
    assert [one.asked.arm for one in ends if one.decides and one.outcome.word == "verified"] == ["one"]
    found.loc[is_one, "nll"] = 5.0
    ends = judged(block, {"here": found[~is_drawn]}, block.seeds.all(), {"here": "once"})
    assert [also(ends, one) for one in ends if one.decides] == [[], []]


def metrics(said: list[Also]) -> list[tuple[str, list[str], list[str]]]:
    """By reference, the metrics for a claim and those against it."""
    return [(one.reference, [j.metric for j in one.better], [j.metric for j in one.worse]) for one in said]


def test_the_later_look_that_turned_round_is_told_of_a_claim_that_had_ended() -> None:
    block = study(pools={"here": {}}, looks=[4, 8])
    first = judged(block, {"here": table(GAINS)}, range(100, 104), {"here": "once"})
    turned = table({"one": -10.0, "two": 0.0, "full": -30.0})
    both = kept(first, judged(block, {"here": turned}, block.seeds.all(), {"here": "once"}))
    [ended] = [one for one in both if one.decides and one.claim == "A"]
    assert (ended.outcome.word, ended.outcome.interval.n) == ("verified", 4)
    assert metrics(also(both, ended)) == [("once", [], ["fd"]), ("as_is", [], ["fd"])]
    assert also_text(both, ended)[0] == "against it FD (8 seeds)"

import pytest
from analysis_helpers import EVERY, PAPER, bills, deciding, judge, level, scores, study

from alchemist.analysis.claims import verdicts
from alchemist.analysis.grid import Cell
from alchemist.analysis.parts import Word, together
from alchemist.analysis.results import tidy
from alchemist.analysis.words import MINUS
from alchemist.core.refusal import Refusal


def test_the_papers_metric_and_point_decide_and_the_others_stand_beside() -> None:
    made = study(*EVERY)
    table = tidy(made, scores(made, level(PAPER), nll=level({n: -v for n, v in PAPER.items()})))
    found = verdicts(made, table, 0.95)[0]
    assert [(p.unit, p.point) for p in deciding(found)] == [("fd", "equal_epochs")]
    assert {(p.unit, p.point) for p in found.parts} == {
        (unit, point) for unit in ("fd", "nll", "clip") for point in ("equal_epochs", "equal_images")
    }
    assert {p.verdict for p in found.parts if p.unit == "nll"} == {"not supported"}
    assert found.verdict == "supported"
    assert "NLL 0 for and 1 against of 1" in found.why


def test_intervals_are_those_of_the_differences_paired_by_seed() -> None:
    exact = judge(study(*EVERY), noise=0.0)["C1"]
    part = deciding(exact)[0]
    # The seeds move every arm by 100, which the pairing takes out.
    assert (part.interval.n, part.interval.mean) == (3, pytest.approx(-5.0))
    assert (part.ratio, part.model) == (0.5, "xs")
    assert part.interval.high - part.interval.low < 1e-9


def test_the_part_nearest_to_failing_is_told() -> None:
    """All are supported, and the second by far the least."""
    made = study("zero", "one", ratios=(0.5, 0.2))

    def fd(cell: Cell, images: float) -> float:
        return level(PAPER)(cell, images) + (5.5 if (cell.selection, cell.ratio) == ("one", 0.5) else 0)

    found = {v.claim: v for v in verdicts(made, tidy(made, scores(made, fd)), 0.95)}["C2"]
    assert [(p.ratio, p.verdict) for p in deciding(found)] == [(0.2, "supported"), (0.5, "supported")]
    assert found.why.startswith(f"FD at equal epochs, one less zero at 50 %, model xs: {MINUS}0.5")


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ([], "not tested"),
        (["supported"], "supported"),
        (["supported", "undecided"], "undecided"),
        (["supported", "undecided", "not supported"], "not supported"),
    ],
)
def test_parts_make_a_verdict(words: list[Word], verdict: str) -> None:
    assert together(words) == verdict


def test_a_figure_that_a_generator_has_not_is_left_out() -> None:
    made = study(*EVERY)
    held = scores(made, level(PAPER), nll=lambda cell, images: float("nan"))
    found = verdicts(made, tidy(made, held), 0.95, bills=bills(made, held))
    assert {p.unit for p in found[0].parts} == {"fd", "clip"}


def test_seeds_that_do_not_match_are_refused() -> None:
    made = study(*EVERY)
    table = tidy(made, scores(made, level(PAPER)))
    with pytest.raises(Refusal, match="paired arms should have the same"):
        verdicts(made, table[table["cell"] != "full-xs-1"], 0.95)


def test_models_without_a_likelihood_are_judged_without_it() -> None:
    made = study(*EVERY)
    with_nll, without = (scores(made, level(PAPER), likelihood=has) for has in (True, False))
    found = verdicts(made, tidy(made, without), 0.95, bills=bills(made, without))
    assert {p.unit for v in found for p in v.parts} == {"fd", "clip", "times"}
    assert not any("NLL" in v.why or any("NLL" in p.what for p in v.parts) for v in found)
    whole = verdicts(made, tidy(made, with_nll), 0.95, bills=bills(made, with_nll))
    assert [v.verdict for v in found] == [v.verdict for v in whole]
    kept = [[p for p in v.parts if "NLL" not in p.what] for v in whole]
    assert [list(v.parts) for v in found] == kept

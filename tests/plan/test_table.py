"""The table of a plan: a matrix is a line, and no line is wider than a terminal."""

from alchemist.core.settings.plan import CardSettings
from alchemist.plan.jobs import Group, Job, groups
from alchemist.plan.pairs import Pairs
from alchemist.plan.returns import Return
from alchemist.plan.table import COLUMNS, Plan, lines
from alchemist.plan.work import Work

PAIRS = Pairs(1, 2, 3, 4, "counted")


def test_a_matrix_is_a_line_with_its_reason_once() -> None:
    reasons = ("alchemist/core changed", "after encode")
    jobs = [Job(f"train@a-{n}", "train", {}, "runs", reasons) for n in range(1, 36)]
    jobs += [Job("train@a-0", "train", {}, "runs", ("alchemist/core changed", "raters.x is new"))]
    jobs += [Job("report", "report", {}, "done")]
    found = groups(jobs)
    assert [(g.name, g.done, g.runs, g.follows) for g in found] == [
        ("train", 0, 36, 0), ("report", 1, 0, 0),
    ]  # fmt: skip
    text = lines(Plan("title", PAIRS, CardSettings(), found, [], [], ["a " * 80]))
    [row] = [line for line in text if line.startswith("train")]
    assert "36" in row
    assert sum("alchemist/core" in line for line in text) == 1
    assert "after encode (35 of 36); raters.x is new (1 of 36)" in " ".join(" ".join(text).split())
    assert max(map(len, text)) <= COLUMNS


def test_numbers_and_names_of_every_size_fit() -> None:
    big = Work("train a_model_with_a_name_of_many_letters", 3600, 10**9, 10**8, 1e24, 5e15, 9e11)
    none = Work("prune", 1, 1, None, None, 0.0, None)
    wide = Group("a_stage_with_a_long_name", 1, 2, 3, {f"alchemist/{n} changed": 6 for n in range(30)})
    back = Return("r" * 30, 0.5, "m" * 30, 1e24, 1e23, 1e22, 123)
    never = Return("r", 0.5, "m", 1e24, 1e22, 1e22, None)
    text = lines(Plan("t", PAIRS, CardSettings(), [wide], [big, none], [back, never], []))
    assert max(map(len, text)) <= COLUMNS
    joined = " ".join(" ".join(text).split())
    assert "after 123 runs" in joined
    assert "never" in joined
    assert text[-1] == "Nothing is missing."

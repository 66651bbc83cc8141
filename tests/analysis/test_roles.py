import ast
import itertools
from dataclasses import replace
from pathlib import Path

from analysis_helpers import CARRIED, EVERY, META, study

from alchemist.analysis.roles import Roles

REPO = Path(__file__).resolve().parents[2]
# Settings that tell which part a selection plays.
TELLING = {"sampler", "credit", "group", "weights", "direction"}
# Who else may compare them, and what for.
ALLOWED = {
    "analysis/paper.py": "the names under which the paper has a selection",
    "analysis/signs.py": "raters, not selections: which loss a rating is compared with",
    "report/paper_figures.py": "blocks of the ranking and the samplers beside them, figure 2b",
    "report/result_tables.py": "in words: what is drawn at random has no rater to tell",
}


def test_roles_are_found_by_what_the_selections_are() -> None:
    assert Roles.of(study(*reversed(EVERY))) == Roles(
        alchemist="one",
        no_group="four",
        gsample="two",
        topk="three",
        loss="five",
        random="zero",
        nearest="one",
    )


def test_roles_that_are_missing_are_none() -> None:
    assert Roles.of(study("six")) == Roles(None, None, None, None, None, None, None)
    assert Roles.of(study("one")) == Roles("one", None, None, None, None, None, "one")


def test_controls_of_the_paper_must_differ_in_one_thing_alone() -> None:
    shift = {"sampler": "shift_gsample"}
    selections = {
        "wide": {"rater": "low", **shift, "sigma": 30.0},  # another sampler than ours
        "high": {"rater": "high", **shift},  # high loss first
        "other": {"rater": "other", **shift},  # no gate, but another bound too
    }
    raters = {
        "high": {"kind": "loss", "direction": 1},
        "other": META | {"group": "none", "bound": 1.0},
    }
    found = Roles.of(study("one", *selections, selections=selections, raters=raters))
    assert found == Roles("one", None, None, None, None, None, "one")


def test_the_papers_gate_and_default_sampler_come_first() -> None:
    shift = {"sampler": "shift_gsample"}
    selections = {
        "unrolled": {"rater": "unrolled", **shift},
        "warm": {"rater": "warm", **shift},
        "swept": {"rater": "r", **shift, "sigma": 30.0},
    }
    raters = {
        "unrolled": META | {"credit": "unrolled", "unroll_steps": 2, "baseline": "none"},
        "warm": META | {"group": "temperature"},
    }
    made = study(*selections, "one", selections=selections, raters=raters)
    assert Roles.of(made).alchemist == "one"
    assert Roles.of(study("unrolled", "warm", selections=selections, raters=raters)).alchemist == "warm"


def test_a_gate_that_compares_groups_has_the_same_control() -> None:
    selections = {"apart": {"rater": "apart", "sampler": "shift_gsample"}}
    raters = {"apart": META | {"group": "compared", "groups": {"by": "embedding"}, "baseline": "none"}}
    found = Roles.of(study("apart", "four", selections=selections, raters=raters))
    assert (found.alchemist, found.no_group) == ("apart", "four")
    assert Roles.of(study("apart", "one", selections=selections, raters=raters)).alchemist == "one"
    # Groups without a gate are a control, whatever the order.
    raters["within"] = raters["apart"] | {"group": "within"}
    selections["within"] = {"rater": "within", "sampler": "shift_gsample"}
    assert Roles.of(study("within", "apart", selections=selections, raters=raters)).alchemist == "apart"
    assert Roles.of(study("within", "four", selections=selections, raters=raters)).alchemist is None


def test_a_rater_with_weights_plays_no_role() -> None:
    """First in the grid, with the paper's sampler, and alike in all else."""
    samplers = {"shifted": "shift_gsample", "middle": "gsample", "top": "topk", "ungrouped": "shift_gsample"}
    selections = {n: {"rater": "bare_moved" if n == "ungrouped" else "moved", "sampler": s}
                  for n, s in samplers.items()}  # fmt: skip
    raters = {"moved": CARRIED, "bare_moved": CARRIED | {"group": "none", "baseline": "none"}}
    alone = study("zero", *selections, "five", selections=selections, raters=raters)
    assert Roles.of(alone) == Roles(None, None, None, None, None, "zero", "shifted")
    both = study(*selections, *EVERY, selections=selections, raters=raters)
    assert Roles.of(both) == Roles.of(study(*EVERY))


def test_where_the_grid_lacks_the_papers_selection_the_nearest_is_told() -> None:
    """Claims are about the paper's alone; the page tells what is nearest to it, and none is both."""
    shift = {"sampler": "shift_gsample"}
    selections = {"wide": {"rater": "r", **shift, "sigma": 30.0}, "moved": {"rater": "moved", **shift}}
    raters = {"moved": CARRIED}

    def of(*names: str) -> tuple[str | None, str | None]:
        found = Roles.of(study(*names, selections=selections, raters=raters))
        return found.alchemist, found.nearest

    assert of("three", "two", "four") == (None, "four")  # its sampler comes before its gate
    assert of("three", "two") == (None, "three")  # then the order of the grid
    assert of("four", "moved") == (None, "moved")  # of no gate and another pool's rater, the one with a gate
    assert of("two", "moved", "wide") == ("wide", "wide")
    assert of("two", "moved", "wide", "one") == ("one", "one")
    assert of("zero", "five") == (None, None)


def test_the_papers_selection_may_stand_in_the_ablation_alone() -> None:
    """The page speaks of the grid's ratios, at which a selection of the ablation need not have a cell."""
    made = study("zero", "two", "one")
    grid = made.grid.model_copy(
        update={
            "selections": ("zero", "two"),
            "ablation": made.grid.ablation.model_copy(update={"selections": ("one",), "ratios": (0.3,)}),
        }
    )
    found = Roles.of(replace(made, grid=grid))
    assert (found.alchemist, found.nearest, found.gsample) == ("one", "two", "two")


def test_the_papers_selection_is_the_nearest_in_every_order_of_the_grid() -> None:
    for names in itertools.permutations(EVERY, 3):
        found = Roles.of(study(*names))
        assert found.alchemist in (None, found.nearest), names


def second_rules(file: str, tree: ast.Module) -> list[str]:
    """Comparisons of settings that tell a part, outside the one rule."""
    return [
        f"{file}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(part, ast.Attribute) and part.attr in TELLING for part in ast.walk(node))
    ]


def test_no_other_file_finds_parts_by_settings() -> None:
    found = {}
    for room in ("analysis", "report"):
        for path in (REPO / "alchemist" / room).glob("*.py"):
            complaints = second_rules(f"{room}/{path.name}", ast.parse(path.read_text()))
            if complaints:
                found[f"{room}/{path.name}"] = complaints
    assert found.pop("analysis/roles.py")
    stage = REPO / "stages/report.py"
    assert second_rules("stages/report.py", ast.parse(stage.read_text())) == []
    assert set(found) == set(ALLOWED), found


def test_a_second_rule_is_found() -> None:
    planted = "def ours(s):\n    return next(n for n, c in s.items() if c.sampler == 'shift_gsample')\n"
    assert second_rules("x.py", ast.parse(planted)) == ["x.py: c.sampler == 'shift_gsample'"]

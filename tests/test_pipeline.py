"""dvc.yaml tells the truth: see tests/pipeline.py.

Each check is asked of this repo, where it should find nothing, and of a miniature repo with one
planted defect, where it should find that one.
"""

import textwrap
from pathlib import Path

import pytest
from closure import ROOT, closure
from mini_repo import Check, Defect, d, mini
from pipeline import (
    cell_complaints,
    deps_complaints,
    field_complaints,
    leaf_complaints,
    lock_complaints,
    params_complaints,
    path_complaints,
    script,
    stages,
)

CHECKS: list[Check] = [
    deps_complaints,
    path_complaints,
    params_complaints,
    leaf_complaints,
    field_complaints,
    cell_complaints,
    lock_complaints,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_repo_holds(check: Check) -> None:
    assert check(ROOT) == []


def test_every_script_is_a_stage() -> None:
    run = {script(body) for body in stages(ROOT).values()}
    # read by stages and by the plan; for people
    beside = {
        "__init__",
        "__main__",
        "engines",
        "explain",
        "studied",
        "params_file",
        "pipeline_state",
        "schema",
        "experiments",
        "plan",
        "icons",
        "overlay",
        "verify",
        "export",
        "score",
        "registration",
        "looks",
        "revision",
        "register",
        "part",
        "carry",
        "judge",
        "history",
    }
    assert run == {path.stem for path in (ROOT / "stages").glob("*.py")} - beside


# ------------------------------------------------------------------------ the checks can fail


def test_a_healthy_miniature_passes_every_check(tmp_path: Path) -> None:
    root = mini(tmp_path)
    assert {check.__name__: check(root) for check in CHECKS} == {check.__name__: [] for check in CHECKS}


DEFECTS = [
    # an import that is lazy and relative, and one behind a room that is not listed
    d(deps_complaints, "dvc.yaml", "      - alchemist/deep.py\n", "",
      "train: alchemist/deep.py is imported but is in no dep"),
    d(deps_complaints, "dvc.yaml", "      - alchemist/models\n", "",
      "train: alchemist/models/family.py is imported but is in no dep"),
    d(deps_complaints, "dvc.yaml", "- data/m\n", "- data/m\n      - alchemist/deep.py\n",
      "report: alchemist/deep.py is a dep but nothing of it is imported"),
    d(deps_complaints, "dvc.yaml", "- data/m\n", "- data/m\n      - alchemist/models\n",
      "report: alchemist/models is a dep but nothing of it is imported"),
    # a folder whose name begins alike
    d(deps_complaints, "dvc.yaml", "      - alchemist/models\n", "      - alchemist/model\n",
      "train: alchemist/models/family.py is imported but is in no dep",
      "train: alchemist/model is a dep but nothing of it is imported"),
    d(deps_complaints, "dvc.yaml", "- data/m\n", "- data/m\n      - stages/report.py\n",
      "report: stages/report.py is a dep twice"),
    d(deps_complaints, "dvc.yaml", "- data/m\n", "- data/m\n      - alchemist/pools\n",
      "report: alchemist/pools/truth.py is a dep twice"),
    # a package that is passed through counts where it holds more than a docstring
    d(deps_complaints, "alchemist/pools/__init__.py", "", "LIMIT = 1",
      "report: alchemist/pools/__init__.py is imported but is in no dep"),
    d(deps_complaints, "dvc.yaml", "-m stages.report", "report.py", "report: cmd runs no script of stages/"),
    # a family, which is looked up by name: the command tells it, and its folder is a dep
    d(deps_complaints, "dvc.yaml", "      - alchemist/families/star\n", "",
      "train: alchemist/families/star/family.py is imported but is in no dep",
      "train: alchemist/families/star/network.py is imported but is in no dep",
      "train: alchemist/families/star/settings.py is imported but is in no dep"),
    d(deps_complaints, "dvc.yaml", " --family star", "", "train: cmd names no --family",
      "train: alchemist/families/star is a dep but nothing of it is imported"),
    d(deps_complaints, "dvc.yaml", "--family star", "--family dit",
      "train: cmd names the family dit, which has no folder in alchemist/families"),
    d(deps_complaints, "dvc.yaml", "stages.report --models", "stages.report --family flux --models",
      "report: cmd names the family flux, which it does not load",
      "report: alchemist/families/flux/family.py is imported but is in no dep",
      "report: alchemist/families/flux/settings.py is imported but is in no dep"),
    d(path_complaints, "dvc.yaml", "      - data/pool\n", "",
      "train: data/pool is in cmd but is neither dep nor out"),
    d(params_complaints, "dvc.yaml", ', "selections.first"', "",
      "train: reads selections.first, which is not in params"),
    d(params_complaints, "dvc.yaml", '"selections.first"', '"selections.first", report',
      "train: lists report, which it does not read"),
    # the right pattern, but another option's value
    d(params_complaints, "dvc.yaml", '"scales.${scale}.train"', '"scales.${other}.train"',
      "train: reads scales.${scale}.train, which is not in params",
      "train: lists scales.${other}.train, which it does not read"),
    # of other files nothing is read, and of the whole file neither
    d(params_complaints, "dvc.yaml", '"selections.first"', '"selections.first"]}, {other.yaml: [x',
      "train: lists other.yaml:['x'], which it does not read"),
    d(params_complaints, "dvc.yaml", '"selections.first"', '"selections.first"]}, {params.yaml: [scale',
      "train: lists params.yaml:['scale'], which it does not read"),
    # a loop over all scales, of which one cell tracks one
    d(params_complaints, "dvc.yaml", "[scale, scales, report]", '[scale, "scales.${item.x}.train", report]',
      "report: reads scales.?.train, which is not in params",
      "report: lists scales.${item.x}.train, which it does not read"),
    d(params_complaints, "stages/report.py", "", "section(key())",
      "report: stages/report.py reads a key that is neither text nor f-string"),
    d(leaf_complaints, "params.yaml", "", "unread: {deep: 1}", "params.yaml: nothing reads unread.deep"),
    d(leaf_complaints, "params.yaml", "first: {drop: 1}", "first: {drop: 1}\n  second: {drop: 2}",
      "params.yaml: nothing reads selections.second.drop"),
    # the block of a plan, where there is no script that plans
    d(leaf_complaints, "params.yaml", "", "plan: {card: 1}", "params.yaml: nothing reads plan.card"),
    d(field_complaints, "alchemist/core/settings/budget.py", "images: int", "images: int\n    forgotten: int",
      "alchemist/core/settings/budget.py: nothing uses Budget.forgotten"),
    d(cell_complaints, "params.yaml", "seeds: [0, 1]", "seeds: [0, 0]",
      "train@0.5-0 names 2 cells", "train@0.2-0 names 2 cells"),
    d(cell_complaints, "params.yaml", "ratios: [0.5, 0.2]", "ratios: [0.5, 0.50]",
      "train@0.5-0 names 2 cells", "train@0.5-1 names 2 cells"),
]  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.says[0])
def test_a_check_finds_its_defect(tmp_path: Path, defect: Defect) -> None:
    assert tuple(defect.check(mini(tmp_path, defect))) == defect.says


def test_a_block_that_is_taken_as_a_whole_uses_its_fields(tmp_path: Path) -> None:
    inner = "class Outer:\n    shares: Inner\nclass Inner:\n    plain: float\n"
    root = mini(tmp_path, d(field_complaints, "alchemist/core/settings/budget.py", "", inner))
    deep = root / "alchemist" / "deep.py"
    deep.write_text("def half(settings): return settings.model_dump(), settings.shares")
    assert field_complaints(root) == ["alchemist/core/settings/budget.py: nothing uses Inner.plain"]
    deep.write_text("def half(settings): return settings.shares.model_dump()")
    assert field_complaints(root) == []


def test_the_whole_of_params_may_be_tracked_by_who_reads_it_but_covers_no_leaf(tmp_path: Path) -> None:
    root = mini(
        tmp_path,
        d(
            params_complaints,
            "dvc.yaml",
            "{data/params.json: [scale, scales, report]}",
            "{data/params.json: }",
        ),
    )
    (root / "stages" / "report.py").write_text(
        "from alchemist.core.settings.given import section\nsection('')\n"
    )
    assert params_complaints(root) == []
    assert leaf_complaints(root) == ["params.yaml: nothing reads report.title"]


def test_params_as_a_file_are_a_dep_of_who_reads_them(tmp_path: Path) -> None:
    listed = "params: [{data/params.json: [scale, scales, report]}]\n    deps:"
    root = mini(tmp_path, d(params_complaints, "dvc.yaml", listed, "deps:\n      - data/params.json"))
    assert params_complaints(root) == leaf_complaints(root) == []
    script = root / "stages" / "report.py"
    script.write_text(script.read_text().replace('section("report")', ""))
    assert params_complaints(root) == []
    assert leaf_complaints(root) == ["params.yaml: nothing reads report.title"]
    script.write_text("")
    assert params_complaints(root) == ["report: data/params.json is a dep, which it does not read"]
    text = (root / "dvc.yaml").read_text()
    also = "    params: [{data/params.json: [scale]}]\n    deps:\n      - data/params.json"
    (root / "dvc.yaml").write_text(text.replace("    deps:\n      - data/params.json", also))
    script.write_text('from alchemist.core.settings.given import section\nsection("scale")\n')
    assert params_complaints(root) == ["report: lists scale beside data/params.json as a file"]


def by_family(root: Path, before: str, after: str) -> Path:
    """The miniature with a stage that is a matrix over families, and its training with a family in `vars`."""
    text = (root / "dvc.yaml").read_text().replace("--family star", "--family ${family}")
    text = text.replace("- alchemist/families/star", '- "alchemist/families/${family}"')
    text = text.replace("    matrix: {ratio", "    vars: [{family: star}]\n    matrix: {ratio")
    text += textwrap.indent(
        textwrap.dedent("""
        encode:
          matrix: {family: "${grid.families}"}
          cmd: python -m stages.encode --family ${item.family} --out data/e/${item.family}
          params: [{data/params.json: ["codecs.${item.family}"]}]
          deps:
            ["alchemist/families/${item.family}", alchemist/models, alchemist/core/settings, stages/encode.py]
          outs: ["data/e/${item.family}"]
    """),
        "  ",
    )
    (root / "dvc.yaml").write_text(text.replace(before, after))
    (root / "stages" / "encode.py").write_text(
        "from alchemist.models import family\nfrom alchemist.core.settings.given import section\n"
        'def run(name: Annotated[str, Option("--family")]):\n'
        '    family.load(name)\n    section(f"codecs.{name}")\n'
    )
    params = (root / "params.yaml").read_text().replace("seeds: [0, 1]", "seeds: [0, 1], families: [star]")
    (root / "params.yaml").write_text(params + "\ncodecs: {star: 1, flux: 2}\n")
    return root


@pytest.mark.parametrize(
    ("check", "before", "after", "says"),
    [
        (deps_complaints, "", "", []),
        (deps_complaints, '["alchemist/families/${item.family}", a', "[alchemist/families/star, a",
         ["encode@flux: alchemist/families/flux/family.py is imported but is in no dep",
          "encode@flux: alchemist/families/flux/settings.py is imported but is in no dep",
          "encode@flux: alchemist/families/star is a dep but nothing of it is imported"]),
        (deps_complaints, "vars: [{family: star}]", "vars: [{family: dit}]",
         ["train: cmd names the family dit, which has no folder in alchemist/families"]),
        (deps_complaints, "vars: [{family: star}]", "vars: [{family: flux}]", []),
        (params_complaints, "", "", []),
        (params_complaints, '"codecs.${item.family}"', "codecs.star",
         ["encode@flux: reads codecs.flux, which is not in params",
          "encode@flux: lists codecs.star, which it does not read"]),
        (path_complaints, 'outs: ["data/e/${item.family}"]', "outs: [data/e/star]",
         ["encode@flux: data/e/flux is in cmd but is neither dep nor out"]),
        (leaf_complaints, "", "", []),
        (leaf_complaints, '"codecs.${item.family}"', "scale",
         ["params.yaml: nothing reads codecs.star", "params.yaml: nothing reads codecs.flux"]),
    ],
)  # fmt: skip
def test_a_stage_is_asked_for_every_family_that_it_may_run(
    tmp_path: Path, check: Check, before: str, after: str, says: list[str]
) -> None:
    assert check(by_family(mini(tmp_path), before, after)) == says


def test_who_reads_blocks_of_models_depends_on_the_settings_of_all_families(tmp_path: Path) -> None:
    root = mini(tmp_path)
    (root / "alchemist/core/settings/model.py").write_text("")
    report = root / "stages/report.py"
    report.write_text(f"{report.read_text()}\nimport alchemist.core.settings.model\n")
    told = [
        f"report: alchemist/families/{n}/settings.py is imported but is in no dep" for n in ("flux", "star")
    ]
    assert deps_complaints(root) == told


def test_a_section_of_what_the_pipeline_no_longer_has_is_found(tmp_path: Path) -> None:
    root = mini(tmp_path)
    sections = ("train", "train@0.5-0", "report", "report@x", "encode@star", "tokenizer")
    (root / "dvc.lock").write_text("stages:\n" + "".join(f"  {name}:\n    cmd: x\n" for name in sections))
    assert lock_complaints(root) == [
        f"dvc.lock: {name} is no stage of dvc.yaml"
        for name in ("train", "report@x", "encode@star", "tokenizer")
    ]


def test_closure_follows_every_form_of_import(tmp_path: Path) -> None:
    for name, text in {
        "p/__init__.py": "from . import base",
        "p/base.py": "",
        "p/a.py": "import p.q.b",
        "p/q/__init__.py": "",
        "p/q/b.py": "from ..c import thing\nfrom .. import d",
        "p/c.py": "import importlib\nimportlib.import_module('p.e')",
        "p/d.py": "import p.a",  # a cycle
        "p/e.py": "import os, numpy",
        "p/unused.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    names = {"__init__", "base", "a", "q/__init__", "q/b", "c", "d", "e"}
    assert closure(tmp_path / "p" / "a.py", tmp_path) == {f"p/{name}.py" for name in names}


def test_what_a_kind_of_rater_imports_to_rate_counts_for_the_stage_that_rates_by_it(tmp_path: Path) -> None:
    """And what stands there for the type checker alone counts for none."""
    kind = """
        from typing import TYPE_CHECKING
        import alchemist.light
        if TYPE_CHECKING:
            import alchemist.checked
        class Loss(SeededRater):
            pass
        def rate(run):
            import alchemist.heavy
    """
    for name, text in {
        "stages/rate.py": "import alchemist.raters.table",
        "stages/prune.py": "import alchemist.raters.table",
        "alchemist/raters/table.py": "",
        "alchemist/raters/kinds/loss.py": textwrap.dedent(kind),
        "alchemist/light.py": "def f():\n    import alchemist.deep",
        **{f"alchemist/{name}.py": "" for name in ("heavy", "checked", "deep")},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    both = {"alchemist/raters/table.py", "alchemist/raters/kinds/loss.py", "alchemist/light.py",
            "alchemist/deep.py"}  # fmt: skip
    assert closure(tmp_path / "stages/prune.py", tmp_path) == {"stages/prune.py", *both}
    assert closure(tmp_path / "stages/rate.py", tmp_path) == {
        "stages/rate.py", "alchemist/heavy.py", *both,
    }  # fmt: skip


def test_a_field_of_a_block_that_nothing_uses_is_found_in_every_room(tmp_path: Path) -> None:
    root = mini(tmp_path)
    (root / "alchemist/raters/meta.py").write_text(
        "class Meta:\n    idle: int = Field(ge=1)\n    plain: int\n    used: int = Field(ge=1)\n"
        "def rate(settings): return settings.used\n"
    )
    assert field_complaints(root) == ["alchemist/raters/meta.py: nothing uses Meta.idle"]

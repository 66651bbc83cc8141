"""./study: every study asks dvc for a grid that stage check accepts, and says how to call it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from study_helpers import cases, names
from study_recorder import RECORDER, runs, study

from stages.params_file import read_params

REPO = Path(__file__).parents[1]
CASES, NAMES = cases(REPO), names(REPO)


def test_cells_run_as_many_at_a_time_as_asked(tmp_path: Path) -> None:
    assert study(tmp_path, "pilot", "--jobs", "3", "-S", "device=cpu").returncode == 0
    asked = (tmp_path / "asked").read_text()
    assert "\nrepro\n3\nEND\n" in asked
    assert "--jobs" not in asked


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--jobs",), "--jobs is '', and should be a number from 1"),
        (("--jobs", "0"), "--jobs is '0'"),
        (("--jobs", "-S", "scale=small"), "--jobs is '-S'"),
        (("--plan", "--jobs", "many"), "--jobs is 'many'"),
        (("-S",), "-S is '', and should be KEY=VALUE"),
        (("-S", "scale"), "-S is 'scale'"),
        (("--bogus",), "'--bogus' is no option"),
        (("--jobs=2",), "'--jobs=2' is no option"),
        (("--from", "first"), "--from is 'first', and should be a seed"),
        (("--from", "3"), "--pool, --from and --parts are of registered studies"),
    ],
)
def test_a_wrong_option_is_told_in_a_line_before_any_work(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    done = study(tmp_path, "pilot", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "asked").exists()
    assert (tmp_path / "params.yaml").read_text() == "as it was\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_study_asks_for_a_sound_grid(tmp_path: Path, name: str) -> None:
    done = study(tmp_path, name, "-S", "++statistics.confidence=0.9")
    assert done.returncode == 0, done.stderr
    found = runs(tmp_path)
    assert found[-1][0] == {"pools": "icons"}.get(name, name), "which is the second pool"
    assert (tmp_path / "params.yaml").read_text() == "as it was\n"
    assert all(params.statistics.confidence == 0.9 for _, params in found), "further options are passed on"


def test_the_small_study_has_seeds_a_primary_contrast_and_every_row_of_the_claims(tmp_path: Path) -> None:
    assert study(tmp_path, "small").returncode == 0
    [(_, params)] = runs(tmp_path)
    grid = params.grid
    assert (params.scale, len(grid.seeds)) == ("small", 3)
    assert params.statistics.primary is not None
    assert {("topk", 0.2), ("gsample", 0.2), ("alchemist", 0.2), ("alchemist_no_group", 0.2)} <= set(
        grid.arms()
    )
    assert grid.transfer.models
    assert sorted(path.name for path in (tmp_path / "reports/small").iterdir()) == [
        "advice.json", "contrasts.csv", "figures", "index.html", "references.csv", "summary.json",
        "table.csv", "verdicts.csv",
    ]  # fmt: skip


def test_the_pilot_has_two_seeds_a_random_half_and_a_short_budget_and_leaves_its_advice(
    tmp_path: Path,
) -> None:
    assert study(tmp_path, "pilot").returncode == 0
    [(_, params)] = runs(tmp_path)
    grid, tiny = params.grid, params.scales["tiny"]
    assert (params.scale, grid.seeds, grid.whole()) == ("pilot", (0, 1), ["xs"])
    arms = {"random", "loss_low", "loss_middle", "loss_high", "alchemist", "best", "cluster_balance"}
    assert arms | {"caption_quota"} == set(grid.selections)
    assert ("without_copies", 1.0) in grid.arms()
    assert params.scales["pilot"].train.images < tiny.train.images
    assert params.scales["pilot"].rate.images < tiny.rate.images
    assert (tmp_path / "reports/pilot/advice.json").is_file()


def test_a_natural_pool_is_run_with_three_seeds_and_leaves_tables_alone(tmp_path: Path) -> None:
    assert study(tmp_path, "pools").returncode == 0
    other, icons = (params for _, params in runs(tmp_path))
    assert (other.pool, icons.pool, icons.scale, len(icons.grid.seeds)) == (
        "emoji_crowded",
        "icons",
        "small",
        3,
    )
    assert icons.statistics.primary == "alchemist_random"
    assert ("without_copies", 1.0) in icons.grid.arms()
    assert icons.pools["icons"].copies.drop == "never", "or everything would be without copies too"
    assert "alchemist_carried" not in icons.grid.selections, "its rater reads another tokenizer's codes"
    assert sorted(path.name for path in (tmp_path / "reports/icons").iterdir()) == [
        "advice.json", "contrasts.csv", "references.csv", "summary.json", "table.csv", "verdicts.csv",
    ]  # fmt: skip
    assert (tmp_path / "reports/pools/icons-small.csv").is_file()


def test_another_pool_leaves_its_table_beside(tmp_path: Path) -> None:
    assert study(tmp_path, "table3").returncode == 0
    other, own = (params.pool for _, params in runs(tmp_path))
    assert (other, own) == ("emoji_crowded", "emoji")
    assert (tmp_path / f"reports/pools/{other}-table3.csv").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_takes_the_lists_of_its_study_and_runs_nothing(tmp_path: Path, name: str) -> None:
    done = study(tmp_path, name, "--plan", "-S", "scale=small")
    assert done.returncode == 0, done.stderr
    asked = [words.split("\n") for words in (tmp_path / "asked").read_text().split("\nEND\n")[:-1]]
    assert len(asked) == (2 if name in ("table3", "pools") else 1)  # of two pools
    for words in asked:
        assert words[:3] == ["python", "-m", "stages.plan"]
        assert words[-2:] == ["-S", "scale=small"]
        assert any(word.startswith("grid.selections=[") for word in words)
        assert "--plan" not in words
    assert not [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    assert (tmp_path / "params.yaml").read_text() == "as it was\n"


@pytest.mark.parametrize("words", [(), ("table9",)])
def test_an_unknown_study_is_told_in_a_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = study(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ./study table1|")
    assert not (tmp_path / "asked").exists()


def test_help_says_what_every_study_is(tmp_path: Path) -> None:
    """In a line each; of registered ones what each asks, as params.yaml has it."""
    real = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    whole = (
        (REPO / "params.yaml").read_text()
        + """
  quoted: {question: "Is it 'quoted'?"} # and remarked
  folded:
    question: >-
      Does it
      go on?
"""
    )
    done = study(tmp_path, "table1", "--help", params=whole, python=real)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    told = {name: text for line in lines for name, _, text in [line.partition("  ")]}
    for case in CASES:
        assert len(told[case].split()) > 3, case
    asked = {name: block["question"] for name, block in read_params(REPO / "params.yaml")["studies"].items()}
    asked |= {"quoted": "Is it 'quoted'?", "folded": "Does it go on?"}
    assert {name: told[name].strip() for name in asked} == {
        name: " ".join(text.split()) for name, text in asked.items()
    }
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "adapted", "figure6"])
def test_at_the_scale_quick_any_study_takes_the_small_pool(tmp_path: Path, name: str) -> None:
    assert study(tmp_path, name, "-S", "scale=quick").returncode == 0
    for _, params in runs(tmp_path):
        assert params.scale == "quick"
        assert not params.scales["quick"].meaningful
        assert params.pool in {"emoji_quick", "emoji_quick_crowded"}


@pytest.mark.parametrize("name", ["small", "flux", "adapted", "pilot", "signs", "table3"])
def test_what_means_nothing_takes_no_place_of_what_does(tmp_path: Path, name: str) -> None:
    assert study(tmp_path, name, "-S", "scale=quick").returncode == 0
    assert {params.pool for _, params in runs(tmp_path)} <= {"emoji_quick", "emoji_quick_crowded"}
    folders = {path.name for path in (tmp_path / "reports").iterdir() if path.is_dir()}
    assert folders == {"pools", "figures"}
    assert not list((tmp_path / "reports/pools").iterdir())
    assert "stages.history" not in (tmp_path / "asked").read_text()


def test_a_repo_that_was_told_there_is_no_git_hears_that_there_is(tmp_path: Path) -> None:
    """make repro in a downloaded archive tells DVC so, which then keeps no experiment."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert study(tmp_path, "quick").returncode == 0
    assert "unset" not in (tmp_path / "asked").read_text()
    (tmp_path / "asked").unlink()
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    assert study(tmp_path, "quick").returncode == 0
    assert "dvc\nconfig\n--local\n--unset\ncore.no_scm" in (tmp_path / "asked").read_text()


def test_the_quick_study_is_the_shortest_grid_that_prunes(tmp_path: Path) -> None:
    assert study(tmp_path, "quick").returncode == 0
    [(name, params)] = runs(tmp_path)
    assert (name, params.scale, params.pool, params.grid.seeds) == ("quick", "quick", "emoji_quick", (0,))
    assert params.grid.selections == ("random", "alchemist")


def test_the_study_of_two_families_has_every_rating_on_models_of_both_and_leaves_its_report(
    tmp_path: Path,
) -> None:
    assert study(tmp_path, "flux", "-S", "scale=small").returncode == 0
    [(_, params)] = runs(tmp_path)
    grid = params.grid
    assert (params.scale, len(grid.seeds), grid.families) == ("small", 3, ("star", "flux"))
    assert [grid.family_of(model) for model in grid.whole()] == ["star", "flux"]
    rated = {name: grid.rated_by(params.selections[name].rater) for name in grid.selections}
    assert {"alchemist", "loss", "best"} < {name for name, by in rated.items() if by == "star"}
    assert {"alchemist_flux", "loss_flux", "best_flux"} == {
        name for name, by in rated.items() if by == "flux"
    }
    for ours, theirs in (("alchemist", "loss"), ("alchemist_flux", "loss_flux")):
        assert params.selections[ours].sampler == params.selections[theirs].sampler
    models = {params.contrasts[name].of(grid).model for name in params.statistics.secondary}
    assert models == {"xs", "flux_s"}
    assert (tmp_path / "reports/flux/index.html").is_file()


def test_any_other_study_is_of_one_family(tmp_path: Path) -> None:
    assert study(tmp_path, "table4").returncode == 0
    [(_, params)] = runs(tmp_path)
    assert params.grid.families == ("star",)
    assert not any(other.raters or other.models for other in params.grid.others.values())


def test_the_study_of_adapters_pretrains_on_the_neutral_split_and_leaves_its_report(tmp_path: Path) -> None:
    assert study(tmp_path, "adapted").returncode == 0
    [(_, params)] = runs(tmp_path)
    grid, pool = params.grid, params.pools[params.pool]
    assert (params.scale, len(grid.seeds), grid.whole()) == ("tiny", 3, ["flux_adapted"])
    assert params.models["flux_adapted"].adapts
    assert grid.selections == ("random", "alchemist", "best")
    assert pool.pretraining.pairs > 0  # type: ignore[attr-defined]
    # The pool that is pruned is that of the default grid.
    same = params.pools["emoji"].model_copy(update={"pretraining": pool.pretraining})  # type: ignore[attr-defined]
    assert pool == same
    assert params.statistics.primary is not None
    asked = params.contrasts[params.statistics.primary]
    assert (asked.arm, asked.against, asked.model) == ("alchemist", "random", "flux_adapted")
    assert (tmp_path / "reports/adapted/index.html").is_file()


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_table_2_has_adapters_beside_its_three_sizes_at_either_scale(tmp_path: Path, scale: str) -> None:
    words = ("-S", "scale=paper") if scale == "paper" else ()
    assert study(tmp_path, "table2", *words).returncode == 0
    [(_, params)] = runs(tmp_path)
    grid = params.grid
    if scale == "tiny":
        assert grid.whole() == ["xs", "s", "flux_adapted"]
        assert params.codecs["flux"].kind == "pixels"  # type: ignore[attr-defined]
    else:
        assert grid.whole() == ["star_40m", "star_300m", "flux_mini_lora"]
        assert params.codecs["flux"].kind == "latents"  # type: ignore[attr-defined]
        assert params.pool == "laion30m"
        budget = params.scales["paper"].budget
        assert budget("flux_mini_lora").schedule == "constant"
        assert (budget("star_900m").batch, budget("star_300m").batch) == (256, 512)
    assert set(grid.ratios) == {0.5, 0.2, 0.1}
    assert grid.transfer.models == (("m",) if scale == "tiny" else ("star_900m",))
    assert grid.families == ("star", "flux")


@pytest.mark.parametrize(
    "block",
    [
        "studies:\n  s:\n    question: x\n",
        "studies: # told before\n    # deeper\n    s: {question: x}\n    t:\n        pools: {}\nplan: {}\n",
        '"studies":\n  "s":\n    question: x\n',
        "studies:\r\n  's':\r\n    question: x\r\n",
    ],
)
def test_a_registered_study_is_found_however_its_block_is_written(tmp_path: Path, block: str) -> None:
    done = study(tmp_path, "s", "--plan", params=block)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("s: nothing is left to run: ")
    assert "stages.part\ns\nEND" in (tmp_path / "asked").read_text()
    for name in ("question", ".*", "plan"):
        assert study(tmp_path, name, "--plan", params=block).returncode == 2
    assert (tmp_path / "params.yaml").read_bytes().decode() == block


def test_raters_of_another_pool_come_before_the_part_that_carries_them(tmp_path: Path) -> None:
    block = "studies:\n  s:\n    question: x\n"
    told = (
        'case "$*" in *keep*) ;; *stages.carry*) echo edited > params.yaml; echo rate@r-1 rate@r-2 ;; esac\n'
    )
    python = RECORDER.replace('[ "${0##*/}"', told + '[ "${0##*/}"', 1)
    done = study(tmp_path, "s", params=block, python=python)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().replace("\n", " ")
    order = [
        "stages.carry s END",
        "dvc repro rate@r-1 rate@r-2 END",
        "stages.carry s --keep END",
        "stages.part s END",
    ]
    assert [asked.index(words) for words in order] == sorted(asked.index(words) for words in order)
    (tmp_path / "asked").unlink()
    assert study(tmp_path, "s", "--plan", params=block, python=python).returncode == 0
    assert "dvc" not in (tmp_path / "asked").read_text()  # a plan runs nothing
    assert (tmp_path / "params.yaml").read_text() == block


def test_a_registered_study_has_no_name_of_another_study(tmp_path: Path) -> None:
    done = study(tmp_path, "small", params="studies:\n  small:\n    question: x\n")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "studies has a block small, which is a study of this command already" in done.stderr
    assert not (tmp_path / "asked").exists()


def test_what_a_killed_study_laid_over_params_is_taken_off_by_the_next(tmp_path: Path) -> None:
    kills = RECORDER.replace("echo edited > params.yaml", "{ echo edited > params.yaml; kill -9 $PPID; }")
    assert study(tmp_path, "pilot", python=kills).returncode == -9
    assert (tmp_path / "params.yaml").read_text() == "edited\n"
    done = study(tmp_path, "pilot", params="edited by hand since\n")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert "a study was killed here" in done.stderr
    assert (tmp_path / "params.yaml").read_text() == "as it was\n"
    assert (tmp_path / ".scratch/killed.yaml").read_text() == "edited by hand since\n"
    assert study(tmp_path, "pilot").stderr == ""  # told once


def test_a_study_beside_one_that_runs_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".scratch").mkdir()
    held = tmp_path / f".scratch/params.{os.getpid()}"
    held.write_text("as it was\n")
    done = study(tmp_path, "pilot", params="its own\n")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"process {os.getpid()}" in done.stderr
    assert ((tmp_path / "params.yaml").read_text(), held.read_text()) == ("its own\n", "as it was\n")
    assert not (tmp_path / "asked").exists()
    assert study(tmp_path, "show").returncode == 0  # which changes nothing

"""Every command of the pages is one that its program takes, and is run by a test or by CI."""

import re
from pathlib import Path

import pytest
from closure import ROOT
from doc_commands import complaint, complaints
from doc_covered import COVERED
from doc_pages import Command, commands, parsed

FOUND = commands(ROOT)


def test_every_command_is_taken_by_its_program() -> None:
    assert complaints(FOUND) == []


def test_every_command_is_run_by_somebody() -> None:
    known = [pattern for pattern, *_ in COVERED]
    assert [f"{one.page}: {one}" for one in FOUND if not any(re.fullmatch(p, str(one)) for p in known)] == []


def test_every_line_of_the_table_is_of_a_command() -> None:
    texts = [str(one) for one in FOUND]
    idle = [p for p, *_ in COVERED if not any(re.fullmatch(p, text) for text in texts)]
    assert idle == []


def runner_complaints(root: Path, covered: list[tuple[str, str, str]]) -> list[str]:
    """Runners that are not there, and files of runners that do not say what they run."""
    out = []
    for _, runner, says in covered:
        file, _, test = runner.partition("::")
        text = (root / file).read_text() if (root / file).is_file() else None
        if text is not None and not file.endswith(".py"):  # what a comment says is not run
            text = re.sub(r"(?m)(^|\s)#.*$", "", text)
        if text is None:
            out.append(f"{file} is not there")
        elif test and f"def {test}(" not in text:
            out.append(f"{file} has no {test}")
        elif says not in text:
            out.append(f"{file} does not say {says}")
    return out


def test_every_runner_runs_it() -> None:
    assert runner_complaints(ROOT, COVERED) == []


# ------------------------------------------------------------------------------ the checks can fail


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mkae test", "mkae is no program of this list"),
        ("make tests", "the Makefile has no target tests"),
        ("make test PYTESTS=x", "the Makefile does not tell of PYTESTS"),
        ("dvc repor", "dvc does not take it"),
        ("dvc repro --jobs 2", "dvc does not take it"),
        ("dvc repro prun", "dvc.yaml has no stage prun"),
        ("dvc exp run copys -S pool=mine", "dvc.yaml has no stage copys"),
        ("dvc exp run -S grid.ratio=[0.3]", "cannot be laid over"),
        ("dvc exp run -S ++selections.alchemist.sigmas=5", "is not a known key"),
        ("dvc exp run -S 'grid.ratios=[3]'", "grid.ratios"),
        ("./study tabel1", "there is no study tabel1"),
        ("./study confirm -S pool=emoji", "-S is no option of it"),
        ("./study pilot --parts 1", "--parts is no option of it"),
        ("./study pilot -S ++pools.mine.smaple=0.1", "is not a known key"),
        ("./repro --jobs 2", "takes a number"),
        ("python -m stages.exprot", "there is no stages/exprot.py"),
        ("python -m stages.export --selction alchemist --out x", "selction"),
        ("python -m stages.export --selection alchemist --format tarballs --out x", "tarballs"),
        ("python -m stages.export --selection alchemist", "Missing parameter: out"),
        ("python -m stages.explain", "Missing parameter: pair"),
        ("python -m stages.plan -S scal=small", "cannot be laid over"),
        ("python -m benchmarks.pilto", "there is no benchmarks/pilto.py"),
        ("python -m benchmarks.validation --pair 12", "does not know --pair"),
        ("python -m benchmarks laoder", "does not know laoder"),
        ("pip install -e '.[doc]'", "pyproject.toml has no extra doc"),
        ("ruff fmt", "fmt is not what it is called with"),
    ],
)
def test_a_wrong_command_is_told(line: str, says: str) -> None:
    (one,) = parsed(Path("page.md"), line, inline=False)
    assert says in (complaint(one) or "taken")


def test_a_line_is_split_as_a_shell_does() -> None:
    lines = "A=1 dvc pull $(dvc list . | sed 's,a,b,') && python -m stages.plan … --task 3 # why; not"
    found = [(str(one), one.cut) for one in parsed(Path("p"), lines, inline=True)]
    assert found == [
        ("dvc list .", False), ("sed s,a,b,", False), ("dvc pull FOUND", True),
        ("python -m stages.plan --task 3", True),
    ]  # fmt: skip


def test_commands_of_a_page_are_those_of_shells_and_of_lines(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "Say `make\ntest`, not `make` or `x`.\n```\ndvc repro \\\n  prune\n```\n```yaml\ndvc: 1\n```\n"
        "- in a list\n  ```sh\n  ./repro 2\n  ```\n"
    )
    (tmp_path / "LOG.md").write_text("`make old`")
    assert [str(one) for one in commands(tmp_path)] == ["dvc repro prune", "./repro 2", "make test"]


def test_runners_that_do_not_run_it_are_told() -> None:
    wrong = [
        ("x", "tests/gone.py", ""),
        ("x", "tests/tiny.py::test_gone", ""),
        ("x", "tests/tiny.py", "no such word"),
    ]
    assert runner_complaints(ROOT, wrong) == [
        "tests/gone.py is not there",
        "tests/tiny.py has no test_gone",
        "tests/tiny.py does not say no such word",
    ]  # fmt: skip


def test_nothing_is_left_to_a_page_without_commands() -> None:
    assert len(FOUND) > 150
    assert all(isinstance(one, Command) for one in FOUND)

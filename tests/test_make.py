"""make repro and make test: which Python, which environment, what is installed when, and what is said."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
TOOLS = ("sh", "bash", "make", "cat", "sed", "rm", "dirname", "mkdir", "cp", "getconf", "grep")
# Stands for a Python of another version: this one, made to say so, and without ensurepip where it is bare.
# Its environments hold a Python of the same version, and note in `asked` what is asked of pip and of stages.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) exec {real} -c 'import sys
sys.version_info = ({version}, "final", 0)
if {bare}: sys.modules["ensurepip"] = None
exec(sys.argv[1])' "$2" ;;
  "-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
    for name in dvc sphinx-build; do cp {dvc} "$4/bin/$name"; done ;;
  "-m pip" | "-m ensurepip" | "-m stages.check" | "-m torture") echo "python {version}: $*" >>{asked}
    if [ -e {folder}/refuse ]; then case "$*" in *"$(cat {folder}/refuse)"*) exit 1 ;; esac; fi ;;
esac
"""
DVC = """#!/bin/sh
echo "${{0##*/}} $*" >>{asked}
"""


class Machine:
    """A copy of what make reads, with a PATH that has nothing but a few tools and the Pythons given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder / "repo", folder / "asked"
        self.tools = folder / "bin"
        for path in (self.tools, self.folder / ".ci", self.folder / ".git"):
            path.mkdir(parents=True)
        for name in ("Makefile", "repro", ".ci/environment", "pyproject.toml", "constraints.txt"):
            shutil.copy(REPO / name, self.folder / name)
        for name in TOOLS:
            (self.tools / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is missing"))
        self.command(folder / "dvc", DVC.format(asked=self.asked))

    def command(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def python(self, version: str, name: str, bare: bool = False) -> None:
        """A Python of this version, under a name on PATH or at a path."""
        text = PYTHON.format(
            real=sys.executable, version=version.replace(".", ", "), bare=bare, asked=self.asked,
            folder=self.folder, dvc=self.folder.parent / "dvc",
        )  # fmt: skip
        self.command(self.tools / name, text)

    def refuse(self, words: str | None) -> None:
        """From now on every Python fails when it is asked what holds these words."""
        path = self.folder / "refuse"
        path.unlink() if words is None else path.write_text(words)

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What make does; `said` below is what it asked of its Python and of dvc since the last call."""
        self.asked.write_text("")
        return subprocess.run(
            ["make", *words], cwd=self.folder, env={"PATH": str(self.tools), **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def said(self) -> list[str]:
        lines = self.asked.read_text().splitlines()
        return [
            line for line in lines if line != "dvc status --quiet"
        ]  # repro asks where there are two cores


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_repro_installs_checks_and_runs_in_that_order(machine: Machine) -> None:
    machine.python("3.11.7", "python3")
    done = machine.make("repro")
    assert done.returncode == 0, done.stderr
    assert machine.said() == [
        "python 3, 11, 7: -m pip --version",
        "python 3, 11, 7: -m pip install -c constraints.txt -e .",
        "python 3, 11, 7: -m stages.check",
        "dvc repro",
    ]
    assert done.stdout.splitlines()[-1] == f"report: {machine.folder}/reports/index.html"


def test_quick_is_a_study_and_needs_a_commit(machine: Machine) -> None:
    machine.python("3.11.7", "python3")
    machine.command(machine.folder / "study", f'#!/bin/sh\necho "study $*" >>{machine.asked}\n')
    machine.command(machine.tools / "git", "#!/bin/sh\nexit 128\n")
    done = machine.make("quick")
    assert done.returncode == 2
    assert done.stderr.startswith("error: make quick needs a git history")
    assert machine.said() == []
    machine.command(machine.tools / "git", "#!/bin/sh\n")
    assert machine.make("quick").returncode == 0
    assert machine.said()[1:] == ["python 3, 11, 7: -m pip install -c constraints.txt -e .", "study quick"]


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3.13": "3.13.5", "python3.11": "3.11.7", "python3": "3.11.7"}, "3, 13, 5"),
        ({"python3.12": "3.12.1", "python3.11": "3.11.7", "python3": "3.10.13"}, "3, 12, 1"),
        ({"python3": "3.14.0"}, "3, 14, 0"),
        ({"python3.13": "3.13.5 bare", "python3": "3.12.1"}, "3, 12, 1"),
    ],
)
def test_the_newest_python_that_can_make_an_environment(
    machine: Machine, pythons: dict[str, str], chosen: str
) -> None:
    for name, version in pythons.items():
        machine.python(version.split()[0], name, bare="bare" in version)
    assert machine.make("repro").returncode == 0
    assert {line.split(":")[0] for line in machine.said()} == {f"python {chosen}", "dvc repro"}


def test_a_shim_without_a_python_is_passed_over(machine: Machine) -> None:
    machine.command(machine.tools / "python3.13", "#!/bin/sh\necho no such version >&2\nexit 127\n")
    machine.python("3.11.7", "python3.11")
    assert machine.make("repro").returncode == 0


@pytest.mark.parametrize(
    ("pythons", "words"),
    [
        ({}, "found no Python."),
        ({"python3": "3.10.13"}, "found python3 3.10.13 (too old)."),
        ({"python3": "2.7.18"}, "found python3 2.7.18 (too old)."),
        ({"python3": "3.15.0"}, "found python3 3.15.0 (too new)."),
        (
            {"python3.13": "3.13.5 bare", "python3": "3.13.5 bare"},
            "found python3.13 3.13.5 (has no ensurepip to make an environment with: "
            "on Debian and Ubuntu apt install python3.13-venv).",
        ),
    ],
)
def test_no_fit_python_is_told_in_a_sentence(machine: Machine, pythons: dict[str, str], words: str) -> None:
    for name, version in pythons.items():
        machine.python(version.split()[0], name, bare="bare" in version)
    done = machine.make("repro")
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == f"error: Python 3.11 to 3.14 is needed; {words}"
    assert not (machine.folder / ".venv").exists()
    assert machine.said() == []


def test_a_second_run_installs_only_what_changed(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")

    def installs(*words: str) -> list[str]:
        machine.make(*words)
        return [line.split("install ")[1] for line in machine.said() if "pip install" in line]

    pinned, dev = ("-c constraints.txt -e .", "-c constraints.txt -e .[dev]")
    assert installs("repro") == [pinned]
    assert installs("repro") == []
    assert installs("test") == [dev], "the tests need more than the grid"
    assert installs("test") == installs("repro") == []
    assert installs("test", f"VIRTUAL_ENV={machine.folder}/.venv") == [], "its own environment, activated"
    assert installs("repro", "CONSTRAINTS=") == ["-e ."]
    assert installs("repro") == [pinned]
    assert installs("test") == [dev]
    for name in ("pyproject.toml", "constraints.txt"):
        with (machine.folder / name).open("a") as file:
            file.write("# another line\n")
        assert installs("test") == [dev]
        assert installs("test") == []


def test_the_site_is_built_with_its_warnings_as_errors(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")
    done = machine.make("docs")
    assert done.returncode == 0, done.stderr
    assert "python 3, 13, 5: -m pip install -c constraints.txt -e .[dev]" in machine.said()
    assert machine.said()[-1] == "sphinx-build -E -W -q -c docs . site"
    assert done.stdout.splitlines()[-1] == f"site: {machine.folder}/site/index.html"


@pytest.mark.parametrize(
    ("words", "asked"),
    [((), ""), (("TORTURE=memory params --out rows.csv",), "memory params --out rows.csv")],
)
def test_torture_takes_all_parts_or_some(machine: Machine, words: tuple[str, ...], asked: str) -> None:
    machine.python("3.13.5", "python3.13")
    done = machine.make("torture", *words)
    assert done.returncode == 0, done.stderr
    assert "python 3, 13, 5: -m pip install -c constraints.txt -e .[dev,fuzz]" in machine.said()
    assert machine.said()[-1] == f"python 3, 13, 5: -m torture --out docs/promises.csv {asked}".strip()


def test_what_failed_is_installed_again(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")
    machine.refuse("pip install")
    done = machine.make("repro")
    assert done.returncode != 0
    assert "error: pip could not install the project" in done.stderr
    assert not [line for line in machine.said() if "stages" in line or "dvc" in line]
    machine.refuse(None)
    assert machine.make("repro").returncode == 0
    assert any("pip install" in line for line in machine.said())


def test_an_environment_without_pip_and_means_to_get_it_is_told(machine: Machine) -> None:
    machine.python("3.13.5", str(machine.folder / ".venv/bin/python"), bare=True)
    machine.refuse("-m ")
    done = machine.make("repro")
    assert ".venv has no pip, and its Python none to give it." in done.stderr


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_the_active_environment_is_used_and_nothing_in_it_replaced(machine: Machine, variable: str) -> None:
    machine.python("3.13.5", "python3.13")
    home = machine.folder.parent / "own"
    machine.python("3.12.1", str(home / "bin/python"))
    machine.command(home / "bin/dvc", DVC.format(asked=machine.asked))
    assert machine.make("repro", **{variable: str(home)}).returncode == 0
    assert "python 3, 12, 1: -m pip install -e ." in machine.said(), "without the pins"
    assert not (machine.folder / ".venv").exists()


def test_an_active_environment_that_cannot_is_told(machine: Machine) -> None:
    home = machine.folder.parent / "own"
    done = machine.make("repro", VIRTUAL_ENV=str(home))
    assert done.stderr.splitlines()[0] == f"error: {home} is no environment: it has no bin/python that runs."
    machine.python("3.10.13", str(home / "bin/python"))
    done = machine.make("repro", VIRTUAL_ENV=str(home))
    assert done.stderr.splitlines()[0] == f"error: Python 3.11 to 3.14 is needed; {home} has 3.10.13."
    assert machine.said() == []


def test_the_base_of_conda_is_no_environment(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")
    machine.make("repro", CONDA_PREFIX="/opt/conda", CONDA_DEFAULT_ENV="base")
    assert (machine.folder / ".venv").is_dir()


def test_another_python_than_that_of_the_environment_is_told(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")
    machine.python("3.11.7", "python3.11")
    assert machine.make("repro").returncode == 0
    done = machine.make("repro", "PYTHON=python3.11")
    assert ".venv has Python 3.13.5 and PYTHON=python3.11 is 3.11.7" in done.stderr
    assert machine.said() == []
    assert machine.make("repro", "PYTHON=python3.11", "VENV=.venv311").returncode == 0
    assert machine.said()[-2].startswith("python 3, 11, 7: -m stages.check")


def test_without_history_dvc_is_told_so(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")
    machine.make("repro")
    assert "dvc config --local core.no_scm true" not in machine.said()
    (machine.folder / ".git").rmdir()
    machine.make("repro")
    assert machine.said()[-3] == "dvc config --local core.no_scm true"


def test_a_wrong_check_ends_it_before_dvc(machine: Machine) -> None:
    machine.python("3.13.5", "python3.13")
    assert machine.make("repro").returncode == 0
    machine.refuse("stages.check")
    assert machine.make("repro").returncode != 0
    assert machine.said() == ["python 3, 13, 5: -m stages.check"]


def test_the_constraints_are_within_the_ranges_of_the_project() -> None:
    lines = [line for line in (REPO / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert len(pins) == len(lines)
    extras = PROJECT["optional-dependencies"]
    own = f"{PROJECT['name']}[docs]"
    assert own in extras["dev"]
    for text in [*PROJECT["dependencies"], *extras["dev"], *extras["docs"]]:
        if text == own:
            continue
        needed = Requirement(text)
        name = canonicalize_name(needed.name)
        assert name in pins, f"{text} has no line in constraints.txt"
        assert pins[name] in needed.specifier, f"{text}, but constraints.txt has {pins[name]}"
    assert not [version for version in pins.values() if "+" in version], "PyPI has no local versions"


def test_the_pythons_of_the_workflow_are_legal() -> None:
    workflow = yaml.safe_load((REPO / ".github/workflows/ci.yml").read_text())
    versions = workflow["jobs"]["run"]["strategy"]["matrix"]["python"]
    assert set(versions) == {"3.11", "3.13"}
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(version) for version in versions)


def test_a_clone_has_data_with_a_line_for_every_folder_that_a_stage_writes() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", (REPO / "data/README.md").read_text(), re.MULTILINE))
    stages = yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"].values()
    outs = {out for stage in stages for out in stage.get("outs", []) if isinstance(out, str)}
    written = {out.split("/")[1] for out in outs if re.match(r"data/[^/]+(/|$)", out)}
    assert {name for name in written if "." not in name} == told

    if shutil.which("git") and (REPO / ".git").exists():
        ignored = subprocess.run(
            ["git", "check-ignore", "data/README.md", "data/pool/index.parquet"],
            cwd=REPO, env=os.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ignored.stdout.split() == ["data/pool/index.parquet"]

"""Whether a command of the docs would be taken: asked of its program's own parser, without running it."""

import contextlib
import importlib
import io
import itertools
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml
from closure import ROOT
from doc_pages import Command
from study_helpers import names

from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from stages.params_file import parse_params
from stages.pipeline_state import overridden

# Tools that come with a system or with a package, whose options are theirs.
OTHERS = {
    "git", "bash", "cat", "gunzip", "tar", "unzip", "sed", "xargs", ".", "sbatch", "srun", "apt-get",
    "hf", "img2dataset", "torchrun", "accelerate", "pre-commit", "python3",
}  # fmt: skip
PLACEHOLDER = re.compile(
    r"[A-Z][A-Z_]*(/[A-Z_a-z.]+)*|HOST:PORT|[A-Z]=V,V|data/scored/NAME|assets/raters/NAME/SEED"
)


def complaint(command: Command, root: Path = ROOT) -> str | None:
    """What is wrong with a command, or None."""
    program, *words = command.words
    if "/bin/" in program:  # of an environment
        program = Path(program).name
    if program == "-S":  # values of a page, by themselves
        return changed([program, *words], root, strict=False) if words else None
    if program == "python":
        return module(command, root)
    if program == "sphinx-build":
        return None if words == ["-W", "-c", "docs", ".", "site"] else "is not how the site is built"
    if program in RULES:
        return RULES[program](command, words, root)
    return None if program in OTHERS else f"{program} is no program of this list"


def complaints(found: list[Command], root: Path = ROOT) -> list[str]:
    """Of all commands."""
    told = ((one, complaint(one, root)) for one in found)
    return [f"{one.page}: {one}: {said}" for one, said in told if said]


@cache
def loaded(path: Path) -> Any:
    """What a YAML file holds, read once for all commands."""
    return yaml.safe_load(path.read_text())


# ------------------------------------------------------------------------------ by program


def made(command: Command, words: list[str], root: Path) -> str | None:
    """Make: a target, and variables that the Makefile knows."""
    text = (root / "Makefile").read_text()
    for word in words:
        name, is_set, _ = word.partition("=")
        if is_set and not re.search(rf"^#   {name} ", text, re.MULTILINE):
            return f"the Makefile does not tell of {name}"
        if not is_set and not re.search(rf"^{name}:", text, re.MULTILINE):
            return f"the Makefile has no target {name}"
    return None


def dvc(command: Command, words: list[str], root: Path) -> str | None:
    """DVC's own parser, its stages as targets, and values that stage check takes."""
    from dvc.cli import parse_args

    def is_parsed(further: list[str]) -> bool:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                parse_args([*words, *further])
            except SystemExit as ended:
                return ended.code == 0
            except Exception:  # DvcParserError, whose place differs from version to version
                return False
        return True

    given = [word for word in words if word != "-S"] if words[-1] == "-S" else words
    words[:] = given
    if not is_parsed([]) and not (command.inline and len(words) <= 2 and is_parsed(["--help"])):
        return "dvc does not take it"
    names = [word.partition("@")[0] for word in targets(words)]
    stages = loaded(root / "dvc.yaml")["stages"]
    if unknown := [name for name in names if name not in stages]:
        return f"dvc.yaml has no stage {unknown[0]}"
    return changed(words, root, strict=True)


def targets(words: list[str]) -> list[str]:
    """Stages that a run of DVC is asked for."""
    words = [word for word in words if word != "--wait-for-lock"]
    if words[:1] == ["repro"]:
        return [word for word in words[1:] if word[0] != "-"]
    if words[:2] == ["exp", "run"]:
        valued = {"-S", "--name"}
        return [
            word for before, word in itertools.pairwise(words[1:])
            if word[0] != "-" and before not in valued
        ]  # fmt: skip
    return [word for word in words[1:] if word[0] != "-"] if words[:1] == ["commit"] else []


def study(command: Command, words: list[str], root: Path) -> str | None:
    """A study of the script, or a block of `studies:`, and the options of its kind."""
    registered = loaded(root / "params.yaml").get("studies", {})
    name, *rest = words or ["NAME"]
    if name not in {*names(root), *registered, "show", "NAME", "--help"}:
        return f"there is no study {name}"
    options = {word for word in rest if word[0] == "-"}
    legal = {"--plan", "--jobs"} | ({"--pool", "--from", "--parts"} if name in registered else {"-S"})
    if options - legal:
        return f"{min(options - legal)} is no option of it"
    return changed(rest, root, strict=False)


def repro(command: Command, words: list[str], root: Path) -> str | None:
    """./repro: a number at most."""
    return None if not words or (len(words) == 1 and words[0].isdigit()) else "takes a number"


def pip(command: Command, words: list[str], root: Path) -> str | None:
    """An extra of this project, or a package of another."""
    text = (root / "pyproject.toml").read_text()
    extras = [extra for word in words for extra in re.findall(r"^\.\[(\w+)\]", word)]
    unknown = [extra for extra in extras if not re.search(rf"^{extra} = \[", text, re.MULTILINE)]
    return f"pyproject.toml has no extra {unknown[0]}" if unknown else None


def tool(*legal: str) -> Callable[[Command, list[str], Path], str | None]:
    """A linter, and the words that it is called with here."""

    def asked(command: Command, words: list[str], root: Path) -> str | None:
        unknown = [word for word in words if word not in legal and not (root / word).exists()]
        return f"{unknown[0]} is not what it is called with" if unknown else None

    return asked


RULES: dict[str, Callable[[Command, list[str], Path], str | None]] = {
    "make": made, "dvc": dvc, "./study": study, "./repro": repro, "pip": pip,
    "ruff": tool("check", "format", "--fix", "--check"), "mypy": tool(), "pytest": tool(),
    ".ci/run": tool(), ".ci/docs": tool(),
}  # fmt: skip


def changed(words: list[str], root: Path, *, strict: bool) -> str | None:
    """What DVC or stage check says of values behind -S; of a study, which sets others too, of keys alone."""
    asked = [word for before, word in itertools.pairwise(words) if before == "-S"]
    values = [one for one in asked if not PLACEHOLDER.fullmatch(one.partition("=")[2])]
    if "scale=mine" in values:  # which the page tells to make
        values.remove("scale=mine")
    said = refused(root, tuple(values)) if values else ""
    return said if said and (strict or re.search("cannot be laid over|is not a known key", said)) else None


@cache
def refused(root: Path, values: tuple[str, ...]) -> str:
    """What is said of values that are laid over params.yaml; empty where they are taken."""
    try:
        check(parse_params(overridden(root / "params.yaml", list(values)), root / "params.yaml"))
    except Refusal as error:
        return str(error)
    return ""


# ------------------------------------------------------------------------------ python -m


def module(command: Command, root: Path) -> str | None:
    """A stage by its own options; of the tools beside, the file and the options that its text names."""
    assert command.words[1] == "-m", command
    name, words = command.words[2], list(command.words[3:])
    package, _, last = name.partition(".")
    if PLACEHOLDER.fullmatch(last or "x"):
        return None
    path = root / package / f"{last or '__main__'}.py"
    if not path.is_file():
        return f"there is no {path.relative_to(root)}"
    if package == "stages":
        name = name if last else f"{name}.__main__"
        return options(name, words, needs_all=not command.inline and not command.cut) or changed(
            words, root, strict=last == "plan"
        )
    text = path.read_text()
    unknown = [word for word in words if word.startswith("--") and f'"{word}"' not in text]
    if package in ("benchmarks", "torture") and not last:
        legal = getattr(
            importlib.import_module(f"{package}.__main__"), {"benchmarks": "NAMES"}.get(package, "PARTS")
        )
        unknown += [word for word in words if word.islower() and word.isalpha() and word not in legal]
    return f"{path.relative_to(root)} does not know {unknown[0]}" if unknown else None


def options(name: str, words: list[str], *, needs_all: bool) -> str | None:
    """What a stage's own parser says of words: unknown options, values of a wrong type, what is missing."""
    app = typer.Typer(add_completion=False)
    app.command()(importlib.import_module(name).run)
    try:
        typer.main.get_command(app).make_context(name, list(words))
    except Exception as error:  # typer brings a copy of click along, with exceptions of its own
        said = str(getattr(error, "message", "")) or str(error)
        if "click" not in type(error).__module__:
            raise
        is_missing = type(error).__name__ == "MissingParameter"
        stands_for_one = re.search("'([^']*)'", said)
        if (is_missing and not needs_all) or (stands_for_one and PLACEHOLDER.fullmatch(stands_for_one[1])):
            return None
        return said or "an option is missing"
    return None

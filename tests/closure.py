"""Which files of the repo a script runs: `python -m tests.closure stages.train star` prints them as deps.

Reads the source, imports nothing. Imports inside functions count, and so do the __init__.py of
every package on the way, because an edit of any of them may change what the script computes. Imports for
the type checker alone do not. What the functions of a kind of rater import counts for the stage that
calls them: every stage that reads a block of `raters:` reads all kinds, and rates by none.
"""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How a process starts and ends, and who makes a shard: neither changes a result.
NO_RESULT = ("stages/__init__.py", "stages/engines.py")
KINDS = "alchemist/raters/kinds/"
BY_FAMILY = "alchemist/core/settings/model.py"  # looks up the settings of families by their names
# What the class of a kind extends, and the stage that calls its functions.
RATED_BY = {"SeededRater": "rate", "EmbeddingRater": "embedding", "HeuristicRater": "heuristic",
            "IndexRater": "heuristic",             "OracleRater": "oracle"}  # fmt: skip


def module_file(name: str, root: Path) -> Path | None:
    """The file of a module of the repo; None for one that lies elsewhere."""
    base = root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _runs(node: ast.AST, called: bool) -> Iterator[ast.AST]:
    """All nodes but those for the type checker and, where they are not `called`, those inside functions."""
    yield node
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if called or not isinstance(node, ast.FunctionDef):
        for child in ast.iter_child_nodes(node):
            yield from _runs(child, called)


def imported(path: Path, root: Path, called: bool = True) -> Iterator[str]:
    """Dotted names that a file imports. `from a import b` gives a and a.b, since b may be a module."""
    place = path.relative_to(root).with_suffix("").parts
    if place == ("alchemist", "raters", "table"):  # which looks them up by name
        yield from (f"alchemist.raters.kinds.{kind.stem}" for kind in sorted((root / KINDS).glob("*.py")))
    yield from _named(path.read_text(), place, called)


@functools.cache  # dozens of closures meet the same file
def _named(text: str, place: tuple[str, ...], called: bool) -> list[str]:
    """Dotted names that a text at a place imports."""
    names = []
    for node in _runs(ast.parse(text), called):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # One dot is the package of the file, each further dot the package above.
            package = place[: len(place) - node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names += [str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant)]
    return names


def closure(script: Path, root: Path = ROOT) -> set[str]:
    """Paths, relative to the repo, of a script and of all files of the repo that it imports."""
    found: set[Path] = set()
    start = ".".join(script.relative_to(root).with_suffix("").parts)
    names = [start.removesuffix(".__init__")]
    while names:
        parts = names.pop().split(".")
        for end in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b first
            path = module_file(".".join(parts[:end]), root)
            if path is not None and path not in found:
                found.add(path)
                names.extend(imported(path, root, _called(path, script, root)))
    return {path.relative_to(root).as_posix() for path in found}


def _called(path: Path, script: Path, root: Path) -> bool:
    """Whether a script may call the functions of a file."""
    if not path.relative_to(root).as_posix().startswith(KINDS):
        return True
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    # A base that is none of the four, as another kind, may be rated by any stage.
    bases = [ast.unparse(base) for node in classes for base in node.bases]
    return any(RATED_BY.get(base, script.stem) == script.stem for base in bases)


def stage_closure(script: Path, family: str | None, root: Path = ROOT) -> set[str]:
    """The closure of a script and, where it runs a family, which it looks up by name, of that family.

    A script that runs none and reads blocks of models looks up the settings of all families.
    Left out are packages' files that hold nothing but their docstring, and what changes no result.
    """
    found = closure(script, root)
    for name in ("family", "settings") if family else ():
        found |= closure(root / "alchemist/families" / str(family) / f"{name}.py", root)
    if family is None and BY_FAMILY in found:
        for path in sorted((root / "alchemist/families").glob("*/settings.py")):
            found |= closure(path, root)
    return {path for path in found if path not in NO_RESULT and not _holds_nothing(root / path)}


def _holds_nothing(path: Path) -> bool:
    """Whether a file is the sign of a package alone: nothing in it, or its docstring."""
    body = ast.parse(path.read_text()).body
    return path.name == "__init__.py" and all(isinstance(node, ast.Expr) for node in body)


if __name__ == "__main__":
    module, *families = sys.argv[1:]
    script = ROOT / (module.replace(".", "/") + ".py")
    files = stage_closure(script, families[0] if families else None)
    print("\n".join(f"      - {path}" for path in sorted(files)))

"""Checks of the house: does every part stay in its room?

As those of tests/pipeline.py, each is a function of a repo's root that returns complaints, reads the source
and imports nothing of it. tests/test_house.py asks them.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
from closure import closure, imported, module_file
from pipeline import families, paths, script, stages, trees

from alchemist.pools.store import PLACE

LIGHT = ("check", "prepare", "heuristic", "oracle", "prune", "report", "sizes")  # stages that need no torch
TRUTH_READERS = {"oracle", "report"}
ARROWS = {  # which rooms a room may import from
    "core": set[str](),
    "settings": {"core"},
    "params": {"core", "settings", "pools", "pruning", "raters"},
    "pools": {"core", "settings"},
    "models": {"core", "settings"},
    "families": {"core", "settings", "models"},  # and none from another family
    "pruning": {"core", "settings"},
    "passes": {"core", "settings"},
    "kept": {"core", "settings", "pools", "pruning"},
    "analysis": {"core", "settings", "raters"},  # what a block of raters says, not how it rates
    "measures": {"core", "settings", "models", "pools"},
    "raters": {"core", "settings", "models", "measures", "pools"},
    "report": {"core", "settings", "analysis", "pools", "pruning", "raters"},
    "plan": {"core", "settings", "params", "analysis", "pools", "pruning", "models", "measures", "raters"},
}
# A room within core: every stage reads settings, and one dep for both keeps dvc.lock short.
SETTINGS, SETTING = ["core", "settings"], re.compile(r"^core\.settings\b")
TORCHLESS = ("settings", "params", "pools", "pruning", "analysis", "report")
HEAVY = {"torch", "torchvision", "timm", "transformers", "diffusers", "open_clip", "safetensors"}
LONGEST = 400  # lines of a file; longer ones are two subjects
# What is true of one family alone: code outside its folder does not say it.
# In identifiers as in prose: `n_tokens` says it too.
FAMILY_WORDS = re.compile(
    r"(?<![A-Za-z])(?:(?i:tokens?|tokenizers?|tokenized|nats|top[-_]?p|codebooks?|latents?|timesteps?))(?![a-z])"
    r"|(?<![A-Za-z])Tokenizer[A-Z]\w*"
)
# Other libraries' names, and those of a data set.
BORROWED = re.compile(
    r"get_tokenizer|open_clip\.tokenizer|AutoTokenizer|\"tokenizer\"|tokenizer_2|pad_token_id"
    r"|flux_reason|FluxReason|FLUX-Reason"
)


def alchemist_imports(file: str, root: Path) -> set[str]:
    """What a file imports of alchemist, lazily, relatively or by import_module: dotted, without `alchemist.`.

    `from a import b` counts as a.b where that is a module, or else as a.
    """
    found = set()
    for name in imported(root / file, root):
        if name.startswith("alchemist.") and module_file(name, root) is not None:
            found.add(name.removeprefix("alchemist."))
    # A package stands among them for each module in it that is imported.
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def arrow_complaints(root: Path) -> list[str]:
    """No import goes up: every room imports from those below it alone, and no family from another."""
    found = []
    for file, tree in trees(root, "alchemist"):
        parts = file.split("/")
        if len(parts) < 3:
            continue
        room = "settings" if parts[1:3] == SETTINGS else parts[1]
        if room not in ARROWS:
            found.append(f"{file}: {room} is no room")
            continue
        for name in sorted(alchemist_imports(file, root)):
            to, _, inner = (
                name.removeprefix("core.").partition(".") if SETTING.match(name) else name.partition(".")
            )
            if to not in {room, "families"} | ARROWS[room]:  # for families see below
                found.append(f"{file}: imports {name}, and {room} may not import from {to}")
            own = parts[2] if room == "families" and len(parts) > 3 else None
            if to == "families" and inner.split(".")[0] != own:
                found.append(f"{file}: imports {name}, which is the family's own")
        if room in TORCHLESS or (room == "families" and parts[-1] == "settings.py"):
            found += [f"{file}: imports {name}" for name in sorted(packages(tree) & HEAVY)]
    return found


def packages(tree: ast.Module) -> set[str]:
    """Top packages that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def family_complaints(root: Path) -> list[str]:
    """What is one family's own is named in its folder alone: in no name, text, comment or import elsewhere.

    Left out are the names of other things: the objects that the composed pool draws, and the paper's own
    models (analysis/paper.py).
    """
    others = {"alchemist/analysis/paper.py", "alchemist/pools/emoji_scene.py"}
    own = families(root)
    folders = tuple(f"alchemist/families/{name}/" for name in own)
    name_of = re.compile("|".join(rf"(?<![A-Za-z])(?i:{name})(?![a-z])|{name.title()}[A-Z]" for name in own))
    found = []
    for folder in ("alchemist", "stages"):
        for path in sorted((root / folder).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            if file in others or file.startswith(folders):
                continue
            for number, line in enumerate(BORROWED.sub("", path.read_text()).splitlines(), 1):
                said = [*FAMILY_WORDS.finditer(line), *(name_of.finditer(line) if own else [])]
                found += [f"{file}:{number}: says {word[0]}" for word in said]
    return found


def length_complaints(root: Path) -> list[str]:
    """No file of more lines than one subject takes."""
    counts = {
        path.relative_to(root).as_posix(): len(path.read_text().splitlines())
        for folder in ("alchemist", "stages")
        for path in (root / folder).rglob("*.py")
    }
    return [f"{file}: {count} lines, at most {LONGEST}" for file, count in counts.items() if count > LONGEST]


def room_complaints(root: Path) -> list[str]:
    """alchemist/ knows no command line, no YAML, no pipeline, no stage, and does not print."""
    found = []
    for file, tree in trees(root, "alchemist"):
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                found.append(f"{file}: prints")
            found += [
                f"{file}: imports {name}"
                for name in names
                if name.split(".")[0] in {"typer", "click", "argparse", "yaml", "dvc", "stages"}
            ]
    return found


def torch_complaints(root: Path, *modules: str) -> list[str]:
    """Importing light stages, one after the other in one Python, imports no torch; the first that does."""
    code = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, flush=True)
    importlib.import_module(name)
    if [loaded for loaded in sys.modules if loaded.split(".")[0] == "torch"]:
        sys.exit("torch")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *modules],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if not done.returncode:
        return []
    module, told = done.stdout.splitlines()[-1], done.stderr.strip().splitlines()[-1]
    return [f"{module}: imports torch" if told == "torch" else f"{module}: cannot be imported: {told}"]


def truth_complaints(root: Path) -> list[str]:
    """Planted truth is reached by the stages oracle and report alone, through one module."""
    found = []
    for path in sorted((root / "stages").glob("*.py")):
        if path.stem not in TRUTH_READERS and "alchemist/pools/truth.py" in closure(path, root):
            found.append(f"stages/{path.name}: reaches alchemist/pools/truth.py")
    for name, body in stages(root).items():
        if script(body) not in TRUTH_READERS | {"prepare"}:
            found += [f"{name}: depends on {path}" for path in paths(body.get("deps")) if "truth" in path]
    for file, tree in trees(root, "alchemist", "stages"):
        # The store writes it, truth.py reads it.
        if file not in {"alchemist/pools/truth.py", "alchemist/pools/store.py"}:
            texts = {
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            for table in ("truth.parquet", "labels.parquet"):
                found += [f"{file}: names {table}"] * any(table in text for text in texts)
    return found


def index_complaints(folder: Path) -> list[str]:
    """The index has the columns of the contract and no other."""
    legal = {"caption", "split", "group", "status", "reason", "lent", "cluster", "pixels", *PLACE}
    columns = set(pd.read_parquet(folder / "index.parquet").columns)
    return [f"index.parquet: column {name}" for name in sorted(columns ^ legal)]

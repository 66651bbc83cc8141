"""Checks of the house: does dvc.yaml tell the truth, does every part stay in its room?

Each is a function of a repo's root that returns complaints. They read the source and import nothing
of it. tests/test_pipeline.py asks them of this repo and of miniature ones with planted defects.
"""

import ast
import itertools
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from closure import closure, imported, module_file, stage_closure

LIGHT = ("check", "prepare", "heuristic", "oracle", "prune", "report")  # stages that need no torch
TRUTH_READERS = {"oracle", "report"}
ARROWS = {  # which rooms a room may import from
    "core": set[str](),
    "settings": {"core"},
    "params": {"core", "settings", "pools", "pruning", "raters"},
    "pools": {"core", "settings"},
    "models": {"core", "settings"},
    "families": {"core", "settings", "models"},  # and none from another family
    "pruning": {"core", "settings"},
    "analysis": {"core", "settings", "raters"},  # what a block of raters says, not how it rates
    "measures": {"core", "settings", "models"},
    "raters": {"core", "settings", "models", "measures", "pools"},
    "report": {"core", "settings", "analysis", "pools", "pruning", "raters"},
}
TORCHLESS = ("settings", "params", "pools", "pruning", "analysis", "report")
HEAVY = {"torch", "torchvision", "timm", "transformers", "diffusers", "open_clip", "safetensors"}
PARAMS = "data/params.json"  # params.yaml as the stage check passes it on
LONGEST = 400  # lines of a file; longer ones are two subjects
# What is true of one family alone: code outside its folder, its settings and its own stages does not say it.
# In identifiers as in prose: `n_tokens` says it too.
FAMILY_WORDS = re.compile(
    r"(?<![A-Za-z])(?:(?i:tokens?|tokenizers?|tokenized|nats|top[-_]?p|codebooks?|latents?|timesteps?))(?![a-z])"
    r"|(?<![A-Za-z])Tokenizer[A-Z]\w*"
)
BORROWED = re.compile(r"get_tokenizer|open_clip\.tokenizer|AutoTokenizer")  # other libraries' names
# Where all blocks of params.yaml are checked, one family's block `tokenizer` is among them.
READS_A_FAMILY = {"alchemist/params/whole.py": "star"}
FAMILY_STAGES = {"tokenizer": "star"}  # stages that one family alone has
PLACE = re.compile(r"\$\{([^}]*)\}")


# ------------------------------------------------------------------------------- reading the repo


def stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml; a foreach stage as its template."""
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    return {name: body.get("do", body) for name, body in pipeline["stages"].items()}


def params(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())
    return loaded


def words(body: dict[str, Any]) -> list[str]:
    lines = body["cmd"] if isinstance(body["cmd"], list) else [body["cmd"]]
    return [word for line in lines for word in shlex.split(line)]


def script(body: dict[str, Any]) -> str | None:
    """NAME of `python -m stages.NAME`."""
    for before, word in itertools.pairwise(words(body)):
        if before == "-m" and word.startswith("stages."):
            return word.removeprefix("stages.")
    return None


def paths(entries: list[Any] | None) -> list[str]:
    """Paths of deps or outs, which may be `path` or `{path: {cache: false}}`."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or []]


def tracked(body: dict[str, Any]) -> list[str]:
    """Keys of PARAMS that a stage tracks; `PARAMS:` without keys is all of it, named ""."""
    out = []
    for entry in body.get("params", []):
        for file, keys in entry.items() if isinstance(entry, dict) else [("params.yaml", [entry])]:
            out += (keys or [""]) if file == PARAMS else [f"{file}:{keys}"]
    return out


def trees(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text())


def value_at(tree: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        tree = tree[part]
    return tree


def cells(root: Path) -> Iterator[tuple[str, str]]:
    """(stage, cell) of every matrix stage, named as DVC names them."""
    given = params(root)
    for name, body in stages(root).items():
        if "matrix" in body:
            axes = []
            for axis in body["matrix"].values():
                found = PLACE.fullmatch(axis) if isinstance(axis, str) else None
                axes.append(value_at(given, found[1]) if found else axis)
            for values in itertools.product(*axes):
                yield name, "-".join(str(value) for value in values)


# --------------------------------------------------------------------------------------- deps


def deps_complaints(root: Path) -> list[str]:
    """The import closure of the script that cmd runs, and of its family, lies within the deps that are code.

    A dep is a file or a room, a folder of them, and each is touched by the closure. A script looks its
    family up by name, which no closure sees: the command names it by `--family`.
    """
    found = []
    for name, body in stages(root).items():
        module = script(body)
        if module is None or not (root / "stages" / f"{module}.py").is_file():
            found.append(f"{name}: cmd runs no script of stages/")
            continue
        listed = [path for path in paths(body.get("deps")) if path.startswith(("alchemist/", "stages/"))]
        file, family = root / "stages" / f"{module}.py", options(body).get("--family")
        if ("family.load(" in file.read_text()) != (family is not None):
            says = f"names the family {family}, which it does not load" if family else "names no --family"
            found.append(f"{name}: cmd {says}")
        if family is not None and family not in families(root):
            found.append(f"{name}: cmd names the family {family}, which has no folder in alchemist/families")
            continue
        needed = sorted(stage_closure(file, family, root))
        within = {
            path: [dep for dep in listed if path == dep or path.startswith(f"{dep}/")] for path in needed
        }
        found += [f"{name}: {path} is imported but is in no dep" for path in needed if not within[path]]
        touched = {dep for deps in within.values() for dep in deps}
        found += [
            f"{name}: {dep} is a dep but nothing of it is imported" for dep in sorted({*listed} - touched)
        ]
        found += [f"{name}: {path} is a dep twice" for path in needed if len(within[path]) > 1]
    return found


def path_complaints(root: Path) -> list[str]:
    """Paths in a command are deps or outs (or lie in one, or hold one): nothing is read or written unseen."""
    found = []
    for name, body in stages(root).items():
        declared = [path for key in ("deps", "outs", "metrics", "plots") for path in paths(body.get(key))]
        for word in words(body):
            if word.startswith(("data/", "reports", "assets")) and not any(
                word == path or word.startswith(f"{path}/") or path.startswith(f"{word}/")
                for path in declared
            ):
                found.append(f"{name}: {word} is in cmd but is neither dep nor out")
    return found


# --------------------------------------------------------------------------------------- params


def options(body: dict[str, Any]) -> dict[str, str]:
    """The command's `--option value` pairs."""
    given = words(body)
    return {a: b for a, b in itertools.pairwise(given) if a.startswith("--") and not b.startswith("--")}


def option_names(tree: ast.Module) -> dict[str, str]:
    """Argument name -> command-line option, of the script's function `run`."""
    out = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "run":
            for argument in [*node.args.args, *node.args.kwonlyargs]:
                texts = ast.walk(argument.annotation) if argument.annotation else []
                flags = [t.value for t in texts if isinstance(t, ast.Constant) and isinstance(t.value, str)]
                own = [flag for flag in flags if flag.startswith("--")]
                out[argument.arg] = own[0] if own else "--" + argument.arg.replace("_", "-")
    return out


def keys_read(root: Path, module: str, body: dict[str, Any]) -> list[str | None]:
    """Keys that a script reads by block() and section(), in the words of dvc.yaml.

    A placeholder that is an argument of `run` becomes what cmd passes for it; any other becomes `?`.
    None is a key that cannot be read off the source.
    """
    given = options(body)
    out: list[str | None] = []
    files = [f for f in closure(root / "stages" / f"{module}.py", root) if f.startswith("stages/")]
    own = option_names(ast.parse((root / "stages" / f"{module}.py").read_text()))
    for file in sorted(files):
        for node in ast.walk(ast.parse((root / file).read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            place = {"block": 1, "section": 0}.get(node.func.id)
            if place is None:
                continue
            text = node.args[place] if len(node.args) > place else None
            if isinstance(text, ast.Constant):
                out.append(str(text.value))
            elif isinstance(text, ast.JoinedStr):
                parts = []
                for part in text.values:
                    if isinstance(part, ast.Constant):
                        parts.append(str(part.value))
                    else:
                        assert isinstance(part, ast.FormattedValue)
                        parts.append(given.get(own.get(ast.unparse(part.value), ""), "?"))
                out.append("".join(parts))
            elif text is not None and ast.unparse(text) in own:  # an argument of `run` is the key
                out.append(given.get(own[ast.unparse(text)], "?"))
            else:
                out.append(None)
    return out


def tracks(entry: str, key: str) -> bool:
    """Whether a params entry of dvc.yaml is what a script reads at `key`.

    Where the script alone knows a segment (`?`), the whole block above it is tracked, or the segment
    is a dial of params.yaml (`${scale}`), which is the same for every cell of a matrix.
    """
    if "?" not in key:
        return entry == key
    if entry == key[: key.index("?")].rstrip("."):
        return True
    pattern = re.escape(key).replace(r"\?", r"\$\{(?!item|key)[^}]*\}")
    return re.fullmatch(pattern, entry) is not None


def params_complaints(root: Path) -> list[str]:
    """Params listed equal the sections that the script reads."""
    found = []
    for name, body in stages(root).items():
        module = script(body)
        if module is None:
            continue
        if PARAMS in paths(body.get("deps")):  # all of it, as a file
            found += [f"{name}: lists {entry} beside {PARAMS} as a file" for entry in tracked(body)]
            if not keys_read(root, module, body):
                found.append(f"{name}: {PARAMS} is a dep, which it does not read")
            continue
        listed = tracked(body)
        keys = keys_read(root, module, body)
        if None in keys:
            found.append(f"{name}: stages/{module}.py reads a key that is neither text nor f-string")
        read = sorted({key for key in keys if key is not None})
        found += [
            f"{name}: reads {key}, which is not in params"
            for key in read
            if not any(tracks(e, key) for e in listed)
        ]
        found += [
            f"{name}: lists {entry}, which it does not read"
            for entry in listed
            if not any(tracks(entry, k) for k in read)
        ]
    return found


def leaves(tree: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict) and tree:
        for name, child in tree.items():
            yield from leaves(child, (*where, str(name)))
    else:
        yield where


def leaf_complaints(root: Path) -> list[str]:
    """Every leaf of params.yaml is tracked by some stage's params or interpolated into dvc.yaml.

    A stage with the file as a dep covers what its script reads; one that reads all of it does not count, or
    no leaf could ever be idle.
    """
    covers = [entry for body in stages(root).values() for entry in tracked(body) if entry]
    for body in stages(root).values():
        module = script(body)
        if module is not None and PARAMS in paths(body.get("deps")):
            covers += [re.sub(r"\?", "${any}", key) for key in keys_read(root, module, body) if key]
    covers += [
        name for name in PLACE.findall((root / "dvc.yaml").read_text()) if not name.startswith("item.")
    ]
    patterns = [[None if "${" in part else part for part in _parts(entry)] for entry in covers]
    return [
        f"params.yaml: nothing reads {'.'.join(leaf)}"
        for leaf in leaves(params(root))
        if not any(
            len(pattern) <= len(leaf) and all(a in (None, b) for a, b in zip(pattern, leaf, strict=False))
            for pattern in patterns
        )
    ]


def _parts(entry: str) -> list[str]:
    """Segments of a dotted key; dots within ${...} do not part."""
    return re.findall(r"(?:\$\{[^}]*\}|[^.])+", entry)


def field_complaints(root: Path) -> list[str]:
    """Every field of a settings class is used: as an attribute outside alchemist/settings, or in dvc.yaml.

    Left out are tags, which have one legal value and decide nothing, and fields that hold blocks,
    whose own fields are asked for. A block inside a block may also be taken as a whole
    (`settings.shares.model_dump()`).
    """
    used = {name.split(".")[-1] for name in PLACE.findall((root / "dvc.yaml").read_text())}
    whole = set()
    for file, tree in trees(root, "alchemist", "stages"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not file.startswith("alchemist/settings/"):
                used.add(node.attr)
                if node.attr == "model_dump" and isinstance(node.value, ast.Attribute):
                    whole.add(node.value.attr)
    kinds, fields = set(), []
    for file, tree in trees(root, "alchemist"):
        # Names of several kinds of block: RaterSettings = MetaRater | LossRater
        kinds |= {
            t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                kinds.add(node.name)
                for line in node.body:
                    if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
                        continue
                    # In the other rooms a block of params.yaml is told by what its fields say of themselves.
                    if file.startswith("alchemist/settings/") or "Field(" in ast.unparse(line):
                        fields.append((file, node.name, line.target.id, ast.unparse(line.annotation)))
    dumped = {kind for _, _, name, kind in fields if name in whole}
    return [
        f"{file}: nothing uses {block}.{name}"
        for file, block, name, kind in fields
        if name not in used
        and block not in dumped
        and not kinds & set(re.findall(r"\w+", kind))
        and not re.fullmatch(r"Literal\[[^,\]]*\]|ClassVar\[.*\]", kind)
    ]


# ----------------------------------------------------------------------------------------- cells


def cell_complaints(root: Path) -> list[str]:
    """Cell names are unique: of two cells with one name DVC silently keeps one."""
    counts = Counter(cells(root))
    return [f"{stage}@{cell} names {n} cells" for (stage, cell), n in counts.items() if n > 1]


# ------------------------------------------------------------------------------------ boundaries


def families(root: Path) -> list[str]:
    """Names of the model families: the folders of alchemist/families."""
    return sorted(path.parent.name for path in (root / "alchemist/families").glob("*/family.py"))


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
        room = parts[1]
        if room not in ARROWS:
            found.append(f"{file}: {room} is no room")
            continue
        for name in sorted(alchemist_imports(file, root)):
            to, _, inner = name.partition(".")
            if to not in {room, "families"} | ARROWS[room]:  # for families see below
                found.append(f"{file}: imports {name}, and {room} may not import from {to}")
            own = parts[2] if room == "families" and len(parts) > 3 else READS_A_FAMILY.get(file)
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


def of_a_family(root: Path, file: str) -> bool:
    """Whether a file may name what is one family's own: its folder, its settings, the stages it alone has."""
    own = families(root)
    folders = tuple(f"alchemist/families/{name}/" for name in own)
    return file.startswith(folders) or file in {f"stages/{name}.py" for name in FAMILY_STAGES}


def family_complaints(root: Path) -> list[str]:
    """What is one family's own is named in its folder alone: in no name, text, comment or import elsewhere.

    Left out are the names of other things: the objects that the composed pool draws, the paper's own models
    (analysis/paper.py), and the block `tokenizer` of params.yaml where all of params.yaml is checked.
    """
    others = {*READS_A_FAMILY, "alchemist/analysis/paper.py", "alchemist/pools/emoji_scene.py"}
    own = families(root)
    name_of = re.compile("|".join(rf"(?<![A-Za-z])(?i:{name})(?![a-z])|{name.title()}[A-Z]" for name in own))
    found = []
    for folder in ("alchemist", "stages"):
        for path in sorted((root / folder).rglob("*.py")):
            file = path.relative_to(root).as_posix()
            if file in others or of_a_family(root, file):
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


def torch_complaints(root: Path, module: str) -> list[str]:
    """Importing a light stage does not import torch."""
    code = f"import sys, {module}; print([name for name in sys.modules if name.split('.')[0] == 'torch'][:1])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        return [f"{module}: cannot be imported: {done.stderr.strip().splitlines()[-1]}"]
    return [] if done.stdout.strip() == "[]" else [f"{module}: imports torch"]


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
        if file not in {"alchemist/pools/truth.py", "alchemist/pools/store.py"} and any(
            isinstance(node, ast.Constant) and isinstance(node.value, str) and "truth.parquet" in node.value
            for node in ast.walk(tree)
        ):
            found.append(f"{file}: names truth.parquet")
    return found


def index_complaints(folder: Path) -> list[str]:
    """The index has the columns of the contract and no other."""
    legal = {"id", "caption", "split", "group", "status", "reason", "shard", "row"}
    columns = set(pd.read_parquet(folder / "index.parquet").columns)
    return [f"index.parquet: column {name}" for name in sorted(columns ^ legal)]

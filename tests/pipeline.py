"""Does dvc.yaml tell the truth: of what its scripts import, read and write, and of params.yaml?

Each check is a function of a repo's root that returns complaints. They read the source and import nothing
of it. tests/test_pipeline.py asks them of this repo, and of miniature ones (tests/mini_repo.py) with
planted defects.
"""

import ast
import itertools
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from closure import closure, stage_closure

PARAMS = "data/params.json"  # params.yaml as the stage check passes it on
PLACE = re.compile(r"\$\{([^}]*)\}")


# ------------------------------------------------------------------------------- reading the repo


def stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, a foreach stage as its template, with the values of their own `vars` in place.

    A matrix with an axis `family` is a stage for each family that there is, NAME@FAMILY, whatever the grid
    names: each must find in its deps what it runs.
    """
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    out: dict[str, dict[str, Any]] = {}
    for name, written in pipeline["stages"].items():
        body = written.get("do", written)
        own = {key: value for block in body.get("vars", []) for key, value in block.items()}
        body = filled({key: value for key, value in body.items() if key != "vars"}, own)
        if "family" in body.get("matrix", {}):
            out |= {f"{name}@{f}": filled(body, {"item.family": f}) for f in families(root)}
        else:
            out[name] = body
    return out


def filled(tree: Any, values: dict[str, str]) -> Any:
    """A tree in whose texts `${name}` is the value of that name."""
    if isinstance(tree, dict):
        return {filled(key, values): filled(child, values) for key, child in tree.items()}
    if isinstance(tree, list):
        return [filled(item, values) for item in tree]
    if isinstance(tree, str):
        for name, value in values.items():
            tree = tree.replace(f"${{{name}}}", value)
    return tree


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


def families(root: Path) -> list[str]:
    """Names of the model families: the folders of alchemist/families."""
    return sorted(path.parent.name for path in (root / "alchemist/families").glob("*/family.py"))


def value_at(tree: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        tree = tree[part]
    return tree


def cells(root: Path) -> Iterator[tuple[str, str]]:
    """(stage, cell) of every matrix stage, named as DVC names them."""
    given = params(root)
    for name, body in yaml.safe_load((root / "dvc.yaml").read_text())["stages"].items():
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
    family up by name, which no closure sees: the command names it by `--family`. One that names none and
    reads blocks of models reads those of every family, by the families' settings.
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
    # What is no stage and reads all of params.yaml: the plan and registered studies have their own blocks.
    readers = {"plan": "plan", "studies": "part"}
    covers += [name for name, stage in readers.items() if (root / f"stages/{stage}.py").is_file()]
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
    """Every field of a settings class is used: as an attribute outside their folder, or in dvc.yaml.

    Left out are tags, which have one legal value and decide nothing, and fields that hold blocks,
    whose own fields are asked for. A block inside a block may also be taken as a whole
    (`settings.shares.model_dump()`).
    """
    used = {name.split(".")[-1] for name in PLACE.findall((root / "dvc.yaml").read_text())}
    whole = set()
    for file, tree in trees(root, "alchemist", "stages"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not file.startswith("alchemist/core/settings/"):
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
                    if file.startswith("alchemist/core/settings/") or "Field(" in ast.unparse(line):
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


# ------------------------------------------------------------------------------------------ lock


def lock_complaints(root: Path) -> list[str]:
    """dvc.lock has no section of what dvc.yaml no longer has: DVC keeps and parses it for good."""
    if not (root / "dvc.lock").is_file():
        return []
    groups = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    found = []
    for section in re.findall(r"(?m)^  ([a-z_]+(?:@.+)?):$", (root / "dvc.lock").read_text()):
        group, _, cell = section.partition("@")
        if group not in groups or ("matrix" in groups[group]) != bool(cell):
            found.append(f"dvc.lock: {section} is no stage of dvc.yaml")
    return found

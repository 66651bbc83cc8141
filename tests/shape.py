"""The shape of the package in figures: python -m tests.shape [ROOT], for this repo or another copy.

A room is a folder of alchemist/, or a file that lies in none. An arrow is a pair of which one imports the
other; floors are the members of the longest chain of arrows.
"""

import sys
from functools import cache
from pathlib import Path
from statistics import median

from tests.closure import ROOT, imported, module_file

REPORT = ("report", "analysis", "statistics", "agreement", "cost", "verdicts")
METHOD = (  # rooms of today, and files of a package without rooms
    "raters", "pruning", "models", "rater", "credit", "meta", "controls", "samplers", "training", "star",
    "family", "encoded", "tokenizer", "text", "perceptual", "heuristics", "dedup", "aesthetic", "ratings",
)  # fmt: skip
Arrows = set[tuple[str, str]]


def name_of(path: Path, root: Path) -> str:
    return path.relative_to(root / "alchemist").with_suffix("").as_posix()


def room_of(name: str) -> str:
    """families/star/transformer lies in families; a file of the package itself is a room of its own."""
    return name.partition("/")[0]


def arrows(root: Path) -> Arrows:
    """Pairs (importer, imported) of files."""
    found = set()
    for path in (root / "alchemist").rglob("*.py"):
        for name in imported(path, root):
            target = module_file(name, root) if name.startswith("alchemist.") else None
            if target is not None and target.name != "__init__.py":
                found.add((name_of(path, root), name_of(target, root)))
    return found


def told(edges: Arrows) -> str:
    edges = {(a, b) for a, b in edges if a != b}
    members = {name for edge in edges for name in edge}

    @cache
    def height(name: str) -> int:
        return 1 + max((height(below) for above, below in edges if above == name), default=0)

    try:
        floors = str(max(map(height, members)))
    except RecursionError:
        floors = "no end of"
    return f"{len(members)} on {floors} floors, {len(edges)} arrows"


def main(root: Path) -> None:
    files = [p for p in (root / "alchemist").rglob("*.py") if p.name != "__init__.py"]
    counts = {name_of(p, root): len(p.read_text().splitlines()) for p in files}
    edges = arrows(root)
    print("files:", told(edges))
    print("rooms:", told({(room_of(a), room_of(b)) for a, b in edges}))
    print(f"lines of a file: longest {max(counts.values())}, median {median(counts.values()):.0f}")
    for word, rooms in (("report", REPORT), ("method", METHOD)):
        print(f"lines of {word}:", sum(n for name, n in counts.items() if name.startswith(rooms)))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)

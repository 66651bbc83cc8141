"""The same natural pairs in six layouts through every stage: nothing may depend on how a person's files lie.

    python -m benchmarks.layouts [--sample 0.15] [--images 3200] [--scale tiny] [--until STAGE]
        [--only LAYOUT-ORDER …] [--out FOLDER]

`icons` as folder, tars and parquet, each sorted by subject and shuffled, are fetched, read, searched for
copies, rated, pruned, trained on and measured, or as far as STAGE, in copies of this repo under FOLDER, which
resume after a kill. Then the index is compared by id, every file of every later stage byte for byte. Where
networks run in float32, a last batch of fewer images rounds otherwise, so features of some images, and what
rests on them, differ by some 1e-5 between two orders.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from alchemist.core import files
from alchemist.pools import store
from alchemist.pools.export import Layout
from stages.icons import Order
from stages.icons import run as fetch

HERE = Path(__file__).resolve().parents[1]
KEPT = shutil.ignore_patterns(
    "__pycache__", "data", "datasets", ".git", ".dvc", ".venv", ".scratch", ".*_cache"
)
NAMES = {f"{one.value}-{order.value}": (one, order) for one, order in itertools.product(Layout, Order)}
# How the files lie may show in these: where a picture is found, in which order it was read, what it took.
OWN = {"read", "pool", "encoded", "timings"}
INDEX = ["id", "caption", "split", "status", "reason", "group", "pixels", "cluster", "lent"]


def through(folder: Path, layout: Layout, order: Order, asked: argparse.Namespace) -> None:
    """Runs a copy of this repo on one layout, from its files to the figures."""
    # The copy's own code, whatever is installed.
    environment = {**os.environ, "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1"}

    def call(*words: str) -> None:
        subprocess.run(words, cwd=folder, check=True, env=environment)

    if not (folder / ".dvc").is_dir():
        shutil.copytree(HERE, folder, ignore=KEPT, dirs_exist_ok=True)
        (folder / "dvc.lock").unlink(missing_ok=True)
        fetch(layout, order, 64, folder / "datasets/icons", None)
        columns = "columns:{id:id}," if layout is Layout.PARQUET else ""
        pool = f"{{format:{layout.value},path:datasets/icons,{columns}sample:{asked.sample}}}"
        changes = [
            f"++pools.laid={pool}", "pool=laid", f"scale={asked.scale}", "grid.seeds=[0]",
            f"++scales.{asked.scale}.train.images={asked.images}",
            "grid.selections=[random,alchemist]", "grid.raters=[random,alchemist]",
            "statistics.primary=null", "statistics.secondary=[]",
        ]  # fmt: skip
        options = [word for change in changes for word in ("-S", change)]
        call(sys.executable, "-m", "stages.overlay", *options)
        call(sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet")
    call(*(("dvc", "repro", asked.until) if asked.until else ("./repro",)))


def index(folder: Path) -> pd.DataFrame:
    """What became of every pair, by id."""
    return store.read_index(folder / "data/pool")[INDEX].sort_values("id", ignore_index=True)


def results(folder: Path) -> dict[str, str]:
    """Digests of what later stages wrote, by path."""
    data = folder / "data"
    found = [path for path in data.rglob("*") if path.is_file() and path.name != "params.json"]
    return {
        str(path.relative_to(data)): files.sha256(path)
        for path in sorted(found)
        if path.relative_to(data).parts[0] not in OWN
    }


def compared(one: Path, other: Path) -> list[str]:
    """What differs between two runs, a line each."""
    left, right = index(one), index(other)
    if len(left) != len(right):
        return [f"{len(left)} and {len(right)} pairs"]
    wrong = [f"column {name} of the index" for name in INDEX if not left[name].equals(right[name])]
    ours, theirs = results(one), results(other)
    return wrong + [path for path in sorted(ours | theirs) if ours.get(path) != theirs.get(path)]


def main() -> None:
    """Prints what differs from the first layout; ends with 1 where anything does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=float, default=0.15, help="share of the 20,708 pairs")
    parser.add_argument("--images", type=int, default=3200, help="that every cell sees")
    parser.add_argument("--scale", default="tiny")
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help=", ".join(NAMES)
    )
    parser.add_argument(
        "--until", metavar="STAGE", help="the last that runs; all of them where it is left out"
    )
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "alchemist-layouts")
    asked = parser.parse_args()
    out = asked.out.resolve()
    print(f"writes to {out}", flush=True)
    folders = []
    for name in asked.only:
        folders.append(out / name)
        print(f"== {name}", flush=True)
        through(folders[-1], *NAMES[name], asked)
    first, wrong = folders[0], False
    pairs, count = len(index(first)), len(results(first))
    for folder in folders:
        differs = compared(first, folder)
        wrong |= bool(differs)
        print(f"{folder.name}: {'; '.join(differs) or f'{pairs} pairs and {count} files equal'}", flush=True)
    raise SystemExit(int(wrong))


if __name__ == "__main__":
    main()

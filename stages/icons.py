"""Fetches the pools `icons` and `icons_clean`: drawings of icon and emoji sets with their names.

docs/data/icons.md says which.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files, npm, progress
from alchemist.core.refusal import Refusal
from alchemist.pools import export, icons
from alchemist.pools.export import Layout, Pair
from stages import stage


class Order(StrEnum):
    """In which the pairs lie."""

    SORTED = "sorted"
    SHUFFLED = "shuffled"


class Sets(StrEnum):
    """Which sets of drawings, by the pool that they are."""

    POOL = "icons"
    CLEAN = "icons_clean"


def run(
    layout: Annotated[Layout, typer.Option("--format", help="how the files lie")] = Layout.PARQUET,
    order: Annotated[Order, typer.Option(help="by set and name, or by a hash of the ids")] = Order.SORTED,
    side: Annotated[int, typer.Option(min=16, max=1024, help="pixels of a side")] = 64,
    out: Annotated[
        Path | None, typer.Option(help="folder to write; by default datasets/ and the pool's name")
    ] = None,
    registry: Annotated[str | None, typer.Option(help="npm registry; by default the one of npm here")] = None,
    sets: Annotated[Sets, typer.Option(help="the pool, or a clean set by another hand")] = Sets.POOL,
) -> None:
    """Fetches the packages, checks each by its digest, and draws what they hold. Nothing is installed.

    Where the folder holds the same already, nothing is done.
    """
    out = out or Path("datasets") / sets.value
    packages = icons.CLEAN if sets is Sets.CLEAN else icons.SETS
    asked: dict[str, object] = {
        "format": layout.value,
        "order": order.value,
        "side": side,
        "sets": [
            {
                "name": one.name, "title": one.title, "author": one.author, "licence": one.licence,
                "package": f"{one.package.name} {one.package.version}",
            }
            for one in packages
        ],
    }  # fmt: skip
    if there(out, asked):
        print(f"{out} holds the same already")
        return
    base = registry or npm.registry()
    found = []
    for one in progress.bar(packages, desc="fetch", unit="package"):
        found += icons.drawings(one, npm.fetched(one.package, base))
    if sets is Sets.CLEAN:
        found = icons.curated(found)
    skipped: dict[str, list[str]] = {}
    with files.whole_folder(out) as draft:
        pairs = drawn(icons.ordered(found, order is Order.SHUFFLED), side, skipped)
        count = export.write(pairs, layout, draft)
        (draft / "LICENCES.md").write_text(licences(packages), encoding="utf-8")
        files.write_json(draft / "card.json", {**asked, "pairs": count, "skipped": skipped})
    for reason, names in sorted(skipped.items()):
        print(f"{'skipped':<10}{len(names):>7,} {reason}")
    print(f"wrote {count:,} pairs to {out}")


def there(out: Path, asked: dict[str, object]) -> bool:
    """Whether the folder holds what is asked for. Refuses one that holds something else."""
    if not out.exists():
        return False
    card = out / "card.json"
    if card.is_file() and asked.items() <= files.read_json(card).items():
        return True
    raise Refusal(
        f"{out} holds something else than is asked for; remove it, or name another folder by --out."
    )


def drawn(found: list[icons.Drawing], side: int, skipped: dict[str, list[str]]) -> Iterator[Pair]:
    """The pairs that can be drawn, one at a time; the ids of all others go to `skipped`, by their reason."""
    for one in progress.bar(found, desc="draw", unit="pair"):
        image = None if one.reason else icons.painted(one, side)
        if image is None:
            skipped.setdefault(one.reason or icons.BROKEN, []).append(one.id)
        else:
            yield Pair(one.id, one.caption, one.category, image)


def licences(sets: tuple[icons.IconSet, ...]) -> str:
    """The sets with their authors and licences, as the terms of most of them want it beside the drawings."""
    lines = [
        f"- {one.title}: by {one.author}; {one.licence}; {one.package.name} {one.package.version}, rendered."
        for one in sets
    ]
    return "\n".join(["# Licences of these drawings", "", *lines, ""])


if __name__ == "__main__":
    stage(run)

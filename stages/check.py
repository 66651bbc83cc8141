"""Refuses a wrong params.yaml before any other stage runs, and passes it on as JSON."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import PoolSettings, UserPool
from alchemist.params import sizes
from alchemist.params.check import check
from alchemist.params.here import check_here
from alchemist.params.sources import passed_on
from alchemist.params.whole import Params
from alchemist.pools import base, copies, store
from stages import stage
from stages.params_file import check_others, read_params

POOL, ASSETS, READING = Path("data/pool"), Path("assets"), Path("data/timings/prepare.json")


def run(
    params: Annotated[Path, typer.Option(help="file of the settings")] = Path("params.yaml"),
    pipeline: Annotated[Path, typer.Option(help="file of DVC whose lists they are")] = Path("dvc.yaml"),
    out: Annotated[Path | None, typer.Option(help="JSON to write, which the other stages read")] = None,
) -> None:
    """Checks all of params.yaml: python -m stages.check, before `dvc repro` or as its first stage.

    In the JSON every block is whole, whatever base it has, and `sources` has the pools that are splits of
    each pool. An edit of params.yaml reruns of the other stages
    those whose keys there have other values.
    """
    given = read_params(params)
    sound = check(given)
    check_others(given, pipeline)
    cells = (len(sound.grid.whole()) + len(sound.grid.runs())) * len(sound.grid.seeds)
    whole = passed_on(given)
    is_read = was_read(sound, whole["sources"][sound.pool])
    check_here(sound, ASSETS, is_read)
    print(f"{params} is sound: pool {sound.pool}, scale {sound.scale}, {cells} cells")
    if is_read:
        try:
            print("\n".join(sizes.told(sound, sizes.counted(POOL))))
        except Refusal as refused:  # by stage sizes too, unless the pool has other files by then
            print(f"of the pool as it was read: {refused}")
        began = reading_began()
        for name in whole["sources"][sound.pool]:
            if path := changed_since(sound.pools[name], began):
                print(
                    f"pools.{name} was read before {path} was written or touched: `dvc repro --force "
                    "prepare` reads it anew, which DVC does not by itself"
                )
    if out is not None:
        files.write_json(out, files.sealed(whole))


def was_read(params: Params, others: dict[str, Any]) -> bool:
    """Whether the pool that lies here is the one in force, read by these settings."""
    try:
        files.check_manifest(POOL, names=(store.CARD, store.INDEX, copies.FACTS))
    except Refusal:  # it is missing, damaged or of an earlier version: in any case to be made again
        return False
    card: dict[str, Any] = files.read_json(POOL / store.CARD)
    read = {card.get("pool"): card.get("settings", {})}
    read |= {name: other["settings"] for name, other in card.get("others", {}).items()}
    settings = {}
    for name in (params.pool, *others):
        # What a card leaves out decides nothing of what was read, but for what it leaves out by its value.
        pool, in_card = params.pools[name], read.get(name, {})
        by_value = {key for key, one in type(pool).model_fields.items() if one.exclude_if}
        settings[name] = {k: v for k, v in pool.model_dump().items() if k in in_card or k in by_value}
    return files.json_text(settings) == files.json_text(read) and copies_were_found(params)


def copies_were_found(params: Params) -> bool:
    """Whether its copies were, by the block `copies` in force; none are looked for in a composed pool."""
    pool, path = params.pools[params.pool], POOL / copies.FACTS
    found: dict[str, Any] = files.read_json(path) if path.is_file() else {}
    return not isinstance(pool, UserPool) or found.get("settings") == pool.copies.model_dump()


def reading_began() -> float:
    """When stage prepare began to read (seconds since 1970); later than any file where nothing tells."""
    try:
        return float(files.read_sealed(READING).get("began", math.inf))
    except (Refusal, FileNotFoundError):  # damaged or missing: DVC makes it again, and reads anew for it
        return math.inf


def changed_since(pool: PoolSettings, began: float) -> Path | None:
    """A file of the pool that was written, or put there, after its reading began; the first by name."""
    if not isinstance(pool, UserPool):
        return None
    root = Path(pool.path)
    paths = [root] if root.is_file() else base.walk(root)  # nothing below a name on a hub
    return next((path for path in paths if _changed(path) > began), None)


def _changed(path: Path) -> float:
    # The time of the inode: a file that was moved or copied there may keep an older one of its content.
    try:
        return max(path.stat().st_ctime, path.lstat().st_ctime)
    except OSError:  # gone meanwhile
        return 0.0


if __name__ == "__main__":
    stage(run)

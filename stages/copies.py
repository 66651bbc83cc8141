"""Copies first: those of one another lie in one split, and are thinned out where they are many."""

import os
import zlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices, files, progress
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.scratch import EVERY, Scratch
from alchemist.core.settings.copies import CopiesSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import section
from alchemist.core.settings.pool import UserPool
from alchemist.measures import copies as near
from alchemist.pools import copies, settled, store
from alchemist.pools.read import check_splits, pool_settings
from alchemist.pools.row import SPLITS
from stages import stage

PART = 4096  # pairs whose features are taken at once: what a killed run loses of them


def run(
    pool: Annotated[str, typer.Option(help="a block of pools: in params.yaml", metavar="NAME")],
    read: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    out: Annotated[Path, typer.Option(help="folder that the pool is written to", metavar="FOLDER")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and FLOPs to")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")] = SCRATCH,
    every: Annotated[float, typer.Option(help="seconds between saved states", min=0)] = EVERY,
) -> dict[str, float]:
    """Writes the pool's final index. Killed, it goes on when the same command runs again."""
    settings = pool_settings(section(f"pools.{pool}"), f"pools.{pool}")
    device = devices.chosen(device_setting(section("device")))
    store.check(read)
    if not isinstance(settings, UserPool):
        pairs = copies.read(read, [pool], 0)
        copies.check(pairs, copies.untouched(pairs))
        with files.whole_folder(out) as draft:
            files.write_json(draft / copies.FACTS, {"looked": False})
            card, _ = settled.write(read, draft, out)
        typer.echo(
            f"copies: {card['pool']} is composed, its copies are planted; wrote {card['ok']:,} pairs as read "
            f"to {out}"
        )
        return {"flops": 0.0}
    asked, others = settings.copies, settings.splits.others()
    pairs = copies.read(read, [*others.values(), pool], asked.seed)
    typer.echo(f"copies: {len(pairs.key):,} usable pairs of {read}")
    with Scratch(scratch, _mark(asked, read, device), every) as state:
        flops, found = _found(read, pairs, asked, device, state)
        done = copies.settle(pairs, found, asked)
        copies.refuse_one_cluster(pairs, done, asked, f"pools.{pool}")
        copies.check(pairs, done)
        facts = {**done.facts, "largest": settled.told(read, pairs, done), "settings": asked.model_dump()}
        with files.whole_folder(out) as draft:
            files.write_json(draft / copies.FACTS, {"looked": True, **facts})
            card, total = settled.write(read, draft, out, pairs, done)
            check_splits(settings, f"pools.{pool}", total)
        state.clear()
    _tell(done.facts, card, out)
    return {"flops": flops, "peak_bytes": devices.peak_memory(device)}


def _mark(settings: CopiesSettings, read: Path, device: torch.device) -> str:
    return fingerprint(
        script=files.sha256(Path(__file__)),
        settings=settings.model_dump(include={"feature_size", "seed", "find"}),
        data=files.sha256(read / files.MANIFEST),
        device=str(device),
        torch=torch.__version__,
    )


def _found(
    read: Path, pairs: copies.Pairs, settings: CopiesSettings, device: torch.device, state: Scratch
) -> tuple[float, NDArray[np.int64]]:
    """FLOPs, and of each usable pair the row of one that stands for its cluster."""
    if not settings.find:
        return 0.0, copies.equal_pixels(pairs)
    flops, vectors = _features(read, len(pairs.key), settings, device, state)
    with progress.bar(total=len(pairs.key), unit="pair", desc="clusters") as bar:
        found = near.clusters(vectors, pairs.words, pairs.pixels, pairs.ranked(), settings, bar.update)
    return flops, found


def _features(
    read: Path, count: int, settings: CopiesSettings, device: torch.device, state: Scratch
) -> tuple[float, Path]:
    """FLOPs, and the file of the features of all usable pairs, (N, d) float16, part by part.

    Goes on behind the parts that an earlier run took. Raises Refusal where those are not as it left them.
    """
    path, part = state.folder / "vectors.npy", state.folder / "part.npy"
    saved = state.load()
    crcs: list[int] = saved[1]["crcs"] if saved else []
    before = flops = saved[1]["flops"] if saved else 0.0
    start = 0
    with (
        progress.bar(total=count, desc="features") as bar,
        FlopCounterMode(display=False) as counter,
    ):
        progress.begun(bar, min(PART * len(crcs), count))
        for number, rows in enumerate(store.parts(read, SPLITS, PART, store.PLACE)):
            here = slice(start, start := start + len(rows))
            if number < len(crcs):
                if _crc(path, here) != crcs[number]:
                    raise state.damaged(path)
                continue
            near.embed(read, rows, settings, device, part, bar.update)
            block = np.load(part)
            if not number:
                _allot(path, block.dtype, (count, block.shape[1]))
            whole = np.load(path, mmap_mode="r+")
            whole[here] = block
            whole.flush()
            crcs.append(zlib.crc32(block.tobytes()))
            flops = before + float(counter.get_total_flops())
            state.save({}, {"crcs": crcs, "flops": flops})
    return flops, path


def _crc(path: Path, rows: slice) -> int | None:
    """Of some rows of an array on disk; None where it cannot be read."""
    try:
        return zlib.crc32(np.load(path, mmap_mode="r")[rows].tobytes())
    except Exception:  # a damaged header ends in nearly every type
        return None


def _allot(path: Path, kind: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """A file for an array, all of it on the disk: one that fills while it is mapped kills the process."""
    array = np.lib.format.open_memmap(path, "w+", kind, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)


def _tell(facts: dict[str, Any], card: dict[str, Any], out: Path) -> None:
    """What was found and done, in a few lines."""
    typer.echo(
        f"copies: {facts['copies']:,} of {facts['pairs']:,} pairs are copies of another "
        f"({100 * facts['share']:.1f} %), in {facts['clusters']:,} clusters; {facts['moved']:,} moved to the "
        "split of the first"
    )
    typer.echo(
        f"captions: {facts['captions']:,} different ones; {100 * facts['pairs_of_own_caption']:.1f} % of the "
        "pairs have one of their own"
    )
    for reason, count in facts["left_out"].items():
        typer.echo(f"{'rejected':<12}{count:>10,} {reason}")
    typer.echo(f"near copies {'beyond keep were dropped' if facts['dropped'] else 'stay'}: {facts['why']}")
    if facts["unrated"]:
        typer.echo(
            f"{facts['unrated']:,} copies beyond keep stay in other splits to be measured by, not rated"
        )
    counts = ", ".join(
        f"{split} {found['ok']:,}" for split, found in card["counts"].items() if found.get("ok")
    )
    typer.echo(f"wrote {out}: usable {counts}")


if __name__ == "__main__":
    stage(run)

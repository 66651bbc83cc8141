"""Near copies: which kinds are found at which thresholds, and what a million pairs take.

python -m benchmarks.copies planted --pool data/pool [--pairs 2000] [--split evaluation]
python -m benchmarks.copies pairs [--pairs 1000000]
"""

import argparse
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from alchemist.core import devices, stateless
from alchemist.core.settings.copies import CopiesSettings
from alchemist.measures import copies, vectors
from alchemist.pools import captions, store
from alchemist.pools.row import Row

Picture = NDArray[np.uint8]
Chance = np.random.Generator
Ints = NDArray[np.int64]
SHARES = (0.01, 0.1, 0.5)  # planted copies, of the pairs there were
THRESHOLDS = ((0.85, 0.95), (0.9, 0.95), (0.9, 0.97), (0.9, 0.98), (0.95, 0.98), (0.95, 0.99))


def _jpeg(image: Picture, chance: Chance) -> Picture:
    held = io.BytesIO()
    Image.fromarray(image).save(held, "JPEG", quality=int(chance.integers(50, 91)))
    return np.asarray(Image.open(held).convert("RGB"))


def _resized(image: Picture, chance: Chance) -> Picture:
    side = len(image)
    small = round(side * chance.uniform(0.5, 0.9))
    down = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(down, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _cropped(image: Picture, chance: Chance) -> Picture:
    side = len(image)
    left, top, right, bottom = chance.uniform(0, 0.06, 4) * side
    box = (left, top, side - right, side - bottom)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box))


def _lit(image: Picture, chance: Chance) -> Picture:
    gain, shift = chance.uniform(0.85, 1.15), chance.uniform(-0.15, 0.15) * 255
    return np.clip((image - 127.5) * gain + 127.5 + shift, 0, 255).astype(np.uint8)


def _noisy(image: Picture, chance: Chance) -> Picture:
    return np.clip(image + chance.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def _written(image: Picture, chance: Chance) -> Picture:
    """Strokes over half the width and a tenth of the height, as of a watermark."""
    side, out = len(image), image.copy()
    high = max(2, side // 10)
    top, left = chance.integers(0, side - high), chance.integers(0, side // 2)
    ink = 0 if out.mean() > 127 else 255
    for column in range(left, left + side // 2, 2):
        if chance.random() < 0.7:
            out[top : top + high, column] = ink
    return out


def _recoloured(image: Picture, chance: Chance) -> Picture:
    turned = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    turned[..., 0] = (turned[..., 0].astype(int) + int(chance.integers(20, 160))) % 180
    return cv2.cvtColor(turned, cv2.COLOR_HSV2RGB).astype(np.uint8)


def _flipped(image: Picture, chance: Chance) -> Picture:
    return np.ascontiguousarray(image[:, ::-1])


KINDS: dict[str, Callable[[Picture, Chance], Picture]] = {
    "jpeg": _jpeg,
    "resized": _resized,
    "cropped": _cropped,
    "light": _lit,
    "noise": _noisy,
    "overlay": _written,
    # Other pictures to a model that is to learn colour, or left and right: told apart from the rest.
    "recoloured": _recoloured,
    "flipped": _flipped,
}
SAMPLE = 4000  # leaders whose cosines are all taken
COPIES = tuple(KINDS)[:6]


def planted(folder: Path, split: str, most: int) -> None:
    """Copies of every kind among pairs of a pool, with the caption of the original and with another's.

    The pool has near copies of its own. So a pair is right where it is of one planted original; one that the
    pool holds without anything planted is counted apart, as the pool's own; only what joins a planted copy
    to another pair than its original's is wrong.
    """
    index = store.usable(store.read_index(folder, ["split", "status", "caption", *store.PLACE]), split)
    rows = index.iloc[np.argsort(stateless.id_uniforms(index["id"], "planted"))[:most]]
    images, texts = store.images(folder, rows), rows["caption"].tolist()
    print(f"{len(rows)} pairs of {folder}, split {split}, {images.shape[1]} px", flush=True)
    for share in SHARES:
        chance = stateless.generator("planted", str(share))
        count = max(len(KINDS), round(share * len(rows)))
        origin = chance.choice(len(rows), count, replace=count > len(rows))
        kinds = [tuple(KINDS)[i % len(KINDS)] for i in range(count)]
        made = np.stack([KINDS[kind](images[i], chance) for kind, i in zip(kinds, origin, strict=True)])
        strange = chance.integers(0, len(rows), count)
        for told, theirs in (("of the original", origin), ("of another pair", strange)):
            _found(
                np.concatenate([images, made]),
                [*texts, *(texts[i] for i in theirs)],
                np.concatenate([np.arange(len(rows)), origin]),
                [""] * len(rows) + kinds,
                f"{share:.0%} planted, with the caption {told}",
            )


def _found(images: Picture, texts: list[str], origin: Ints, kinds: list[str], what: str) -> None:
    """Prints recall by kind, and precision, at several thresholds."""
    ids = [f"pair-{i}" for i in range(len(images))]
    pairs = [
        Row(i, text, "pool", i, image, "", None) for i, text, image in zip(ids, texts, images, strict=True)
    ]
    with tempfile.TemporaryDirectory() as drafts:
        folder, file = Path(drafts) / "pool", Path(drafts) / "vectors.npy"
        folder.mkdir()
        _write(folder, pairs, images.shape[1])
        index = store.read_index(folder)
        begun = time.perf_counter()
        copies.embed(folder, index, CopiesSettings(), devices.chosen("cpu"), file, lambda n: None)
        speed = len(images) / (time.perf_counter() - begun)
        print(f"{what}; {speed:.0f} images/s", flush=True)
        print(
            f"{'same, other':<14}"
            + "".join(f"{kind:>11}" for kind in (*KINDS, "in all"))
            + f"{'precision':>11}{'own':>7}"
        )
        for same, other in THRESHOLDS:
            settings = CopiesSettings(threshold=same, threshold_other=other)
            order = np.argsort(stateless.id_uniforms(ids, "copies", settings.seed))
            leader = copies.clusters(
                file, captions.hashes(texts), index["pixels"].to_numpy(), order, settings, lambda n: None
            )
            _told(leader, origin, np.array(kinds), f"{same}, {other}")


def _write(folder: Path, pairs: list[Row], side: int) -> None:
    store.write_pool(folder, pairs, side, 4096, {})


def _told(leader: Ints, origin: Ints, kinds: NDArray[np.str_], what: str) -> None:
    """A planted copy is found where it shares a cluster with its original or with another copy of it."""
    of = pd.DataFrame({"leader": leader, "origin": origin, "planted": kinds != ""})
    beside = of.groupby(["leader", "origin"])["planted"].transform("size") > 1
    recall = [float(beside[kinds == kind].mean()) for kind in KINDS]
    recall.append(float(beside[np.isin(kinds, COPIES)].mean()))
    joined = of[of["leader"] != np.arange(len(of))]
    mate = joined["leader"].to_numpy()
    right = joined["origin"].to_numpy() == origin[mate]
    about = joined["planted"].to_numpy() | (kinds[mate] != "")
    precision = right[about].mean() if about.any() else 1.0
    own = (~about).sum() / (kinds == "").sum()
    print(
        f"{what:<14}" + "".join(f"{value:>11.2f}" for value in recall) + f"{precision:>11.3f}{own:>7.3f}",
        flush=True,
    )


def pairs(count: int) -> None:
    """Seconds, peak memory and recall of `clusters` on vectors of pairs, a third of them planted copies."""
    with tempfile.TemporaryDirectory() as drafts:
        file = Path(drafts) / "vectors.npy"
        # In a process of its own, so that the peak of this one is of the clusters.
        maker = multiprocessing.get_context("spawn").Process(target=_make, args=(file, count))
        maker.start()
        maker.join()
        of = _origins(count)
        order = np.argsort(stateless.id_uniforms([f"{i:07}" for i in range(count)], "copies", 0))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        settings, pixels = CopiesSettings(), np.arange(1, count + 1, dtype=np.uint64)
        leader = copies.clusters(file, of.astype(np.uint64), pixels, order, settings, lambda n: None)
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        missed = _missed(file, of, leader, order, settings)
    joined = leader != np.arange(count)
    found, lost = joined.mean(), missed * (~joined).mean()
    print(
        f"{count:,} pairs: {seconds:.0f} s, peak {peak / 2**10:.0f} MiB ({before / 2**10:.0f} before), "
        f"{joined.sum():,} copies, {found / (found + lost):.4f} of those that there are by all cosines; "
        f"{(of[leader[joined]] == of[joined]).mean():.4f} of them of one original"
    )


def _origins(count: int) -> Ints:
    """Two thirds are originals, the rest copies of any of them."""
    lone = count * 2 // 3
    return np.concatenate([np.arange(lone), stateless.generator("of").integers(0, lone, count - lone)])


def _make(file: Path, count: int) -> None:
    """Vectors about 5,000 topics, and copies of them at cosines from 0.9 to 1."""
    width, of, lone = copies.WIDTH, _origins(count), count * 2 // 3
    topics = vectors.unit(stateless.generator("topics").normal(size=(5000, width)))
    out = np.lib.format.open_memmap(file, "w+", np.float16, (count, width))
    for start in range(0, count, 1 << 14):
        rows = np.arange(start, min(start + (1 << 14), count))
        chance, original = stateless.generator("pairs", start), rows < lone
        noise = vectors.unit(chance.normal(size=(len(rows), width)))
        made = 0.8 * topics[chance.integers(0, len(topics), len(rows))] + 0.6 * noise
        # Before their copies, which may come in these rows.
        out[rows[original]] = vectors.unit(made[original])
        base = vectors.unit(out[of[rows[~original]]])
        # At a cosine c of its original: c of it, and the rest at a right angle.
        away = noise[~original] - (noise[~original] * base).sum(axis=1, keepdims=True) * base
        c = chance.uniform(0.9, 1, (len(base), 1))
        made[~original] = c * base + np.sqrt(1 - c**2) * vectors.unit(away)
        out[rows[~original]] = vectors.unit(made[~original])


def _missed(file: Path, of: Ints, leader: Ints, order: Ints, settings: CopiesSettings) -> float:
    """Share of leaders that should have joined one before them, by all cosines of some of them."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    leaders = np.flatnonzero(leader == np.arange(len(leader)))
    some = leaders[:: max(1, len(leaders) // SAMPLE)]
    own, missed = vectors.read(file, some), np.zeros(len(some), dtype=bool)
    for start in range(0, len(leaders), 8192):
        rows = leaders[start : start + 8192]
        cosine = own @ vectors.read(file, rows).T
        least = np.where(of[some][:, None] == of[rows], settings.threshold, settings.threshold_other or 2.0)
        missed |= ((cosine >= least + 1e-3) & (place[rows] < place[some][:, None])).any(axis=1)
    return float(missed.mean())


def main() -> None:
    """Prints one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["planted", "pairs"])
    parser.add_argument("--pool", type=Path, default=Path("data/pool"))
    parser.add_argument("--split", default="evaluation")
    parser.add_argument("--pairs", type=int)
    asked = parser.parse_args()
    print(devices.hardware(devices.chosen("cpu")), flush=True)
    if asked.what == "planted":
        planted(asked.pool, asked.split, asked.pairs or 2000)
    else:
        pairs(asked.pairs or 1_000_000)


if __name__ == "__main__":
    main()

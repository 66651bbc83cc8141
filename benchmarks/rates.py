"""What thirty million pairs take, step by step, from measured rates: hours, disk, money (docs/scale.md).

    python -m benchmarks.rates [PAIRS] [--rows 1000000] [--folder FOLDER] [--cores 64] [--cards 8]

The first table is measured here: pairs a second of one core, by the time of the process on it, since other
work may share the machine. The pictures are synthetic: 512 px JPEGs of pink noise in colour and some edges,
quality 90, some 60 KB, with captions of 20 words, in tars of img2dataset's layout. All else is arithmetic:
hours of cores by those rates, and of cards by the FLOPs of `python -m stages.plan` at the utilisation that
`plan.card` states. No card was measured.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alchemist.core import process

process.prepare()  # as a stage does, before NumPy and torch are loaded

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from alchemist.core import devices, files, stateless  # noqa: E402
from alchemist.core.settings.copies import CopiesSettings  # noqa: E402
from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings  # noqa: E402
from alchemist.core.settings.text import of_family  # noqa: E402
from alchemist.models import text  # noqa: E402
from alchemist.pools import store  # noqa: E402
from alchemist.pools.read import pool_settings, roots, rows  # noqa: E402
from alchemist.raters import bill, pixels  # noqa: E402
from benchmarks import given, million  # noqa: E402

HERE = Path(__file__).resolve().parents[1]
CORE_PRICE = 0.05  # USD of a core's hour: an assumption; that of a card is plan.card.price_per_hour
SIDE, QUALITY, WORDS, A_TAR = 512, 90, 20, 500  # of a picture, its JPEG, its caption; pictures of a tar
FIELDS, EDGES = 32, 12  # different fields of noise, and shapes drawn on each
POOL = 30_000_000  # pairs that are reckoned with, those of the block laion30m
# What the plan is asked: the paper's sizes, one seed, one rating, a half of the pool.
PLAN = [
    "scale=paper", "roles.proxy=star_300m", "roles.rater=star_40m", "grid.models=[star_300m]",
    "codecs.star.kind=published", "grid.selections=[alchemist]", "grid.raters=[alchemist]", "grid.seeds=[0]",
    "statistics.primary=null", "statistics.secondary=[]", "grid.families=[star,flux]",
    "grid.others.flux.models=[flux_mini_lora]", "codecs.flux.kind=latents",
    "++codecs.flux.weights=black-forest-labs/FLUX.1-dev",
]  # fmt: skip
TOKENS, LATENTS = 2 * 680, 2 * 16 * 32 * 32  # bytes of a picture of 256 px: VAR's scales, FLUX's latents

SAID = (
    "a photo of the old wooden house beside a small river under grey clouds with two people walking their "
    "black dog along green grass near yellow flowers while birds fly over distant mountains at sunset"
)

# From files to a model of STAR on the half: of the pixels' ratings and FLUX's steps it takes none.
WAY = (
    "prepare", "copies", "read and decode", "encode, star", "scorer", "floors, star",
    "rate by alchemist", "prune", "export loader", "train star_300m on the half", "evaluate star_300m",
)  # fmt: skip

# Cores at most of stages of one process: prepare decodes on 8 threads.
AT_MOST = {"prepare": 8, "copies": 1, "prune": 1, "export": 1}

Rates = dict[str, float]

# ---------------------------------------------------------------------- pictures


def noise(number: int) -> np.ndarray[Any, Any]:
    """Noise (SIDE, SIDE, 3) whose amplitudes fall as a power of the frequency, as those of photographs do."""
    rng = stateless.generator("rates", number)
    across = np.fft.fftfreq(SIDE)
    frequency = np.maximum(np.hypot(across[:, None], across[None, : SIDE // 2 + 1]), 1 / SIDE)
    planes = []
    for contrast, power in ((40, 1.45), (12, 1.6), (12, 1.6)):  # luma, and two differences of colours
        drawn = rng.normal(size=(2, *frequency.shape))
        plane = np.fft.irfft2((drawn[0] + 1j * drawn[1]) / frequency**power, (SIDE, SIDE))
        planes.append(contrast * plane / plane.std())
    luma, red, blue = planes
    return np.stack([luma + red, luma - 0.5 * red - 0.2 * blue, luma + blue], -1) + 127


def picture(field: np.ndarray[Any, Any], number: int) -> bytes:
    """A JPEG of a field of noise, shifted, with shapes of one colour on it."""
    rng = stateless.generator("rates", "shapes", number)
    moved = np.roll(field, rng.integers(0, SIDE, 2), (0, 1))
    image = Image.fromarray(moved.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(EDGES):
        x, y, width, height = rng.integers(0, SIDE // 2, 4).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        shape = (draw.ellipse, draw.rectangle)[int(rng.integers(2))]
        shape((x * 2, y * 2, x * 2 + width // 2, y * 2 + height // 2), fill=colour)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def caption(number: int) -> str:
    """Twenty words of an English sentence about a picture, another order for each pair."""
    return " ".join(stateless.generator("rates", "words", number).choice(SAID.split(), WORDS))


def write(root: Path, count: int) -> list[int]:
    """Tars with a parquet file beside each, as img2dataset leaves them; the sizes of the JPEGs."""
    root.mkdir()
    fields, sizes = [noise(number) for number in range(FIELDS)], []
    for first in range(0, count, A_TAR):
        facts = []
        with tarfile.open(root / f"{first // A_TAR:05d}.tar", "w") as tar:
            for i in range(first, min(first + A_TAR, count)):
                key = f"{first // A_TAR:05d}{i % A_TAR:04d}"
                fact = {"url": f"https://example.org/{i}.jpg", "caption": caption(i), "key": key}
                facts.append(fact | {"status": "success", "sha256": f"{i:064x}"})
                shown = picture(fields[i % FIELDS], i)
                sizes.append(len(shown))
                members = {"jpg": shown, "txt": caption(i).encode(), "json": json.dumps(facts[-1]).encode()}
                for suffix, content in members.items():
                    info = tarfile.TarInfo(f"{key}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        pq.write_table(pa.Table.from_pylist(facts), root / f"{first // A_TAR:05d}.parquet")
    return sizes


# ---------------------------------------------------------------------- what is measured


def rate(pairs: int, work: Callable[[], object]) -> float:
    """Pairs a second of the processor, by this process and its threads."""
    begun = time.process_time()
    work()
    return pairs / (time.process_time() - begun)


def prepare(folder: Path, count: int, resolution: int) -> float:
    """A pool of the tars: what stage prepare does."""
    shares = {"meta_validation": 0.0, "evaluation": 0.0, "scorer": 0.0}
    said = {"format": "laion", "path": "tars", "resolution": resolution, "splits": shares}
    settings = pool_settings(said, "pools.mine")
    facts = {"pool": "mine", "settings": settings.model_dump(exclude={"copies"})}

    def work() -> None:
        with files.whole_folder(folder) as draft:
            found = rows(settings, 1, "mine", {})
            card = store.write_pool(draft, found, resolution, 0, facts, None, roots(settings, "mine", {}))
        assert card["ok"] == count

    return rate(count, work)


def by_pixels(found: Rates, pool: Path, count: int) -> None:
    """Copies' features, decoding alone, and the passes of every measure of pixels, at 256 px."""
    from alchemist.measures import copies

    index, cpu, quiet = store.read_index(pool), devices.chosen("cpu"), lambda n: None
    settings = CopiesSettings()
    copies.embed(pool, index[:50], settings, cpu, Path("vectors.npy"), quiet)  # loads what it needs
    name = f"copies: features of {settings.feature_size} px"
    found[name] = rate(count, lambda: copies.embed(pool, index, settings, cpu, Path("vectors.npy"), quiet))
    parts = [index[at : at + 50] for at in range(0, count, 50)]
    found["read and decode to 256 px"] = rate(count, lambda: [store.images(pool, part) for part in parts])
    for kind in pixels.MEASURES:
        work = pixels.worker(pool, kind, 1, count, 1)
        found[f"heuristic: {kind}"] = rate(count, lambda work=work: work(0, Path()))  # type: ignore[misc]


def by_networks(found: Rates, pool: Path, small: Path, count: int) -> None:
    """Passes of networks at the sizes of the repo's own grid, and captions."""
    from alchemist.core.settings.budget import EncodeSettings
    from alchemist.measures import scorers
    from alchemist.raters import embedding, scoring
    from alchemist.raters.kinds.semdedup import SemDeDupRater
    from stages import encode

    index, asked = store.read_index(pool), EvaluateSettings()
    run = embedding.Embedding("semdedup", Path(), asked, "cpu", count)
    pass_ = embedding.worker(run, SemDeDupRater(kind="semdedup"), pool, 1)
    pass_(0, Path())
    pass_ = embedding.worker(run, SemDeDupRater(kind="semdedup"), pool, count)
    found[f"embedding: lite0 at {asked.feature_size} px"] = rate(count, lambda: pass_(0, Path()))
    learned = ScorerSettings(steps=1, batch=16)
    judge = scorers.fit_lit([store.images(pool, index[:16])], list(index["caption"][:16]), learned)

    def judged() -> None:
        for at in range(0, count, asked.batch):
            part = index[at : at + asked.batch]
            embedding.cosines(judge, store.images(pool, part), list(part["caption"]), asked.batch)

    found[f"embedding: CLIP-Score (LiT at {learned.image_size} px)"] = rate(count, judged)
    words = text.load(of_family({}, "star"), "text", devices.chosen("cpu"))
    said = list(index["caption"])
    list(words.states(said[:50], 50))
    found["captions by MiniLM"] = rate(count, lambda: list(words.states(said, 250)))
    settings = EncodeSettings(rows=count)
    codec = million.CODEC
    task = encode.worker("star", codec, of_family({}, "star"), "text", small.absolute(), settings, "cpu")
    with tempfile.TemporaryDirectory() as drafts:
        name = "encode at 32 px: decoding, the repo's tokenizer, MiniLM"
        found[name] = rate(count, lambda: task(0, Path(drafts)))
    rater = HERE / "assets/raters/emoji-small/0"
    score = scoring.worker(rater, codec, small, count, 250, "cpu")
    found["score at 32 px: the same and a rater of xs"] = rate(count, lambda: score(0, Path()))


def by_tables(found: Rates, count: int) -> None:
    """Prune and export of synthetic pairs, in this folder."""
    for name, step in (
        ("prune", million.prune), ("export parquet", million.table), ("export loader", million.index),
    ):  # fmt: skip
        found[name] = rate(count, step)


def by_loader(found: Rates, pool: Path, count: int) -> None:
    """All pairs of the tars by the loader, as bytes and decoded."""
    from alchemist.kept.loader import KeptPairs
    from stages import export, prune

    index = store.read_index(pool, ["id"]).sort_values("id")
    rating = stateless.uniforms(1, np.arange(count))
    bill.write_table(Path("mine/loss/0.parquet"), index["id"], rating, np.zeros(count, dtype=bool))
    prune.run(Path("mine"), "loss", 1.0, Path("subsets/loss/1.0"))
    export.run("loss", Path("kept"), 1.0, 0, export.Format.LOADER, pool, Path("mine"), Path("subsets"))

    def turn(decode: bool) -> None:
        seen = 0
        for pair in KeptPairs("kept", batch=64, epochs=1):
            seen += 1
            if decode:
                np.asarray(Image.open(io.BytesIO(pair["image"])).convert("RGB"))
        assert seen == count

    found["loader, encoded"] = rate(count, lambda: turn(False))
    found["loader, decoded at 512 px"] = rate(count, lambda: turn(True))


def measured(count: int, some: int) -> tuple[Rates, Rates]:
    """Pairs a core-second by step, and bytes a pair by what they are of; works in this folder."""
    os.cpu_count, place = lambda: 1, Path.cwd()
    sizes = write(Path("tars"), count)
    print(
        f"{count} JPEGs of {min(sizes) / 1e3:.0f} to {max(sizes) / 1e3:.0f} KB, "
        f"{np.mean(sizes) / 1e3:.0f} in the mean"
    )
    pool, small, found, held = Path("pool256"), Path("pool32"), Rates(), Rates()
    prepare(small, count, 32)
    found["prepare: read, decode to 256 px, hash"] = prepare(pool, count, 256)
    by_pixels(found, pool, count)
    by_networks(found, pool, small, count)
    many = place / "many"
    with contextlib.chdir(HERE):
        million.make(many, some)
    with contextlib.chdir(many):
        by_tables(found, some)
    raw = sum(one.stat().st_size for one in Path("tars").iterdir())
    held["raw: tars and their parquet files"] = raw / count
    held["index"] = (pool / store.INDEX).stat().st_size / count
    for name, where in (
        ("ratings, of a rater", "data/ratings/*/*.parquet"),
        ("subset of a half, for one seed", "data/subsets/*/*/*.parquet"),
        ("export parquet", "out-parquet/*"),
        ("export loader", "out-loader/*"),
    ):
        held[name] = sum(one.stat().st_size for one in many.glob(where)) / some
    by_loader(found, pool, count)
    return found, held | captions(count)


def captions(count: int) -> Rates:
    """Bytes of a caption's states by encoder; of CLIP by its own splitter, of T5 by its padding."""
    import open_clip

    said = [caption(i) for i in range(count)]
    split = text.load(of_family({}, "star"), "text", devices.chosen("cpu")).split
    own = float(np.mean([len(one) for one in split(said)]))
    clip = float(np.mean([int((row != 0).sum()) for row in open_clip.get_tokenizer("ViT-L-14")(said)]))
    return {
        f"captions, MiniLM ({own:.0f} pieces of 384)": 2 * 384 * own,
        f"captions, CLIP of SD 2.1 ({clip:.0f} pieces of 1,024)": 2 * 1024 * clip + 2 * 1024,
        "captions, T5 of FLUX (256 padded pieces of 4,096)": 2 * 4096 * 256 + 2 * 768,
        "captions, T5 of FLUX (512 padded pieces of 4,096)": 2 * 4096 * 512 + 2 * 768,
        "images, VAR's tokens (680 of 16 bits)": float(TOKENS),
        "images, FLUX's latents (16 x 32 x 32 of 16 bits)": float(LATENTS),
    }


# ---------------------------------------------------------------------- what is reckoned


def plan(pool: str) -> dict[str, Any]:
    """What stages.plan says of the paper's sizes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        words = [word for change in [f"pool={pool}", *PLAN] for word in ("-S", change)]
        command = [sys.executable, "-m", "stages.plan", "--json", str(out), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=HERE)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def of_card(told: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """FLOPs of a step, for one cell of it, and bytes that it leaves; of training on all and on the half."""
    found = {
        one["what"]: (one["flops"] / one["cells"], one["disk"] / one["cells"])
        for one in told["work"]
        if one["flops"] and not one["what"].startswith("train")
    }
    weights = {one["what"]: one["disk"] / one["cells"] for one in told["work"]}
    for one in told["returns"]:
        name = f"train {one['model']}"
        found[f"{name} on all"] = one["full"], weights[name]
        found[f"{name} on the half"] = one["subset"], weights[name]
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "pairs", nargs="?", type=int, default=1000, help="pictures that are made and measured"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="synthetic pairs that are pruned and exported"
    )
    parser.add_argument("--folder", type=Path, help="where they lie; a temporary one where it is left out")
    parser.add_argument("--cores", type=int, default=64)
    parser.add_argument("--cards", type=int, default=8)
    asked = parser.parse_args()
    told = plan("laion30m")
    card = told["card"]
    params = given.params()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder, contextlib.chdir(folder):
        values = {"selections": params["selections"], "grid": {"seeds": [0]}}
        files.write_json(Path("data/params.json"), files.sealed(values))
        found, held = measured(asked.pairs, asked.rows)
    steps: list[tuple[str, str, float, float]] = []  # name, rate, hours of all cores or cards, money
    for name, each in found.items():
        hours = POOL / each / 3600  # of a core
        cores = next((most for start, most in AT_MOST.items() if name.startswith(start)), asked.cores)
        steps.append((name, f"{each:,.0f} a core", hours / cores, hours * CORE_PRICE))
    for name, (flops, _) in of_card(told).items():
        hours = flops / (card["tflops"] * 1e12 * card["utilisation"]) / 3600  # of a card
        rate_ = f"{flops:.1e} FLOPs"
        steps.append((name, rate_, hours / asked.cards, hours * card["price_per_hour"]))
    total = sum(money for name, _, _, money in steps if name.startswith(WAY))
    print(
        f"\n{POOL:,} pairs, {asked.cores} cores at {CORE_PRICE} USD an hour, {asked.cards} of {card['name']}"
    )
    print(
        f"at {card['utilisation']:.0%} of {card['tflops']:g} TFLOP/s and {card['price_per_hour']} USD an hour"
    )
    print(f"{'step':<58}{'measured or counted':>20}{'hours':>9}{'USD':>9}{'share':>8}")
    for name, said, hours, money in steps:
        share = f"{money / total:>8.1%}" if name.startswith(WAY) else ""
        print(f"{name:<58}{said:>20}{hours:>9.2f}{money:>9.2f}{share}")
    print(f"{'the way: what has a share':<58}{'':>20}{'':>9}{total:>9.2f}")
    print(f"\n{'disk':<58}{'bytes a pair':>20}{'GB':>10}")
    for name, each in held.items():
        print(f"{name:<58}{each:>20,.0f}{each * POOL / 1e9:>10,.1f}")
    for name, (_, disk) in of_card(told).items():
        if name.startswith("train"):
            print(f"{'weights: ' + name:<58}{'':>20}{disk / 1e9:>10,.1f}")


if __name__ == "__main__":
    main()

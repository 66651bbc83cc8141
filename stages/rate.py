"""Ratings of every pair by one rater and seed: meta-trained, read off a plain proxy, or random."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from alchemist.core import devices, files, progress, world
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import EVERY, Scratch
from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import model_settings
from alchemist.core.settings.rater import SeededRater
from alchemist.models import family
from alchemist.models.encoded import CODEC, Encoded
from alchemist.raters import bill, shipped, signs
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater
from alchemist.raters.run import Run
from alchemist.raters.table import KINDS, rater_settings
from stages import stage


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    seed: Annotated[int, typer.Option(help="of weights, order and dropout", min=0)],
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    assets: Annotated[Path, typer.Option(help="folder of raters that were trained elsewhere")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write the training log and the weights into")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the rating took to")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")] = SCRATCH,
    every: Annotated[float, typer.Option(help="seconds between saved states", min=0)] = EVERY,
) -> dict[str, Any] | None:
    """Rates the pool, lent pairs too. Killed, it goes on when the same command runs again."""
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    if not isinstance(settings, SeededRater):
        raise Refusal(
            f"raters.{rater}.kind is {settings.kind!r}, which this stage does not rate; name it in "
            f"grid.{settings.named_in}."
        )
    budget = block(RateSettings, f"scales.{scale}.rate")
    played = section(f"rating.{family_name}")  # by stage check, of roles or of grid.others
    sizes = [
        model_settings(played[part], f"rating.{family_name}.{part}", family_name)
        for part in ("proxy", "rater")
    ]
    device = world.join(devices.chosen(device_setting(section("device"))))
    data = Encoded(encoded)
    pool = data.pool()
    rated = data.rows.iloc[data.rated().numbers]
    ids = rated["id"]
    chosen = family.load(family_name)
    images = chosen.codec(encoded / CODEC, device)
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        rater=settings.model_dump(),
        seed=seed,
        budget=budget.model_dump(),
        sizes=[size.model_dump() for size in sizes],
        data=files.sha256(encoded / files.MANIFEST),
        device=device.type,  # each of several processes has another GPU, and one state is of all
        torch=torch.__version__,
    )

    def new_proxy(of: int) -> family.Generator:
        return chosen.generator(sizes[0], images, of).to(device)

    def new_rater(of: int) -> Rater:
        return Rater(chosen.trunk(sizes[1], images, of), of).to(device)

    elapsed, one = devices.clock(device), f"{rater}, seed {seed}"
    with (
        Scratch(scratch, mark, every) as state,
        progress.bar(total=budget.images, desc=f"train {one}", shown=world.is_writer()) as bar,
        progress.bar(
            total=len(ids) * settings.passes(), desc=f"score by {one}", shown=world.is_writer()
        ) as scored,
    ):

        def score(count: int) -> None:
            if not scored.n:
                scored.unpause()  # its time begins here, and that of a training which is over ends
                if bar.n >= budget.images:
                    bar.close()
            scored.update(count)

        if world.is_writer():
            shared = f" on {world.count()} processes" if world.count() > 1 else ""
            print(f"rate {one}: {len(ids):,} pairs{shared}; state in {state.folder}")
        # What another process than the writer leaves is nobody's.
        with files.whole_folder(log_out) if world.is_writer() else spare_folder(state.folder) as drafts:
            rating = Run(
                new_proxy, data, pool, data.validation(), data.rated(), seed, budget, state,
                progress.hears(bar), score, name=rater, ids=list(ids), network=new_rater, device=device,
                elapsed=elapsed, assets=assets, drafts=drafts,
            )  # fmt: skip
            found = KINDS[settings.kind].rate(rating, settings)
            if world.is_writer():
                bill.write_table(out, ids, found.rating, rated["lent"].to_numpy())  # or refuses it
            noted = signs.signs(settings, budget, found.log, found.rating, len(rating.validation))
            logged = [row.pop("seconds") for row in found.log]
            seconds = bill.clocked(
                elapsed() - found.uncounted_seconds, found.score_seconds, logged[-1] if logged else 0.0
            )
            facts = {
                **found.facts,
                "log": found.log,
                "train_flops": found.train_flops,
                "score_flops": found.score_flops,
                "rater": rater,
                "seed": seed,
                "kind": settings.kind,
                "pairs": len(ids),
                "signs": signs.written(noted),
            }
            if isinstance(settings, MetaRater):
                encoder = {name: data.manifest[name] for name in ("codec", "text", "text_sha256", "pool")}
                spread = {"pairs": len(ids), "mean": found.rating.mean(), "sd": found.rating.std()}
                last = found.log[-1] if found.log else {}
                shipped.Card(
                    family=family_name, trunk=sizes[1].model_dump(), rater=settings.model_dump(), name=rater,
                    seed=seed, budget=budget.model_dump(), torch=torch.__version__,
                    figures={**last, **{f"rating_{name}": float(one) for name, one in spread.items()}},
                    **{name: facts[name] for name in shipped.HASHES}, **encoder,
                ).write(drafts)  # fmt: skip
            bill.write_facts(drafts, facts)
        state.clear()
    if not world.is_writer():
        return None
    told = progress.took(len(ids), "pairs rated", seconds)
    print(*signs.lines(noted), f"wrote {out} and {log_out}: {told}", sep="\n")
    return {
        "seconds": seconds,
        "score_seconds": found.score_seconds,
        "hardware": devices.hardware(device),
        "processes": world.count(),
        "peak_bytes": devices.peak_memory(device),
    }


@contextlib.contextmanager
def spare_folder(within: Path) -> Iterator[Path]:
    """A folder that is gone afterwards, with the state that it lies in where its process is killed."""
    with tempfile.TemporaryDirectory(dir=within, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


if __name__ == "__main__":
    stage(run)

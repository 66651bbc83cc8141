"""A training as a stage makes it: resumable, and in the end one folder with weights, log and what it was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file

from alchemist.core import devices, files, fsdp, world
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.model import ModelSettings
from alchemist.models import training
from alchemist.models.encoded import Encoded, PoolRows, PretrainingRows
from alchemist.models.family import Generator
from alchemist.models.losses import VALIDATION, Watched

RUN = "run.json"


def checkpoint(images: int) -> str:
    """The file of the averaged weights at as many images."""
    return f"ema-{images:09d}.safetensors"


@dataclass(frozen=True)
class Course:
    """What is trained on what, until the last of `stops` (images seen)."""

    generator: Generator
    data: Encoded
    rows: PoolRows | PretrainingRows
    settings: TrainSettings
    seed: int
    stops: list[int]
    rate_key: str = "train.learning_rate"  # of its settings
    watched: Watched | None = None  # pairs whose losses are taken at every stop

    def train(
        self, state: Scratch, out: Path, facts: dict[str, Any], tick: Callable[[int, str], object]
    ) -> list[dict[str, float]]:
        """Leaves in `out` averaged weights at every stop, log.jsonl, `facts` as run.json, a manifest.

        Where pairs are watched, each of the `points` of `facts` gets their losses, and one the name `best`;
        the writer alone takes them, of the whole weights that it has for the checkpoint. Gives the log,
        whose seconds are not written: equal work gives equal bytes. `tick` hears of every step's images, and
        of the loss in words. What was done before a kill lies in `state`.
        """

        def at_stop(seen: int, averaged: Generator) -> None:
            if world.is_writer():
                with files.whole(state.folder / checkpoint(seen)) as draft:
                    save_file(averaged.weights(), draft)
                state.keep(state.folder / checkpoint(seen))
                if self.watched is not None:
                    found = self.watched.losses(averaged.to(devices.of(self.generator)), self.data)
                    files.write_json(state.folder / _losses(seen), found)
                    state.keep(state.folder / _losses(seen))

        log = training.train(
            self.generator, self.data, self.rows, self.settings, self.seed, self.stops, state, at_stop, tick,
            self.rate_key, in_parts=fsdp.asked(),
        )  # fmt: skip
        if world.is_writer():
            with files.whole_folder(out) as folder:
                for images in self.stops:
                    (folder / checkpoint(images)).write_bytes(
                        (state.folder / checkpoint(images)).read_bytes()
                    )
                rows = pd.DataFrame(log).drop(columns="seconds")
                rows.to_json(folder / "log.jsonl", orient="records", lines=True)
                if self.watched is not None:
                    taken = {images: files.read_json(state.folder / _losses(images)) for images in self.stops}
                    facts = {**facts, "points": with_best(facts["points"], taken)}
                files.write_json(folder / RUN, facts)
                files.write_manifest(folder)
        state.clear()
        return log

    def flops(self) -> float:
        """FLOPs of all of it, counted on pairs of the pool, which are the same whatever is trained on."""
        batch = self.data.batch(self.data.pool().numbers[: self.settings.batch])
        some = batch[: self.settings.chunk or self.settings.batch]  # as long as the batch's longest caption
        each = training.forward_flops(
            self.generator.losses, some.to(devices.of(self.generator)), training=True
        )
        return 3.0 * each * self.stops[-1]  # a backward pass costs twice a forward pass


def _losses(images: int) -> str:
    return f"losses-{images:09d}.json"


def with_best(
    points: Sequence[Mapping[str, Any]], losses: Mapping[int, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Points (images, names) with the losses taken there, by images seen; that of least loss is named `best`.

    By the meta-validation loss, the first of several; without such a loss no point is. A point that served
    the curve alone does so no more.
    """
    best = min((at[VALIDATION] for at in losses.values() if VALIDATION in at), default=None)
    found: list[dict[str, Any]] = []
    for point in points:
        at = losses[point["images"]]
        names = list(point["names"])
        if best is not None and at[VALIDATION] == best:
            names, best = [*(name for name in names if name != "curve"), "best"], None
        found.append({**point, "names": names, **at})
    return found


def leave_nothing(out: Path) -> None:
    """The folder of a model that adapts no network: its run.json has no images."""
    with files.whole_folder(out) as folder:
        files.write_json(folder / RUN, {"pairs": 0, "images": 0})
        files.write_manifest(folder)


def begun(size: ModelSettings, start: Path | None) -> tuple[ModelSettings, dict[str, Any] | None]:
    """A model as its training begins, and what is known of the network that it adapts; None: it adapts none.

    `start` is the folder that the stage pretrain left, which only a model that adapts reads. Known are pairs
    and images of that training, and the digest of the weights. Raises Refusal where there is none to adapt.
    """
    if not size.adapts:
        return size, None
    if start is None:
        raise Refusal("--start is not given; this model needs the folder that stage pretrain wrote.")
    listed = files.check_manifest(start)["files"]
    ran = files.read_json(start / RUN)
    if not ran["images"]:
        raise Refusal(f"{start} holds no network, which this model adapts; run dvc repro.")
    name = checkpoint(ran["images"])
    return size.starting_at(start / name), {**ran, "sha256": listed[name]}

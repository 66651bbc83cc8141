"""The work that would run, kind by kind: cells, images, steps, FLOPs, bytes."""

from collections.abc import Callable
from dataclasses import dataclass

from alchemist.models.training import points
from alchemist.plan import cost
from alchemist.plan.estimates import Estimates
from alchemist.plan.jobs import Job
from alchemist.pruning.laws import kept_count


@dataclass(frozen=True)
class Work:
    """Of all cells of one kind. None: not counted, as what runs on the CPU or through fixed networks."""

    what: str
    cells: int
    images: int
    steps: int | None
    flops: float | None
    disk: float  # bytes of what they leave
    memory: float | None  # peak bytes of one of them

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.what,
            self.cells + other.cells,
            self.images + other.images,
            None if self.steps is None or other.steps is None else self.steps + other.steps,
            None if self.flops is None or other.flops is None else self.flops + other.flops,
            self.disk + other.disk,
            max((one for one in (self.memory, other.memory) if one is not None), default=None),
        )


def work(jobs: list[Job], estimates: Estimates) -> list[Work]:
    """Of every job that runs or follows, kinds in the order in which they run."""
    found: dict[str, Work] = {}
    for job in jobs:
        if job.state != "done" and (make := KINDS.get(job.script)) is not None:
            one = make(job, estimates)
            found[one.what] = found[one.what] + one if one.what in found else one
    return list(found.values())


def _prepare(job: Job, of: Estimates) -> Work:
    pool = of.params.pools[of.params.pool]
    pixels = 3 * pool.resolution**2 if pool.format == "emoji" else 0  # others' files stay where they are
    disk = of.pairs.total * (pixels + cost.INDEX_BYTES)
    return Work("prepare the pool", 1, of.pairs.total, None, None, disk, None)


def _encode(job: Job, of: Estimates) -> Work:
    family, pairs = job.options["--family"], of.pairs.encoded
    flops, disk = of.encoding(family)
    return Work(f"encode images, {family}", 1, pairs, None, pairs * flops, pairs * disk, None)


def _rate(job: Job, of: Estimates) -> Work:
    name, proxy = job.options["--rater"], job.options["--proxy"]
    budget, pairs = of.scale.rate, of.pairs.pool
    train, score, memory = of.rating(name, proxy, job.options["--trunk"])
    trains = train > 0
    images = (budget.images if trains else 0) + (pairs if score else 0)
    steps = budget.images // budget.batch if trains else 0
    return Work(f"rate by {name}", 1, images, steps, train + score * pairs, pairs * cost.RATING_BYTES, memory)


def _prune(job: Job, of: Estimates) -> Work:
    kept = kept_count(of.pairs.pool, float(job.options["--ratio"])) * len(of.params.grid.seeds)
    return Work("prune", 1, kept, None, None, kept * cost.RATING_BYTES, None)


def _pretrain(job: Job, of: Estimates) -> Work:
    model, settings = of.whole(job.options["--model"]), of.scale.pretrain
    assert settings is not None  # stage check refuses
    return Work(
        f"pretrain {job.options['--model']}",
        1,
        settings.images,
        settings.images // settings.batch,
        3 * of.forward(model) * settings.images,
        of.size(model).checkpoint_bytes,
        cost.training_bytes(of.trained(model), settings.batch, settings.precision, average=True),
    )


def _train(job: Job, of: Estimates) -> Work:
    model, settings = job.model, of.scale.budget(job.model)
    stops = points(settings, job.ratio)
    images = stops[-1].images
    return Work(
        f"train {model}",
        1,
        images,
        images // settings.batch,
        3 * of.forward(model) * images,  # a backward pass costs twice a forward pass
        len(stops) * of.size(model).checkpoint_bytes,
        cost.training_bytes(of.trained(model), settings.batch, settings.precision, average=True),
    )


def _evaluate(job: Job, of: Estimates) -> Work:
    model = job.model
    images = len(points(of.scale.budget(model), job.ratio)) * of.scale.evaluate.images
    return Work(f"draw images, {model}", 1, images, None, images * of.sampling(model), 0.0, None)


KINDS: dict[str, Callable[[Job, Estimates], Work]] = {
    "prepare": _prepare,
    "encode": _encode,
    "rate": _rate,
    "prune": _prune,
    "pretrain": _pretrain,
    "train": _train,
    "evaluate": _evaluate,
}

"""The work that would run, kind by kind: cells, images, steps, FLOPs, bytes."""

from collections.abc import Callable
from dataclasses import dataclass

from alchemist.core.settings.evaluation import LIT
from alchemist.core.settings.pool import UserPool
from alchemist.core.settings.rater import EmbeddingRater
from alchemist.measures.copies import BATCH
from alchemist.models.training import points
from alchemist.plan import cost, networks
from alchemist.plan.estimates import Estimates
from alchemist.plan.jobs import Job
from alchemist.pruning.laws import kept_count
from alchemist.raters.kinds.meta import MetaRater

AESTHETIC = "ViT-L-14/openai"  # whose embeddings the predictor of the kind aesthetic reads


@dataclass(frozen=True)
class Fit:
    """A key of params.yaml that says how many go through at once, its value in force, and the most that fit
    the card."""

    key: str
    value: int | None
    most: int


@dataclass(frozen=True)
class Work:
    """Of all cells of one kind. None: not counted, as what runs on the CPU."""

    what: str
    cells: int
    images: int
    steps: int | None
    flops: float | None
    disk: float  # bytes of what they leave
    memory: float | None  # peak bytes of one of them
    fit: Fit | None = None  # of those that take most

    def __add__(self, other: "Work") -> "Work":
        larger = other if (other.memory or 0) > (self.memory or 0) else self
        return Work(
            self.what,
            self.cells + other.cells,
            self.images + other.images,
            None if self.steps is None or other.steps is None else self.steps + other.steps,
            None if self.flops is None or other.flops is None else self.flops + other.flops,
            self.disk + other.disk,
            larger.memory,
            larger.fit,
        )


def work(jobs: list[Job], estimates: Estimates) -> list[Work]:
    """Of every job that runs or follows, kinds in the order in which they run."""
    found: dict[str, Work] = {}
    for job in jobs:
        if job.state != "done" and (make := KINDS.get(job.script)) is not None:
            with estimates.remembered:
                one = make(job, estimates)
            if one is not None:
                found[one.what] = found[one.what] + one if one.what in found else one
    return list(found.values())


def _prepare(job: Job, of: Estimates) -> Work:
    pool = of.params.pools[of.params.pool]
    pixels = 3 * pool.resolution**2 if pool.format == "emoji" else 0  # others' files stay where they are
    disk = of.pairs.total * (pixels + cost.INDEX_BYTES)
    return Work("prepare the pool", 1, of.pairs.total, None, None, disk, None)


def _copies(job: Job, of: Estimates) -> Work:
    """Features of every picture of a person's files; of a composed pool none."""
    pool, disk = of.params.pools[of.params.pool], float(of.pairs.total * cost.INDEX_BYTES)
    if not (isinstance(pool, UserPool) and pool.copies.find):
        return Work("find copies", 1, 0, None, 0.0, disk, None)
    network = networks.lite0(pool.copies.feature_size)
    peak = cost.passing(network.weight_bytes, network.alive, BATCH)
    return Work("find copies", 1, of.pairs.total, None, of.pairs.total * network.flops, disk, peak.bytes)


def _fit(of: Estimates, key: str, value: int | None, peak: cost.Peak) -> Fit:
    return Fit(key, value, peak.most(of.params.plan.card.memory_gib * cost.GIB))


def _prompts(of: Estimates) -> int:
    """Images of a checkpoint. Raises Refusal where the evaluation split has too few pairs."""
    where = f"scales.{of.params.scale}.evaluate"
    asked = of.scale.evaluate.fitted(of.pairs.evaluation, where)
    return asked.prompts + asked.of_clean(of.pairs.clean, where)


def _encode(job: Job, of: Estimates) -> Work:
    family, pairs = job.options["--family"], of.pairs.encoded
    flops, disk, peak = of.encoding(family)
    fit = _fit(of, f"scales.{of.params.scale}.encode.batch", of.scale.encode.batch, peak)
    return Work(f"encode, {family}", 1, pairs, None, pairs * flops, pairs * disk, peak.bytes, fit)


def _scorer(job: Job, of: Estimates) -> Work:
    """Features of the evaluation split, and of LiT both locked networks on the split that it learns from."""
    settings, asked, measured = of.scale.scorer, of.scale.evaluate, of.pairs.measured
    taken, (images, words) = of.features(), of.scorer()
    flops, seen, steps = measured * sum(one.flops for one in taken), measured, None
    if asked.clip == LIT:
        seen, steps = measured + of.pairs.scorer, settings.steps
        flops += of.pairs.scorer * (images.flops + words.flops)
        # Two projections and a table of products of a batch with itself, forward and back.
        batch = settings.taken(of.pairs.scorer, f"scales.{of.params.scale}.scorer")
        products = settings.embed_dim * (images.width + words.width + batch)
        flops += 3 * 2 * settings.steps * batch * products
    every = [*taken, images, words]
    peak = cost.passing(sum(one.weight_bytes for one in every), max(one.alive for one in every), asked.batch)
    disk = measured * sum(one.width for one in taken) * cost.FEATURE_BYTES
    fit = _fit(of, f"scales.{of.params.scale}.evaluate.batch", asked.batch, peak)
    return Work("scorer and features", 1, seen, steps, flops, disk, peak.bytes, fit)


def _floors(job: Job, of: Estimates) -> Work:
    """Prompts and references through the codec, features of them, and the scorer on the prompts' sides."""
    family, asked, every = job.options["--family"], of.scale.evaluate, of.pairs.measured
    through, peak = of.recoding(family)
    features, (images, words) = of.features(), of.scorer()
    prompts = _prompts(of)
    count = prompts + (every if asked.references == "all" else every - prompts)
    flops = count * (through + features[0].flops) + prompts * (2 * images.flops + words.flops)
    width = features[0].width + sum(one.width for one in features)  # as coded, and those of the real ones
    disk = (count - prompts) * width * cost.FEATURE_BYTES
    fit = _fit(of, f"scales.{of.params.scale}.evaluate.batch", asked.batch, peak)
    return Work(f"floors, {family}", 1, count, None, flops, disk, peak.bytes, fit)


def _embedding(job: Job, of: Estimates) -> Work:
    """Ratings by the networks of the evaluation, or by a CLIP of its own."""
    name, pairs = job.options["--rater"], of.pairs.rated
    rater = of.params.raters[name]
    if isinstance(rater, EmbeddingRater) and rater.of_all:
        used = [of.features()[0]]
    else:
        used = list(of.scorer()) if rater.kind == "clip_score" else [networks.scorer(AESTHETIC, 0)[0]]
    batch = of.scale.evaluate.batch
    peak = cost.passing(sum(one.weight_bytes for one in used), max(one.alive for one in used), batch)
    flops, fit = (
        sum(one.flops for one in used),
        _fit(of, f"scales.{of.params.scale}.evaluate.batch", batch, peak),
    )
    return Work(f"rate by {name}", 1, pairs, None, pairs * flops, pairs * cost.RATING_BYTES, peak.bytes, fit)


def _rate(job: Job, of: Estimates) -> Work:
    name, (proxy, trunk) = job.options["--rater"], of.played(job.options["--family"])
    budget, pairs = of.scale.rate, of.pairs.rated
    settings, seen = of.params.raters[name], pairs
    if isinstance(settings, MetaRater) and settings.groups is not None:  # by whose pairs groups are known
        seen += min(settings.groups.count * budget.reference_group, of.pairs.pool)
    train, score, peak = of.rating(name, proxy, trunk)
    trains = train > 0
    images = (budget.images if trains else 0) + (seen if score else 0)
    steps = budget.images // budget.batch if trains else 0
    fit = None if peak is None else _fit(of, f"scales.{of.params.scale}.rate.chunk", budget.chunk, peak)
    return Work(
        f"rate by {name}", 1, images, steps, train + score * seen, pairs * cost.RATING_BYTES,
        None if peak is None else peak.bytes, fit,
    )  # fmt: skip


def _prune(job: Job, of: Estimates) -> Work:
    kept = kept_count(of.pairs.rated, float(job.options["--ratio"])) * len(of.params.grid.seeds)
    return Work("prune", 1, kept, None, None, kept * cost.RATING_BYTES, None)


def _pretrain(job: Job, of: Estimates) -> Work | None:
    if not of.params.models[job.options["--model"]].adapts:
        return None
    model, settings = of.whole(job.options["--model"]), of.scale.pretrain
    assert settings is not None  # stage check refuses
    peak = of.training(model, settings)
    images = -(-settings.images // settings.batch) * settings.batch  # whole batches
    return Work(
        f"pretrain {job.options['--model']}",
        1,
        images,
        images // settings.batch,
        3 * of.forward(model) * images,
        of.size(model).checkpoint_bytes,
        peak.bytes,
        _fit(of, f"scales.{of.params.scale}.pretrain.chunk", settings.chunk, peak),
    )


def _train(job: Job, of: Estimates) -> Work:
    model = job.model
    key, settings = of.train_of(model)
    stops, peak = points(settings, job.ratio), of.training(model, settings)
    images = stops[-1].images
    return Work(
        f"train {model}",
        1,
        images,
        images // settings.batch,
        3 * of.forward(model) * images,  # a backward pass costs twice a forward pass
        len(stops) * of.size(model).checkpoint_bytes,
        peak.bytes,
        _fit(of, f"{key}.chunk", settings.chunk, peak),
    )


def _evaluate(job: Job, of: Estimates) -> Work:
    """Images of every checkpoint, their features and scores, and the loss of their prompts' pairs."""
    model, asked = job.model, of.scale.evaluate
    every = points(of.scale.budget(model), job.ratio)
    named = [point for point in every if point.names != ("curve",)]
    measured = len(every) if of.scale.evaluate.curves else min(len(every), len(named) + 1)  # and the best one
    images = measured * _prompts(of)
    each = of.sampling(model) + sum(one.flops for one in (*of.features(), of.scorer()[0]))
    peak = of.drawing(model)
    fit = _fit(of, f"scales.{of.params.scale}.evaluate.batch", asked.batch, peak)
    return Work(f"evaluate {model}", 1, images, None, images * each, 0.0, peak.bytes, fit)


KINDS: dict[str, Callable[[Job, Estimates], Work | None]] = {
    "prepare": _prepare,
    "copies": _copies,
    "encode": _encode,
    "scorer": _scorer,
    "floors": _floors,
    "embedding": _embedding,
    "rate": _rate,
    "prune": _prune,
    "pretrain": _pretrain,
    "train": _train,
    "evaluate": _evaluate,
}

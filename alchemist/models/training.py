"""The training loop of proxies and targets, of every family. Budgets are counted in images seen.

Order, caption dropout and what a family draws are functions of (seed, image number), so a run that was
killed goes on exactly where it was, and a checkpoint holds no random state (after Karras et al. 2024,
EDM2).
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices, finite, fsdp, stateless, world
from alchemist.core.progress import RESUMED
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.state import all_finite, load_optimiser, optimiser_tensors, over, under
from alchemist.models.batch import Batch, Chance, chunks
from alchemist.models.encoded import Encoded, PoolRows, PretrainingRows, Rows, ValidationRows
from alchemist.models.family import Generator

LOG_EVERY_STEPS = 25
M = TypeVar("M", bound=nn.Module)


@dataclass
class Orders:
    """Permutations of the epochs in use, the last ones: that of a pool is too dear to draw at every step."""

    most: int = 4
    held: dict[tuple[int, int, int], NDArray[np.int64]] = field(default_factory=dict)

    def of(self, seed: int, epoch: int, count: int) -> NDArray[np.int64]:
        """The order of `count` rows in one epoch."""
        wanted = (seed, epoch, count)
        if wanted not in self.held:
            if len(self.held) >= self.most:
                self.held.pop(next(iter(self.held)))
            self.held[wanted] = stateless.epoch_order(seed, epoch, count)
        return self.held[wanted]


_ORDERS = Orders()


def numbers_at(rows: Rows, seed: int, first: int, count: int, orders: Orders = _ORDERS) -> NDArray[np.int64]:
    """The row numbers that stand at image numbers first .. first + count - 1 of a run over `rows`.

    Every epoch is a permutation of its own; a batch may cross from one epoch into the next, so that one
    larger than `rows` holds pairs more than once. Raises Refusal where there are no rows.
    """
    if not len(rows):
        raise Refusal("there are no pairs to train on; a split or a subset of one at least is legal.")
    numbers = np.arange(first, first + count)
    epochs = numbers // len(rows)
    picked = np.empty(count, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        picked[here] = rows.numbers[orders.of(seed, int(epoch), len(rows))[numbers[here] % len(rows)]]
    return picked


def dropped_captions(rate: float, seed: int, first: int, count: int) -> NDArray[np.bool_]:
    """Which captions are dropped at these image numbers."""
    return stateless.uniforms(stateless.key("caption", seed), np.arange(first, first + count)) < rate


def learning_rate(settings: TrainSettings, seen: int) -> float:
    """The rate at `seen` images: linear warm-up, then constant, or linear down to a hundredth."""
    rate = settings.learning_rate * min(1.0, (seen + settings.batch) / max(settings.warmup_images, 1))
    if settings.schedule == "linear":
        left = 1 - (seen - settings.warmup_images) / max(settings.images - settings.warmup_images, 1)
        rate *= min(1.0, max(0.01, left))
    return rate


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, by name; a family may have frozen ones."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def copied(model: M) -> M:
    """A copy that shares the parameters which training does not move."""
    shared = {id(value): value for value in model.parameters() if not value.requires_grad}
    return copy.deepcopy(model, shared)


def moved(model: nn.Module) -> dict[str, Tensor]:
    """What training moves of a model's state, by name: all but its frozen parameters."""
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def put_back(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Puts what `moved` gave back. Raises KeyError where it is of another model."""
    held = model.state_dict()
    tensors = {n: fsdp.part_of(value, held[n]) if n in held else value for n, value in tensors.items()}
    found = model.load_state_dict(tensors, strict=False)
    if strange := {*found.unexpected_keys, *(set(found.missing_keys) & set(moved(model)))}:
        raise KeyError(f"state of another model: {min(strange)}")


class Decaying(Protocol):
    """A network that says on which of its parameters weight decay acts."""

    def decays(self, name: str, parameter: Tensor) -> bool:
        """Whether it acts on the parameter of that name."""


def optimiser(model: nn.Module, decaying: Decaying, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.95), with weight decay where the network wants it."""
    named = trainable(model).items()
    return torch.optim.AdamW(
        [
            {"params": [p for n, p in named if decaying.decays(n, p)], "weight_decay": weight_decay},
            {"params": [p for n, p in named if not decaying.decays(n, p)], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.95),
        fused=devices.of(model).type in ("cpu", "cuda"),
    )


@dataclass(frozen=True)
class Point:
    """A checkpoint: at how many images, and what comparisons it serves."""

    images: int
    names: tuple[str, ...]


def points(settings: TrainSettings, retention: float) -> list[Point]:
    """Checkpoints of a cell, ascending, rounded up to whole batches.

    At `equal_images` every cell has seen the same images. At `equal_epochs` it has passed over
    its subset as often as the full-data run passes over the pool (the paper's comparison).
    """
    wanted: dict[int, list[str]] = {}
    named = [("equal_epochs", retention), ("equal_images", 1.0)]
    for name, share in named + [("curve", share) for share in settings.checkpoints]:
        images = -(-round(share * settings.images) // settings.batch) * settings.batch
        wanted.setdefault(images, []).append(name)
    return [
        Point(images, tuple(n for n in names if n != "curve") or ("curve",))
        for images, names in sorted(wanted.items())
    ]


class Average(Generic[M]):
    """Exponential average of a model's weights with a half-life in images.

    The half-life is at most a tenth of the images seen, so that early averages forget the start.
    """

    def __init__(self, model: M, half_life: float, bare: M | None = None) -> None:
        """`bare` is what `fsdp.shard` gave, if the model's weights are in parts."""
        if bare is None:
            self.model = copied(model).eval()
        else:
            start = {name: value.clone() for name, value in moved(model).items()}
            self.model = fsdp.filled(bare, {**model.state_dict(), **start}).eval()
        self.half_life = half_life

    @torch.no_grad()
    def update(self, model: M, seen: int, batch: int) -> None:
        """Moves the average towards the model after a step of `batch` images."""
        half_life = min(self.half_life, seen / 10)
        # theta_ema <- d theta_ema + (1 - d) theta, with d = 2^(-batch / half-life)
        decay = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        ours = [fsdp.own(value) for value in trainable(self.model).values()]
        theirs = [fsdp.own(value) for value in trainable(model).values()]
        torch._foreach_lerp_(ours, theirs, 1 - decay)


def descend(model: nn.Module, adam: torch.optim.Optimizer, losses: Iterable[Tensor], clip: float) -> Tensor:
    """One step on the sum of `losses`, its gradient clipped to a global norm of at most `clip`.

    Gives the norm before that. Each goes back before the next is asked for, so that the graph of one alone is
    held. Several processes have losses of their own each, and the sum is over all; of weights in parts the
    backward pass has taken it.
    """
    adam.zero_grad(set_to_none=True)
    for loss in losses:
        loss.backward()
    world.sum_(p.grad for p in model.parameters() if p.grad is not None and not fsdp.is_part(p.grad))
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    adam.step()
    return fsdp.joined(norm)


@dataclass(frozen=True)
class Stepped:
    """What a step leaves on the device: its mean loss, the losses (B,) of its pairs, its gradient's norm."""

    loss: Tensor
    losses: Tensor
    norm: Tensor


def step(
    generator: Generator,
    adam: torch.optim.Optimizer,
    batch: Batch,
    chance: Chance,
    settings: TrainSettings,
    device: torch.device,
) -> Stepped:
    """One step on the mean loss of a batch, in chunks of `settings.chunk`. It does not wait for a device."""
    parts: list[Tensor] = []
    each: list[Tensor] = []

    def losses() -> Iterator[Tensor]:
        for rows in chunks(len(batch), settings.chunk):
            pairs = batch[rows]
            with devices.autocast(settings.precision, device):
                found = generator.losses(pairs, chance[rows])
                loss = found.mean() * (len(pairs) / len(batch))
            each.append(found.detach())
            parts.append(loss.detach())
            yield loss

    norm = descend(generator, adam, losses(), settings.clip)
    loss = torch.stack(parts).sum()
    world.sum_([loss])
    return Stepped(loss, world.joined(torch.cat(each), len(batch)), norm.detach())


def train(
    generator: Generator,
    data: Encoded,
    rows: PoolRows | ValidationRows | PretrainingRows,
    settings: TrainSettings,
    seed: int,
    stops: list[int],
    scratch: Scratch,
    at_stop: Callable[[int, Generator], None],
    tick: Callable[[int, str], object],
    rate_key: str = "train.learning_rate",
    in_parts: bool = False,
) -> list[dict[str, float]]:
    """Trains on `rows` until the last of `stops` (images seen), in place; returns the log.

    At every stop `at_stop` gets the images seen and the averaged model; a stop that was reached
    before a kill is not told again. `tick` hears of every step's images, and of the loss in words. A row
    of the log has images, epochs, loss (mean since the row before), rate, and seconds of all tries, without
    those of `at_stop`.
    Raises Refusal where a loss, a gradient or a weight is not finite, before anything of it is kept;
    `rate_key` is the key of the rate. `in_parts`: weights and all that belongs to them are shared out among
    the processes, for good; then the writer alone hears of stops, since it alone has the average whole.
    """
    world.check(settings.batch, rate_key.rpartition(".")[0] + ".batch")
    device = devices.of(generator)
    bare = fsdp.shard(generator, generator.blocks(), "losses") if in_parts else None
    average = Average(generator, settings.ema_images, bare)
    adam = optimiser(generator, generator, settings.learning_rate, settings.weight_decay)

    # --- where a killed run stood
    seen, log, before = 0, list[dict[str, float]](), 0.0
    losses: list[Tensor] = []  # since the last row of the log
    if saved := scratch.load():
        tensors, facts = saved
        seen, log, before = facts["images"], facts["log"], facts["seconds"]
        tick(seen, RESUMED)
        put_back(generator, under(tensors, "model"))
        put_back(average.model, under(tensors, "average"))
        load_optimiser(adam, tensors, "adam")
        losses += tensors.get("losses", torch.empty(0)).to(device).unbind()
    recent: list[Stepped] = []  # of this try
    words = ""
    elapsed = devices.clock(device)
    while seen < stops[-1]:
        # --- the batch at this image number, and a step on the mean of its losses
        numbers = numbers_at(rows, seed, seen, settings.batch)
        dropped = dropped_captions(settings.caption_dropout, seed, seen, settings.batch)
        batch = data.batch(numbers, dropped).to(device)
        chance = Chance.run(seed, seen, settings.batch, training=True)
        for group in adam.param_groups:
            group["lr"] = learning_rate(settings, seen)
        recent.append(step(generator, adam, batch, chance, settings, device))
        seen += settings.batch
        average.update(generator, seen, settings.batch)

        # --- what a person sees, and what a kill leaves
        due = scratch.due()
        saves = seen in stops or (due if bare is None else fsdp.anywhere(due))  # all gather, or none
        advice = f"{rate_key} is {settings.learning_rate}, try a smaller one"
        is_row = seen in stops or len(losses) + len(recent) == LOG_EVERY_STEPS
        if saves or is_row:
            _check_finite(recent, data, rows, settings, seed, seen, advice)
        if is_row:
            mean = float(torch.stack([*losses, *(one.loss for one in recent)]).mean())
            log.append(
                {
                    "images": seen,
                    "epochs": seen / len(rows),
                    "loss": mean,
                    "rate": learning_rate(settings, seen),
                    "seconds": before + elapsed(),
                }
            )
            words = f"loss {mean:.3f}"
            losses.clear()
            recent.clear()
        tick(settings.batch, words)
        if saves:
            held = [*losses, *(one.loss for one in recent)]
            state = {
                **over(moved(generator), "model"),
                **over(moved(average.model), "average"),
                **optimiser_tensors(adam, "adam"),
                **({"losses": torch.stack(held)} if held else {}),
            }
            bad = not all_finite(fsdp.own(value) for value in state.values())
            if bad if bare is None else fsdp.anywhere(bad):
                raise Refusal(f"the weights are not finite after {seen} images; {advice}.")
        if seen in stops:
            reached = elapsed()
            if bare is None:
                at_stop(seen, average.model)
            elif tensors := fsdp.whole(average.model.state_dict()):
                at_stop(seen, fsdp.filled(bare, tensors).eval())
            before -= elapsed() - reached
        if saves and seen < stops[-1]:
            scratch.save(fsdp.whole(state), {"images": seen, "log": log, "seconds": before + elapsed()})
    return log


def _check_finite(
    recent: list[Stepped],
    data: Encoded,
    rows: Rows,
    settings: TrainSettings,
    seed: int,
    seen: int,
    advice: str,
) -> None:
    """Asked now and then, since every question waits for the device; still tells the first bad step."""
    held = torch.isfinite(torch.stack([torch.stack([one.loss, one.norm]) for one in recent])).all(dim=1)
    if held.all():
        return
    number = int(held.int().argmin())
    first = seen - (len(recent) - number) * settings.batch
    chosen = data.rows["id"].iloc[numbers_at(rows, seed, first, settings.batch)].tolist()
    raise Refusal(
        not_finite(
            first // settings.batch, devices.host(recent[number].losses), chosen, "loss", "gradient", advice
        )
    )


def not_finite(
    step: int, values: NDArray[np.floating], ids: list[str], what: str, other: str, advice: str
) -> str:
    """The sentence for a step, counted from 0: the pairs, of `ids` (B,), whose `what` (B,) is no number.

    Where all are finite it is `other` that is not, which is of the batch as a whole.
    """
    bad = [one for one, fine in zip(ids, finite.finite(values), strict=True) if not fine]
    images = f"step {step + 1} (images {step * len(ids) + 1} to {(step + 1) * len(ids)})"
    if not bad:
        return f"the {other} of {images} is not finite; its pairs are {finite.some(ids)}; {advice}."
    return f"the {what} of {images} is not finite for {finite.some(bad)}; {advice}."


@torch.no_grad()
def forward_flops(losses: Callable[[Batch, Chance], object], pairs: Batch, training: bool) -> float:
    """FLOPs a pair of a pass over `pairs`, in training or in scoring, which may draw otherwise.

    Counted on equal pairs, since captions differ in length.
    """
    with FlopCounterMode(display=False) as counter:
        losses(pairs, Chance.run(0, 0, len(pairs), training))
    return float(counter.get_total_flops()) / len(pairs)

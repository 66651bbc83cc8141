"""One step of a rater and the steps of its proxy (paper, eqs. 4 to 6, 9 and 10).

Every meta-gradient rule comes down to one number a train sample, its credit c_i: how much more weight on the
sample helps. One rater step uses them, ascending sum_i W_i stopgrad(c_i). The rules:

- `penalty` (eq. 9): minus the proxy's own losses, which the proxy's step computes anyway.
- `reference` (eq. 6): the losses of a reference model that sees train pairs alone, less the proxy's.
- `alignment`: minus the derivative of the validation loss through one plain step on the weighted train loss.
- `unrolled`: the same through K steps of the proxy's own optimiser (both in `alchemist.raters.credit`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor, nn

from alchemist.core import devices, world
from alchemist.core.settings.budget import Precision, RateSettings
from alchemist.core.state import load_optimiser, optimiser_tensors, over, under
from alchemist.models.batch import Batch, Chance, chunks
from alchemist.models.family import Generator
from alchemist.models.training import copied, descend, moved, optimiser, put_back, trainable
from alchemist.raters import credit
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater, Weights, batch_weights
from alchemist.raters.passes import Passes, over_processes


@dataclass(frozen=True)
class Step:
    """What one step of the proxy needs: its batches, u (the weight of the validation loss), and chances.

    `proxy_chance` is that of the validation batch, then of the train batch; the reference model gets the
    same. `rater_chance` is the rater's.
    """

    validation: Batch
    train: Batch
    upper: float
    proxy_chance: Chance
    rater_chance: Chance

    @property
    def validation_chance(self) -> Chance:
        """The proxy's chance of the validation batch."""
        return self.proxy_chance[: len(self.validation)]

    @property
    def train_chance(self) -> Chance:
        """The proxy's chance of the train batch."""
        return self.proxy_chance[len(self.validation) :]


@dataclass(frozen=True)
class Outcome:
    """Of one proxy step: losses (B,) of both batches before it, the credits as used, and the weights.

    The credits themselves are `credit` times `scale`, which is 1 but for exact ones.
    """

    validation: Tensor
    train: Tensor
    credit: Tensor
    weights: Weights
    scale: Tensor


@dataclass
class MetaState:
    """The networks and their optimisers; the reference model is that of credit `reference` alone."""

    proxy: Generator
    rater: Rater
    proxy_adam: torch.optim.Optimizer
    rater_adam: torch.optim.Optimizer
    scale: credit.Scale
    reference: Generator | None = None
    reference_adam: torch.optim.Optimizer | None = None
    norms: dict[str, Tensor] = field(default_factory=dict)  # of gradients by network, until looked at

    def watch(self, network: str, norm: Tensor) -> None:
        """Keeps the norm of a gradient; one that is not finite stays, without waiting for the device."""
        before = self.norms.get(network)
        self.norms[network] = norm if before is None else torch.maximum(before, norm)

    def taken_norms(self) -> dict[str, Tensor]:
        """Those that were kept, and none is any more."""
        taken, self.norms = self.norms, {}
        return taken

    @property
    def device(self) -> torch.device:
        """Where all of it lies."""
        return devices.of(self.proxy)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs."""
        out = {
            **over(moved(self.proxy), "proxy"),
            **over(moved(self.rater), "rater"),
            **optimiser_tensors(self.proxy_adam, "proxy_adam"),
            **optimiser_tensors(self.rater_adam, "rater_adam"),
            "scale": self.scale.state,
        }
        if self.reference is not None and self.reference_adam is not None:
            out |= over(moved(self.reference), "reference")
            out |= optimiser_tensors(self.reference_adam, "reference_adam")
        return out

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts `tensors` back."""
        put_back(self.proxy, under(tensors, "proxy"))
        put_back(self.rater, under(tensors, "rater"))
        load_optimiser(self.proxy_adam, tensors, "proxy_adam")
        load_optimiser(self.rater_adam, tensors, "rater_adam")
        self.scale.state = tensors["scale"].to(self.device)
        if self.reference is not None and self.reference_adam is not None:
            put_back(self.reference, under(tensors, "reference"))
            load_optimiser(self.reference_adam, tensors, "reference_adam")


def start(proxy: Generator, rater: Rater, settings: MetaRater, budget: RateSettings) -> MetaState:
    """The networks with fresh optimisers and, for credit `reference`, a copy of the proxy."""

    def of_proxy(model: Generator) -> torch.optim.Optimizer:
        return optimiser(model, model, budget.proxy_learning_rate, budget.weight_decay)

    state = MetaState(
        proxy,
        rater,
        of_proxy(proxy),
        optimiser(rater, rater, budget.rater_learning_rate, budget.weight_decay),
        credit.Scale(devices.of(proxy)),
    )
    if settings.credit == "reference":
        state.reference = copied(proxy)
        state.reference_adam = of_proxy(state.reference)
    return state


def take_over(state: MetaState) -> None:
    """theta := theta_hat: the proxy gets the reference's weights, if it is not it, and a fresh optimiser."""
    if state.reference is not None:
        put_back(state.proxy, moved(state.reference))
    state.proxy_adam.state.clear()


# ------------------------------------------------------------------------------ the proxy's step


def pair_weights(shares: Tensor, upper: float, count: int) -> Tensor:
    """Weights of the proxy's losses of `count` validation pairs, then of the train pairs.

    They make u L_val + (1 - u) (1/B) sum_i B W_i L_i: weights of mean one (eqs. 5 and 10).
    """
    return torch.cat([shares.new_full((count,), upper) / count, (1 - upper) * shares.detach()])


def proxy_step(state: MetaState, step: Step, shares: Tensor, budget: RateSettings) -> tuple[Tensor, Tensor]:
    """One step on u L_val + (1 - u) sum_i W_i L_i; gives both batches' losses before it, detached."""
    count, weights = len(step.validation), pair_weights(shares, step.upper, len(step.validation))
    if step.upper < 1:
        both = Passes(state.proxy, step.validation.join(step.train), step.proxy_chance, budget)
        state.watch("proxy", descend(state.proxy, state.proxy_adam, both.weighted(weights), budget.clip))
        return both.found[:count], both.found[count:]
    # Train losses carry a graph only where it is needed.
    train = Passes(state.proxy, step.train, step.train_chance, budget).forward()
    validation = Passes(state.proxy, step.validation, step.validation_chance, budget)
    losses = validation.weighted(weights[:count])
    state.watch("proxy", descend(state.proxy, state.proxy_adam, losses, budget.clip))
    return validation.found, train


def proxy_step_from(state: MetaState, step: Step, slope: credit.Parameters, budget: RateSettings) -> Tensor:
    """The same step where the gradient `slope` of sum_i W_i L_i is at hand; gives the validation losses."""
    validation = Passes(state.proxy, step.validation, step.validation_chance, budget)
    count, some = len(step.validation), next(iter(slope.values()))
    state.proxy_adam.zero_grad(set_to_none=True)
    for loss in validation.weighted(some.new_full((count,), step.upper) / count):
        loss.backward()
    grads = [parameter.grad for parameter in trainable(state.proxy).values()]
    world.sum_(grad for grad in grads if grad is not None)
    for name, parameter in trainable(state.proxy).items():
        share = (1 - step.upper) * slope[name]
        parameter.grad = share if parameter.grad is None else parameter.grad + share
    state.watch("proxy", nn.utils.clip_grad_norm_(state.proxy.parameters(), budget.clip))
    state.proxy_adam.step()
    return validation.found


def reference_step(state: MetaState, step: Step, shares: Tensor, budget: RateSettings) -> Tensor:
    """One step of the reference model on sum_i W_i L_i alone; gives its losses before it, detached.

    It sees the proxy's chance, so that credits differ by the models alone. Where a credit has no such model,
    it is the proxy until that takes over: eq. 4 asks for no second one.
    """
    of = "proxy" if state.reference is None else "reference"
    model, adam = state.reference or state.proxy, state.reference_adam or state.proxy_adam
    train = Passes(model, step.train, step.train_chance, budget)
    state.watch(of, descend(model, adam, train.weighted(shares.detach()), budget.clip))
    return train.found


# ------------------------------------------------------------------------------ exact credits


class Losses(nn.Module):
    """The proxy's losses as a module's forward pass, which torch.func.functional_call wants."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, batch: Batch, chance: Chance) -> Tensor:
        """Losses (B,)."""
        return self.generator.losses(batch, chance)


def inner_rule(
    adam: torch.optim.Optimizer, model: nn.Module
) -> tuple[credit.Sgd | credit.Adam, credit.Moments | None]:
    """An optimiser's next steps as functions, and its moments by parameter name (None before its first)."""
    rates = {group["lr"] for group in adam.param_groups}
    assert len(rates) == 1, "one rate for all parameters"
    rate = float(rates.pop())
    if not isinstance(adam, torch.optim.AdamW):
        return credit.Sgd(rate), None
    decay = {id(p): float(group["weight_decay"]) for group in adam.param_groups for p in group["params"]}
    named, group = trainable(model), adam.param_groups[0]
    rule = credit.Adam(rate, group["betas"], group["eps"], {n: decay[id(p)] for n, p in named.items()})
    known = {n: adam.state[p] for n, p in named.items() if adam.state.get(p)}
    if not known:
        return rule, None

    def moments(key: str) -> credit.Parameters:
        # Of a parameter that never had a gradient they are zero.
        return {n: known[n][key] if n in known else torch.zeros_like(p) for n, p in named.items()}

    steps = max(int(entry["step"]) for entry in known.values())
    return rule, credit.Moments(moments("exp_avg"), moments("exp_avg_sq"), steps)


def exact_credits(
    state: MetaState, window: list[Step], weights: list[Weights], settings: MetaRater, precision: Precision,
    chunk: int | None = None,
) -> credit.Unrolled | None:  # fmt: skip
    """Credits of a window's train pairs from the proxy as it stands, or None where it has no moments yet.

    The inner steps are unclipped, on the weighted train loss alone, at the proxy's present rate, each
    with the chance and the precision of the proxy's own step; parameters, gradients and credits are
    float32. f is the mean loss of the window's last validation batch, which no step has seen yet, without
    what training alone draws. `alignment` takes a plain step; `unrolled` the steps of the proxy's
    optimiser. Adam's first step from zero moments has a derivative of about eps / |g|, which tells
    nothing: there the result is None.

    In bf16 a batch's credits of `alignment` keep their order: Spearman with those of fp32 is .9996 a tenth
    into a run and .9975 at its end, at worst .978 of 50 batches, and the signs of .995 are the same.
    """
    rule, moments = inner_rule(state.proxy_adam, state.proxy)
    if settings.credit == "unrolled" and isinstance(rule, credit.Adam) and moments is None:
        return None
    module = Losses(state.proxy)
    prefix = "generator."

    def losses(parameters: credit.Parameters, item: tuple[Batch, Chance]) -> Tensor:
        named = {prefix + name: value for name, value in parameters.items()}
        with devices.autocast(precision, state.device):
            out: Tensor = torch.func.functional_call(module, named, item)
        return out

    def cut(item: tuple[Batch, Chance]) -> list[credit.Part[tuple[Batch, Chance]]]:
        batch, chance = item
        return [
            credit.Part((batch[rows], chance[rows]), rows, (rows.stop - rows.start) / len(batch))
            for rows in chunks(len(batch), chunk)
        ]

    parameters = {name: value.detach() for name, value in trainable(state.proxy).items()}
    batches = [(step.train, step.train_chance) for step in window]
    shares = [w.shares.detach() for w in weights]
    last = window[-1]
    validation = (last.validation, Chance(last.proxy_chance.seed, last.validation_chance.positions))
    whole = over_processes(cut)
    if settings.credit == "alignment":
        return credit.alignment(losses, parameters, rule.rate, batches[0], shares[0], validation, whole)
    return credit.unrolled(losses, parameters, moments, rule, batches, shares, validation, whole)


# ------------------------------------------------------------------------------ the rater's step


def rater_features(state: MetaState, step: Step, budget: RateSettings) -> Tensor:
    """The rater's features (B, C) of a train batch, in chunks where the budget has any.

    Weights of a batch are functions of all its features, so that its graph can be cut there alone: whole
    batches carry the trunk's graph, and chunks none, which `trunk_passes` makes up for.
    """
    rows = chunks(len(step.train), budget.chunk)
    with devices.autocast(budget.precision, state.device):
        if len(rows) == 1 and world.count() == 1:
            return state.rater.features(step.train, step.rater_chance)
        with torch.no_grad():
            parts = [state.rater.features(step.train[part], step.rater_chance[part]) for part in rows]
    return world.joined(torch.cat(parts), len(step.train)).requires_grad_()


def trunk_passes(
    state: MetaState, window: list[Step], features: list[Tensor], budget: RateSettings
) -> Iterator[Tensor]:
    """The rest of the chain rule once a loss went back to features without a graph: nothing for others.

    Each part has the gradient by the trunk's parameters that the loss has through a chunk's features, which
    are passed again (gradient caching, Gao et al. 2021): exact, for one more pass forward.
    """
    for step, cached in zip(window, features, strict=True):
        for rows in chunks(len(cached), budget.chunk) if cached.is_leaf else ():
            assert cached.grad is not None
            with devices.autocast(budget.precision, state.device):
                again = state.rater.features(step.train[rows], step.rater_chance[rows])
            # The features' gradient is a share of it alone: see `rater_step`.
            yield (again * cached.grad[rows]).sum() * world.count()


def rater_loss(weights: Tensor, credits: Tensor) -> Tensor:
    """-sum_i W_i c_i with the credits held fixed: descending it is eq. 9 when c_i = -L_i."""
    return -(weights * credits.detach()).sum()


def rater_step(
    state: MetaState, outcomes: list[Outcome], settings: MetaRater, clip: float, rest: Iterable[Tensor] = ()
) -> None:
    """One step of the rater, up sum_t sum_i W_i (c_i - baseline) over a window's steps t.

    `rest` are the trunk's passes where its features had no graph.

    With the gate outside the softmax, credits that are all negative have a trivial best: a gate of zero,
    which stops the rater. For eq. 9 minus the proxy's validation loss is a baseline that it computes
    anyway: a pair's credit is how far its loss lies below that. Softmax weights do not see it, since a
    constant changes none of their gradients. The other credits have no such baseline and are mostly
    negative once the proxy has learned: they want a group without the outside gate.
    """
    losses = []
    for outcome in outcomes:
        baseline = -outcome.validation.mean() if settings.baseline == "validation" else 0.0
        losses.append(rater_loss(outcome.weights.rating, outcome.credit - baseline))
    # All processes have this loss whole, and the sum of their gradients is to count it once.
    whole = chain([torch.stack(losses).sum() / world.count()], rest)
    state.watch("rater", descend(state.rater, state.rater_adam, whole, clip))


def meta_window(
    state: MetaState, window: list[Step], settings: MetaRater, budget: RateSettings
) -> list[Outcome]:
    """One step of the rater and len(window) steps of the proxy; gives the outcome of each.

    Only `unrolled` has windows of more than one step. Passes of B samples (F forward, Bk backward),
    beside F + Bk of the rater for each step; the proxy's own step takes F + Bk of both batches (F alone of
    the train batch while u = 1). `penalty`: no more. `reference`: F + Bk of the reference model.
    `alignment`, `unrolled`: those of `credit.unrolled`, less F + Bk of the first train batch, whose gradient
    the proxy's own step takes over. Nothing is computed twice, but F of the rater where chunks are below B.
    """
    # --- W of each step's train batch, by the rater as it stands
    features = [rater_features(state, step, budget) for step in window]
    apart = settings.groups.a_step if settings.groups else 1
    weights = [batch_weights(state.rater, one, settings.group, settings.bound, apart) for one in features]

    # --- exact credits, from the proxy before its steps
    exact = None
    if settings.credit in ("alignment", "unrolled"):
        exact = exact_credits(state, window, weights, settings, budget.precision, budget.chunk)
    scale = torch.ones((), dtype=torch.float64, device=state.device)
    if exact is not None:
        scale = state.scale.update(torch.stack(exact.credits)).clamp_min(1e-30)

    # --- the proxy's steps (eqs. 5 and 10), and the credits that they give
    outcomes = []
    for t, (step, weight) in enumerate(zip(window, weights, strict=True)):
        is_moved = bool(state.proxy_adam.state) or not isinstance(state.proxy_adam, torch.optim.AdamW)
        if exact is not None and t == 0:
            train = exact.losses[0]
            validation = proxy_step_from(state, step, exact.gradient, budget)
        else:
            validation, train = proxy_step(state, step, weight.shares, budget)
        if settings.credit == "penalty":  # eq. 9
            credits = -train
        elif settings.credit == "reference":  # eq. 6
            credits = reference_step(state, step, weight.shares, budget) - train
            # Before its first step the proxy is the reference: of the rounding Adam would make a whole step.
            credits = credits if is_moved else torch.zeros_like(credits)
        else:
            credits = torch.zeros_like(train) if exact is None else exact.credits[t] / scale
        outcomes.append(Outcome(validation, train, credits, weight, scale))

    # --- the rater's step
    if settings.credit != "unrolled" or exact is not None:
        rest = trunk_passes(state, window, features, budget)
        rater_step(state, outcomes, settings, budget.clip, rest)
    return outcomes

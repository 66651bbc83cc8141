"""Signs of a rating that should not be used, from one rating's log, table and settings. No torch.

A sign is a figure with a bound. Whether one that fires is a warning is a question of measurement: `EVIDENCE`
says for each what was seen of results behind ratings on which it fired, and only those that went with a worse
result warn. `python -m benchmarks.signs` measures it. The others stand beside as plain figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.rater import RaterSettings
from alchemist.core.settings.signs import SignSettings
from alchemist.raters.kinds.meta import MetaRater

END = 0.2  # share of a log's rows that are its end: one row is of one batch

Log = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Law:
    """When a sign fires, and what to do then."""

    what: str  # the figure in words
    side: Literal["above", "below"]  # of the bound
    todo: str  # one sentence


LAWS: dict[str, Law] = {
    "memorised": Law(
        "share by which the proxy's validation loss lies under its train loss at the end",
        "above",
        "Give the validation split more pairs, or lower rate.images.",
    ),
    "passes": Law(
        "times that each validation pair was seen",
        "above",
        "Give the validation split more pairs, or lower rate.images.",
    ),
    "gate_zero": Law(
        "gate of the group head at the end",
        "below",
        "Set the rater's baseline to validation where it is none, or its group to temperature or none: "
        "behind a gate of zero the rater learns nothing more.",
    ),
    "gate_one": Law(
        "distance of the gate from one at the end",
        "below",
        "Take group none, which gives the same rating: the gate tells batches apart no more.",
    ),
    "few": Law(
        "effective share of a batch that carries the weights, at the end",
        "below",
        "Lower the rater's bound or rate.rater_learning_rate: a few pairs of a batch decide.",
    ),
    "flat": Law(
        "effective share of a batch that carries the weights, at the end, near all",
        "above",
        "Train longer, or take group temperature with a bound: all pairs weigh nearly the same.",
    ),
    "equal": Law(
        "share of pairs that have one and the same rating",
        "above",
        "Take another rater or a finer one: among equal ratings the draw decides.",
    ),
    "loss": Law(
        "rank correlation with the low-loss rating of the same seed",
        "above",
        "Take a rater of kind loss with the same sampler, which costs less.",
    ),
    "seeds": Law(
        "rank correlation between two seeds' ratings",
        "below",
        "Train the rater longer, or take the mean of several seeds' ranks.",
    ),
    "random": Law(
        "size of the rank correlation with a random rating",
        "above",
        "Look for a mistake in ids or order: a rating of pairs cannot agree with a draw.",
    ),
    "copies_pool": Law(
        "share of the split pool's pairs that are copies of another of them",
        "above",
        "Keep one of each cluster of copies before anything is rated.",
    ),
    "copies_kept": Law(
        "share of the kept pairs that are copies of another kept pair",
        "above",
        "Drop copies before rating, so that a kept place is not spent on a pair that is there already.",
    ),
}


@dataclass(frozen=True)
class Evidence:
    """What was measured of results behind ratings on which a sign fired."""

    predicts: bool  # they were worse, by more than the noise: the sign warns
    source: str  # with circumstances


# On emoji and a quarter of icons, where nothing else is said: `./study signs`, seven ratings, sound and
# unsound, at the scale pilot with three seeds; each pool stands at its own mean (benchmarks/signs.py).
EVIDENCE: dict[str, Evidence] = {
    "memorised": Evidence(
        False,
        "Speaks against it: on 6,898 clip-art pairs a proxy at .25 under its train loss (335 validation "
        "pairs seen 19 times) gave what one with 1,702 pairs gave; two seeds.",
    ),
    "passes": Evidence(
        False,
        "Speaks against it: on 6,898 clip-art pairs 335 validation pairs seen 19 times gave what 1,702 seen "
        "3.8 times gave; two seeds.",
    ),
    "gate_zero": Evidence(
        False,
        "Not told: on emoji it fires on alchemist_literal alone, whose half is ahead of a random one by 18 "
        "in FD and .05 in held-out loss, those of ratings with an open gate by 37 and .10; on a quarter of "
        "icons it fires on two, behind by 21 and .03, the others by 31 and .04. Together: FD +3 [-10, +16]. "
        "On all of icons the gate stood open in every seed, and the half was as far behind.",
    ),
    "gate_one": Evidence(
        False,
        "Speaks against it: on emoji the gate of alchemist stands at 1 in every seed, and its half beats a "
        "random one in FD by 38 [29, 48]; on emoji and a quarter of icons together FD -3 [-16, +10].",
    ),
    "few": Evidence(False, "Not told: none of five meta-trained raters fired it on emoji or icons."),
    "flat": Evidence(
        False,
        "Not told: it fires on alchemist_published alone, whose half of emoji is ahead of a random one by 34 "
        "in FD, the other meta-trained ratings' by 26, and of a quarter of icons behind by 32 and 26: "
        "together FD -1 [-20, +18].",
    ),
    "equal": Evidence(
        False, "Not told: no rating on emoji or icons fired it; among equal ratings the draw decides."
    ),
    "loss": Evidence(
        False,
        "Speaks against it: on emoji the rating agrees with low loss by .92, halves of both beat a random "
        "one, and its own is ahead by 8 in FD, equal in held-out loss (docs/verdicts.md); it says that the "
        "rating may cost too much, not that it is worse.",
    ),
    "seeds": Evidence(
        False,
        "Speaks against it: on emoji and a quarter of icons halves of ratings that fire it are better than "
        "those of ratings that do not, by 14 in FD [2, 25] and .02 in held-out loss [.00, .04].",
    ),
    "random": Evidence(
        False, "Not told: no rating on emoji or icons fired it; it would be a mistake in ids."
    ),
    "copies_pool": Evidence(
        True,
        "Where copies count once, all of 6,898 clip-art pairs without near-copies are better than all with "
        "them (.21 of the pairs) by .05 in held-out loss; two seeds, noise about .03. On icons, at .13, they "
        "are not told apart: -.008 [-.045, +.029].",
    ),
    "copies_kept": Evidence(
        True,
        "Where copies count once, a random half of 6,898 clip-art pairs without near-copies is better than a "
        "random half with them by .08 in held-out loss; two seeds, noise about .03. On a quarter of icons "
        "halves above .05 are behind by .02 more than the others, an interval of -.01 to +.05.",
    ),
}


@dataclass(frozen=True)
class Sign:
    """A figure of a rating beside its bound; `LAWS` has its words."""

    name: str
    value: float
    threshold: float
    fires: bool

    @property
    def warns(self) -> bool:
        """Whether it fires and a measurement says that this goes with a worse result."""
        return self.fires and EVIDENCE[self.name].predicts


def sign(name: str, value: float, threshold: float) -> Sign:
    """A sign, fired where its value lies beyond the bound on the side that its law names."""
    fires = value > threshold if LAWS[name].side == "above" else value < threshold
    return Sign(name, value, threshold, bool(fires))


def signs(
    settings: RaterSettings, budget: RateSettings, log: Log, rating: NDArray[np.float64], validation: int
) -> list[Sign]:
    """The signs of one rating (N,), in the order of `LAWS`; what cannot be computed is left out.

    `log` is that of its training, empty where it was carried over; `validation`: pairs of the split of which
    a meta-trained rater's proxy sees `budget.images`. A rater of another kind has neither a validation loss
    nor weights, and is asked for equal ratings alone. Raises nothing.
    """
    bounds = budget.signs
    found = _trained(settings, budget, log, validation, bounds) if isinstance(settings, MetaRater) else []
    if len(rating):
        most = int(np.unique(rating, return_counts=True)[1].max())
        found.append(sign("equal", most / len(rating) if most > 1 else 0.0, bounds.equal))
    return found


def _trained(
    settings: MetaRater, budget: RateSettings, log: Log, validation: int, bounds: SignSettings
) -> list[Sign]:
    """Signs of a meta-trained rater's run."""
    if not log:
        return []
    train, held_out = at_end(log, "train_loss"), at_end(log, "validation_loss")
    found = []
    if train > 0:
        found.append(sign("memorised", 1 - held_out / train, bounds.memorised))
    if validation:
        found.append(sign("passes", budget.images / validation, bounds.passes))
    if settings.group not in ("none", "compared", "within"):  # shares of groups run to no end
        gate = at_end(log, "gate")
        found += [sign("gate_zero", gate, bounds.gate), sign("gate_one", 1 - gate, bounds.gate)]
    share = at_end(log, "effective_sample_share")
    return [*found, sign("few", share, bounds.few), sign("flat", share, bounds.flat)]


def at_end(log: Log, key: str) -> float:
    """The mean of a figure over the last fifth of a log's rows, at least one."""
    rows = log[-max(1, round(END * len(log))) :]
    return float(np.mean([row[key] for row in rows]))


def written(found: Sequence[Sign]) -> list[dict[str, Any]]:
    """Signs as rating.json holds them: name, value, threshold, fires, warns, and the words of those."""
    return [
        {**asdict(one), "warns": one.warns, "what": LAWS[one.name].what, "todo": LAWS[one.name].todo}
        for one in found
    ]


def lines(found: Sequence[Sign]) -> list[str]:
    """What a terminal shows: a line for each sign that fires; nothing where none does."""
    return [line(one) for one in found if one.fires]


def line(one: Sign) -> str:
    """A sign that fires, in one line."""
    law = LAWS[one.name]
    said = f"{law.what} is {one.value:.3g}, {law.side} {one.threshold:g}."
    if one.warns:
        return f"Warning: {said} {law.todo}"
    return f"Note: {said} Nothing measured says that this goes with a worse result. {law.todo}"

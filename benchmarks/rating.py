"""A step of the meta-trained rater beside the published one in float32, and of each credit beside eq. 9."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from alchemist.core import devices
from alchemist.core.scratch import Scratch
from alchemist.core.settings import parse
from alchemist.core.settings.budget import RateSettings
from alchemist.families.star.generator import StarGenerator, StarTrunk
from alchemist.models.text import TEXT_WIDTH
from alchemist.raters import steps
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import step_at
from alchemist.raters.network import Rater
from alchemist.raters.proxy import Plain
from benchmarks import given, material
from benchmarks.contest import Contestant, medians
from benchmarks.plain import PlainRater, PlainRating, PlainStar
from benchmarks.ratio import Ratio

STEPS = 2  # of the proxy, in a turn
# What a rater's block says of each credit.
CREDITS: dict[str, dict[str, object]] = {
    "penalty": {"baseline": "validation"},
    "reference": {"reference_warmup": 0.0},
    "alignment": {},
    "unrolled": {"unroll_steps": 2},
}
GOALS = {"alignment": "<= 2.5"}


def _settings(credit: str) -> MetaRater:
    return parse(MetaRater, {"kind": "meta", "credit": credit, **CREDITS[credit]}, credit)


def _budget(**values: object) -> RateSettings:
    usual = given.params()["scales"]["tiny"]["rate"]
    return parse(RateSettings, {**usual, **given.sized({}, {"batch": 8}), **values}, "rate")


def _run(folder: Path, proxy: str, budget: RateSettings) -> Plain:
    """A run on the pairs of a folder, of which the steps alone are taken."""
    data, _ = material.opened(folder)
    size = material.size(proxy)
    return Plain(
        lambda seed: StarGenerator(size, material.codec(), seed), data, data.pool(), data.validation(),
        data.pool(), 0, budget, Scratch(folder, "rating"), lambda n, words: None, lambda n: None,
        name="rating",
    )  # fmt: skip


def ours(
    folder: Path, credit: str, upper: float, proxy: str | None = None, **values: object
) -> Callable[[], object]:
    """Windows of our steps, with the batches that they take; proxy, trunk and budget as params.yaml has them,
    but for another proxy and other values."""
    settings, device, roles = _settings(credit), devices.chosen("cpu"), given.params()["roles"]
    run = _run(folder, proxy or roles["proxy"], _budget(**values))
    rater = Rater(StarTrunk(material.size(roles["rater"]), material.codec(), 0), 0)
    state = steps.start(run.proxy(0), rater, settings, run.budget)
    width, number = settings.unroll_steps or 1, 0

    def turn() -> None:
        nonlocal number
        for _ in range(STEPS // width):
            window = [step_at(run, settings, number + t, device) for t in range(width)]
            steps.meta_window(state, [replace(step, upper=upper) for step in window], settings, run.budget)
            number += width

    return turn


def plain(folder: Path, upper: float) -> Callable[[], object]:
    """The published steps, on batches read alike."""
    run = _run(folder, given.params()["roles"]["proxy"], _budget())
    roles, device = given.params()["roles"], devices.chosen("cpu")
    tokenizer = material.codec().tokenizer
    proxy = PlainStar(material.size(roles["proxy"]), tokenizer, TEXT_WIDTH)
    trunk = material.size(roles["rater"])
    rater = PlainRater(PlainStar(trunk, tokenizer, TEXT_WIDTH, head=False), trunk.width)
    rating = PlainRating(proxy, rater, 1e-3, run.budget.clip)
    number, settings = 0, _settings("penalty")

    def turn() -> None:
        nonlocal number
        for _ in range(STEPS):
            step = step_at(run, settings, number, device)
            rating.step(step.validation, step.train, upper)
            number += 1

    return turn


def ratios(repeats: int) -> list[Ratio]:
    """Time per rated pair over that of the published step; credits in steps of eq. 9."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder, batch = Path(name), _budget().batch
        material.write(folder, material.tokens())
        for upper in (0.97, 1.0):  # u is 1 in the first tenth of a run, and less from there
            each = {"ours": Contestant(ours, folder, "penalty", upper, ours=True),
                    "published": Contestant(plain, folder, upper, ours=False)}  # fmt: skip
            seconds = medians(each, repeats)
            per_pair = {name: 1e3 * taken / STEPS / batch for name, taken in seconds.items()}
            words = "ms a rated pair: {ours:.2f} over {published:.2f} of the published step".format(
                **per_pair
            )
            value = seconds["ours"] / seconds["published"]
            found.append(Ratio(f"rater step beside the published, u = {upper}", value, "<= 0.30", words))
        seconds = medians(
            {name: Contestant(ours, folder, name, 0.97, ours=True) for name in CREDITS}, max(3, repeats // 2)
        )
        for credit in list(CREDITS)[1:]:
            words = f"per proxy step; eq. 9 rates {STEPS * batch / seconds['penalty']:.0f} pairs/s"
            value = seconds[credit] / seconds["penalty"]
            found.append(Ratio(f"credit {credit} beside penalty", value, GOALS.get(credit, ""), words))
    return found

"""Images/s of training, rating, scoring and sampling, and the cost of a rater step in plain proxy steps.

    python -m benchmarks.steps [--threads 2] [--repeats 10]

Random tokens, the tiny sizes of params.yaml, one run: compare figures of one run with each other only.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

from alchemist.core.precision import autocast
from alchemist.models.encoded import Batch
from alchemist.models.star import tokenizer
from alchemist.models.star.generator import StarGenerator
from alchemist.models.star.transformer import Text
from alchemist.models.training import optimiser
from alchemist.raters import meta
from alchemist.raters.network import Rater, Reference, rate
from alchemist.settings.budget import RateSettings
from alchemist.settings.model import StarSettings
from alchemist.settings.rater import MetaRater

BATCH, WORDS = 32, 14
# What a rater's block says differently for each credit, and the steps of the proxy in one window.
CREDITS: dict[str, tuple[dict[str, float], int]] = {
    "penalty": ({}, 1),
    "reference": ({"reference_warmup": 0.0}, 1),
    "alignment": ({}, 1),
    "unrolled": ({"unroll_steps": 2}, 2),
}


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after two that do not count."""
    run(), run()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def main() -> None:
    """Prints one table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=10)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.set_flush_denormal(True)
    params = yaml.safe_load(Path("params.yaml").read_text())
    codes = tokenizer.load(Path("assets") / params["tokenizer"]["asset"])
    sizes = {name: StarSettings(**params["models"][name]) for name in ("xs", "s", "m")}
    budget = RateSettings(**params["scales"]["tiny"]["rate"])
    settings = MetaRater(**params["raters"]["alchemist"])

    def text(count: int) -> Text:
        states = torch.randn(count, WORDS, 384)
        return Text(states, torch.ones(count, WORDS, dtype=torch.bool), states.mean(1))

    def batch(count: int = BATCH) -> Batch:
        return Batch(torch.randint(codes.config.codes, (count, codes.config.tokens)), text(count))

    rows = []
    plain = {}
    for name, size in sizes.items():
        generator = StarGenerator(size, codes, 0)
        adam, pairs = optimiser(generator, 1e-3, 0.05), batch()

        def step(
            generator: StarGenerator = generator, adam: torch.optim.Optimizer = adam, pairs: Batch = pairs
        ) -> None:
            with autocast(budget.precision):
                loss = generator.losses(pairs).mean()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()

        plain[name] = seconds(step, chosen.repeats)
        rows.append((f"train {name}", BATCH / plain[name], ""))
        with torch.no_grad():
            taken = seconds(partial(generator.losses, pairs), chosen.repeats)
            rows.append((f"score by loss {name} (float32)", BATCH / taken, ""))
            many, null = text(50), text(50)

            def draw(g: StarGenerator = generator, a: Text = many, b: Text = null) -> None:
                with autocast("auto"):
                    g.sample(a, b, np.arange(50), 0, 2.0, 0.95)

            rows.append((f"sample {name} with guidance", 50 / seconds(draw, chosen.repeats), ""))
    rater = Rater(sizes["xs"], codes, 0)
    train, validation = batch(), batch()
    penalty: dict[float, float] = {}
    for credit, (values, width) in CREDITS.items():
        baseline = settings.baseline if credit == "penalty" else "none"
        own = {
            "reference_warmup": None,
            "unroll_steps": None,
            "credit": credit,
            "baseline": baseline,
            **values,
        }
        of_credit = MetaRater(**{**settings.model_dump(), **own})
        for upper in (1.0, 0.7):
            state = meta.start(StarGenerator(sizes["s"], codes, 0), rater, of_credit, budget)
            window = [meta.Step(validation, train, upper)] * width

            def credit_step(
                state: meta.MetaState = state, window: list[meta.Step] = window, own: MetaRater = of_credit
            ) -> None:
                meta.meta_window(state, window, own, budget)

            taken = seconds(credit_step, chosen.repeats) / width
            penalty.setdefault(upper, taken)
            note = f"{taken / plain['s']:.2f} plain steps of proxy s, {taken / penalty[upper]:.2f} of penalty"
            rows.append((f"rater step, {credit}, u = {upper}", BATCH / taken, note))
    with torch.no_grad():
        reference = Reference.of(rater, rater.features(batch(255)))
        pairs = batch(250)
        taken = seconds(
            lambda: rate(rater, rater.features(pairs), reference, settings.group, settings.bound), 3
        )
        rows.append(("rate xs (float32)", 250 / taken, ""))
    print(
        f"{chosen.threads} threads, batch {BATCH}, {codes.config.tokens} tokens, {codes.config.codes} codes"
    )
    for name, rate_of, note in rows:
        print(f"{name:<34}{rate_of:>9.0f} images/s  {note}")


if __name__ == "__main__":
    main()

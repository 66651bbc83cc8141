"""Images/s of training, rating, scoring and sampling, and the cost of a rater step in plain proxy steps.

    python -m benchmarks.steps [--threads 2] [--repeats 10] [--models xs s m]

Random tokens, the tiny sizes of params.yaml, one run: compare figures of one run with each other only.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from alchemist.core import devices
from alchemist.families.star.generator import StarGenerator, StarTrunk, open_codec
from alchemist.families.star.settings import StarLaw, StarSettings
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.text import TEXT_WIDTH
from alchemist.models.training import optimiser, step
from alchemist.raters import score, steps
from alchemist.raters.network import Group, Rater
from alchemist.raters.proxy import train_settings
from alchemist.raters.steps import MetaState, Step
from alchemist.settings.budget import RateSettings
from alchemist.settings.rater import MetaRater

BATCH, WORDS = 32, 14
# What a rater's block says differently for each credit, and the steps of the proxy in one window.
CREDITS: dict[str, tuple[dict[str, float], int]] = {
    "penalty": ({}, 1),
    "reference": ({"reference_warmup": 0.0}, 1),
    "alignment": ({}, 1),
    "unrolled": ({"unroll_steps": 2}, 2),
}


def seconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median seconds of a call, after two that do not count."""
    run(), run()
    taken = []
    for _ in range(repeats):
        elapsed = devices.clock(device)
        run()
        taken.append(elapsed())
    return float(np.median(taken))


def main() -> None:
    """Prints one table."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--models", nargs="*", default=["xs", "s", "m"], help="of params.yaml")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    params = yaml.safe_load(Path("params.yaml").read_text())
    device = devices.chosen(params["device"])
    codec = open_codec(Path("assets") / params["tokenizer"]["asset"], device)
    config = codec.tokenizer.config
    names = dict.fromkeys([*chosen.models, params["roles"]["proxy"], params["roles"]["rater"]])
    sizes = {name: StarSettings(**params["models"][name]) for name in names}
    budget = RateSettings(**params["scales"]["tiny"]["rate"])
    law = StarLaw(**params["scales"]["small"]["sample"]["star"])
    settings = MetaRater(**params["raters"]["alchemist"])
    proxy_name, trunk_name = params["roles"]["proxy"], params["roles"]["rater"]

    def median(run: Callable[[], object], repeats: int = chosen.repeats) -> float:
        return seconds(run, repeats, device)

    def text(count: int) -> Text:
        states = torch.randn(count, WORDS, TEXT_WIDTH)
        mask = torch.ones(count, WORDS, dtype=torch.bool)
        return Text(states, mask, states.mean(1)).to(device)

    def batch(count: int = BATCH) -> Batch:
        tokens = torch.randint(config.codes, (count, config.tokens))
        return Batch({"tokens": tokens.to(device)}, text(count))

    def generator(name: str) -> StarGenerator:
        return StarGenerator(sizes[name], codec, 0).to(device)

    # --- training, scoring and sampling of each size
    rows: list[tuple[str, float, str]] = []
    plain = {}
    quiet, training = Chance.run(0, 0, BATCH), Chance.run(0, 0, BATCH, training=True)
    for name in sizes:
        model, pairs = generator(name), batch()
        adam = optimiser(model, model, 1e-3, 0.05)
        plain[name] = median(partial(step, model, adam, pairs, training, train_settings(budget), device))
        rows.append((f"train {name}", BATCH / plain[name], ""))
        with torch.no_grad():
            taken = median(partial(model.losses, pairs, quiet))
        rows.append((f"score by loss {name} (float32)", BATCH / taken, ""))

        def draw(model: StarGenerator, captions: Text, null: Text) -> Tensor:
            with devices.autocast("auto", device):
                return model.sample(captions, null, Chance.run(0, 0, len(captions)), law)

        taken = median(partial(draw, model, text(50), text(50)))
        rows.append((f"sample {name} with guidance", 50 / taken, ""))

    # --- a rater step of each credit, in plain steps of its proxy
    rater = Rater(StarTrunk(sizes[trunk_name], codec, 0), 0).to(device)
    train, validation = batch(), batch()
    penalty: dict[float, float] = {}
    for credit, (values, width) in CREDITS.items():
        own = {
            "reference_warmup": None,
            "unroll_steps": None,
            "credit": credit,
            "baseline": settings.baseline if credit == "penalty" else "none",
            **values,
        }
        of_credit = MetaRater(**{**settings.model_dump(), **own})
        for upper in (1.0, 0.7):
            state = steps.start(generator(proxy_name), rater, of_credit, budget)
            both = Chance.run(0, 0, 2 * BATCH, training=True)
            window = [Step(validation, train, upper, both, training)] * width

            def credit_step(state: MetaState, window: list[Step], own: MetaRater) -> None:
                steps.meta_window(state, window, own, budget)

            taken = median(partial(credit_step, state, window, of_credit)) / width
            penalty.setdefault(upper, taken)
            of_plain, of_penalty = taken / plain[proxy_name], taken / penalty[upper]
            note = f"{of_plain:.2f} plain steps of proxy {proxy_name}, {of_penalty:.2f} of penalty"
            rows.append((f"rater step, {credit}, u = {upper}", BATCH / taken, note))

    # --- rating
    with torch.no_grad():
        beside = Group.of(rater, rater.features(batch(255), Chance.run(0, 0, 255)))
        pairs, chance = batch(250), Chance.run(0, 0, 250)
        taken = median(lambda: score.ratings(rater, rater.features(pairs, chance), beside, settings), 3)
    rows.append((f"rate {trunk_name} (float32)", 250 / taken, ""))
    print(f"{devices.hardware(device)}; {chosen.threads} threads")
    print(f"batch {BATCH}, {config.tokens} tokens, {config.codes} codes")
    for name, rate_of, note in rows:
        print(f"{name:<34}{rate_of:>9.0f} images/s  {note}")


if __name__ == "__main__":
    main()

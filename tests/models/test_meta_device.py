"""Training, rating and evaluation of every family on torch's `meta` device: no operand may stay on the host.

A `meta` tensor has a shape and no values: it shows on any machine what a GPU would refuse. Torch itself
refuses some mixed operands there, and lets products, gathers and look-ups pass; `OneDevice` refuses all.
What an operation gives is worked out once (`Remembered`); its operands are looked at each time.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flux_helpers
import numpy as np
import pandas as pd
import pytest
import second_family
import torch
from conftest import TINY, tiny_tokenizer
from one_device import OneDevice
from rater_helpers import BUDGET, CREDITS, of_credit, run_of

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.budget import TrainSettings
from alchemist.families.flux import family as flux
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.settings import FluxLaw
from alchemist.families.star import family as star
from alchemist.families.star.generator import StarCodec
from alchemist.families.star.settings import StarLaw
from alchemist.models import training
from alchemist.models.batch import Batch, Chance
from alchemist.models.encoded import Encoded, Writer
from alchemist.models.family import Codec, Family, Generator
from alchemist.plan.remembered import Remembered
from alchemist.raters import score, steps
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import step_at
from alchemist.raters.network import Group, Rater

META = torch.device("meta")
TRAIN = TrainSettings(
    images=160, batch=8, learning_rate=3e-3, weight_decay=0.05, clip=2.0, schedule="constant",
    warmup_images=16, ema_images=100.0, caption_dropout=0.2, checkpoints=(), precision="auto",
)  # fmt: skip


class Case(NamedTuple):
    """A family with a tiny size, a codec with random weights, its sampling law, and an image's side in px."""

    family: Family
    size: Any
    codec: Callable[[], Codec]
    law: Any
    side: int


def families() -> list[Case]:
    """Every family: one line each, the one of the tests among them."""
    dropping, law = TINY.model_copy(update={"drop_path": 0.2}), StarLaw(guidance=2.0, top_p=0.9)
    return [
        Case(star.FAMILY, dropping, lambda: StarCodec(tiny_tokenizer()), law, 16),
        Case(flux.FAMILY, flux_helpers.TINY, lambda: PixelCodec(flux_helpers.SIDE),
             FluxLaw(steps=2, guidance=2.0), flux_helpers.SIDE),
        Case(second_family.FAMILY, second_family.DenoiserSettings(), second_family.PixelCodec,
             second_family.EulerLaw(), second_family.SIDE),
    ]  # fmt: skip


class Bench:
    """A family's encoded pairs on the host, and its networks on `meta`."""

    def __init__(self, folder: Path, case: Case) -> None:
        self.case, count = case, 48
        rng = stateless.generator("meta device")
        images = rng.integers(0, 256, (count, case.side, case.side, 3), dtype=np.uint8)
        split = ["pool"] * 24 + ["meta_val"] * 12 + ["evaluation"] * 12
        ids = [f"pair-{i}" for i in range(count)]
        with Writer(folder) as writer:
            writer.rows(
                pd.DataFrame(
                    {
                        "id": ids,
                        "split": split,
                        "text": rng.integers(1, 6, count),
                        "lent": False,
                        "cluster": 0,
                    }
                )
            )
            writer.append(case.codec().encode(images))
            writer.captions((rng.normal(size=(2 + i % 3, 384)).astype(np.float16), None) for i in range(6))
        self.data = Encoded(folder)
        self.remembered = Remembered()
        self.codec = case.codec().to(META)

    def generator(self) -> Generator:
        made: Generator = self.case.family.generator(self.case.size, self.codec, 0).to(META)
        return made

    def rater(self) -> Rater:
        return Rater(self.case.family.trunk(self.case.size, self.codec, 0), 0).to(META)

    def pairs(self, count: int = 8) -> Batch:
        return self.data.batch(np.arange(count)).to(META)

    def train(self, generator: Generator, batch: Batch) -> None:
        """A whole step of training, with its average."""
        average = training.Average(generator, 100.0)
        adam = training.optimiser(generator, generator, 1e-3, 0.05)
        for number in range(2):
            chance = Chance.run(0, 8 * number, 8, training=True)
            done = training.step(generator, adam, batch, chance, TRAIN, META)
            average.update(generator, 8 * number + 8, 8)
        assert_on_meta(*vars(done).values(), *average.model.parameters(), *generator.parameters())

    def window(self, settings: MetaRater, first: int) -> list[steps.Step]:
        run = run_of(self.data, lambda seed: self.generator())
        return [step_at(run, settings, n, META) for n in range(first, first + (settings.unroll_steps or 1))]


def assert_on_meta(*tensors: torch.Tensor) -> None:
    assert tensors
    assert {tensor.device for tensor in tensors} == {META}


@pytest.fixture(scope="module", params=families(), ids=lambda case: case.family.name)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("encoded"), request.param)


# --- the work ---


def test_a_training_step_runs_whole(bench: Bench) -> None:
    with bench.remembered, OneDevice():
        bench.train(bench.generator(), bench.pairs())


@pytest.mark.parametrize(("credit", "upper"), [("penalty", 1.0), *((credit, 0.5) for credit in CREDITS)])
def test_a_rater_step_of_each_credit_runs_whole(bench: Bench, credit: str, upper: float) -> None:
    """Two windows: `unrolled` has no credits before the proxy's optimiser has moments."""
    settings = of_credit(
        credit, reference_warmup=0.0 if credit == "reference" else None, upper_weight=upper,
        unroll_steps=2 if credit == "unrolled" else None,
    )  # fmt: skip
    with bench.remembered, OneDevice():
        state = steps.start(bench.generator(), bench.rater(), settings, BUDGET)
        assert state.device == META
        for number in (0, 3):
            outcomes = steps.meta_window(state, bench.window(settings, number), settings, BUDGET)
            for outcome in outcomes:
                assert_on_meta(
                    outcome.validation, outcome.train, outcome.credit, outcome.scale,
                    *vars(outcome.weights).values(),
                )  # fmt: skip
        assert_on_meta(*state.taken_norms().values())
        if credit == "reference":
            steps.take_over(state)
    assert all(state.rater_adam.state[p] for p in state.rater.instance.parameters()), "the rater did step"
    networks = {name: tensor for name, tensor in state.tensors().items() if not name.endswith(".step")}
    assert_on_meta(*networks.values())


@pytest.mark.parametrize("group", ["product", "temperature", "none"])
def test_ratings_beside_a_group_run_whole(bench: Bench, group: str) -> None:
    settings, rater = of_credit("penalty", group=group), bench.rater()
    with bench.remembered, OneDevice():
        members = score.pooled_features(rater, bench.data, np.arange(9), 4)
        beside = Group.of(rater, members)
        found = score.over_rows(
            lambda pairs, chance: score.ratings(rater, rater.features(pairs, chance), beside, settings, None),
            bench.data, bench.data.pool().numbers, 7, META, lambda n: None,
        )  # fmt: skip
    assert_on_meta(*found, *vars(beside).values())
    assert sum(len(part) for part in found) == 24


def test_ratings_as_published_run_whole(bench: Bench) -> None:
    settings, rater = (
        of_credit("penalty", group="double_softmax", rating_mode="batch", bound=None),
        bench.rater(),
    )
    with bench.remembered, OneDevice():
        assert_on_meta(
            score.ratings(rater, rater.features(bench.pairs(), Chance.run(0, 0, 8)), None, settings, None)
        )


@pytest.mark.parametrize("drawing", [False, True])
def test_losses_run_whole(bench: Bench, drawing: bool) -> None:
    with bench.remembered, OneDevice():
        losses = bench.generator().losses(bench.pairs(), Chance.run(0, 0, 8, drawing))
    assert_on_meta(losses)
    assert losses.shape == (8,)


def test_error_norms_run_whole_or_are_refused(bench: Bench) -> None:
    generator, batch = bench.generator(), bench.pairs()
    try:
        with bench.remembered, OneDevice():
            norms = generator.error_norms(batch, Chance.run(0, 0, 8))
    except Refusal:
        assert generator.likelihood is None
    else:
        assert_on_meta(norms)
        assert norms.shape == (8,)


def test_sampling_runs_whole(bench: Bench) -> None:
    batch = bench.pairs()
    null = bench.data.null(8, batch.text.states.shape[1]).to(META)
    with bench.remembered, OneDevice():
        images = bench.generator().sample(batch.text, null, Chance.run(0, 0, 8), bench.case.law)
    assert_on_meta(images)
    assert images.shape == (8, 3, bench.case.side, bench.case.side)
    assert images.dtype == torch.uint8


# --- that the check can fail ---


def test_a_batch_tensor_left_on_the_host_is_refused(bench: Bench) -> None:
    """Each alone, as long as the family reads it."""
    host, generator = bench.data.batch(np.arange(8)), bench.generator()
    for name in host.inputs:
        moved = bench.pairs()
        mixed = Batch({**moved.inputs, name: host.inputs[name]}, moved.text)
        with pytest.raises(RuntimeError), bench.remembered, OneDevice():
            bench.train(generator, mixed)
    refused = []
    for name, value in vars(host.text).items():
        moved = bench.pairs()
        text = dataclasses.replace(moved.text, **{name: value})
        try:
            with bench.remembered, OneDevice():
                bench.train(generator, Batch(moved.inputs, text))
        except RuntimeError:
            refused.append(name)
    assert "pooled" in refused
    assert bench.case.family.name != "star" or refused == ["states", "mask", "pooled"]


def test_a_parameter_or_buffer_left_on_the_host_is_refused(bench: Bench) -> None:
    """Each alone; also what torch's own check of `meta` lets pass, as a look-up by indices of the host."""
    whole = bench.case.family.generator(bench.case.size, bench.codec, 0)
    names = [name for name, _ in (*whole.named_parameters(), *whole.named_buffers())]
    assert len(names) >= 4
    generator = bench.generator()  # one for all: it has no values that a step could change
    for name in names:
        path, _, last = name.rpartition(".")
        module, original = generator.get_submodule(path), whole.get_submodule(path)
        owner = module._parameters if last in module._parameters else module._buffers
        moved, owner[last] = owner[last], getattr(original, last)
        with pytest.raises(RuntimeError), bench.remembered, OneDevice():
            bench.train(generator, bench.pairs())
        owner[last] = moved
    with bench.remembered, OneDevice():
        bench.train(generator, bench.pairs())


def test_a_codec_left_on_the_host_is_refused(bench: Bench) -> None:
    """Where the generator reads its codec, as STAR reads its codes."""
    codec = bench.case.codec()
    generator = bench.case.family.generator(bench.case.size, codec, 0).to(META)
    refused = pytest.raises(RuntimeError) if list(codec.buffers()) else contextlib.nullcontext()
    with refused, OneDevice():
        generator.losses(bench.pairs(), Chance.run(0, 0, 8))


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a @ b,
        lambda a, b: a + b,
        lambda a, b: a[b.long().argmax(0)],
        lambda a, b: a.gather(0, b.long()),
        lambda a, b: torch.cat([a, b]),
    ],
    ids=["product", "sum", "look-up", "gather", "joining"],
)
def test_operands_of_two_devices_are_refused_whatever_the_operation(mix: Callable[..., object]) -> None:
    for first, second in ((META, torch.device("cpu")), (torch.device("cpu"), META)):
        a, b = torch.zeros(2, 2, device=first), torch.zeros(2, 2, device=second)
        with pytest.raises(RuntimeError), OneDevice():
            mix(a, b)
    with OneDevice():
        mix(torch.zeros(2, 2, device=META), torch.zeros(2, 2, device=META))
        assert (torch.zeros(2, device=META) * torch.tensor(2.0)).device == META
        assert torch.zeros(2).to(META).device == META

"""Steps whose passes take some pairs at a time are those of whole batches, in float64 for every credit."""

import copy
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch
from conftest import CPU, TINY
from rater_helpers import BUDGET, CREDITS, of_credit, weights_of
from torch import Tensor

from alchemist.core.settings.budget import RateSettings, TrainSettings
from alchemist.core.settings.groups import GroupsSettings
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.models import training
from alchemist.models.batch import Batch, Chance, Text, chunks
from alchemist.models.encoded import Encoded
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater
from alchemist.raters.steps import MetaState, Outcome, Step, meta_window, start

SIZE = TINY.model_copy(update={"depth": 1, "drop_path": 0.4})
COUNT = 4
M = TypeVar("M", bound=torch.nn.Module)
CHUNKS = (1, 3, COUNT)


@pytest.fixture
def wide(codes: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> StarCodec:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # the family's casts to float32
    return StarCodec(copy.deepcopy(codes).double())


def pairs(data: Encoded, first: int) -> Batch:
    """With captions of different lengths, in float64."""
    batch = data.batch(np.arange(first, first + COUNT))
    text = batch.text
    return Batch(batch.inputs, Text(text.states.double(), text.mask, text.pooled.double()))


def moved(network: M) -> M:
    """Away from its start, where the head is almost zero."""
    network.double()
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            rng = torch.Generator().manual_seed(i)
            parameter.add_(0.1 * torch.randn(parameter.shape, dtype=torch.float64, generator=rng))
    return network


def test_chunks_are_the_rows_in_order() -> None:
    for count, chunk, sizes in ((8, None, [8]), (8, 3, [3, 3, 2]), (8, 8, [8]), (8, 9, [8]), (2, 1, [1, 1])):
        found = chunks(count, chunk)
        assert [rows.stop - rows.start for rows in found] == sizes
        assert np.concatenate([np.arange(count)[rows] for rows in found]).tolist() == list(range(count))


def test_a_training_step_is_the_same_in_chunks(data: Encoded, wide: StarCodec) -> None:
    ends, losses = [], []
    for chunk in (None, *CHUNKS):
        model = moved(StarGenerator(SIZE, wide, 0))
        settings = TrainSettings(images=64, batch=COUNT, chunk=chunk, precision="fp32", clip=0.1)
        sgd = torch.optim.SGD(model.parameters(), 1.0)
        for number in range(3):
            chance = Chance.run(0, COUNT * number, COUNT, training=True)
            losses.append(training.step(model, sgd, pairs(data, COUNT * number), chance, settings, CPU).loss)
        ends.append(weights_of(model))
    for end, loss in zip(ends, torch.stack(losses).view(-1, 3), strict=True):
        torch.testing.assert_close(end, ends[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(loss, torch.stack(losses[:3]), rtol=1e-12, atol=0)


def step(data: Encoded, upper: float, number: int) -> Step:
    chance = Chance.run(0, 2 * COUNT * number, 2 * COUNT, training=True)
    validation, train = pairs(data, 80), pairs(data, COUNT * number)
    # Captions of the two batches differ in length, and those of a chunk from the batch's longest.
    train = replace(train, text=train.text.padded(train.text.states.shape[1] + 2))
    return Step(validation, train, upper, chance, chance[:COUNT])


def after(
    data: Encoded,
    wide: StarCodec,
    settings: MetaRater,
    budget: RateSettings,
    upper: float,
    plain: bool = True,
) -> tuple[MetaState, list[Outcome]]:
    """Networks and outcomes after two windows, of plain gradient steps: Adam's are of the size of rounding
    where a gradient is."""
    rater = moved(Rater(StarTrunk(SIZE, wide, 1), 1))
    state = start(moved(StarGenerator(SIZE, wide, 0)), rater, settings, budget)
    if state.reference is not None:  # whose credits would be rounding alone where it is still a copy
        moved(state.reference)
        state.reference_adam = torch.optim.SGD(state.reference.parameters(), 0.1)
    if plain:
        state.proxy_adam = torch.optim.SGD(state.proxy.parameters(), 0.1)
        state.rater_adam = torch.optim.SGD(state.rater.parameters(), 0.1)
    width, outcomes = settings.unroll_steps or 1, list[Outcome]()
    for window in range(2):
        steps = [step(data, upper, window * width + t) for t in range(width)]
        outcomes += meta_window(state, steps, settings, budget)
    return state, outcomes


CASES = [(credit, "product", 0.7) for credit in CREDITS] + [
    ("penalty", "product", 1.0),
    ("penalty", "temperature", 0.7),
    ("penalty", "double_softmax", 0.7),
    ("penalty", "compared", 0.7),
    ("penalty", "within", 0.7),
    ("unrolled", "compared", 0.7),
]


@pytest.mark.parametrize(("credit", "group", "upper"), CASES)
def test_a_raters_step_is_the_same_in_chunks(
    data: Encoded, wide: StarCodec, credit: str, group: str, upper: float
) -> None:
    """Of the rater, whose weights see the whole batch, of the proxy and of its credits."""
    own: dict[str, object] = {"group": group}
    if group == "double_softmax":
        own |= {"rating_mode": "batch", "bound": None}
    if group in ("compared", "within"):
        own["groups"] = GroupsSettings(a_step=2)
    settings = of_credit(credit, **own)
    if credit == "unrolled":
        settings = settings.model_copy(update={"unroll_steps": 2})
    whole, outcomes = after(data, wide, settings, BUDGET, upper)
    fresh = weights_of(moved(Rater(StarTrunk(SIZE, wide, 1), 1)))
    assert float((weights_of(whole.rater) - fresh).abs().max()) > 1e-6, "the rater should move"
    for chunk in (1, 3, 6):  # the last: of the proxy's two batches
        found, parts = after(data, wide, settings, BUDGET.model_copy(update={"chunk": chunk}), upper)
        for name in ("proxy", "rater", "reference"):
            if (network := getattr(whole, name)) is not None:
                ours = weights_of(getattr(found, name))
                torch.testing.assert_close(ours, weights_of(network), rtol=0, atol=1e-12)
        for ours, theirs in zip(parts, outcomes, strict=True):
            for name in ("validation", "train", "credit"):
                torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("credit", CREDITS)
def test_no_pass_takes_more_pairs_than_a_chunk(data: Encoded, wide: StarCodec, credit: str) -> None:
    sizes: dict[str, list[int]] = {"proxy": [], "rater": []}
    plain = StarGenerator.losses, StarTrunk.features

    def losses(self: StarGenerator, batch: Batch, chance: Chance) -> Tensor:
        sizes["proxy"].append(len(batch))
        return plain[0](self, batch, chance)

    def features(self: StarTrunk, batch: Batch, chance: Chance) -> Tensor:
        sizes["rater"].append(len(batch))
        return plain[1](self, batch, chance)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StarGenerator, "losses", losses)
        patch.setattr(StarTrunk, "features", features)
        after(data, wide, of_credit(credit), BUDGET.model_copy(update={"chunk": 3}), 0.7, plain=False)
    assert max(sizes["proxy"]) == max(sizes["rater"]) == 3
    windows = 6 if credit == "unrolled" else 2
    # Forward once for the weights, and again where the rater steps: not in the first unrolled window.
    again = windows - 3 if credit == "unrolled" else windows
    assert sum(sizes["rater"]) == COUNT * (windows + again)

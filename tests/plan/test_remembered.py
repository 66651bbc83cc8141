"""What a plan remembers changes no count, and no operation gives what one with other arguments gave."""

from functools import cache, partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rater_helpers import CREDITS, of_credit
from tiny import REPO
from torch import Tensor

from alchemist.params.check import check
from alchemist.params.inherit import inherited
from alchemist.plan.estimates import Estimates
from alchemist.plan.pairs import planned
from alchemist.plan.remembered import Remembered
from alchemist.raters import forecast
from stages.params_file import read_params


@cache
def given() -> dict[str, Any]:
    params: dict[str, Any] = inherited(read_params(REPO / "params.yaml"))
    params["grid"]["families"] = ["star", "flux"]
    params["grid"]["others"]["flux"] |= {"models": ["flux_s"]}
    params["models"]["xs"] |= {"depth": 1}  # what a block adds is the same for every block
    return params


def estimates(**rate: Any) -> Estimates:
    sound = check(given())
    scale = sound.scales[sound.scale]
    scale = scale.model_copy(update={"rate": scale.rate.model_copy(update=rate)})
    raters = sound.raters | {
        one: of_credit(one, unroll_steps=2 if one == "unrolled" else None) for one in CREDITS
    }
    sound = sound.model_copy(update={"scales": sound.scales | {sound.scale: scale}, "raters": raters})
    return Estimates(sound, planned(sound.pool, sound.pools), REPO / "assets/codecs")


@cache
def shared() -> Estimates:
    """One for all credits, as a plan has: what one of them was counted by the others know."""
    return estimates(batch=4, chunk=2)


def counted(of: Estimates) -> list[Any]:
    flux = [of.size("flux_xs"), of.forward("flux_xs"), of.trained("flux_xs")]
    return [*flux, of.forward("xs"), of.drawing("xs"), of.rating("penalty", "xs", "xs")]


def test_counts_are_those_of_every_operation_worked_out() -> None:
    plain, remembered = counted(estimates(batch=4)), Remembered()
    for _ in range(2):  # the second time it knows every operation
        with remembered:
            assert counted(estimates(batch=4)) == plain


@pytest.mark.parametrize("credit", CREDITS)
def test_a_rating_in_chunks_is_counted_as_its_steps_in_chunks_are(credit: str) -> None:
    """As `meta_window` runs them, chunk by chunk, which the plan does not: it takes longer."""
    of = shared()
    xs, outline = of.models["xs"], of.outline("star")
    with of.remembered:
        every, whole = (
            forecast.train_flops(
                of.params.raters[credit], budget, of.batch("xs", 4), lambda: outline.generator(xs),
                lambda: forecast.network(lambda: outline.trunk(xs)),
            )
            for budget in (of.scale.rate, of.scale.rate.model_copy(update={"chunk": None}))
        )  # fmt: skip
        found, _, _ = of.rating(credit, "xs", "xs")
    assert found == pytest.approx(every, rel=1e-12)
    assert found > whole


def laid(out: Any) -> Any:
    """All that is known of what an operation on `meta` gave."""
    outs = out if isinstance(out, (tuple, list)) else [out]
    return type(out), [
        (one.shape, one.stride(), one.dtype, one.device, one.untyped_storage().nbytes()) for one in outs
    ]


def empty(*shape: int, **options: Any) -> Tensor:
    return torch.empty(shape, device="meta", **options)


# Calls that agree in all but one thing that outputs depend on.
CALLS = {
    "shape": [lambda: empty(2, 3) + 1, lambda: empty(3, 2) + 1],
    "strides": [lambda: empty(2, 3) * 2, lambda: empty(3, 2).T * 2],
    "channels": [
        lambda: F.relu(empty(2, 3, 4, 4)),
        lambda: F.relu(empty(2, 3, 4, 4).to(memory_format=torch.channels_last)),
    ],
    "type": [lambda: empty(2) + empty(2), lambda: empty(2) + empty(2, dtype=torch.float64)],
    "number": [partial(torch.add, empty(2, dtype=torch.int64), one) for one in (1, 1.0, True)],
    "dimension": [lambda: empty(2, 3).sum(0), lambda: empty(2, 3).sum(1)],
    "keyword": [lambda: empty(2, 3).sum(0), lambda: empty(2, 3).sum(0, dtype=torch.float64)],
    "list": [lambda: torch.cat([empty(2, 3)] * 2), lambda: torch.cat([empty(2, 3)] * 3)],
    "several": [lambda: empty(2, 3).max(0), lambda: empty(2, 3).max(1)],
    "broadcast": [lambda: empty(2, 3).exp(), lambda: empty(1, 3).expand(2, 3).exp()],
    "size": [partial(F.interpolate, empty(1, 1, 4, 4), size=side, mode="bicubic") for side in (5, 8)],
    "factory": [lambda: torch.zeros(2, 3, device="meta"), lambda: torch.zeros(2, 4, device="meta")],
}


@pytest.mark.parametrize("name", CALLS)
def test_a_remembered_operation_gives_what_it_gave(name: str) -> None:
    calls = CALLS[name]
    plain = [laid(call()) for call in calls]
    with Remembered():
        for _ in range(3):
            assert [laid(call()) for call in calls] == plain


def test_views_and_what_is_written_in_place_are_the_same_storage() -> None:
    with Remembered():
        for _ in range(3):
            x = empty(4, 6)
            key = x.untyped_storage()._cdata
            assert x.add_(1) is x
            assert x.mul_(empty(6)) is x
            for view in (x.T, x[1:], x.view(24), x.reshape(6, 4), x.detach(), x.chunk(2)[1]):
                assert view.untyped_storage()._cdata == key
            assert (x + 1).untyped_storage()._cdata != key
            assert x.clone().untyped_storage()._cdata != key


def test_what_has_values_is_computed() -> None:
    with Remembered():
        for one in range(3):
            assert (torch.arange(3) + one).tolist() == [one, 1 + one, 2 + one]
            assert torch.full((2,), one).sum().item() == 2 * one


def test_gradients_go_back_through_what_is_remembered() -> None:
    with Remembered():
        for _ in range(3):
            x = empty(2, 3).requires_grad_()
            w = empty(5, 3).requires_grad_()
            F.linear(x, w).relu().sum().backward()
            assert x.grad is not None
            assert w.grad is not None
            assert (x.grad.shape, w.grad.shape) == ((2, 3), (5, 3))

"""The functions of few passes: their slopes in float64, and training beside plain operations."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CPU, TINY

from alchemist.core import devices
from alchemist.core.devices import Precision
from alchemist.families.star import fused, transformer
from alchemist.families.star.generator import StarCodec, StarGenerator, StarTrunk
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded


def wide(*shape: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=rng, requires_grad=True)


@pytest.mark.parametrize("turned", [True, False])
def test_a_turn_has_the_values_and_slopes_of_plain_operations(turned: bool) -> None:
    """Of queries and keys with lengths of their own, and of values, which come as they are."""
    x, sizes = wide(2, 3, 6, 8), wide(2, 2, seed=1).detach().abs().add(0.5).requires_grad_()
    angles = wide(3, 4, seed=2).detach()
    turns = torch.polar(torch.ones_like(angles), angles) if turned else None
    found, wanted = fused.turn(x, turns, sizes), transformer.turn(x, turns, sizes)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert torch.equal(found[2], x[:, :, 4:].transpose(1, 2))
    assert torch.autograd.gradcheck(lambda x, sizes: fused.turn(x, turns, sizes), (x, sizes))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("out", [3, 9])  # narrower than what comes in, and wider
def test_a_linear_layer_has_the_values_and_slopes_of_plain_operations(relu: bool, out: int) -> None:
    x, weight, bias = wide(2, 4, 5), wide(out, 5, seed=1), wide(out, seed=2)
    wanted = F.linear(x, weight, bias)
    wanted = wanted.relu() if relu else wanted
    torch.testing.assert_close(fused.linear(x, weight, bias, relu), wanted, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda *leaves: fused.linear(*leaves, relu), (x, weight, bias))
    small = [leaf.detach().bfloat16() for leaf in (x, weight, bias)]
    plain = F.linear(*small)
    assert torch.equal(fused.linear(*small, relu), plain.relu() if relu else plain)


@pytest.mark.parametrize("captions", [False, True])
def test_attention_has_the_values_and_slopes_of_plain_operations(captions: bool) -> None:
    """Of tokens in parts of which the second sees all; of captions, each with its own padding."""
    q, k, v = wide(2, 3, 5, 4), wide(2, 3, 5, 4, seed=1), wide(2, 3, 5, 4, seed=2)
    if captions:
        mask = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
        mask[0, ..., 3:] = mask[1, ..., 4:] = -torch.inf
        sight = fused.Sight(mask, ((0, 5, 5),))
    else:
        level = torch.tensor([0, 1, 1, 2, 2])
        mask = torch.zeros(5, 5, dtype=torch.float64).masked_fill(level[:, None] < level, -torch.inf)
        sight = fused.Sight(mask[None, None], ((0, 3, 3), (3, 5, 5)))
    most = (q @ k.mT).detach().amax((0, 2, 3))
    found = fused.attend(q, k, v, sight, most)
    torch.testing.assert_close(found, transformer.attend(q, k, v, sight, most), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda q, k, v: fused.attend(q, k, v, sight, most), (q, k, v))


@pytest.mark.parametrize("largest", [4.0, 30.0, 100.0])
def test_a_head_keeps_its_digits_beside_one_of_a_larger_scale(largest: float) -> None:
    """Every head has a bound of its own: under one for all, those of scale 4 beside 100 would see nothing."""
    size = torch.tensor([4.0, 4.0, largest])
    q, k = (F.normalize(wide(8, 3, 20, 32, seed=seed), dim=-1) for seed in (0, 1))
    q, v = q * size[:, None, None], wide(8, 3, 20, 32, seed=2)
    exact = (q @ k.mT).softmax(-1) @ v
    small = (x.detach().bfloat16() for x in (q, k, v))
    found = fused.attend(*small, fused.Sight(None, ((0, 20, 20),)), size.bfloat16())
    error = (found.double() - exact)[:, :2].norm() / exact[:, :2].norm()
    assert error < 0.012


def test_code_losses_have_the_values_and_slopes_of_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "ROWS", 3)  # the last of three parts has one row
    hidden, weight, bias, codes = wide(7, 4), wide(5, 4, seed=1), wide(5, seed=2), torch.arange(7) % 5
    found = fused.code_losses(hidden, weight, bias, codes)
    wanted = F.cross_entropy(F.linear(hidden, weight, bias), codes, reduction="none")
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda *leaves: fused.code_losses(*leaves, codes), (hidden, weight, bias))


def test_a_code_that_cannot_be_has_a_finite_loss_and_its_slope() -> None:
    hidden = torch.tensor([[200.0, 0.0]], requires_grad=True)
    loss = fused.code_losses(hidden, torch.eye(2), torch.zeros(2), torch.tensor([1]))
    (slope,) = torch.autograd.grad(loss.sum(), hidden)
    assert 80 < float(loss.detach()) < 200
    assert slope.tolist() == [[1.0, -1.0]]


def slopes(network: torch.nn.Module, value: torch.Tensor) -> torch.Tensor:
    found = torch.autograd.grad(value, list(network.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("of", ["losses", "features"])
def test_few_passes_give_the_gradient_of_plain_float32(
    data: Encoded, codec: StarCodec, of: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As near as bfloat16 products let it be; pair by pair weighted, under drop-path."""
    size = TINY.model_copy(update={"drop_path": 0.3})
    network = StarGenerator(size, codec, 0) if of == "losses" else StarTrunk(size, codec, 0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(50 if "head.weight" in name else 1)
    batch, chance = data.batch(np.arange(16)), Chance.run(0, 0, 16, training=True)
    weights = torch.linspace(0.1, 2.0, 16)[:, None]
    ran: list[str] = []
    for name in ("turn", "linear", "attend", "code_losses"):
        whole = getattr(fused, name)
        monkeypatch.setattr(fused, name, lambda *a, n=name, f=whole: ran.append(n) or f(*a))

    def value(network: torch.nn.Module) -> torch.Tensor:
        out = getattr(network, of)(batch, chance)
        return (weights * out.view(16, -1)).sum()

    with devices.plain_operations():
        plain = value(network)
    assert not ran
    with devices.autocast(precision, CPU):
        few = value(network)
    narrow = ["attend", "linear"] if precision == "bf16" else []
    wanted = {"turn", *narrow, *["code_losses"] * (of == "losses")}
    assert set(ran) == wanted
    near = 1e-2 if precision == "bf16" else 1e-5
    assert float(few.detach()) == pytest.approx(float(plain.detach()), rel=near)
    by_few, by_plain = slopes(network, few), slopes(network, plain)
    assert float((by_few - by_plain).norm() / by_plain.norm()) < 4 * near
    with torch.no_grad(), devices.autocast(precision, CPU):
        assert torch.equal(value(network), few.detach()), "with a gradient or without"


def test_no_second_derivative_is_given_silently(data: Encoded, codec: StarCodec) -> None:
    generator = StarGenerator(TINY, codec, 0)
    loss = generator.losses(data.batch(np.arange(4)), Chance.run(0, 0, 4)).sum()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, generator.star.head.weight, create_graph=True)

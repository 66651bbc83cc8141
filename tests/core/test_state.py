"""States as named tensors."""

import pytest
import torch

from alchemist.core.state import digest, load_optimiser, optimiser_tensors, over, under


def test_under_is_the_inverse_of_over() -> None:
    tensors = {"a": torch.ones(1), "b.c": torch.zeros(2)}
    named = over(tensors, "model") | over(tensors, "models")
    assert sorted(named) == ["model.a", "model.b.c", "models.a", "models.b.c"]
    assert under(named, "model") == tensors


def test_an_optimiser_goes_on_from_its_tensors() -> None:
    def network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        return module, torch.optim.AdamW(module.parameters(), lr=0.1)

    def step(module: torch.nn.Module, adam: torch.optim.Optimizer, number: int) -> None:
        adam.zero_grad()
        (number * module(torch.ones(1, 3)).square()).sum().backward()
        adam.step()

    whole, adam = network()
    for number in range(4):
        step(whole, adam, number + 1)
    part, first = network()
    for number in range(2):
        step(part, first, number + 1)
    tensors = {name: value.clone() for name, value in optimiser_tensors(first, "adam").items()}
    assert "adam.0.exp_avg" in tensors
    second = torch.optim.AdamW(part.parameters(), lr=0.1)
    load_optimiser(second, tensors, "adam")
    for number in range(2, 4):
        step(part, second, number + 1)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), part.parameters(), strict=True))


def test_equal_tensors_have_one_digest_whatever_their_order_and_layout() -> None:
    one = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1)}
    turned = one["a"].t().contiguous().t()
    assert not turned.is_contiguous()
    assert digest(one) == digest({"b": one["b"].clone(), "a": turned})
    network = torch.nn.Linear(2, 2)
    assert digest(network.state_dict()) == digest(dict(network.named_parameters()))


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.tensor([1.0, 3.0])},
        {"b": torch.tensor([1.0, 2.0])},
        {"a": torch.tensor([[1.0, 2.0]])},
        {"a": torch.tensor([1.0, 2.0]).view(torch.int32)},
        {"a": torch.tensor([1.0, 2.0]), "b": torch.empty(0)},
        {},
    ],
)
def test_another_value_name_shape_type_or_tensor_has_another(other: dict[str, torch.Tensor]) -> None:
    assert digest(other) != digest({"a": torch.tensor([1.0, 2.0])})

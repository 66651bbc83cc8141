"""States as named tensors."""

import torch

from alchemist.core.state import load_optimiser, optimiser_tensors, over, under


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

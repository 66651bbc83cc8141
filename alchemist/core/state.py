"""Networks' and optimisers' states as flat named tensors, for safetensors files."""

import torch
from torch import Tensor


def under(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors named NAME.something, under the names that follow."""
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}


def over(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The inverse of `under`."""
    return {f"{name}.{k}": v for k, v in tensors.items()}


def optimiser_tensors(optimiser: torch.optim.Optimizer, name: str) -> dict[str, Tensor]:
    """The optimiser's state, one tensor a parameter and moment."""
    state = optimiser.state_dict()["state"]
    return over({f"{i}.{key}": value for i, part in state.items() for key, value in part.items()}, name)


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], name: str) -> None:
    """Puts tensors of `optimiser_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in under(tensors, name).items():
        number, key = path.split(".")
        state.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})

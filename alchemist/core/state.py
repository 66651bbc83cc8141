"""Networks' and optimisers' states as flat named tensors, for safetensors files."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from alchemist.core import fsdp


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether nothing in them is NaN or infinite. Waits for the device once."""
    return bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def digest(tensors: Mapping[str, Tensor], beside: str = "") -> str:
    """sha256 of tensors and a text: of names, types, shapes and bytes, whatever their order and device."""
    found = hashlib.sha256(beside.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


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
    parameters = [value for group in optimiser.param_groups for value in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for path, value in under(tensors, name).items():
        number, key = path.split(".")
        like = parameters[int(number)]
        is_moment = value.shape == like.shape  # the other is the count of steps
        state.setdefault(int(number), {})[key] = fsdp.part_of(value, like) if is_moment else value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})

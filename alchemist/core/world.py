"""The processes that train together, one by default: what each passes, what all know, who writes.

A launcher (torchrun, accelerate launch) starts the same command several times. Every process holds all
weights (or, of a target, its part: `fsdp`) and takes every step; of a batch it passes its own rows alone.
What is a function of a whole batch, as a softmax over it, all compute of gathered values, and gradients are
sums over all. So a result depends on the count of processes by the rounding of sums alone, and a state that
one count saved another goes on from.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from alchemist.core.refusal import Refusal


def join(device: torch.device) -> torch.device:
    """Joins the processes that a launcher started, if there are others; gives this one's device.

    Source: Accelerate, which knows launchers and back ends. Raises Refusal where the others do not come.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return device
    from accelerate import PartialState

    try:
        state = PartialState(cpu=device.type == "cpu")
    except (RuntimeError, ValueError) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise Refusal(
            f"the {os.environ['WORLD_SIZE']} processes of the launcher do not meet: {told}."
        ) from None
    return state.device if device.type == "cuda" and device.index is None else device


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this one, from 0 on."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_writer() -> bool:
    """Whether this one writes and speaks for all."""
    return rank() == 0


def check(batch: int, key: str) -> None:
    """Raises Refusal where the batch that `key` asks for cannot be shared evenly."""
    if batch % count():
        legal = [n for n in range(1, batch + 1) if batch % n == 0]
        raise Refusal(
            f"{key} is {batch}, which {count()} processes cannot share evenly; legal counts of processes are "
            f"{', '.join(map(str, legal[:8]))}{', …' if len(legal) > 8 else ''}."
        )


def mine(total: int, of: int = 1) -> slice:
    """This process's rows of a batch or a split, whole groups of `of`; the last may have fewer, or none."""
    each = _each(total, of)
    return slice(min(rank() * each, total), min((rank() + 1) * each, total))


def _each(total: int, of: int) -> int:
    groups = -(-total // of)
    return -(-groups // count()) * of


def sum_(tensors: Iterable[Tensor]) -> None:
    """Replaces tensors of one type by their sums over all processes."""
    held = list(tensors)
    if count() == 1 or not held:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in held])
    dist.all_reduce(flat)
    for tensor, part in zip(held, flat.split([tensor.numel() for tensor in held]), strict=True):
        tensor.copy_(part.view_as(tensor))


def joined(part: Tensor, total: int, of: int = 1) -> Tensor:
    """All rows (total, …), of those (n, …) that `mine` gave each process."""
    if count() == 1:
        return part
    padded = part.new_zeros(_each(total, of), *part.shape[1:])
    padded[: len(part)] = part
    gathered = [torch.empty_like(padded) for _ in range(count())]
    dist.all_gather(gathered, padded)
    return torch.cat(gathered)[:total]


def agree(value: str, refused: str) -> None:
    """Raises Refusal, `refused`, in all processes where `value` is not the same in each."""
    if count() > 1:
        said = [""] * count()
        dist.all_gather_object(said, value)
        if len(set(said)) > 1:
            raise Refusal(refused)


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        dist.barrier()

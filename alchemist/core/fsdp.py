"""Weights in parts, by FSDP2 (torch's `fully_shard`), where Accelerate's configuration asks for it.

Of each parameter, its gradient, its moments and its average every process holds some rows alone. A block
gathers its weights as it is called, and lets go of them behind it. States and checkpoints are of whole
tensors, which the writer alone keeps: a state that was saved from parts goes on without them, and the other
way around.
"""

import copy
import functools
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from alchemist.core import world
from alchemist.core.refusal import Refusal

M = TypeVar("M", bound=nn.Module)
# What `accelerate launch` passes on as variables: a key of fsdp_config, its default there, what is legal.
KEYS = (
    ("fsdp_version", "1", ("2",)),
    ("fsdp_reshard_after_forward", "true", ("true", "false")),
    ("fsdp_offload_params", "false", ("false",)),
    ("fsdp_activation_checkpointing", "false", ("false",)),
)


def asked() -> bool:
    """Whether the launcher wants weights in parts, of several processes. Raises Refusal for all but FSDP2."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true" or world.count() == 1:
        return False
    for key, default, legal in KEYS:
        value = os.environ.get(key.upper(), default).lower()
        if value not in legal:
            raise Refusal(
                f"{key} of Accelerate's configuration is {value}; legal is {' or '.join(legal)}, as in "
                "docs/fsdp2.yaml."
            )
    return True


def shard(model: M, blocks: Iterable[nn.Module], method: str) -> M:
    """Leaves of a network's weights this process's parts, in place; gives what `filled` fills.

    Each of `blocks` gathers its own as it is called, and `method` of the network all others. Gradients are
    sums over all processes, as `world.sum_` would make them. Frozen parameters are parted too.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    nothing = {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()}
    bare = copy.deepcopy(model, nothing)
    device = next(model.parameters()).device
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (world.count(),)),
        "reshard_after_forward": os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() == "true",
    }
    for block in blocks:
        fully_shard(block, **options)
    fully_shard(model, **{**options, "reshard_after_forward": False})  # its backward pass begins at once
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo has sums alone
    register_fsdp_forward_method(model, method)
    # Of blocks that give views, which nothing changes in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    return bare


def gathers(module: nn.Module) -> bool:
    """Whether a module's weights are whole only while it runs."""
    return hasattr(module, "reshard")  # an FSDPModule, whose library takes a second to load


def is_part(tensor: Tensor) -> bool:
    """Whether it is this process's part of a tensor, a DTensor."""
    return hasattr(tensor, "placements")


def own(tensor: Tensor) -> Tensor:
    """This process's part, as an ordinary tensor that shares its memory; a tensor that is whole as it is."""
    part: Any = tensor
    found: Tensor = part.to_local() if is_part(tensor) else tensor
    return found


def joined(tensor: Tensor) -> Tensor:
    """The whole tensor. All processes have to ask."""
    part: Any = tensor
    found: Tensor = part.full_tensor() if is_part(tensor) else tensor
    return found


def part_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor, which every process has, this one's part where `like` is one."""
    if not is_part(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    held: Any = like
    return distribute_tensor(tensor.to(like.device), held.device_mesh, held.placements, src_data_rank=None)


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors for the writer, those of parts on the host. All have to ask; others are given nothing."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        gathered = joined(tensor)
        if world.is_writer():
            found[name] = gathered.cpu() if is_part(tensor) else tensor
    return found


def filled(bare: M, tensors: Mapping[str, Tensor]) -> M:
    """A network of the tensors of a state_dict, whole or parts, which it shares."""
    model = copy.deepcopy(bare)
    model.load_state_dict(tensors, assign=True)
    return model


def anywhere(flag: bool) -> bool:
    """Whether any process says so. Their hosts ask one another, so none waits for its device."""
    told = torch.tensor([flag], dtype=torch.int32)
    dist.all_reduce(told, dist.ReduceOp.MAX, group=_hosts())
    return bool(told)


@functools.cache
def _hosts() -> Any:
    return dist.new_group(backend="gloo")

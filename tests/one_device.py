"""A mode under which no operation may have operands on two devices, for tests on torch's `meta` device."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class MixedError(RuntimeError):
    """An operation on tensors of two devices."""


class OneDevice(TorchDispatchMode):
    """Refuses every operation whose operands lie on two devices, but copies and numbers without a dimension.

    Torch takes a number from the host anywhere, and a copy is how one goes from device to device.
    """

    COPIES = ("aten::_to_copy", "aten::copy_")

    def __torch_dispatch__(
        self, call: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if call.name().partition(".")[0] not in self.COPIES:
            tensors = list(_tensors((*arguments, *(named or {}).values())))
            if len({tensor.device for tensor in tensors if tensor.ndim}) > 1:
                raise MixedError(f"{call} takes {[f'{t.device} {tuple(t.shape)}' for t in tensors]}")
        return call(*arguments, **(named or {}))


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Operands of an operation, in lists at most; torch's own walk would take a tenth of a test."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)

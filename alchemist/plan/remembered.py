"""What operations on torch's `meta` give, worked out once: a plan asks for the same shapes many times."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

TENSORS = {Tensor, nn.Parameter}
VALUES = {type(None), bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format}
Layout = tuple[torch.Size, tuple[int, ...], torch.dtype]  # shape, strides and type of a tensor
Given = Layout | list[Layout] | str | None  # what a call gives, one or several, FIRST, or None: it has to run
FIRST = "its first argument"


class _OtherError(Exception):
    """An argument that has values, or is of a kind that no key holds."""


class Remembered(TorchDispatchMode):
    """Gives tensors laid out as those that an operation gave before for arguments laid out like these.

    torch works that out in Python, in some 0.2 ms an operation, 60 ms of a bicubic interpolation. Operations
    that give views, or write into more than their first argument, run as ever, and so does whatever has
    values. What is counted in this mode is what is counted without it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Any, dict[Any, Given] | None] = {}  # by operation and arguments; None: runs as ever

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        try:
            calls = self.known[func]
        except KeyError:
            calls = self.known[func] = {} if _makes(func) or _writes_first(func) else None
        if calls is None:
            return func(*args, **kwargs)
        try:
            key = _key(args), _key((*kwargs.items(),)) if kwargs else None
        except _OtherError:
            return func(*args, **kwargs)
        if key not in calls:
            out = func(*args, **kwargs)
            calls[key] = _new(out, args) if _makes(func) else _first(out, args, key[0][0])
            return out
        given = calls[key]
        if given is None:
            return func(*args, **kwargs)
        if given is FIRST:
            return args[0]
        return [_laid(one) for one in given] if isinstance(given, list) else _laid(given)


def _makes(func: Any) -> bool:
    """Whether an operation gives new tensors alone and writes into none."""
    schema = getattr(func, "_schema", None)
    return schema is not None and not any(
        one.alias_info is not None for one in (*schema.arguments, *schema.returns)
    )


def _writes_first(func: Any) -> bool:
    """Whether it writes into its first argument alone and gives it back, as `add_` does."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.name.endswith("_") or len(schema.returns) != 1:
        return False
    first, *others = (one.alias_info for one in schema.arguments)
    return first is not None and first.is_write and not any(one is not None for one in others)


def _key(value: Any) -> Any:
    """All that outputs depend on. Types are part of it, since 1, 1.0 and True are equal."""
    kind = type(value)
    if kind in TENSORS:
        if not value.is_meta:
            raise _OtherError
        return value.shape, value.stride(), value.dtype
    if kind in VALUES:
        return kind, value
    if kind is tuple or kind is list:
        return tuple([_key(one) for one in value])
    raise _OtherError


def _new(out: Any, args: tuple[Any, ...]) -> Given:
    """Layouts of outputs, if each is a tensor on `meta` that fills a storage of its own."""
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    taken = {one.untyped_storage()._cdata for one in args if isinstance(one, Tensor)}
    for one in outs:
        if not isinstance(one, Tensor) or not one.is_meta:
            return None
        own = one.untyped_storage()
        alike = _laid((one.shape, one.stride(), one.dtype)).untyped_storage()
        if own._cdata in taken or one.storage_offset() or own.nbytes() != alike.nbytes():
            return None
        taken.add(own._cdata)
    laid = [(one.shape, one.stride(), one.dtype) for one in outs]
    return laid if isinstance(out, (tuple, list)) else laid[0]


def _first(out: Any, args: tuple[Any, ...], laid: Any) -> Given:
    """FIRST, if it was given back and is laid out as it was."""
    return FIRST if out is args[0] and _key(out) == laid else None


def _laid(layout: Any) -> Tensor:
    shape, strides, dtype = layout
    return torch.empty_strided(shape, strides, dtype=dtype, device="meta")

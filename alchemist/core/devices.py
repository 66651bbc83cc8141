"""The device that networks run on: its arithmetic, memory and clock. No other module asks torch for these."""

import contextlib
import functools
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import register_flop_formula

from alchemist.core import process
from alchemist.core.refusal import Refusal

Precision = Literal["auto", "bf16", "fp32"]


def chosen(asked: str) -> torch.device:
    """The device that `device` in params.yaml asks for; auto is a GPU, or else the CPU.

    Of several GPUs each process of a launcher takes one of its own, unless a number is asked for. Raises
    Refusal where torch cannot use it. On a CPU denormal numbers are flushed to zero from here on: they cost a
    hundred times a normal one's time, and weights under weight decay become denormal.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and (own := _own_number()) is not None and torch.cuda.device_count() > 1:
        asked = f"cuda:{own % torch.cuda.device_count()}"
    try:
        device = torch.device(asked)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise Refusal(
            f"device is {asked!r}, which cannot be used here: {str(error).splitlines()[0].rstrip('.')}; "
            "auto takes what there is, and cpu is always legal."
        ) from None
    if device.type == "cpu":
        torch.set_flush_denormal(True)
    return device


def _own_number() -> int | None:
    """This process's number among those of its machine, as torchrun, accelerate launch and srun tell it."""
    told = (os.environ.get(name, "") for name in ("LOCAL_RANK", "SLURM_LOCALID"))
    return next((int(one) for one in told if one.isdigit()), None)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where its products are the faster ones, float32 elsewhere.

    Of CPUs bfloat16 is with AMX and, unless they are Intel's, with AVX-512's products of it: an Intel without
    AMX takes twice the time of float32 for these, and an x86 without either emulates them, many times slower.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    fast = device.type != "cpu" or _fast_bfloat16(_processor())
    return torch.bfloat16 if fast else torch.float32


@functools.cache
def _fast_bfloat16(processor: str) -> bool:
    """Whether a processor of which Linux tells this does products of bfloat16 faster than of float32."""
    return "amx_bf16" in processor or ("avx512_bf16" in processor and "GenuineIntel" not in processor)


def autocast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Autocasting to bfloat16 if asked for, or under `auto` if it is fast here; float32 otherwise."""
    if not torch.amp.is_autocast_available(device.type):  # as on the device meta
        return contextlib.nullcontext()
    wanted = precision == "bf16" or (precision == "auto" and fast_dtype(device) == torch.bfloat16)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted)


_PLAIN: list[None] = []  # one for each `plain_operations` that is entered, whichever thread asks


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """Operations that have a forward-mode rule and a second derivative.

    Torch's fused attention has neither; a family with fused steps of its own asks `plain`.
    """
    with sdpa_kernel(SDPBackend.MATH):
        _PLAIN.append(None)
        try:
            yield
        finally:
            _PLAIN.pop()


def plain() -> bool:
    """Whether a `plain_operations` is entered."""
    return bool(_PLAIN)


def linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """x W^T + b of x (..., C), and its ReLU if asked for. Without a gradient.

    In bfloat16 on a CPU bias and ReLU are part of the product, where torch has that; the values are equal.
    """
    if x.dtype == torch.bfloat16 and x.device.type == "cpu" and _one_dnn():
        return _one_dnn_linear(x, weight, bias, "relu" if relu else "none")
    out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def _one_dnn() -> bool:
    """Whether oneDNN's linear layers are there and fast."""
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wide and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _count_one_dnn() -> None:
    """Tells torch's counter of FLOPs of an operation that it does not know and would count as none."""

    def flops(x: list[int], weight: list[int], *_: Any, **__: Any) -> int:
        return 2 * math.prod(x) * weight[0]

    with contextlib.suppress(RuntimeError):  # a torch that knows it
        register_flop_formula(torch.ops.mkldnn._linear_pointwise)(flops)


if _one_dnn():
    _count_one_dnn()


def _one_dnn_linear(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")
    return out


class _OneDnn(TorchFunctionMode):
    """Sends float32 linear layers on a CPU to oneDNN. Without a gradient: this way has none."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and not torch.is_grad_enabled():
            x, weight, bias = (*args, None)[:3]
            float32 = x.dtype == weight.dtype == torch.float32 and x.device.type == "cpu"
            if float32 and not torch.is_autocast_enabled("cpu"):
                return _one_dnn_linear(x, weight, bias)
        return func(*args, **(kwargs or {}))


def passes(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Of float32 passes without a gradient: the faster library for linear layers, where it is known.

    MKL, which torch asks for float32 products, takes half the vector width of AVX-512 on a CPU that is not
    Intel's; there oneDNN needs 0.44 of the time, for the same values to the last digit or nearly so.
    """
    slow = device.type == "cpu" and _one_dnn() and "GenuineIntel" not in _processor()
    return _OneDnn() if slow else contextlib.nullcontext()


@functools.cache
def _processor() -> str:
    """What Linux tells of the processor; elsewhere nothing."""
    told = Path("/proc/cpuinfo")
    return told.read_text(encoding="utf-8") if told.is_file() else ""


def of(module: torch.nn.Module) -> torch.device:
    """Where a network's parameters (or, without any, its buffers) lie."""
    return next(iter(module.parameters()), next(iter(module.buffers()), torch.empty(0))).device


def host(tensor: Tensor) -> NDArray[Any]:
    """A tensor's values as an array on the host, wherever it lies."""
    values: NDArray[Any] = tensor.detach().cpu().numpy()
    return values


def put(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on the device; on the CPU without a copy."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds since this call, the device's unfinished work waited for at both ends."""
    _wait(device)
    start = time.perf_counter()

    def elapsed() -> float:
        _wait(device)
        return time.perf_counter() - start

    return elapsed


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Most bytes that this process has held at a time: of the GPU's memory, or on a CPU of the host's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return process.peak()


def hardware(device: torch.device) -> str:
    """What the figures were made on: the GPU's name and memory, or the processor's, its cores and vectors."""
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        return f"{card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    names = [
        line.split(":", 1)[1].strip() for line in _processor().splitlines() if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"

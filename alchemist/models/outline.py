"""What a family's networks cost, without their weights: parameters, FLOPs, bytes, counted on `meta`.

A `meta` tensor has a shape and no values, so that a pass over it takes the time of its Python and no memory.
A family says in `alchemist/families/NAME/outline.py` what its networks are of settings alone.
"""

import contextlib
import importlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from alchemist.models.batch import Batch, Text
from alchemist.models.family import Generator, Trunk
from alchemist.models.training import forward_flops, trainable

META = torch.device("meta")
PROBE = 2  # pairs of a counted pass: every count is proportional to them


@dataclass(frozen=True)
class Stored:
    """A named array of a pair as the family's codec stores it, and how a batch holds it."""

    shape: tuple[int, ...]
    bytes: int  # of a value on disk
    kind: torch.dtype  # in a batch


@dataclass(frozen=True)
class Outline:
    """A family at one resolution, on `meta`. `settings` are a block of `models:` of this family."""

    arrays: dict[str, Stored]
    generator: Callable[[Any], Generator]
    trunk: Callable[[Any], Trunk]
    text_widths: Callable[[Any], tuple[int, int]]  # numbers of a word piece's state, of a pooled vector
    frozen_bytes: Callable[[Any], int]  # of a parameter that training does not move
    codec: nn.Module
    encode: Callable[[int], object]  # a pass of the image codec over as many images
    decode: Callable[[int], object]  # and back, to as many

    def batch(self, settings: Any, count: int, pieces: int) -> Batch:
        """`count` pairs with captions of as many word pieces, without values."""
        states, pooled = self.text_widths(settings)
        inputs = {
            name: torch.zeros((count, *one.shape), dtype=one.kind, device=META)
            for name, one in self.arrays.items()
        }
        mask = torch.ones(count, pieces, dtype=torch.bool, device=META)
        text = torch.empty(count, pieces, states, device=META), mask, torch.empty(count, pooled, device=META)
        return Batch(inputs, Text(*text))


def outline(family: str, codec: Any, resolution: int, assets: Path) -> Outline:
    """The outline of a family with a codec of those settings for images of `resolution` pixels.

    `assets` is the folder of the codecs that the repo holds. Raises Refusal where the codec does not fit.
    """
    module = importlib.import_module(f"alchemist.families.{family}.outline")
    return cast(Outline, module.outline(codec, resolution, assets))


def needs(family: str, block: Any) -> list[tuple[str, str]]:
    """Published weights that a block of `models:` or `codecs:` asks for: path or name, and a file in them."""
    module = importlib.import_module(f"alchemist.families.{family}.outline")
    return cast(list[tuple[str, str]], module.needs(block))


# ------------------------------------------------------------------------------------------ counts


@dataclass(frozen=True)
class Size:
    """Parameters of a network, those of them that training moves, and bytes of a checkpoint."""

    parameters: int
    moved: int
    checkpoint_bytes: int


def size(network: Generator) -> Size:
    """Counts of a network."""
    return Size(
        sum(p.numel() for p in network.parameters()),
        sum(p.numel() for p in trainable(network).values()),
        sum(tensor.numel() * tensor.element_size() for tensor in network.weights().values()),
    )


def held(network: nn.Module) -> list[Tensor]:
    """What a network holds: parameters and buffers."""
    return [*network.parameters(), *network.buffers()]


def held_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters, in the types that they have."""
    return sum(p.numel() * p.element_size() for p in network.parameters())


def weight_bytes(network: nn.Module, frozen: int) -> int:
    """Bytes of a network's parameters in float32, or `frozen` bytes each of those that nothing moves."""
    return sum(p.numel() * (4 if p.requires_grad else frozen) for p in network.parameters())


def batch_bytes(batch: Batch) -> int:
    """Bytes of a batch on a device."""
    tensors = [*batch.inputs.values(), batch.text.states, batch.text.mask, batch.text.pooled]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def loss_flops(generator: Generator, batch: Batch, training: bool) -> float:
    """FLOPs a pair of a forward pass of the losses; `train_flops` of a cell is thrice that, an image."""
    return forward_flops(generator.losses, batch, training)


def pass_flops(run: Callable[[], object]) -> float:
    """FLOPs of whatever is run, without a gradient."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def activation_bytes(network: nn.Module, loss: Callable[[], Tensor], pairs: int) -> float:
    """Bytes a pair, in float32, that are alive at once in a training step beside weights and gradients.

    The most over a forward and a backward pass of the sum of the bytes of all tensors alive, each storage
    once, less those of the parameters' gradients, which are there from the start. Recomputed blocks are thus
    counted as they are run: kept inputs, and one block's insides. Attention is that of a fused kernel, which
    keeps no logits.
    """
    moved = trainable(network).values()
    for parameter in moved:
        parameter.grad = torch.zeros_like(parameter)
    gradients = (parameter.grad for parameter in moved if parameter.grad is not None)
    others = [*network.parameters(), *network.buffers(), *gradients]
    most = alive_bytes(lambda: loss().backward(), others)
    for parameter in moved:
        parameter.grad = None
    return most / pairs


def alive_bytes(run: Callable[[], object], others: Iterable[Tensor], fused: bool = True) -> int:
    """The most bytes of what `run` makes alive at once, beside `others`; `fused`: no logits are kept."""
    with _fused_attention() if fused else contextlib.nullcontext(), _Alive(others) as alive:
        run()
    return alive.most


def passed(run: Callable[[], object], others: Iterable[Tensor]) -> tuple[float, int]:
    """`pass_flops` and `alive_bytes` of whatever is run, at once and without a gradient."""
    with (
        torch.no_grad(), _fused_attention() as products, _Alive(others) as alive,
        FlopCounterMode(display=False) as counter,
    ):  # fmt: skip
        run()
    return float(counter.get_total_flops() + sum(products)), alive.most


@dataclass(frozen=True)
class Fixed:
    """A network that nothing trains, at one length of its input: what a pass of one input takes."""

    parameters: int
    weight_bytes: int  # of all parameters
    flops: float  # an input
    alive: float  # bytes an input, beside the weights
    width: int  # numbers of what it gives of an input, the last of their shape


def fixed(network: nn.Module, run: Callable[[int], Tensor], inputs: int = PROBE) -> Fixed:
    """Counts of a network on `meta`, whose pass over as many inputs is `run`, at `inputs` at once."""
    shapes = list[torch.Size]()
    flops, alive = passed(lambda: shapes.append(run(inputs).shape), held(network))
    count = sum(p.numel() for p in network.parameters())
    return Fixed(count, held_bytes(network), flops / inputs, alive / inputs, shapes[0][-1])


class _Attention(torch.autograd.Function):
    """The shapes of a fused attention, forward and back: it keeps q, k, v and what it gave."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        q, k, v, _ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


@contextlib.contextmanager
def _fused_attention() -> Iterator[list[int]]:
    """Gives the FLOPs of its two products, call by call, which no counter sees."""
    products: list[int] = []

    def fused(*given: Any, **_: Any) -> Any:
        q, k, v = given[:3]
        products.append(2 * q.numel() // q.shape[-1] * k.shape[-2] * (q.shape[-1] + v.shape[-1]))
        return _Attention.apply(q, k, v)

    # By the name in its module: a mode of torch functions is off while a backward pass recomputes blocks.
    own = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = fused
    try:
        yield products
    finally:
        F.scaled_dot_product_attention = own


class _Alive(TorchDispatchMode):
    """Sums the bytes of storages that operations make, while they live; those of `others` apart."""

    def __init__(self, others: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        # A view of a parameter is an operation too.
        self.known: dict[int, Any] = {tensor.untyped_storage()._cdata: tensor for tensor in others}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.device.type == "meta":
                self._hold(tensor.untyped_storage())
        return out

    def _hold(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return

        def freed(_: Any) -> None:
            self.known.pop(key, None)
            self.now -= size

        self.known[key] = weakref.ref(storage, freed)
        self.now += size
        self.most = max(self.most, self.now)

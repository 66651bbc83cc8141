"""FLUX's training step beside a plain float32 loop over the same model of diffusers.

python -m benchmarks flux
python -m benchmarks.flux compile 5    # and with `compile: true` of the model, beside itself without
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core.settings import parse
from alchemist.families.flux.codec import PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.settings import FluxSettings
from alchemist.models.encoded import Encoded
from alchemist.models.text_towers import load_minilm
from alchemist.models.training import numbers_at
from benchmarks import given, material
from benchmarks.contest import Contestant, medians
from benchmarks.ratio import Ratio

BATCH, STEPS = given.sized((32, 2), (8, 1))
SIDE, PIECES = 32, 32
MODEL = "flux_s"


def _size() -> FluxSettings:
    return parse(FluxSettings, given.params()["models"][MODEL], MODEL)


def ours(folder: Path, compiled: bool = False) -> Callable[[], object]:
    """Steps of `alchemist.models.training`, with what the loop does around each."""
    data, _ = material.opened(folder)
    size = _size().model_copy(update={"compile": compiled})
    return material.our_steps(data, FluxGenerator(size, PixelCodec(SIDE), 0), BATCH, STEPS)


def plain(folder: Path, encodes: bool) -> Callable[[], object]:
    """The loop that one would write: the model as it comes, padded captions, no mask.

    Its captions are padded to a fixed length with zeros, as FLUX is trained; `encodes` says whether each step
    encodes them anew.
    """
    data, captions = material.opened(folder)
    size, (splitter, text_encoder) = _size(), load_minilm()
    network = FluxTransformer2DModel(
        in_channels=48,
        num_layers=size.double_blocks,
        num_single_layers=size.single_blocks,
        attention_head_dim=size.head_width,
        num_attention_heads=size.heads,
        joint_attention_dim=384,
        pooled_projection_dim=384,
        axes_dims_rope=size.rope,
    )
    average = [p.detach().clone() for p in network.parameters()]
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    side = SIDE // 4
    grid = torch.arange(side * side)
    places = torch.stack([torch.zeros_like(grid), grid // side, grid % side], 1).float()
    seen = 0

    def turn() -> None:
        nonlocal seen
        for _ in range(STEPS):
            numbers = numbers_at(data.pool(), 0, seen, BATCH)
            states, pooled = _text(data, captions, numbers, splitter, text_encoder, encodes)
            pixels = torch.from_numpy(data.batch(numbers).inputs["pixels"].numpy())
            image = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
            image = torch.nn.functional.pixel_unshuffle(image, 4).flatten(2).transpose(1, 2)
            sigma, noise = torch.randn(BATCH).sigmoid(), torch.randn_like(image)
            at = sigma[:, None, None]
            velocity = network(
                hidden_states=(1 - at) * image + at * noise,
                encoder_hidden_states=states,
                pooled_projections=pooled,
                timestep=sigma,
                img_ids=places,
                txt_ids=torch.zeros(states.shape[1], 3),
                return_dict=False,
            )[0]
            adam.zero_grad()
            (velocity - (noise - image)).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            adam.step()
            seen += BATCH
            with torch.no_grad():
                for mean, p in zip(average, network.parameters(), strict=True):
                    mean.lerp_(p, 0.001)

    return turn


def _text(
    data: Encoded, captions: list[str], numbers: NDArray[np.int64], splitter: Any, encoder: Any, encodes: bool
) -> tuple[Tensor, Tensor]:
    if not encodes:
        text = data.batch(numbers).text.padded(PIECES)
        return text.states, text.pooled
    words = splitter(
        [captions[n] for n in numbers], padding="max_length", max_length=PIECES, return_tensors="pt"
    )
    with torch.no_grad():
        states = encoder(**words).last_hidden_state * words["attention_mask"][..., None]
    return states, states.sum(1) / words["attention_mask"].sum(1, keepdim=True)


def _write(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (material.PAIRS, SIDE, SIDE, 3), dtype=np.uint8)
    material.write(folder, PixelCodec(SIDE).encode(images))


def compiled(repeats: int) -> Ratio:
    """Images a second with torch.compile beside those without; compilation is in turns that do not count."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        contestants = {
            "compiled": Contestant(ours, folder, True, ours=True),
            "plain": Contestant(ours, folder, False, ours=True),
        }
        first = contestants["compiled"].turn() - contestants["plain"].turn()
        seconds = medians(contestants, repeats)
    rate = {name: STEPS * BATCH / each for name, each in seconds.items()}
    words = (
        f"images/s at {MODEL}, batch {BATCH}: {rate['compiled']:.0f} over {rate['plain']:.0f}; the first "
        f"{STEPS} steps take {first:.0f} s more, all of it {time.perf_counter() - began:.0f} s"
    )
    return Ratio("training FLUX compiled", rate["compiled"] / rate["plain"], "", words)


def ratios(repeats: int) -> list[Ratio]:
    """Images a second beside both loops."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        seconds = medians(
            {
                "ours": Contestant(ours, folder, ours=True),
                "plain": Contestant(plain, folder, False, ours=False),
                "encoding": Contestant(plain, folder, True, ours=False),
            },
            repeats,
        )
    rate = {name: STEPS * BATCH / each for name, each in seconds.items()}
    found = []
    for yardstick, what, goal in (
        ("encoding", "one that encodes its text", ">= 1.5"),
        ("plain", "a plain loop", ""),
    ):
        words = f"images/s at {MODEL}, batch {BATCH}: {rate['ours']:.0f} over {rate[yardstick]:.0f}"
        found.append(Ratio(f"training FLUX beside {what}", rate["ours"] / rate[yardstick], goal, words))
    return found


if __name__ == "__main__":
    one = compiled(int(sys.argv[2]))
    print(f"{one.name}: {one.value:.2f} ({one.words})")

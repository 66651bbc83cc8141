"""Published weights, by a path here or by their name on the Hugging Face hub."""

import re
from pathlib import Path

from alchemist.core.refusal import Refusal

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def folder(weights: str, files: list[str], where: str) -> Path:
    """The folder at the path `weights`, or the repository of that name, of which `files` (globs) are fetched.

    What was fetched before comes from the hub's cache. Raises Refusal, which names the key `where`, for a
    name that is neither, a hub out of reach, and a licence that was not accepted.
    """
    path = Path(weights).expanduser()
    if path.exists():
        return path
    if not NAME.fullmatch(weights):
        raise Refusal(
            f"{where} is {weights!r}, which does not exist; a path, or OWNER/NAME of the hub is legal."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(weights, allow_patterns=files, ignore_patterns=["*.fp16.*"]))
    except GatedRepoError:
        reason = (
            "whose licence is not accepted: accept it on the repository's page, and log in by hf auth login"
        )
    except RepositoryNotFoundError:
        reason = "which is neither a path here nor a repository of huggingface.co"
    except (OSError, HFValidationError, ValueError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()
        reason = f"which is no path here, and huggingface.co did not give it ({cause[0].rstrip('.')})"
    raise Refusal(f"{where} is {weights!r}, {reason}; or give the folder that holds it.")


def here(weights: str, file: str) -> Path | None:
    """Where `file` of such weights lies on this machine, without a question to the hub: at their path, or in
    the hub's cache. None where it is not here."""
    path = Path(weights).expanduser()
    if path.exists():
        found = path if path.is_file() else path / file
        return found if found.exists() else None
    if not is_name(weights):
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(weights, file)
    return Path(cached) if isinstance(cached, str) else None


def is_name(weights: str) -> bool:
    """Whether they are named as a repository of the hub is: OWNER/NAME."""
    return NAME.fullmatch(weights) is not None

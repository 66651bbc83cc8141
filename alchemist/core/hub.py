"""The Hugging Face hub: out of reach, its clients would try for a minute and tell of each try."""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")  # of a repository
_FILES = (".safetensors", ".pth", ".pt", ".bin")


def is_name(asked: str) -> bool:
    """Whether weights are named as a repository of the hub is, OWNER/NAME, and not as a file."""
    return _NAME.fullmatch(asked) is not None and not asked.endswith(_FILES)


@contextmanager
def asked(address: str) -> Iterator[bool]:
    """Whether the host answers; where it does not, or may not be asked, only the cache of the hub is."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    reached = not before and _answers(address)
    constants.HF_HUB_OFFLINE = not reached
    try:
        yield reached
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):  # the latter of an address that is none
        return False

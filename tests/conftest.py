import gc
import os
import urllib.request

from alchemist.core import process

os.environ.update(dict.fromkeys(process.THREADS, "1"))  # as in a stage, before torch and faiss are loaded

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from forks import forking
from huggingface_hub import close_session

from alchemist.core import stateless
from alchemist.families.star.generator import StarCodec
from alchemist.families.star.settings import StarSettings
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.batch import Text
from alchemist.models.encoded import Encoded, Writer

# Folders whose files share what takes long to make: a worker runs all of one, or each would make it again.
TOGETHER = ("stages", "report", "measures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, the whole pipeline, so that no core waits for it at the end."""

    def place(item: pytest.Item) -> int:
        whole = item.path.name.startswith(("test_stages", "test_slurm"))
        return 0 if whole else 1 if item.path.parent.name in TOGETHER else 2

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """What the libraries brought stays to the end: no collector looks through it again, in a fork neither."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of --dist loadfile: files in the order above, not by their number of tests, and folders that share."""
    from xdist.scheduler import LoadFileScheduling

    class Sharing(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            folder = file.rpartition("/")[0]
            return folder if folder.rpartition("/")[2] in TOGETHER else file

    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Sharing(config, log)


CPU = torch.device("cpu")
TINY = StarSettings(family="star", depth=2, width=64, heads=2, drop_path=0.0, activation="gelu")


def tiny_tokenizer() -> Tokenizer:
    """A small tokenizer with random weights; spec: 1, 2, 4 and 64 codes."""
    torch.manual_seed(0)
    config = TokenizerConfig(resolution=16, scales=(1, 2, 4), codes=64, channels=8, width=16)
    return Tokenizer(config).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a `python` that has the libraries loaded."""
    with forking(tmp_path_factory.mktemp("fork")) as folder:
        yield folder


@pytest.fixture(scope="session")
def codes() -> Tokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="session")
def codec(codes: Tokenizer) -> StarCodec:
    return StarCodec(codes)


def random_text(count: int, seed: int = 0, length: int = 5, width: int = 384) -> Text:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(2, length + 1, (count, 1), generator=rng)
    states = torch.randn(count, length, width, generator=rng) * mask[..., None]
    return Text(states, mask, states.sum(1) / mask.sum(1, keepdim=True))


def random_tokens(codes: Tokenizer, count: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(codes.config.codes, (count, codes.config.tokens), generator=rng)


def write_encoded(folder: Path, rows: pd.DataFrame, tokens: np.ndarray, states: list[np.ndarray]) -> Encoded:
    """An encoded folder of token rows (N, L) and caption states (T, D), none pooled."""
    with Writer(folder) as writer:
        writer.rows(rows)
        writer.append({"tokens": tokens})
        writer.captions((one, None) for one in states)
    return Encoded(folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, codes: Tokenizer) -> Encoded:
    """120 encoded pairs of random tokens: 80 of the pool, 20 of meta_val and of evaluation each."""
    rng = stateless.generator("test data")
    count = 120
    rows = pd.DataFrame(
        {
            "id": [f"pair-{i:03d}" for i in range(count)],
            "split": ["pool"] * 80 + ["meta_val"] * 20 + ["evaluation"] * 20,
            "text": rng.integers(1, 12, count),
            "lent": False,
            "cluster": 0,
        }
    )
    states = [rng.normal(size=(2 + i % 4, 384)).astype(np.float16) for i in range(12)]
    tokens = rng.integers(0, codes.config.codes, (count, codes.config.tokens)).astype(np.uint16)
    folder = tmp_path_factory.mktemp("store") / "encoded"  # a note of its comparison lies beside it
    folder.mkdir()
    return write_encoded(folder, rows, tokens, states)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every host is out of reach, this machine too."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # urllib and huggingface_hub keep the proxies that they met first for the whole process.
    monkeypatch.setattr(urllib.request, "_opener", None)
    close_session()
    yield
    close_session()

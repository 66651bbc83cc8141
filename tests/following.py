"""Who follows the pages of docs/data/: types their commands as they stand there, in a repo with a history."""

import contextlib
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from doc_pages import blocks, commands
from hub import Hub
from numpy.typing import NDArray
from programs import needed
from shell import said
from tiny import ASKED, REPO
from workspace import Workspace

from alchemist.core import files
from alchemist.pools import store

Ledger = dict[str, dict[str, Counter[str]]]  # pairs by source, split and what became of them


def program(name: str, variable: str = "") -> str:
    """The path of a program, which `variable` may name. A test is left out without it, but in CI."""
    found = os.environ.get(variable) or shutil.which(name)
    return needed(found, f"{name} is not here", "CI_DOWNLOADS")


def shell_blocks(page: str) -> list[str]:
    """The blocks of a page, as one would copy them one after the other."""
    return blocks((REPO / "docs/data" / f"{page}.md").read_text())


class Reader:
    """A repo with the params of this one, and a hub in place of the real one."""

    def __init__(self, space: Workspace, hub: Hub, home: Path) -> None:
        self.folder = space.folder
        around = hub.environment(home)
        self.environment = {**space.environment, **around, "PATH": f"{space.python}:{around['PATH']}"}
        # A short study for those of the repo, which no stage here reads: DVC parses the file ten times.
        params = (REPO / "params.yaml").read_text().partition("\nstudies:\n")[0]
        study = yaml.safe_dump({"studies": {"asked": ASKED}})
        (self.folder / "params.yaml").write_text(f"{params}\n{study}")
        space.begin_history()
        self.types("git add --all && git commit --quiet --message start")

    def types(self, text: str, **environment: str) -> str:
        """In a shell that ends with the first command that fails; gives what is printed."""
        return said(self.folder, text, **{**self.environment, **environment})

    def settles(self, page: str) -> tuple[pd.DataFrame, Ledger]:
        """Types the page's `dvc exp run`; gives the index by ids and the card's ledger, which fits it."""
        found = [one for one in commands(REPO) if one.page == Path(f"docs/data/{page}.md")]
        (command,) = [str(one) for one in found if one.words[0] == "dvc"]
        printed = self.types(command)
        assert re.findall(r"Running stage '([^']+)'", printed) == ["check", "prepare", "copies"]
        folder = self.folder / "data/pool"
        index, card = store.read_index(folder), files.read_json(folder / store.CARD)
        counted: Ledger = {}
        for row in index.itertuples():
            became = "ok" if row.status == "ok" else str(row.reason)
            counted.setdefault(str(row.source), {}).setdefault(str(row.split), Counter())[became] += 1
        ledger = {
            source: {split: Counter(became) for split, became in splits.items() if became}
            for source, splits in card["sources"].items()
        }
        assert ledger == counted
        assert (card["pairs"], card["ok"]) == (len(index), (index["status"] == "ok").sum())
        assert index["id"].is_unique
        return index.set_index("id"), ledger

    def pixels(self, rows: pd.DataFrame) -> NDArray[Any]:
        """The pictures of the index's rows, as later stages read them."""
        with contextlib.chdir(self.folder):
            return store.images(Path("data/pool"), rows.reset_index())


def total(ledger: Ledger, source: str) -> Counter[str]:
    """What became of the pairs of a source, whatever their split."""
    return sum(ledger[source].values(), Counter())


def thumbnails(pictures: NDArray[Any]) -> NDArray[np.float64]:
    """Sixteen fields a picture of 256 pixels, which say which one it is and not how it was encoded."""
    count = len(pictures)
    fields = pictures.reshape(count, 4, 64, 4, 64, 3).mean((2, 4))
    return fields.reshape(count, -1).astype(np.float64)

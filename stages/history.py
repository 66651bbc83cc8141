"""Adds what a run found to reports/history.csv: python -m stages.history RUN FOLDER [--commit COMMIT].

FOLDER has its contrasts.csv and verdicts.csv; with a commit, as they were there.
"""

import io
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from alchemist.analysis import history
from alchemist.core import files
from alchemist.core.refusal import Refusal
from stages import revision, stage

HISTORY = Path("reports/history.csv")


def run(
    name: Annotated[str, typer.Argument(metavar="RUN", help="what the run is called")],
    folder: Annotated[Path, typer.Argument(help="where its tables lie")],
    commit: Annotated[str | None, typer.Option(help="that had them; none: as they lie there")] = None,
) -> None:
    """Adds its contrasts and the parts of its verdicts; what stands there already is not added again."""
    tables = []
    for which in ("contrasts", "verdicts"):
        path = folder / f"{which}.csv"
        text = revision.git("show", f"{commit}:{path}") if commit else None
        if commit and text is None:
            raise Refusal(f"{path} is not in commit {commit}, or this is no clone of git.")
        tables.append(pd.read_csv(io.StringIO(text) if text is not None else path))
    rows = history.of_report(name, (commit or revision.head() or "")[:40], tables[0], tables[1])
    before, after = keep(rows)
    print(f"wrote {HISTORY}: {after - before} rows of {name}, {after} in all")


def keep(rows: pd.DataFrame) -> tuple[int, int]:
    """Adds rows to the file; how many it had, and has."""
    past = pd.read_csv(HISTORY) if HISTORY.is_file() else history.empty()
    new = history.added(past, rows)
    with files.whole(HISTORY) as draft:
        new.to_csv(draft, index=False)
    return len(past), len(new)


if __name__ == "__main__":
    stage(run)

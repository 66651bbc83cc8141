"""The report, from the cells that the grid names: a page, a table, a summary and the figures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.analysis import claims as verdicts
from alchemist.analysis import results as report
from alchemist.analysis import statistics
from alchemist.analysis.cost import Bills
from alchemist.analysis.results import Study
from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools import store as pool_store
from alchemist.pools.truth import read_truth
from alchemist.report import material as report_tables
from alchemist.report import page as report_page
from alchemist.settings import parse
from alchemist.settings.contrast import ContrastSettings, StatisticsSettings
from alchemist.settings.grid import GridSettings
from alchemist.settings.rater import rater_settings
from alchemist.settings.selection import SelectionSettings
from stages.common import block, section, stage

CLOCKED = ("prepare", "tokenizer", "encode", "scorer")


def run(
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    truth: Annotated[Path, typer.Option(help="folder of the planted kinds")],
    ratings: Annotated[Path, typer.Option(help="folder of the raters' tables")],
    raters: Annotated[Path, typer.Option(help="folder of the raters' logs")],
    subsets: Annotated[Path, typer.Option(help="folder of the kept ids")],
    scores: Annotated[Path, typer.Option(help="folder of the cells' figures and sample grids")],
    tokenizer: Annotated[Path, typer.Option(help="folder that stage tokenizer wrote")],
    times: Annotated[Path, typer.Option(help="folder of the costs of the stages before rating")],
    beside: Annotated[Path, typer.Option(help="folder of tables of runs on other pools, NAME.csv")],
    out: Annotated[Path, typer.Option(help="folder to write into")],
) -> None:
    """Reads what the grid names and nothing else; equal inputs give equal bytes."""
    grid, wanted = block(GridSettings, "grid"), block(StatisticsSettings, "statistics")
    asked = [name for name in (wanted.primary, *wanted.secondary) if name is not None]
    blocks = {name: block(ContrastSettings, f"contrasts.{name}") for name in asked}
    chosen = {name: block(SelectionSettings, f"selections.{name}") for name in grid.chosen()}
    rated = [*grid.raters, *grid.embeddings, *grid.heuristics, *grid.oracles]
    names = dict.fromkeys([*(selection.rater for selection in chosen.values()), *rated])
    used = {name: rater_settings(section(f"raters.{name}"), f"raters.{name}") for name in names}
    study, which = Study(grid, chosen, used), {"pool": section("pool"), "scale": section("scale")}
    # Rows of other pools are of selections that this grid need not have.
    known = Study(
        grid,
        {n: parse(SelectionSettings, v, f"selections.{n}") for n, v in section("selections").items()},
        {n: rater_settings(v, f"raters.{n}") for n, v in section("raters").items()},
    )
    files.check_manifest(pool)
    index = pool_store.read_index(pool)
    index = index[index["split"] == "pool"].reset_index(drop=True)
    ids = index.loc[index["status"] == "ok", "id"]
    truth_rows = read_truth(truth).set_index("id")["kind"]
    kinds = None if truth_rows.empty else truth_rows.reindex(ids)
    found = report.read_scores(scores, study.cells())
    table = report.tidy(study, found)
    full_names = found[study.cells()[0].name]["names"]
    elsewhere = report.read_beside(beside, names=full_names, **which)
    rating = report_tables.read_ratings(ratings, study, ids)
    logs = report_tables.read_logs(raters, study)
    bills = Bills(found, logs, {name: read(times / f"{name}.json") for name in CLOCKED})
    held = report_tables.Material(
        study=study,
        scores=found,
        table=table,
        pool=pool,
        index=index,
        ratings=rating,
        subsets=report_tables.read_subsets(subsets, study),
        kinds=kinds,
        bills=bills,
        sheets={cell.name: sheet(scores / f"{cell.name}.png") for cell in report_page.pictured(study)},
        pool_card=read(pool / pool_store.CARD),
        tokenizer={**read(tokenizer / "card.json"), "sha256": files.check_manifest(tokenizer)["files"]},
        params=in_force(study),
        contrasts=statistics.contrasts(table, blocks, wanted, grid.models),
        verdicts=verdicts.verdicts(
            known,
            table,
            wanted.confidence,
            bills=bills,
            ratings=rating,
            kinds=kinds,
            elsewhere=elsewhere,
            **which,
        ),
        confidence=wanted.confidence,
        elsewhere=elsewhere,
    )
    page, figures = report_page.render(held)
    with files.whole_folder(out / "figures") as draft:
        for name, svg in figures.items():
            (draft / f"{name}.svg").write_text(svg)
    tables = {
        "table": table.rename(columns=report.columns(full_names)),
        "contrasts": report_tables.contrast_rows(held.contrasts),
        "verdicts": report_tables.verdict_rows(held.verdicts),
    }
    for name, rows in tables.items():
        with files.whole(out / f"{name}.csv") as draft:
            rows.assign(**which).to_csv(draft, index=False)
    files.write_json(out / "summary.json", report.summary(study, table))
    with files.whole(out / "index.html") as draft:
        draft.write_text(page)
    print(f"wrote {out / 'index.html'}: {len(study.cells())} cells")


def in_force(study: Study) -> dict[str, Any]:
    """The values of params.yaml that these cells were made with."""
    which, scale, roles, models = section("pool"), section("scale"), section("roles"), section("models")
    return {
        "pool": which,
        "scale": scale,
        "roles": roles,
        "grid": study.grid.model_dump(),
        "tokenizer": section("tokenizer"),
        f"pools.{which}": section(f"pools.{which}"),
        "raters": {name: rater.model_dump() for name, rater in study.raters.items()},
        "selections": {name: selection.model_dump() for name, selection in study.selections.items()},
        "models": {name: models[name] for name in dict.fromkeys([*study.models(), *roles.values()])},
        "statistics": section("statistics"),
        "contrasts": section("contrasts"),
        f"scales.{scale}": section(f"scales.{scale}"),
    }


def read(path: Path) -> Any:
    """A JSON file that another stage wrote."""
    if not path.is_file():
        raise Refusal(f"{path} is missing; run dvc repro.")
    return files.read_json(path)


def sheet(path: Path) -> bytes:
    """The sample grid of a cell."""
    if not path.is_file():
        raise Refusal(f"{path} is missing, but the grid names the cell {path.stem}; run dvc repro.")
    return path.read_bytes()


if __name__ == "__main__":
    stage(run)

"""The report, from the cells that the grid names: a page, a table, a summary and the figures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist import files, pool_store, report, report_page, report_tables
from alchemist.refusal import Refusal
from alchemist.report import Study
from alchemist.settings.grid import GridSettings
from alchemist.settings.rater import rater_settings
from alchemist.settings.selection import SelectionSettings
from alchemist.truth import read_truth
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
    times: Annotated[Path, typer.Option(help="folder of the seconds of the stages before rating")],
    out: Annotated[Path, typer.Option(help="folder to write into")],
) -> None:
    """Reads what the grid names and nothing else; equal inputs give equal bytes."""
    grid = block(GridSettings, "grid")
    chosen = {name: block(SelectionSettings, f"selections.{name}") for name in grid.selections}
    names = dict.fromkeys(selection.rater for selection in chosen.values())
    used = {name: rater_settings(section(f"raters.{name}"), f"raters.{name}") for name in names}
    study = Study(grid, chosen, used)
    files.check_manifest(pool)
    index = pool_store.read_index(pool)
    index = index[index["split"] == "pool"].reset_index(drop=True)
    ids = index.loc[index["status"] == "ok", "id"]
    kinds = read_truth(truth).set_index("id")["kind"]
    found = report.read_scores(scores, study.cells())
    table = report.tidy(study, found)
    held = report_tables.Material(
        study=study,
        scores=found,
        table=table,
        pool=pool,
        index=index,
        ratings=report_tables.read_ratings(ratings, list(used), ids),
        logs={name: read(raters / name / "rating.json") for name, r in used.items() if r.kind != "oracle"},
        subsets=report_tables.read_subsets(subsets, study),
        kinds=None if kinds.empty else kinds.reindex(ids),
        sheets={cell.name: sheet(scores / f"{cell.name}.png") for cell in study.cells()},
        pool_card=read(pool / pool_store.CARD),
        tokenizer={**read(tokenizer / "card.json"), "sha256": files.check_manifest(tokenizer)["files"]},
        params=in_force(study),
        times={name: read(times / f"{name}.json")["seconds"] for name in CLOCKED},
    )
    page, figures = report_page.render(held)
    with files.whole_folder(out / "figures") as draft:
        for name, svg in figures.items():
            (draft / f"{name}.svg").write_text(svg)
    with files.whole(out / "table.csv") as draft:
        table.rename(columns=report.columns(found[study.cells()[0].name]["names"])).to_csv(draft, index=False)
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
        "models": {name: models[name] for name in dict.fromkeys([*study.grid.models, *roles.values()])},
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

"""The report, from the cells that the grid names: a page, a table, a summary and the figures."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.analysis import references, results, statistics
from alchemist.analysis.advice import as_json
from alchemist.analysis.claims import untold, verdicts
from alchemist.analysis.cost import Bills, priced
from alchemist.analysis.grid import Study
from alchemist.analysis.metrics import columns
from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings import parse
from alchemist.core.settings.contrast import ContrastSettings, StatisticsSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import model_settings
from alchemist.core.settings.scale import scale_settings
from alchemist.pools import store
from alchemist.pools.copies import FACTS
from alchemist.pools.read import pool_settings
from alchemist.pools.truth import read_labels, read_truth
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.table import rater_settings
from alchemist.report import advice, copies_tables, page, pictures, provenance, verdict_tables
from alchemist.report.material import Material, read_logs, read_ratings, read_subsets
from alchemist.report.text_tables import as_latex, as_markdown
from stages import revision, stage
from stages.studied import study_in_force

# Stages before any rating whose times are read; the others once a family.
CLOCKED, CLOCKED_BY_FAMILY = ("prepare", "copies", "scorer"), ("codec", "encode", "floors")


def run(
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    truth: Annotated[Path, typer.Option(help="folder of the planted kinds")],
    ratings: Annotated[Path, typer.Option(help="folder of the raters' tables")],
    raters: Annotated[Path, typer.Option(help="folder of the raters' logs")],
    subsets: Annotated[Path, typer.Option(help="folder of the kept ids")],
    scores: Annotated[Path, typer.Option(help="folder of the cells' figures and sample grids")],
    timings: Annotated[Path, typer.Option(help="folder of what the stages took")],
    codec: Annotated[Path, typer.Option(help="folder of the families' image codecs")],
    beside: Annotated[Path, typer.Option(help="folder of tables of runs on other pools, NAME.csv")],
    out: Annotated[Path, typer.Option(help="folder to write into")],
) -> None:
    """Reads what the grid names and nothing else; equal inputs give equal bytes at one commit."""
    study, wanted = study_in_force(), block(StatisticsSettings, "statistics")
    grid = study.grid
    asked = [name for name in (wanted.primary, *wanted.secondary) if name is not None]
    blocks = {name: block(ContrastSettings, f"contrasts.{name}").of(grid) for name in asked}
    which = {"pool": section("pool"), "scale": section("scale")}
    params = in_force(study)
    meaningful = params[f"scales.{which['scale']}"]["meaningful"]
    # Rows of other pools are of selections that this grid need not have.
    known = Study(
        grid,
        {n: selection_settings(v, f"selections.{n}") for n, v in section("selections").items()},
        {n: rater_settings(v, f"raters.{n}") for n, v in section("raters").items()},
    )
    store.check(pool)
    index = store.read_index(pool)
    copies = read(pool / FACTS)
    copied = index[index["id"].isin([name for one in copies_tables.elsewhere(copies) for name in one["ids"]])]
    own = index[index["source"] == which["pool"]]
    index = index[index["split"] == "pool"].reset_index(drop=True)
    ids = index.loc[index["status"] == "ok", "id"]
    truth_rows = read_truth(truth).set_index("id")["kind"]
    kinds = None if truth_rows.empty else truth_rows.reindex(ids)
    found = results.read_scores(scores, study)
    check_age(scores, found)
    by_reference = references.tables(study, found)
    table = next(iter(by_reference.values()))
    for cell in study.cells():
        spent = {verb: took(timings / verb / f"{cell.name}.json") for verb in ("train", "evaluate")}
        found[cell.name] |= spent["train"] | spent["evaluate"]
        found[cell.name]["peaks"] = {verb: one.get("peak_bytes") for verb, one in spent.items()}
    first = found[study.cells()[0].name]
    names, likelihood = first["names"], first["likelihood"]
    elsewhere = results.read_beside(beside, names=names, likelihood=likelihood, **which)
    rating = read_ratings(ratings, study, ids)
    clocks = {name: took(timings / f"{name}.json") for name in CLOCKED} | {
        f"{name}@{family}": took(timings / name / f"{family}.json")
        for name in CLOCKED_BY_FAMILY
        for family in grid.families
    }
    adapted = {cell.model for cell in study.cells() if "pretrained" in found[cell.name]}
    clocks |= {f"pretrain@{model}": took(timings / "pretrain" / f"{model}.json") for model in sorted(adapted)}
    bills = Bills(found, read_logs(raters, timings / "ratings", study), clocks)
    material = Material(
        study=study,
        scores=found,
        table=table,
        by_reference=by_reference,
        pool=pool,
        index=index,
        ratings=rating,
        subsets=read_subsets(subsets, study),
        kinds=kinds,
        bills=bills,
        sheets={
            cell.name: {
                at["images"]: sheet(scores / cell.name / at["sheet"])
                for at in found[cell.name]["checkpoints"]
            }
            for cell in pictures.pictured(study)
        },
        pool_card=read(pool / store.CARD),
        codec={
            family: {
                **read(codec / family / "card.json"),
                "sha256": files.check_manifest(codec / family)["files"],
            }
            for family in grid.families
        },
        params=params,
        contrasts={
            name: statistics.contrasts(rows, blocks, wanted, grid.main) if meaningful else []
            for name, rows in by_reference.items()
        },
        verdicts=verdicts(
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
        copies=copies,
        copied=copied,
        own=own,
        ids=read_subsets(subsets, study, "ids-") if own["lent"].any() else {},
        labels=read_labels(truth),
        commit=revision.in_words(),
    )
    if not meaningful:
        material = replace(material, verdicts=untold(material.verdicts, material.meaningless))
    made = page.render(material)
    with files.whole_folder(out / "charts") as draft:
        for name, chart in made.charts.items():
            chart.write(draft, name)
    with files.whole_folder(out / "tables") as draft:
        for name, whole in made.tables.items():
            (draft / f"{name}.md").write_text(as_markdown(whole), encoding="utf-8")
            (draft / f"{name}.tex").write_text(as_latex(whole), encoding="utf-8")
        provenance.digests(material).to_csv(draft / provenance.WHOLE, index=False)
    tables = {
        "table": table.rename(columns=columns(names, likelihood)),
        "references": priced(study, bills, references.sized(first, by_reference)).rename(
            columns=columns(names, likelihood)
        ),
        "contrasts": verdict_tables.contrast_rows(material.contrasts),
        "verdicts": verdict_tables.verdict_rows(material.verdicts),
    }
    for name, rows in tables.items():
        with files.whole(out / f"{name}.csv") as draft:
            rows.assign(**which).to_csv(draft, index=False)
    files.write_json(out / "summary.json", material.summary)
    advised = advice.advice_of(material)
    said = advice.sentences(material, advised)
    files.write_json(out / "advice.json", as_json(advised, said))
    with files.whole(out / "index.html") as draft:
        draft.write_text(made.html, encoding="utf-8")
    print(*said, f"wrote {out / 'index.html'}: {len(study.cells())} cells", sep="\n")


def in_force(study: Study) -> dict[str, Any]:
    """The values that these cells were made with, defaults with them."""
    which, scale, roles, models = section("pool"), section("scale"), section("roles"), section("models")
    others = [other for other in study.grid.others.values() if other.raters or other.models]
    playing = [*roles.values(), *(name for other in others for name in (other.proxy, other.rater))]
    sizes = {
        name: model_settings(models[name], f"models.{name}")
        for name in dict.fromkeys([*study.models(), *playing])
    }
    return {
        "pool": which,
        "scale": scale,
        "roles": roles,
        "grid": study.grid.model_dump(),
        "device": section("device"),
        "codecs": {family: section(f"codecs.{family}") for family in study.grid.families},
        f"pools.{which}": pool_settings(section(f"pools.{which}"), f"pools.{which}").model_dump(),
        "raters": {name: rater.model_dump() for name, rater in study.raters.items()},
        "selections": {name: selection.model_dump() for name, selection in study.selections.items()},
        "models": {name: size.model_dump() for name, size in sizes.items()},
        "statistics": block(StatisticsSettings, "statistics").model_dump(),
        "contrasts": {
            name: parse(ContrastSettings, value, f"contrasts.{name}").model_dump()
            for name, value in section("contrasts").items()
        },
        f"scales.{scale}": scale_in_force(scale, any(size.adapts for size in sizes.values())),
    }


def scale_in_force(scale: str, pretrains: bool) -> dict[str, Any]:
    """Its sections, as far as they are in use: what single models spend, where any does otherwise."""
    held = scale_settings(section(f"scales.{scale}"), f"scales.{scale}")
    parts = dict(held)
    parts["pretrain"] = parts["pretrain"] if pretrains else None
    return {"meaningful": held.meaningful} | {
        key: {k: v.model_dump() for k, v in part.items()} if isinstance(part, dict) else part.model_dump()
        for key, part in parts.items()
        if part and key != "meaningful"  # not {} or None
    }


def check_age(scores: Path, found: Mapping[str, Any]) -> None:
    """Raises Refusal where a cell was measured by an earlier version, which noted less."""
    for name, score in found.items():
        noted = {"initial_sha256", "ids_sha256"} <= score.keys()
        if not noted or not all("sheet" in at for at in score["checkpoints"]):
            raise Refusal(
                f"{scores / name} is of an earlier version of this code, which noted less; run dvc repro."
            )


def read(path: Path) -> Any:
    """A JSON file that another stage wrote."""
    return files.read_json(there(path))


def took(path: Path) -> dict[str, Any]:
    """What another stage took."""
    return files.read_sealed(there(path))


def there(path: Path) -> Path:
    """The path of a file that another stage wrote."""
    if not path.is_file():
        raise Refusal(f"{path} is missing; run dvc repro.")
    return path


def sheet(path: Path) -> Path:
    """The sample grid of a cell at a checkpoint."""
    if not path.is_file():
        raise Refusal(f"{path} is missing, but the grid names the cell {path.parent.name}; run dvc repro.")
    return path


if __name__ == "__main__":
    stage(run)

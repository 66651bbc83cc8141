"""A study of two families of models: who is compared with whom, and who is never mixed."""

from dataclasses import replace
from pathlib import Path

import pytest
from analysis_helpers import HERE, META, RATERS, bills, deciding, elsewhere, level, scores, study
from report_helpers import PARAMETERS

from alchemist.analysis import statistics
from alchemist.analysis.claims import verdicts
from alchemist.analysis.cost import Bills, costs
from alchemist.analysis.grid import FULL, Cell, Study
from alchemist.analysis.metrics import measured, of_model
from alchemist.analysis.paper import paper_models, paper_numbers, paper_rows
from alchemist.analysis.parts import Verdict
from alchemist.analysis.results import read_scores, results, summary, tidy
from alchemist.analysis.roles import Roles
from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.contrast import ContrastSettings, StatisticsSettings
from alchemist.core.settings.grid import OtherSettings

# `two` is as `one` in all but the family of its proxy; `zero` draws.
NAMES = ("two", "one", "zero", "five", "six")
FLUX = OtherSettings(proxy="fs", rater="fs", raters=("r_flux", "low_flux"), models=("fs",))


def two_families(transfer: tuple[str, ...] = ()) -> Study:
    made = study(
        *NAMES, ratios=(0.5,), transfer=transfer,
        selections={
            "two": {"rater": "r_flux", "sampler": "shift_gsample"},
            "six": {"rater": "low_flux", "sampler": "shift_gsample"},
        },
        raters={"r_flux": META, "low_flux": RATERS["low"]},
    )  # fmt: skip
    grid = {"families": ("star", "flux"), "others": {"flux": FLUX}, "raters": ("r", "low", "dice")}
    return replace(made, grid=made.grid.model_copy(update=grid))


def held(made: Study, levels: dict[tuple[str, str], float]) -> dict[str, dict[str, object]]:
    """Scores by (selection, model); models of flux have no likelihood and floors of their own."""

    def fd(cell: Cell, images: float) -> float:
        return level({cell.selection: levels[cell.selection, cell.model]})(cell, images)

    out = scores(made, fd, clip=lambda cell, images: -fd(cell, images))
    for cell in made.cells():
        out[cell.name] |= {"n": 5, "reference_n": 5, "floors": {"F": 1.0}}
        if made.grid.family_of(cell.model) == "flux":
            out[cell.name] |= {"likelihood": None, "floors": {"F": 2.0}}
            out[cell.name]["checkpoints"] = [
                {key: value for key, value in at.items() if key != "nll"}
                for at in out[cell.name]["checkpoints"]
            ]
    return out


# On star the rating of star is good and that of flux is not; on flux it is the other way round.
LEVELS = {
    ("one", "xs"): 1.0, ("two", "xs"): 9.0, ("zero", "xs"): 7.0, ("five", "xs"): 4.0, ("six", "xs"): 8.0,
    ("one", "fs"): 9.0, ("two", "fs"): 1.0, ("zero", "fs"): 7.0, ("five", "fs"): 8.0, ("six", "fs"): 3.0,
    (FULL, "xs"): 6.0, (FULL, "fs"): 6.0,
}  # fmt: skip


def judged(made: Study, levels: dict[tuple[str, str], float] = LEVELS, **more: object) -> dict[str, Verdict]:
    return {v.claim: v for v in verdicts(made, tidy(made, held(made, levels)), 0.95, **more)}


def test_cells_are_every_subset_on_models_of_both() -> None:
    made = two_families()
    cells = [(cell.selection, cell.model) for cell in made.cells() if cell.seed == 0]
    assert sorted(cells) == sorted((name, model) for name in (*NAMES, FULL) for model in ("xs", "fs"))
    assert len({cell.name for cell in made.cells()}) == 3 * len(cells)
    assert made.measured("fs") == [(FULL, 1.0), *((name, 0.5) for name in NAMES)]
    assert made.own() == ["xs"]


def test_parts_are_played_by_ratings_of_one_family_alone() -> None:
    made = two_families()
    ours, theirs = Roles.of(made), Roles.of(made, "flux")
    assert (ours.alchemist, ours.loss, ours.random, ours.nearest) == ("one", "five", "zero", "one")
    assert (theirs.alchemist, theirs.loss, theirs.random) == ("two", "six", "zero")


def test_claims_are_about_the_main_family_and_transfer_is_between_them() -> None:
    found = judged(two_families())
    for claim in ("C1", "C2", "C6"):
        assert {part.model for part in found[claim].parts} <= {"xs", None}
        assert not [part.what for part in found[claim].parts if "two" in part.what or "six" in part.what]
    assert [part.verdict for part in deciding(found["C1"])] == ["supported"]
    c8 = found["C8"]
    assert [(part.what.partition(", ")[2], part.verdict) for part in deciding(c8)] == [
        ("one less zero at 50 %, model fs", "not supported"),
        ("two less zero at 50 %, model xs", "not supported"),
    ]
    own = [part for part in c8.parts if "two less zero at 50 %, model fs" in part.what]
    assert own
    assert not any(part.decides for part in own), "the method on its own family moves no rating"
    assert "ratings of the family star on the flux model fs" in c8.why
    assert "ratings of the family flux on the star model xs" in c8.why
    assert "no model of another size of one family" in c8.why


def test_transfer_that_works_is_undecided_while_no_size_and_no_pool_was_tried() -> None:
    good = LEVELS | {("one", "fs"): 1.0, ("two", "xs"): 1.0}
    found = judged(two_families(), good)["C8"]
    assert {part.verdict for part in deciding(found)} == {"supported"}
    assert found.verdict == "undecided"
    moved = judged(two_families(transfer=("m",)), good | {(n, "m"): good[n, "xs"] for n in NAMES})["C8"]
    assert "m" in {part.model for part in deciding(moved)}
    assert "of another size" not in moved.why
    # What another pool says of a model of another family is no part of it.
    far = elsewhere("there", better=True).replace({"model": {"xs": "fs"}})
    assert not [p for p in judged(two_families(), good, elsewhere=far, **HERE)["C8"].parts if p.pool]


def test_a_family_without_a_likelihood_has_no_nll_beside_one_that_has() -> None:
    made = two_families()
    table = tidy(made, held(made, LEVELS))
    assert table["nll"].isna().equals(table["model"] == "fs")
    assert "nll" in measured(table)
    assert "nll" not in measured(of_model(table, "fs"))
    rows = {row.selection: row for row in results(made, table, "fs", "equal_images")}
    assert all("nll" not in {*row.figures, *row.to_random, *row.best} for row in rows.values())
    assert rows["two"].to_random["fd"].mean == pytest.approx(-6.0, abs=0.5)
    assert [name for name, row in rows.items() if "fd" in row.best] == ["two"]
    assert summary(made, results(made, table, "xs", "equal_epochs"))["nll_alc"] == pytest.approx(
        101.0, abs=0.5
    )  # of the first model


def test_a_contrast_may_name_a_model_of_any_family() -> None:
    made = two_families()
    table = tidy(made, held(made, LEVELS))
    blocks = {
        "across": ContrastSettings(arm="one", against="zero", ratio=0.5, model="fs"),
        "likely": ContrastSettings(arm="one", against="zero", ratio=0.5, model="fs", metric="nll"),
        "home": ContrastSettings(arm="one", against="zero", ratio=0.5, metric="nll"),
    }
    wanted = StatisticsSettings(primary="across", secondary=("likely", "home"))
    found = {c.name: c for c in statistics.contrasts(table, blocks, wanted, made.grid.main)}
    assert list(found) == ["across", "home"]
    assert (found["across"].favours, found["home"].favours) == ("zero", "one")
    assert (found["across"].model, found["home"].model) == ("fs", "xs")


def test_a_cell_bears_the_encoding_of_its_family_and_a_rating_its_own_bill() -> None:
    made = two_families()
    bill = bills(made, held(made, LEVELS))
    logs = {**bill.logs, "r_flux": dict.fromkeys(made.grid.seeds, bill.logs["r"][0] | {"seconds": 90.0})}
    times = {"encode@star": {"seconds": 9.0}, "encode@flux": {"seconds": 2.0}}
    found = {(c.selection, c.model): c for c in costs(made, Bills(bill.scores, logs, times))}
    assert [found["one", m].encode for m in ("xs", "fs")] != [None, None]
    seconds = {key: (c.encode.seconds, c.rating.seconds) for key, c in found.items() if c.encode and c.rating}
    assert seconds["one", "xs"] == (9.0, 30.0)
    assert seconds["one", "fs"] == (2.0, 30.0)
    assert seconds["two", "xs"] == (9.0, 90.0)
    assert seconds["two", "fs"] == (2.0, 90.0)


def test_cells_of_one_family_must_have_floors_in_common_and_no_more(tmp_path: Path) -> None:
    made = two_families()
    found = held(made, LEVELS)
    for name, score in found.items():
        files.write_json(tmp_path / name / "figures.json", score)
        files.write_manifest(tmp_path / name)
    assert len(read_scores(tmp_path, made)) == len(found)
    spoilt = tmp_path / "two-0.5-fs-1" / "figures.json"
    files.write_json(spoilt, files.read_json(spoilt) | {"floors": {"F": 1.0}})
    files.write_manifest(spoilt.parent)
    with pytest.raises(Refusal, match=r"full-fs-0 and two-0\.5-fs-1 differ in floors"):
        read_scores(tmp_path, made)
    files.write_json(spoilt, files.read_json(spoilt) | {"floors": {"F": 2.0}, "n": 6})
    files.write_manifest(spoilt.parent)
    with pytest.raises(Refusal, match=r"full-xs-0 and two-0\.5-fs-1 differ in n,"):
        read_scores(tmp_path, made)


def test_the_papers_rows_are_those_of_its_own_proxy() -> None:
    made = two_families()
    made = replace(made, grid=made.grid.model_copy(update={"ratios": (0.2,)}))
    models = paper_models(made, {"proxy": "s", "rater": "xs"}, PARAMETERS | {"fs": 9_000_000})
    assert models == {
        "STAR-40M": "xs", "STAR-0.3B": None, "STAR-0.9B": None, "FLUX-mini-3B-LoRA": "fs",
    }  # fmt: skip
    ours = {(r.model, r.method): (r.selection, r.our_model) for r in paper_rows(made, models) if r.selection}
    assert ours["FLUX-mini-3B-LoRA", "Ours"] == ("one", "fs")
    assert ours["FLUX-mini-3B-LoRA", "Random"] == ("zero", "fs")
    assert ours["STAR-40M", "Ours"] == ("one", "xs")
    assert paper_numbers(made, "two", 0.2) is None
    assert paper_numbers(made, "one", 0.2) is not None

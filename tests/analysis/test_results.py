from pathlib import Path

import pandas as pd
import pytest
from analysis_helpers import UNIT, falling, study
from analysis_helpers import scores as made_scores
from report_helpers import params, score, study_of

from alchemist.analysis.metrics import columns
from alchemist.analysis.results import Stat, read_beside, results, summary, tidy
from alchemist.core.refusal import Refusal


def test_best_ignores_the_oracle_and_knows_the_direction() -> None:
    study = study_of(params(selections=["oracle", "random", "topk"], ratios=[0.5]))
    scores = {}
    for number, cell in enumerate(study.cells()):
        held = score(cell, 10, number)
        for at in held["checkpoints"]:
            at["nll"] = {"full": 4.0, "oracle": 1.0, "random": 3.0, "topk": 3.5}[cell.selection]
            at["clip_lit"] = {"full": 4.0, "oracle": 9.0, "random": 3.0, "topk": 3.5}[cell.selection]
        scores[cell.name] = held
    rows = {r.selection: r for r in results(study, tidy(study, scores), "xs", "equal_images")}
    assert [name for name, row in rows.items() if "nll" in row.best] == ["random"]
    assert [name for name, row in rows.items() if "clip" in row.best] == ["full"]
    assert rows["topk"].to_random["nll"] == Stat(0.5, None, 1)
    assert rows["full"].to_random == rows["random"].to_random == {}


def test_a_transfer_model_has_its_arms_alone_and_ratios_fall() -> None:
    held = params(
        ablation={"selections": ["block0"], "ratios": [0.3]},
        transfer={"selections": ["random"], "ratios": [0.2], "models": ["m"]},
        selections=["random", "topk"],
    )
    study = study_of(held)
    assert study.measured("m") == [("random", 0.2)]
    assert [ratio for _, ratio in study.measured("xs")] == [1.0, 0.5, 0.5, 0.3, 0.2, 0.2]
    scores = {cell.name: score(cell, 10, i) for i, cell in enumerate(study.cells())}
    rows = {(r.selection, r.ratio): r for r in results(study, tidy(study, scores), "xs", "equal_images")}
    assert rows["block0", 0.3].to_random == {}  # no random subset of that size
    assert rows["topk", 0.2].to_random["nll"].mean == pytest.approx(1 / 50)


def test_losses_and_their_gap_are_told_where_every_cell_has_them() -> None:
    study = study_of(params(selections=["random"], ratios=[0.5], seeds=[0, 1]))
    made = {cell.name: score(cell, 10, 0) for cell in study.cells()}
    full, random = results(study, tidy(study, made), "xs", "best")
    assert (full.images, random.images) == (12000, 9000)
    assert random.losses["gap"].mean == pytest.approx(5.2 - 0.3 + 0.005 - (5.0 - 0.45))
    assert random.losses["train_loss"] == Stat(4.55, 0.0, 2)
    for at in made["random-0.5-xs-1"]["checkpoints"]:
        at["points"] = ["best"] if at["images"] == 6000 else at["points"]
        del at["validation_loss"]
    full, random = results(study, tidy(study, made), "xs", "equal_images")
    assert full.losses
    assert random.losses == {}


def test_the_images_of_the_best_points_are_a_mean_over_seeds() -> None:
    study = study_of(params(selections=["random"], ratios=[0.5], seeds=[0, 1]))
    made = {cell.name: score(cell, 10, 0) for cell in study.cells()}
    for at in made["random-0.5-xs-1"]["checkpoints"]:
        at["points"] = {6000: ["equal_epochs", "best"], 9000: ["curve"]}.get(at["images"], at["points"])
    random = results(study, tidy(study, made), "xs", "best")[1]
    assert (random.images, random.epochs) == (7500, 750)
    assert random.figures["fd"].mean == pytest.approx((600 - 90 + 600 - 60 + 1 / 3) / 2)


def test_stat_of_one_value_has_no_spread() -> None:
    assert Stat.of(pd.Series([2.0])) == Stat(2.0, None, 1)
    assert Stat.of(pd.Series([1.0, 3.0])) == Stat(2.0, 2**0.5, 2)


def test_tables_of_other_pools_are_checked(tmp_path: Path) -> None:
    names = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
    assert read_beside(tmp_path / "nothing", "emoji", "tiny", names, UNIT) is None
    pd.DataFrame({"pool": ["b"], "scale": ["tiny"]}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(Refusal, match=r"b\.csv has no column selection; it should be the table\.csv"):
        read_beside(tmp_path, "emoji", "tiny", names, UNIT)
    (tmp_path / "b.csv").write_bytes(b"pool,scale\nb\xfc,tiny\n")
    with pytest.raises(Refusal, match=r"b\.csv is no table: 'utf-8' codec"):
        read_beside(tmp_path, "emoji", "tiny", names, UNIT)


def test_a_cell_of_another_pool_counts_once(tmp_path: Path) -> None:
    """Two studies on one pool share cells; counted twice they would look like two seeds."""
    names = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
    row: dict[str, object] = dict.fromkeys(columns(names, UNIT).values(), 1.0)
    row |= {"pool": "b", "scale": "tiny", "selection": "random", "ratio": 0.5, "model": "xs", "seed": 0}
    row |= {"point": "equal_images", "images": 10}
    first, again = pd.DataFrame([row]), pd.DataFrame([row | {"fd_lite0": 2.0}, row | {"seed": 1}])
    first.to_csv(tmp_path / "b-first.csv", index=False)
    again.to_csv(tmp_path / "b-second.csv", index=False)
    found = read_beside(tmp_path, "emoji", "tiny", names, UNIT)
    assert found is not None
    assert found[["seed", "fd"]].to_numpy().tolist() == [[0, 1.0], [1, 1.0]]


def test_models_without_a_likelihood_have_no_column_for_it(tmp_path: Path) -> None:
    made = study("zero", "one", "two")
    table = tidy(made, made_scores(made, falling, likelihood=False))
    assert "nll" not in table
    assert not table.drop(columns=["rater"]).isna().any().any()
    rows = results(made, table, "xs", "equal_epochs")
    assert {metric for row in rows for metric in (*row.figures, *row.to_random, *row.best)} == {
        "fd", "fd_coded", "kid", "clip",
    }  # fmt: skip
    arms = ("full", "rnd", "alc")
    expected = [f"{metric}_{arm}" for metric in ("fd", "fd_coded", "kid", "clip") for arm in arms]
    assert list(summary(made, results(made, table, "xs", "equal_epochs"))) == ["ratio", *expected]
    whole = tidy(made, made_scores(made, falling))
    assert list(summary(made, results(made, whole, "xs", "equal_epochs")))[13:] == [
        "nll_full",
        "nll_rnd",
        "nll_alc",
    ]
    # Tables of other pools may be of other models: a figure that these have not is left out.
    names = {"fd": "F", "kid": "K", "clip": "C"}
    other = whole.rename(columns=columns(names, UNIT)).assign(pool="b", scale="tiny")
    other.to_csv(tmp_path / "b.csv", index=False)
    found = read_beside(tmp_path, "emoji", "tiny", names, None)
    assert found is not None
    assert "nll" not in found
    other.drop(columns="nll").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(Refusal, match=r"b\.csv has no column nll"):
        read_beside(tmp_path, "emoji", "tiny", names, UNIT)


def test_a_figure_that_every_family_has_is_not_left_out_silently() -> None:
    made = study("zero")
    spoilt = made_scores(made, falling)
    del spoilt["zero-0.5-xs-1"]["checkpoints"][0]["F_coded"]
    with pytest.raises(KeyError, match="F_coded"):
        tidy(made, spoilt)

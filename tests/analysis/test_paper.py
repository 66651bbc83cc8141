from report_helpers import PARAMETERS, params, study_of

from alchemist.analysis.grid import FULL
from alchemist.analysis.paper import paper_models, paper_numbers, paper_rows
from alchemist.analysis.roles import Roles


def test_paper_rows_follow_rater_and_sampler() -> None:
    held = params()
    held["selections"]["bare"] = held["selections"]["alchemist"] | {"rater": "alchemist_no_group"}
    held["selections"]["warm"] = held["selections"]["alchemist"] | {"rater": "alchemist_temperature"}
    held["selections"]["wide"] = held["selections"]["alchemist"] | {"sigma": 40.0}
    held["selections"]["exact"] = held["selections"]["alchemist"] | {"rater": "reference"}
    names = ["wide", "bare", "warm", "exact", "alchemist", "gsample", "loss", "oracle", "random", "clarity"]
    held["grid"]["selections"] = names
    study = study_of(held)

    def fid(name: str, ratio: float) -> float | None:
        found = paper_numbers(study, name, ratio)
        return None if found is None else float(found["fid"])

    assert [fid("alchemist", r) for r in (0.5, 0.2, 0.1, 0.3)] == [16.2, 18.22, 21.54, None]
    assert (fid("bare", 0.2), fid("bare", 0.5), fid("gsample", 0.2)) == (18.37, None, 19.22)
    assert (fid("random", 0.5), fid("random", 0.2), fid(FULL, 1.0)) == (19.70, 20.69, 17.48)
    assert (fid("clarity", 0.5), fid("clarity", 0.2)) == (17.85, None)
    assert fid("warm", 0.2) is fid("wide", 0.2) is fid("exact", 0.2) is None
    assert fid("loss", 0.2) is fid("oracle", 0.2) is None
    assert Roles.of(study).nearest == "alchemist"  # though others of its kind stand before it


def test_paper_rows_keep_to_their_model_and_data() -> None:
    held = params(transfer={"selections": ["alchemist", "random"], "ratios": [0.2], "models": ["m"]})
    study = study_of(held)
    models = paper_models(study, {"proxy": "s", "rater": "xs"}, PARAMETERS)
    assert models == {"STAR-40M": "xs", "STAR-0.3B": None, "STAR-0.9B": "m", "FLUX-mini-3B-LoRA": None}
    rows = paper_rows(study, models)
    assert len(rows) == 32
    ours = {(r.table, r.model, r.method, r.ratio): (r.selection, r.our_model) for r in rows if r.selection}
    assert ours == {
        ("table1", "STAR-0.3B", "Full", 1.0): (FULL, "xs"),
        ("table1", "STAR-0.3B", "Random", 0.5): ("random", "xs"),
        ("table1", "STAR-0.3B", "Ours-small", 0.2): ("alchemist", "xs"),
        ("table1", "STAR-0.3B", "Ours", 0.5): ("alchemist", "xs"),
        ("table2", "STAR-40M", "Ours", 0.2): ("alchemist", "xs"),
        ("table2", "STAR-40M", "Random", 0.2): ("random", "xs"),
        ("table2", "STAR-0.9B", "Ours", 0.2): ("alchemist", "m"),
        ("table2", "STAR-0.9B", "Random", 0.2): ("random", "m"),
        ("table4", "STAR-0.3B", "TopK", 0.2): ("topk", "xs"),
        ("table4", "STAR-0.3B", "Shift-Gsample+Group-MLP", 0.2): ("alchemist", "xs"),
    }
    assert {r.selection for r in rows if r.table == "table3"} == {None}


def test_every_sampler_on_a_heuristic_stands_beside_the_papers_best() -> None:
    held = params(selections=["random", "clarity", "clarity_shift", "alchemist", "gsample"])
    held["grid"]["selections"] += ["alchemist_carried"]
    study = study_of(held)
    rows = paper_rows(study, paper_models(study, {"proxy": "s", "rater": "xs"}, PARAMETERS))
    assert [r.selection for r in rows if r.method == "Clarity"] == ["clarity", "clarity_shift"]
    assert [r.selection for r in rows if (r.table, r.method) == ("table1", "Ours")] == ["alchemist"]
    assert len(rows) == 33
    assert "alchemist_carried" not in {r.selection for r in rows}

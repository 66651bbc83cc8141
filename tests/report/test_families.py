"""The page of a grid of two families: each in its own words and tables, and both where they are compared."""

import re
from pathlib import Path

import pandas as pd
import pytest
from analysis_helpers import UNIT
from report_helpers import build, in_words, params, part, run, text, written

FLUX = {
    "proxy": "flux_s", "rater": "flux_xs", "raters": ["alchemist_flux", "loss_flux"], "models": ["flux_xs"],
}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds; ratings of star and of flux on a model of each."""
    given = params(
        selections=["alchemist_flux", "alchemist", "random", "loss_flux"], ratios=[0.2], seeds=[0, 1],
        raters=["alchemist", "random", "loss"], oracles=[], families=["star", "flux"], others={"flux": FLUX},
    )  # fmt: skip
    given["contrasts"]["across"] = {"arm": "alchemist", "against": "random", "model": "flux_xs"}
    given["statistics"] |= {"primary": "across", "secondary": ["alchemist_random"]}
    root = tmp_path_factory.mktemp("both")
    build(root, given, noise=0.5)
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root / "reports"


def test_the_story_tells_what_ran_and_speaks_of_one_familys_selection(both: Path) -> None:
    whole = written(both)
    said = in_words(whole)
    assert "xs of the family star with 1.23 M parameters, flux_xs of the family flux with 4.57 M" in said
    assert "Rated by a proxy of the family flux: alchemist_flux, loss_flux." in said
    assert "Shift-Gsample on the rating alchemist, keeping" in said
    assert "on the rating alchemist_flux" not in said
    assert "Models of the family flux have no likelihood" in said
    assert f"NLL, the loss in {UNIT} on the held-out pairs that decide" in said
    assert "(28 % of their features' spread is lost" in said, "star's codec"
    assert "good enough for these pictures (0 % of their features' spread is lost" in said, "flux's pixels"
    assert not re.search(r"\bnan\b|\bNone\b", text(whole))


def test_each_models_table_has_its_own_metrics_floors_and_quotes(both: Path) -> None:
    parts = dict(
        re.findall(r"<h3>([^<]*)</h3>\s*(.*?)(?=<h3>|<p class)", part(written(both), "results"), re.S)
    )
    assert len(parts) == 6
    for title, body in parts.items():
        flux = "flux_xs of the family flux" in title
        assert ("NLL" in body) != flux
        assert ("paper: FID" in body) != flux
        assert f"through the image codec {'33.1' if flux else '88.8'} " in text(body)


def test_the_papers_table_2_has_a_part_for_what_is_between_families(both: Path) -> None:
    said = text(part(written(both), "paper")).replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(r"Ours 20 % LAION-30M FLUX-mini-3B-LoRA alchemist flux_xs 19\.98 0\.2366 \d", said)
    assert re.search(r"Random 20 % LAION-30M FLUX-mini-3B-LoRA random flux_xs 20\.41† 0\.2359† \d", said)
    assert "20 % rated by flux star alchemist_flux xs" in said
    assert "20 % rated by star flux alchemist flux_xs" in said
    assert "20 % rated by flux flux alchemist_flux flux_xs" in said
    assert "rated by star star" not in said


def test_verdicts_and_contrasts_name_the_model_that_they_are_about(both: Path) -> None:
    rows = pd.read_csv(both / "verdicts.csv")
    about = rows.groupby("claim")["part"].agg(lambda parts: " ".join(parts.dropna()))
    for claim in ("C1", "C2", "C4", "C6", "C7"):
        assert "flux" not in about[claim]
    decide = rows[(rows["claim"] == "C8") & rows["decides"].eq(True)]["part"]
    assert sorted(re.findall(r", (.*) at 20 %, model (\w+)", "\n".join(decide))) == [
        ("alchemist less random", "flux_xs"), ("alchemist_flux less random", "xs"),
    ]  # fmt: skip
    made = pd.read_csv(both / "contrasts.csv").set_index("contrast")
    assert made["model"].to_dict() == {"across": "flux_xs", "alchemist_random": "xs"}


def test_figures_of_a_likelihood_and_of_losses_keep_the_families_apart(both: Path) -> None:
    names = {path.stem for path in (both / "charts").iterdir()}
    assert "curve-xs-nll" in names
    assert not {"curve-flux_xs-nll"} & names
    panels = {path.stem: path.read_text() for path in (both / "charts").glob("rating-*loss-*.json")}
    assert set(panels) == {
        f"rating-{kind}_loss-{of}" for kind in ("train", "validation") for of in ("star", "flux")
    }
    assert {name: f", {UNIT}, star" in svg for name, svg in panels.items()} == {
        name: name.endswith("star") for name in panels
    }
    assert f"loss of the plain proxy, {UNIT}" in (both / "charts/paper-3.json").read_text()
    assert len(re.findall(r'alt="Samples of ', written(both))) == 2 * 2 * 5


def test_costs_and_provenance_are_those_of_each(both: Path) -> None:
    said = text(part(written(both), "cost"))
    assert "encode@flux" in said
    assert "encode@star" in said
    assert re.search(r"alchemist_flux, 20.% flux_xs ", said)
    facts = written(both)
    for key in (
        "grid.others.flux.proxy",
        "models.flux_s.family",
        "codecs.flux.kind",
        "flux.psnr",
        "star.psnr",
    ):
        assert f"<dt>{key}</dt>" in facts

"""A family of models without a likelihood has a report without NLL; one with it has its unit in words."""

import re
from pathlib import Path

import pandas as pd
import pytest
from analysis_helpers import UNIT
from report_helpers import build, in_words, params, part, run, text, written

from alchemist.core import files
from alchemist.core.refusal import Refusal

GRID = {
    "selections": ["alchemist", "random", "best", "topk", "loss"], "ratios": [0.5, 0.2], "seeds": [0, 1],
    "raters": ["alchemist", "loss", "random", "best"], "oracles": [],
    "transfer": {"selections": ["random", "alchemist"], "ratios": [0.5], "models": ["s"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of models without a likelihood, beside a table of another pool whose models have one."""
    given = params(**GRID)
    given["statistics"] |= {
        "primary": "alchemist_random",
        "secondary": ["best_alchemist_nll", "alchemist_loss"],
    }
    root = tmp_path_factory.mktemp("flow")
    build(root, given, noise=0.5, likelihood=None)
    row = {
        "pool": "far", "scale": "tiny", "cell": "c", "ratio": 0.5, "model": "xs", "point": "equal_epochs",
        "images": 9, "fd_lite0_coded": 1.0, "kid_lite0": 1.0, "kid_lite0_sd": 1.0, "clip_lit": 7.0,
    }  # fmt: skip
    rows = [
        row | {"selection": name, "seed": seed, "fd_lite0": 9.0 + seed, "nll": 3.0 + seed}
        for name in ("random", "alchemist", "alchemist_carried")
        for seed in (0, 1)
    ]
    (root / "beside").mkdir()
    pd.DataFrame(rows).to_csv(root / "beside" / "far.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root / "reports"


def test_no_word_of_a_likelihood_and_no_gap_where_it_would_stand(flow: Path) -> None:
    page = written(flow)
    assert "NLL" not in page
    assert UNIT not in page
    assert not re.search(r"\bnan\b|\bNone\b", text(page))
    # Every section stands all the same, with the figures that there are.
    assert len(re.findall(r'<h2 id="\w+"', page)) == 16
    said = in_words(page)
    assert re.search(
        r"at equal epochs it has FD \(Lite0\) [^;]* and CLIP-Score \(LiT\) [^;]*; at equal", said
    )
    assert "Lowest" not in said
    head = text(part(page, "results")).partition("full all usable pairs")[0]
    assert head.endswith("1000 CLIP-Score (LiT) paper: FID paper: CLIP ")


def test_no_figure_and_no_row_of_it(flow: Path) -> None:
    names = {path.stem for path in (flow / "charts").iterdir()}
    assert not [name for name in names if "nll" in name]
    assert {
        "curve-xs-fd",
        "curve-xs-fd_coded",
        "curve-xs-clip",
        "paper-6-fd-images",
        "paper-3",
    } <= names
    assert files.read_json(flow / "charts/paper-3.json")["layer"][1]["encoding"]["y"]["title"].endswith(
        "proxy"
    )
    assert "nll" not in pd.read_csv(flow / "table.csv")
    held = files.read_json(flow / "summary.json")
    metrics = ("fd", "fd_coded", "kid", "clip")
    assert set(held) == {"ratio"} | {f"{m}_{arm}" for m in metrics for arm in ("full", "rnd", "alc")}
    assert not (flow / "verdicts.csv").read_text().count("nll")


def test_a_contrast_in_it_is_left_out_by_name(flow: Path) -> None:
    rows = pd.read_csv(flow / "contrasts.csv").set_index("contrast")
    assert rows.index.tolist() == ["alchemist_random", "alchemist_loss"]
    assert rows.loc["alchemist_loss", "p_holm"] == rows.loc["alchemist_loss", "p_t"]  # alone in its family
    said = text(part((flow / "index.html").read_text(), "contrasts"))
    assert said.endswith("Left out, because these models do not have the metric: best_alchemist_nll.")


def test_the_unit_of_a_likelihood_is_that_of_the_cells(three: Path) -> None:
    page = written(three / "reports")
    assert f"NLL, the loss in {UNIT} on the held-out pairs that decide" in text(page)
    assert f"loss of the plain proxy, {UNIT}" in (three / "reports/charts/paper-3.json").read_text()
    assert page.count(f'"title":"Proxy\'s loss on pool pairs, {UNIT}"') == 1
    assert page.count(f'"title":"Proxy\'s loss on meta-validation pairs, {UNIT}"') == 1
    assert "nats" not in page
    assert "Left out, because" not in page


def test_cells_of_models_with_and_without_one_are_not_compared(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy / "data/scores/loss-0.5-xs-0/figures.json"
    files.write_json(path, files.read_json(path) | {"likelihood": None})
    with pytest.raises(Refusal, match=r"full-xs-0 and loss-0\.5-xs-0 differ in likelihood,"):
        run(copy, monkeypatch)

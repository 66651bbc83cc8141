"""Charts: one spec for the page, for files and for `dvc plots`, drawn by the library as it is."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import vl_convert

from alchemist.report import chart
from alchemist.report.chart import COLOURS, INK, Chart, as_script, colours_of, drawn
from alchemist.report.curves import thinned

LINES = pd.DataFrame(
    [
        {"selection": arm, "keeps": keeps, "images": images, "mean": mean, "low": mean - 3, "high": mean + 3}
        for arm, keeps, mean in (("full", "100 %", 400.0), ("a", "50 %", 410.0), ("a", "20 %", 430.0))
        for images in (100, 200)
    ]
)


def lines(rows: pd.DataFrame = LINES) -> Chart:
    return Chart("lines", "FD", rows, "images", "images seen", "FD", colours_of(["a"], "full"))


def test_every_template_is_drawn_with_its_title_and_what_lies_along_it() -> None:
    tables = {
        "lines": LINES,
        "trace": LINES,
        "intervals": pd.DataFrame([{"contrast": "a less b", "mean": -2.0, "low": -3.0, "high": -1.0, "n": 3,
                                    "says": "open"}]),
        "front": LINES.assign(rating=1.0, training=2.0, front=True, front_without=False),
        "shares": pd.DataFrame([{"decile": 1, "kind": "plain", "place": 0, "share": 100.0}]),
        "brush": pd.DataFrame([{"rating": 0.0, "to": 1.0, "kind": "kept", "pairs": 3}]),
        "heat": pd.DataFrame([{"one": "a", "other": "b", "value": 0.5}]),
    }  # fmt: skip
    along = {"intervals": "mean", "front": "cost", "shares": "decile", "heat": "one", "brush": "rating"}
    assert {path.stem for path in chart.FOLDER.glob("*.json")} == set(tables)
    for template, rows in tables.items():
        spec = Chart(template, "a title", rows, along.get(template, "images"), "what lies along").spec(400)
        svg, pdf = drawn(spec | {"config": chart.CONFIG})
        assert "a title" in svg, template
        assert template == "heat" or "what lies along" in svg, template
        assert "<DVC_METRIC" not in json.dumps(spec), template
        assert pdf.startswith(b"%PDF"), template


def test_an_arm_has_its_colour_in_lines_and_band_and_the_full_data_that_of_the_text() -> None:
    svg, _ = drawn(lines().spec(400))
    assert svg.count(f'fill="{COLOURS[0]}"') >= 2  # a band a ratio
    assert svg.count(f'stroke="{COLOURS[0]}"') >= 2
    assert f'stroke="{INK}"' in svg
    assert svg.count("stroke-dasharray=") >= 2, "a ratio has its dash"
    few = lines(LINES[LINES["selection"] == "a"]).spec(400)
    assert few["encoding"]["color"]["scale"]["range"] == [INK, COLOURS[0]], "the same without the other arm"


def test_a_figure_is_written_as_rows_and_as_a_spec_in_black(tmp_path: Path) -> None:
    lines().write(tmp_path, "curve")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "curve.csv"), LINES)
    spec = json.loads((tmp_path / "curve.json").read_text())
    assert spec["data"]["values"] == LINES.to_dict("records")
    assert INK not in json.dumps(spec)


def test_text_from_the_data_cannot_leave_the_script_that_holds_it() -> None:
    evil = "</script><script>alert(1)</script>"
    held = as_script(
        {evil: Chart("heat", evil, pd.DataFrame([{"one": evil, "other": "b", "value": 1}]), "one", "")}
    )
    assert "<" not in held
    assert json.loads(held)["specs"][evil]["data"]["values"][0]["one"] == evil


def test_values_that_nobody_could_take_are_no_nan() -> None:
    for value in (float("nan"), float("inf")):
        rows = LINES.assign(low=value)
        assert json.loads(as_script({"x": lines(rows)}))["specs"]["x"]["data"]["values"][0]["low"] is None


def test_dvc_fills_the_same_templates() -> None:
    from dvc_render.vega import VegaRenderer

    for template in chart.FOLDER.glob("*.json"):
        renderer = VegaRenderer(
            [{"images": 1, "mean": 2.0, "rev": "workspace"}],
            "a name",
            template=str(template),
            x="images",
            y="mean",
        )
        found = renderer.get_filled_template()
        assert found["data"]["values"][0]["mean"] == 2.0
        assert "<DVC_METRIC_" not in json.dumps(found), template


def test_a_chart_of_texts_is_that_of_numbers() -> None:
    """`dvc plots` reads CSV as text, and draws by an older Vega-Lite."""
    rows = LINES.assign(rating=1.5, training=[2.0, 4.0] * 3, front=[True, False] * 3, front_without=True)
    for template, along in (("lines", "images"), ("front", "cost")):
        both = [Chart(template, "FD", one, along, "x", "FD").spec(400) for one in (rows, rows.astype(str))]
        numbers, texts = (vl_convert.vegalite_to_svg(spec, vl_version="5.8") for spec in both)
        drawn_at = [re.findall(r'(?:d|transform)="([^"]*)"', svg) for svg in (numbers, texts)]
        assert drawn_at[0] == drawn_at[1], template
    # The front joins its points alone: with every second one it is another line than with all.
    some, whole = (
        vl_convert.vegalite_to_svg(
            Chart("front", "FD", rows.assign(front=front).astype(str), "cost", "x", "FD").spec(400)
        )
        for front in ([True, False] * 3, True)
    )
    joined = [re.findall(r'aria-roledescription="line mark" d="([^"]*)"', svg)[0] for svg in (some, whole)]
    assert [len(re.findall("[ML]", path)) for path in joined] == [3 * 2 - 1, 6 * 2 - 1], joined


@pytest.mark.parametrize("count", [1, 12, 40])
def test_no_two_of_twelve_selections_have_one_colour(count: int) -> None:
    found = colours_of([str(i) for i in range(count)], "full")
    assert len(set(found.values())) == min(count, 12) + 1
    assert found["full"] == INK


def test_a_long_log_keeps_its_end() -> None:
    log = [{"images": float(i)} for i in range(1001)]
    kept = thinned(log, 100)
    assert len(kept) <= 100
    assert kept[-1] is log[-1]
    assert thinned(log[:7], 100) == log[:7]

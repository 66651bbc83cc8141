from typing import get_args

import pandas as pd
import pytest

from alchemist.analysis import metrics
from alchemist.core.settings.contrast import ContrastSettings
from alchemist.core.settings.evaluation import EvaluateSettings

LITE = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
PUBLISHED = {"fd": "fid_pytorch", "kid": "kid_pytorch", "clip": "clip_vit_l_14_openai"}


def test_a_contrast_may_be_in_every_metric_and_in_no_other() -> None:
    legal = get_args(ContrastSettings.model_fields["metric"].annotation)
    assert list(legal) == [metric.name for metric in metrics.METRICS]


def test_only_the_clip_score_is_better_when_higher() -> None:
    assert [m.name for m in metrics.METRICS if metrics.better(m.name) > 0] == ["clip"]


def test_every_figure_that_may_be_asked_for_has_a_metric() -> None:
    networks = get_args(EvaluateSettings.model_fields["features"].annotation)
    for first in networks:
        further = tuple(name for name in (*networks, "cmmd") if name != first)
        names = EvaluateSettings(features=first, further=further).names
        assert all(metrics.is_metric(short) for short in names)
        assert "(" in metrics.metric_name("fd", names), "its network in words"


def test_figures_of_further_networks_stand_beside_under_their_full_names() -> None:
    names = EvaluateSettings(further=("inception_clean", "cmmd")).names
    shorts = metrics.columns(names, None)
    assert shorts["fd"] == "fd_lite0"
    assert {shorts[name] for name in ("fid_clean", "kid_clean", "cmmd")} == {"fid_clean", "kid_clean", "cmmd"}
    measured = metrics.measured(pd.DataFrame([dict.fromkeys(shorts, 1.0)]))
    assert measured == ("fd", "fd_coded", "kid", "clip", "fid_clean", "kid_clean", "cmmd")
    assert metrics.metric_name("fid_clean", names) == "FID (clean-fid)"
    assert metrics.shown("kid_clean", names) == (1000, 1)
    assert metrics.shown("cmmd", names) == (1, 3)


def test_an_optional_metric_is_measured_where_the_table_has_it() -> None:
    table = pd.DataFrame({name: [1.0, 2.0] for name in ("fd", "fd_coded", "kid", "clip", "nll")})
    assert metrics.measured(table) == ("fd", "fd_coded", "kid", "clip", "nll")
    assert metrics.measured(table.drop(columns="nll")) == ("fd", "fd_coded", "kid", "clip")
    some = table.assign(nll=[float("nan"), 2.0], model=["x", "y"])
    assert "nll" in metrics.measured(some)
    assert "nll" in metrics.measured(metrics.of_model(some, "y"))
    assert "nll" not in metrics.measured(metrics.of_model(some, "x"))
    # One that every family has is no option: whoever reads it fails.
    assert "kid" in metrics.measured(table.drop(columns="kid"))


@pytest.mark.parametrize("unit", ["bits a byte", None])
def test_full_names_hold_the_likelihood_where_there_is_one(unit: str | None) -> None:
    wanted = {
        "fd": "fd_lite0", "fd_coded": "fd_lite0_coded", "kid": "kid_lite0", "kid_sd": "kid_lite0_sd",
        "clip": "clip_lit",
    }  # fmt: skip
    assert metrics.columns(LITE, unit) == wanted | ({"nll": "nll"} if unit else {})


def test_a_figure_carries_its_network_in_words_and_digits() -> None:
    assert metrics.metric_name("fd", LITE) == "FD (Lite0)"
    assert (
        metrics.metric_name("fd_coded", PUBLISHED) == "FID (pytorch-fid), references through the image codec"
    )
    assert metrics.metric_name("clip", PUBLISHED) == "CLIP-Score (vit_l_14_openai)"
    assert metrics.metric_name("nll", LITE) == "NLL"
    # A raw cosine needs two digits more than a hundredfold one; KID is written in thousandths.
    assert (metrics.shown("clip", LITE), metrics.shown("clip", PUBLISHED)) == ((1, 2), (1, 4))
    assert metrics.shown("kid", LITE) == (1000, 1)
    assert metrics.is_metric("kid")
    assert not metrics.is_metric("percentile")

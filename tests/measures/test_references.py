"""Which held-out pairs are prompts and references, and which of them each view counts."""

import numpy as np
import pandas as pd
import pytest

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.measures.references import View, sides, views
from alchemist.pools import captions


def rows(count: int, clusters: list[int] | None = None, clean: int = 0) -> pd.DataFrame:
    """Usable pairs in the order in which they count, the evaluation's clusters as given."""
    made = pd.DataFrame(
        {
            "id": [f"p{i:04d}" for i in range(count + clean)],
            "split": ["evaluation"] * count + ["clean"] * clean,
            "cluster": np.array([*(clusters or range(count)), *range(9000, 9000 + clean)], dtype=np.uint64),
        }
    )
    return made.iloc[stateless.id_order(made["id"])]


def settings(**values: object) -> EvaluateSettings:
    return EvaluateSettings.model_validate(values)


def found(table: pd.DataFrame, **values: object) -> dict[str, View]:
    asked = settings(**values)
    return dict(views(*sides(table, asked), asked.decides))


def test_the_last_in_the_order_of_ids_are_prompts_and_the_rest_references() -> None:
    table = rows(20)
    prompts, references = sides(table, settings(images=6, kid_subset_size=3, grid=2))
    assert [*references["id"], *prompts["id"]] == list(table["id"])
    assert len(prompts) == 6
    prompts, references = sides(table, settings(images=6, kid_subset_size=3, grid=2, references="all"))
    assert list(references["id"]) == list(table["id"])
    assert list(prompts["id"]) == list(table["id"])[-6:]


def test_a_pool_without_copies_has_the_view_that_decides_alone() -> None:
    for decides in ("once", "as_is"):
        made = found(rows(20), decides=decides)
        assert list(made) == [decides]
        assert made[decides].sizes() == {"n": 10, "reference_n": 10}


def test_once_holds_one_of_each_cluster_whichever_side_its_copies_are_on() -> None:
    clusters = [i // 4 for i in range(80)]
    prompts, references = sides(rows(80, clusters), settings())
    made = views(prompts, references, "once")
    assert list(made) == ["once", "as_is"]
    assert made["as_is"].sizes() == {"n": 40, "reference_n": 40}
    kept = [*prompts["cluster"][made["once"].prompts], *references["cluster"][made["once"].references]]
    assert sorted(kept) == list(range(20))
    turned = dict(found(rows(80, clusters), decides="as_is"))
    assert list(turned) == ["as_is", "once"]
    assert np.array_equal(turned["once"].prompts, made["once"].prompts)


def test_a_large_cluster_is_as_often_a_prompt_as_a_single_pair() -> None:
    """Or prompts and references were two populations: the first of many copies is mostly a reference."""
    clusters = [*np.repeat(np.arange(200), 10).tolist(), *range(1000, 1200)]
    prompts, _ = sides(rows(2200, clusters), settings(images=1100))
    held = prompts["cluster"][prompts["once"]]
    of_many, alone = int((held < 1000).sum()), int((held >= 1000).sum())
    assert 75 < of_many < 125
    assert 75 < alone < 125


def test_the_clean_split_has_prompts_and_references_of_its_own() -> None:
    table = rows(40, clean=12)
    prompts, references = sides(table, settings(images=15, kid_subset_size=5, grid=5))
    made = views(prompts, references, "once")
    assert list(made) == ["once", "clean"]
    assert made["clean"].sizes() == {"n": 6, "reference_n": 6}, "no more than fit"
    assert made["once"].sizes() == {"n": 15, "reference_n": 25}
    assert set(prompts["split"][made["clean"].prompts]) == {"clean"}
    assert not (made["clean"].prompts & made["once"].prompts).any()
    assert list(found(table, decides="clean")) == ["clean", "as_is"]
    assert found(rows(10, clean=40))["clean"].sizes()["n"] == 5, "no more than of the evaluation"


def test_unseen_leaves_out_the_prompts_whose_caption_the_pool_has_and_no_reference() -> None:
    table = rows(80, [i // 2 for i in range(80)])
    table["caption"] = [f"A  Cat {name}." for name in table["id"]]
    pool: list[list[str]] = [["a dog", *(f"a cat {name}" for name in table["id"][::4])], [], ["A CAT P0001!"]]
    known = set(table["id"][::4]) | {"p0001"}
    table["in_pool"] = captions.among(table["caption"].tolist(), pool)
    assert set(table["id"][table["in_pool"]]) == known
    for decides in ("once", "as_is"):
        prompts, references = sides(table, settings(decides=decides))
        made = views(prompts, references, decides)
        assert list(made) == [decides, *({"once": ["as_is"], "as_is": ["once"]}[decides]), "unseen"]
        new = ~prompts["id"].isin(known).to_numpy()
        assert 0 < new.sum() < len(new)
        assert np.array_equal(made["unseen"].prompts, made[decides].prompts & new)
        assert np.array_equal(made["unseen"].references, made[decides].references)


@pytest.mark.parametrize("part", [0, 1])
def test_unseen_is_no_view_where_the_pool_has_all_captions_or_none(part: int) -> None:
    assert list(found(rows(20).assign(in_pool=bool(part)))) == ["once"]


def test_what_a_file_is_sorted_by_changes_nothing() -> None:
    table = rows(60, [i // 3 for i in range(60)], clean=20)
    again = table.sort_values("id")
    again = again.iloc[stateless.id_order(again["id"])]
    for one, other in zip(sides(table, settings()), sides(again, settings()), strict=True):
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_what_cannot_be_measured_is_refused_or_left_out() -> None:
    with pytest.raises(Refusal, match=r"no prompts of evaluate\.decides clean; run"):
        views(*sides(rows(20), settings()), "clean")
    with pytest.raises(Refusal, match=r"x\.decides is clean, but the pool's block asks for no such split"):
        sides(rows(20), settings(decides="clean"), "x")
    with pytest.raises(Refusal, match="the split clean has 7 usable pairs; at least 8 are needed"):
        sides(rows(20, clean=7), settings())
    with pytest.raises(Refusal, match=r"decides is once, which leaves . prompts and . references"):
        sides(rows(20, [0] * 20), settings())
    assert list(found(rows(20, [0] * 20), decides="as_is")) == ["as_is"], "one cluster is no view"

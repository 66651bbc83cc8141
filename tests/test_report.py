import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from alchemist import files, ingest, pool_store, report, report_figures, report_tables, report_words, samplers
from alchemist.pool_store import Row, write_pool
from alchemist.refusal import Refusal
from alchemist.report import FULL, Stat, Study
from alchemist.report_words import DASH, MINUS
from alchemist.settings.grid import GridSettings
from alchemist.settings.pool import EmojiPool, pool_settings
from alchemist.settings.rater import rater_settings
from alchemist.settings.selection import SelectionSettings
from stages import report as stage

REPO = Path(__file__).resolve().parent.parent
EVIL = "<script>alert('caption')</script> & more"
REJECTED = {"unreadable image": 3, "empty caption": 2}
PAIRS = 203  # not a multiple of ten


def params(**grid: Any) -> dict[str, Any]:
    """The repo's params.yaml with a small pool and a grid of its own."""
    held: dict[str, Any] = yaml.safe_load((REPO / "params.yaml").read_text())
    held["pools"]["emoji"] |= {
        "pairs": PAIRS, "meta_validation": {"pairs": 10, "source": "mixture"}, "evaluation": {"pairs": 12},
        "scorer": {"pairs": 10},
    }  # fmt: skip
    held["grid"] = {
        "selections": ["oracle", "random", "topk", "alchemist", "loss"], "ratios": [0.5, 0.2],
        "raters": ["alchemist", "loss", "random"], "oracles": ["oracle"], "models": ["xs"], "seeds": [0],
    } | grid  # fmt: skip
    return held


def study_of(held: dict[str, Any]) -> Study:
    grid = GridSettings.model_validate({k: tuple(v) for k, v in held["grid"].items()})
    chosen = {name: SelectionSettings.model_validate(held["selections"][name]) for name in grid.selections}
    used = {s.rater: rater_settings(held["raters"][s.rater], s.rater) for s in chosen.values()}
    return Study(grid, chosen, used)


def score(cell: report.Cell, pairs: int, number: int) -> dict[str, Any]:
    """Made-up figures: every cell's differ, and every checkpoint's."""
    budget = 12000
    points = {budget: ["equal_epochs", "equal_images"]} if cell.selection == FULL else {
        round(cell.ratio * budget): ["equal_epochs"], 9000: ["curve"], budget: ["equal_images"]
    }  # fmt: skip
    checkpoints = [
        {
            "images": images,
            "epochs": images / pairs,
            "points": names,
            "fd_lite0": 600 - images / 100 + number + cell.seed / 3,
            "fd_lite0_tokenized": 500 - images / 100 + number,
            "kid_lite0": 0.5 - images / 1e5 + number / 100,
            "kid_lite0_sd": 0.01,
            "clip_lit": 8 + images / 6000 - number / 10 + 2 * cell.seed,
            "nll": 5.2 - images / 30000 + number / 50 + cell.seed / 100,
            "seconds": 9.5,
        }
        for images, names in sorted(points.items())
    ]
    return {
        "cell": cell.name, "model": cell.model, "seed": cell.seed, "subset_pairs": pairs, "pool_pairs": PAIRS,
        "parameters": 1234567, "batch": 32, "train_seconds": 40.0, "train_flops": 3e12, "threads": 2,
        "versions": {"torch": "2.9.1", "numpy": "2.3.4"}, "checkpoints": checkpoints, "n": 6,
        "reference_n": 6,
        "floors": {
            "fd_lite0": 33.1, "fd_lite0_tokenized": 30.2, "fd_reconstruction": 88.8, "kid_lite0": 0.0001,
            "clip_lit": 79.0, "clip_lit_reconstruction": 71.25,
        },
        "names": {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}, "evaluate_seconds": 21.0,
        "grid_prompts": [f"prompt {i} of <b>all</b>" for i in range(6)],
    }  # fmt: skip


def log_of(kind: str) -> list[dict[str, float]]:
    steps = range(32, 9600, 320)
    if kind == "meta":
        return [
            {"images": n, "seconds": n / 200, "upper_weight": 1.0, "validation_loss": 7 - n / 5000,
             "train_loss": 7 - n / 6000, "effective_sample_share": 1 - n / 20000, "gate": 0.5,
             "weight_loss_correlation": -n / 10000}
            for n in steps
        ]  # fmt: skip
    row = {"epochs": 0.1, "rate": 0.001}
    every = [{"images": n, "seconds": n / 400, "loss": 7 - n / 5000, **row} for n in steps]
    return every if kind == "loss" else []


def build(root: Path, held: dict[str, Any], planted: bool = True) -> None:
    """A data folder as the earlier stages leave it: the pool, ratings and subsets by the real modules."""
    (root / "params.yaml").write_text(yaml.safe_dump(held))
    data, study = root / "data", study_of(held)
    pool = pool_settings(held["pools"]["emoji"], "pools.emoji")
    assert isinstance(pool, EmojiPool)
    composed = [dataclasses.replace(row, caption=f"{row.caption} {EVIL}") for row in ingest.rows(pool, 1)]
    if not planted:
        composed = [dataclasses.replace(row, kind=None) for row in composed]
    reasons = [reason for reason, count in REJECTED.items() for _ in range(count)]
    broken = [Row(f"bad-{i}", "", "pool", f"bad-{i}", None, reason, None) for i, reason in enumerate(reasons)]
    with files.whole_folder(data / "pool") as draft, files.whole_folder(data / "truth") as truth:
        facts = {"pool": "emoji", "licence": ingest.licence(pool)}
        write_pool(draft, [*composed, *broken], pool.resolution, pool.shard_pairs, facts)
        (draft / pool_store.TRUTH).replace(truth / pool_store.TRUTH)
    ids = [row.id for row in composed if row.split == "pool"]
    informative = np.array([row.kind == "informative" for row in composed if row.split == "pool"])
    rng = np.random.default_rng(0)
    (data / "ratings").mkdir()
    for name, rater in study.raters.items():
        ratings = informative.astype(float) if rater.kind == "oracle" else rng.normal(0.3 * informative, 1)
        table = pd.DataFrame({"id": ids, "rating": ratings})
        table.sample(frac=1, random_state=1).to_parquet(data / "ratings" / f"{name}.parquet")
        for arm, ratio in study.arms():
            if study.selections[arm].rater == name:
                path = data / "subsets" / arm / f"{ratio}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                samplers.select(table, ratio, study.selections[arm]).to_frame("id").to_parquet(path)
        if rater.kind != "oracle":
            facts = {"log": log_of(rater.kind), "seconds": 60.0, "score_seconds": 5.0, "pairs": len(ids)}
            files.write_json(data / "raters" / name / "rating.json", facts)
    for number, cell in enumerate(study.cells()):
        kept = len(ids) if cell.selection == FULL else samplers.kept_count(len(ids), cell.ratio)
        files.write_json(data / "scores" / f"{cell.name}.json", score(cell, kept, number))
        pixels = rng.integers(256, size=(128, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / "scores" / f"{cell.name}.png")
    for name in stage.CLOCKED:
        files.write_json(data / "times" / f"{name}.json", {"seconds": 1.5})
    (data / "tokenizer").mkdir()
    files.write_json(data / "tokenizer" / "card.json", {"psnr": 25.25, "config": {"codes": 2048}})
    files.write_manifest(data / "tokenizer")


def run(root: Path, monkeypatch: pytest.MonkeyPatch, out: str = "reports") -> Path:
    monkeypatch.chdir(root)
    given = ("pool", "truth", "ratings", "raters", "subsets", "scores", "tokenizer", "times")
    stage.run(**{name: Path("data") / name for name in given}, out=Path(out))
    return root / out


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    build(root, params())
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root


@pytest.fixture
def copy(world: Path, tmp_path: Path) -> Path:
    """The same data, free to be spoilt."""
    import shutil

    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    return tmp_path


def text(page: str) -> str:
    """What a reader sees of a page or of a part of it."""
    import html

    bare = re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", bare)).split())


def part(page: str, anchor: str) -> str:
    return page[page.index(f'<h2 id="{anchor}"') :].split("<h2", 2)[1]


# ---------------------------------------------------------------------------------- the page


def test_a_page_in_one_file_without_scripts_and_with_escaped_captions(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    assert "<script" not in page
    assert text(page).count(EVIL) >= 10 * 6  # every example, as it is written
    assert "prompt 0 of <b>all</b>" in text(page)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "url(http" not in page
    assert "prefers-color-scheme: dark" in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }


def test_every_section_stands_in_its_order(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    wanted = ["results", "curves", "makeup", "examples", "samples", "rating", "ledger", "cost", "facts"]
    assert re.findall(r'<h2 id="(\w+)"', page) == wanted
    assert part(page, "examples").count("<img") == 60
    assert part(page, "samples").count("<img") == 11
    assert "CC BY-SA 4.0" in part(page, "facts")
    assert "psnr 25.25" in text(part(page, "facts"))
    assert "scales.tiny.train.images 9600" in text(part(page, "facts"))
    assert "versions.torch 2.9.1" in text(part(page, "facts"))


def test_equal_inputs_give_equal_bytes(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = run(world, monkeypatch, "again")
    first = {p.relative_to(world / "reports"): p.read_bytes() for p in (world / "reports").rglob("*.*")}
    assert first == {p.relative_to(again): p.read_bytes() for p in again.rglob("*.*")}
    assert len(first) == 3 + 4 + 4 + 5  # curves, deciles of four raters, panels of rater training


def test_result_rows_floors_and_the_papers_numbers(world: Path) -> None:
    shown = part((world / "reports" / "index.html").read_text(), "results")
    epochs, images = (text(piece) for piece in shown.split("<h3>")[1:])
    number = {"full": 0, "topk": 3}
    for at, seen in ((epochs, 6000), (images, 12000)):
        fd = 600 - seen / 100 + number["topk"]
        gap = number["topk"] - 2  # random is the cell before
        assert f"topk Top-K on alchemist 50 % 102 {seen:,} {seen / 102:.2f} {fd:.1f} +{gap:.1f}" in at
        assert re.search(r"full all usable pairs 100 % 203 12,000 59\.11 480\.0 .* 17\.48 0\.2336", at)
        assert f"real images against real 33.1 {DASH} 0.1 79.00 {DASH}" in at
        assert f"real images through the tokenizer 88.8 30.2 {DASH} 71.25 {DASH}" in at
    assert re.search(r"alchemist Shift-Gsample on alchemist 20 % .*? 18\.22 0\.2277", epochs)
    assert re.search(r"random at random 20 % .*? 20\.69† 0\.2219†", epochs)
    assert re.search(r"topk Top-K on alchemist 20 % .*? 48\.20 0\.1945", epochs)
    assert "loss Shift-Gsample on loss 50 % 102 6,000 58.82 545.0 +3.0" in epochs


def test_the_story_compares_at_the_same_size_and_gives_one_seed_no_interval(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    said = text(page[page.index("<h1>") : page.index("<nav>")])
    assert "There is one seed a cell, so no figure has an interval" in said
    assert "±" not in said
    # alchemist is cell 4 at 0.5, random cell 2, the full data cell 0; 6,000 images are equal epochs.
    assert "at equal epochs it has FD (Lite0) 544.0 (full data 480.0, random 542.0)" in said
    assert "it is not FID" in said
    assert "33.1, and 88.8 once" in said


def test_the_ledger_adds_up_and_names_reasons(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    rows = text(part(page, "ledger"))
    assert "rejected of it: empty caption of it: unreadable image all" in rows
    assert "full 203 0 5 2 3 208" in rows
    assert "alchemist, 50 % 102 101 5 2 3 208" in rows
    assert "alchemist, 20 % 41 162 5 2 3 208" in rows
    assert "evaluation 12 0" in rows


def test_summary_has_few_short_keys(world: Path) -> None:
    held = json.loads((world / "reports" / "summary.json").read_text())
    assert held == {
        "ratio": 0.5, "fd_full": 480.0, "fd_rnd": 542.0, "fd_alc": 544.0,
        "nll_full": 4.8, "nll_rnd": 5.04, "nll_alc": 5.08,
    }  # fmt: skip
    page = text((world / "reports" / "index.html").read_text())
    assert all(key in page for key in held)


def test_table_holds_the_scores_bit_by_bit(world: Path) -> None:
    table = pd.read_csv(world / "reports" / "table.csv", dtype=str, keep_default_na=False)
    found = 0
    for name, rows in table.groupby("cell"):
        held = json.loads((world / "data" / "scores" / f"{name}.json").read_text())
        for at in held["checkpoints"]:
            for point in at["points"]:
                (row,) = rows[rows["point"] == point].to_dict("records")
                for key in set(at) - {"points"}:
                    assert float(row[key]) == at[key]
                assert int(row["subset_pairs"]) == held["subset_pairs"]
                found += 1
    assert found == len(table) == 2 + 10 * 3


# ------------------------------------------------------------------------------------ refusals


def test_a_missing_cell_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "data" / "scores" / "topk-0.2-xs-0.json").unlink()
    with pytest.raises(Refusal, match=r"the grid names the cell topk-0\.2-xs-0") as told:
        run(copy, monkeypatch)
    assert "\n" not in str(told.value)


def test_cells_beside_the_grid_are_not_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "data" / "scores" / "old-0.2-xs-0.json").write_text("not JSON")
    before = (copy / "reports" / "index.html").read_bytes()
    assert (run(copy, monkeypatch) / "index.html").read_bytes() == before


def test_cells_measured_otherwise_are_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "data" / "scores" / "loss-0.5-xs-0.json"
    files.write_json(path, files.read_json(path) | {"n": 7})
    with pytest.raises(Refusal, match=r"full-xs-0 and loss-0\.5-xs-0 differ in n,"):
        run(copy, monkeypatch)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda ids: [*ids[1:], "evaluation-0000001"], "'evaluation-0000001', which is no usable pair"),
        (lambda ids: [*ids[1:], "bad-0"], "'bad-0', which is no usable pair"),
        (lambda ids: [*ids[1:], ids[1]], "102 kept [+] 102 pruned [+] 5 rejected are not 208 pairs"),
        (lambda ids: ids[1:], "was trained on 102 pairs, but its subset holds 101"),
    ],
)
def test_a_subset_that_does_not_fit_is_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, said: str
) -> None:
    path = copy / "data" / "subsets" / "random" / "0.5.parquet"
    ids = pd.read_parquet(path)["id"].tolist()
    pd.DataFrame({"id": spoil(ids)}).to_parquet(path)
    with pytest.raises(Refusal, match=said):
        run(copy, monkeypatch)


@pytest.mark.parametrize("spoil", [lambda t: t.iloc[1:], lambda t: pd.concat([t.iloc[1:], t.iloc[1:2]])])
def test_ratings_that_miss_a_pair_are_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    path = copy / "data" / "ratings" / "loss.parquet"
    spoil(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(Refusal, match=r"loss\.parquet does not rate each of the 203 usable pairs"):
        run(copy, monkeypatch)


# ------------------------------------------------------------------------- other pools and grids


def test_two_seeds_and_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"selections": ["alchemist", "random"], "ratios": [0.5], "seeds": [0, 3]}
    build(tmp_path, params(**grid), planted=False)
    page = (run(tmp_path, monkeypatch) / "index.html").read_text()
    assert "This pool has no planted truth" in page
    assert "<em>informative" not in page
    said = text(part(page, "results"))
    # Cells in order: full 0 and 3, alchemist 0 and 3, random 0 and 3. Per seed the CLIP-Score gains
    # 2 and the cell's number costs 0.1: mean 8 + 1 - (2 + 3) / 20 + 3, sd (6 - 0.1) / sqrt(2).
    assert f"{9 - 0.25 + 3:.2f} ± {5.9 / 2**0.5:.2f}" in said
    # Paired with random, only the cell's number is left, which is equal for both seeds.
    assert "+0.20 ± 0.00" in said
    story = text(page[page.index("<h1>") : page.index("<nav>")])
    assert "n = 2 seeds" in story
    assert "no figure has an interval" not in story
    assert "alchemist, 50 % , seed 3" in text(page).replace("%,", "% ,")


def test_best_ignores_the_oracle_and_knows_the_direction() -> None:
    study = study_of(params(selections=["oracle", "random", "topk"], ratios=[0.5]))
    scores = {}
    for number, cell in enumerate(study.cells()):
        held = score(cell, 10, number)
        for at in held["checkpoints"]:
            at["nll"] = {"full": 4.0, "oracle": 1.0, "random": 3.0, "topk": 3.5}[cell.selection]
            at["clip_lit"] = {"full": 4.0, "oracle": 9.0, "random": 3.0, "topk": 3.5}[cell.selection]
        scores[cell.name] = held
    rows = {r.selection: r for r in report.results(study, report.tidy(study, scores), "xs", "equal_images")}
    assert [name for name, row in rows.items() if "nll" in row.best] == ["random"]
    assert [name for name, row in rows.items() if "clip" in row.best] == ["full"]
    assert rows["topk"].to_random["nll"] == Stat(0.5, None, 1)
    assert rows["full"].to_random == rows["random"].to_random == {}


def test_cell_names_are_those_of_dvc() -> None:
    held = params(models=["xs", "s"], seeds=[0, 7], ratios=[0.2, 0.5], selections=["topk", "loss"])
    grid = held["grid"]
    product = itertools.product(grid["selections"], grid["ratios"], grid["models"], grid["seeds"])
    wanted = {"-".join(map(str, values)) for values in product}
    wanted |= {f"full-{m}-{s}" for m, s in itertools.product(grid["models"], grid["seeds"])}
    names = [cell.name for cell in study_of(held).cells()]
    assert set(names) == wanted
    assert len(names) == len(wanted)


def test_paper_rows_follow_rater_and_sampler() -> None:
    held = params()
    held["selections"]["bare"] = held["selections"]["alchemist"] | {"rater": "alchemist_no_group"}
    held["selections"]["warm"] = held["selections"]["alchemist"] | {"rater": "alchemist_temperature"}
    held["grid"]["selections"] = ["alchemist", "bare", "warm", "gsample", "loss", "oracle", "random"]
    study = study_of(held)

    def fid(name: str, ratio: float) -> float | None:
        found = report.paper_numbers(study, name, ratio)
        return None if found is None else float(found["fid"])

    assert [fid("alchemist", r) for r in (0.5, 0.2, 0.1, 0.3)] == [16.2, 18.22, 21.54, None]
    assert (fid("bare", 0.2), fid("bare", 0.5), fid("gsample", 0.2)) == (18.37, None, 19.22)
    assert (fid("random", 0.5), fid("random", 0.2), fid(FULL, 1.0)) == (19.70, 20.69, 17.48)
    assert fid("warm", 0.2) is fid("loss", 0.2) is fid("oracle", 0.2) is None


# ---------------------------------------------------------------------------- closed forms


def test_auc_counts_pairs_of_pairs_and_halves_ties() -> None:
    rating = pd.Series([3.0, 1.0, 2.0, 2.0, 0.0])
    positive = np.array([True, False, True, False, True])
    pairs = [(a, b) for a in rating[positive] for b in rating[~positive]]
    assert report_tables.auc(rating, positive) == sum((a > b) + (a == b) / 2 for a, b in pairs) / 6 == 3.5 / 6
    assert np.isnan(report_tables.auc(rating, np.ones(5, dtype=bool)))


def test_decile_shares_by_hand() -> None:
    # Twenty pairs: the best two are plain, the next five informative, the rest chaotic.
    kinds = ["plain"] * 2 + ["informative"] * 5 + ["chaotic"] * 13
    ids = [f"p{i}" for i in range(20)]
    rating = pd.Series(np.arange(20, 0, -1.0), index=ids).sample(frac=1, random_state=0)
    shares = report_tables.decile_shares(rating, pd.Series(kinds, index=ids))
    assert shares.index.tolist() == list(range(10))
    assert shares["plain"].tolist() == [1.0] + [0.0] * 9
    assert shares["informative"].tolist() == [0, 1, 1, 0.5] + [0] * 6
    assert np.allclose(shares.sum(axis=1), 1)


def test_deciles_are_even_even_where_ratings_tie() -> None:
    counts = report_tables.deciles(pd.Series(0.0, index=[f"p{i}" for i in range(203)])).value_counts()
    assert sorted(counts) == [20] * 7 + [21] * 3


def test_percentiles_are_zero_at_the_best_and_fifty_on_average() -> None:
    found = report_tables.percentiles(pd.Series([5.0, 9.0, 7.0, 7.0]))
    assert found.tolist() == [87.5, 12.5, 50.0, 50.0]


def test_separation_and_spearman() -> None:
    ratings = pd.DataFrame({"a": [4.0, 3, 2, 1], "b": [-8.0, -7, -2, -1]}, index=list("wxyz"))
    kinds = pd.Series(["plain", "informative", "informative", "plain"], index=list("wxyz"))
    table = report_tables.separation(ratings, kinds)
    assert table.loc["a"].to_dict() == {"informative": 50.0, "plain": 50.0, "auc": 0.5}
    assert np.allclose(report_tables.spearman(ratings), [[1, -1], [-1, 1]])


def test_examples_hold_pairs_of_their_decile_and_do_not_depend_on_row_order() -> None:
    rating = pd.Series(np.arange(100.0), index=[f"p{i:02d}" for i in range(100)])
    chosen = report_tables.examples(rating, 3)
    assert all(90 - 10 * d <= rating[name] < 100 - 10 * d for d, names in enumerate(chosen) for name in names)
    assert [len(set(names)) for names in chosen] == [3] * 10
    assert report_tables.examples(rating.sample(frac=1, random_state=0), 3) == chosen


def test_costs_count_rating_and_stop_at_equal_epochs() -> None:
    study = study_of(params(selections=["oracle", "alchemist"], ratios=[0.2]))
    scores = {cell.name: score(cell, 10, i) for i, cell in enumerate(study.cells())}
    logs = {"alchemist": {"log": [{"seconds": 90.0}], "score_seconds": 10.0, "seconds": 30.0}}
    full, oracle, ours = report_tables.costs(study, scores, logs)
    assert (full.seconds, full.rating_seconds, full.share_with_rating) == (40.0, None, 1.0)
    assert (oracle.seconds, oracle.rating_seconds, oracle.share_with_rating) == (8.0, None, 0.2)
    # A resumed rater: 90 s by its log, though the last try took 30 s.
    assert (ours.seconds, ours.rating_seconds, ours.share) == (8.0, 100.0, 0.2)
    assert ours.share_with_rating == 108 / 40
    assert ours.flops == 3e12 / 5


def test_stat_of_one_value_has_no_spread() -> None:
    assert Stat.of(pd.Series([2.0])) == Stat(2.0, None, 1)
    assert Stat.of(pd.Series([1.0, 3.0])) == Stat(2.0, 2**0.5, 2)


@pytest.mark.parametrize(
    ("value", "digits", "sign", "wanted"),
    [
        (-1234.56, 1, False, f"{MINUS}1,234.6"),
        (0.04, 1, True, "0.0"),
        (-0.04, 1, True, "0.0"),
        (0.06, 1, True, "+0.1"),
        (float("nan"), 1, False, DASH),
        (None, 0, False, DASH),
    ],
)
def test_numbers(value: float | None, digits: int, sign: bool, wanted: str) -> None:
    assert report_words.number(value, digits, sign) == wanted


def test_a_long_log_keeps_its_end() -> None:
    log = [{"images": float(i)} for i in range(1001)]
    kept = report_figures.thinned(log, 100)
    assert len(kept) <= 100
    assert kept[-1] is log[-1]
    assert report_figures.thinned(log[:7], 100) == log[:7]


def test_no_two_selections_look_alike() -> None:
    assert len({report_figures.look(i) for i in range(42)}) == 42


def test_the_pool_of_the_report_is_the_split_that_is_pruned(world: Path) -> None:
    index = pool_store.read_index(world / "data" / "pool")
    assert set(index["split"]) == set(pool_store.SPLITS)  # so that a report that counted all would fail

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
from scipy import stats

from alchemist.analysis import results as report
from alchemist.analysis.results import FULL, Stat, Study
from alchemist.analysis.statistics import Contrast, Interval
from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.pools import read as ingest
from alchemist.pools import store as pool_store
from alchemist.pools.store import Row, write_pool
from alchemist.pruning import laws as samplers
from alchemist.report import figures as report_figures
from alchemist.report import material as report_tables
from alchemist.report import page as report_page
from alchemist.report import words as report_words
from alchemist.report.words import DASH, MINUS
from alchemist.settings import parse
from alchemist.settings.grid import GridSettings
from alchemist.settings.pool import EmojiPool, pool_settings
from alchemist.settings.rater import rater_settings, table_name
from alchemist.settings.selection import SelectionSettings
from stages import report as stage

REPO = Path(__file__).resolve().parents[2]
EVIL = "<script>alert('caption')</script> & more"
REJECTED = {"unreadable image": 3, "empty caption": 2}
PAIRS = 203  # not a multiple of ten
PARAMETERS = {"xs": 1234567, "s": 2345678, "m": 3456789}


def params(**grid: Any) -> dict[str, Any]:
    """The repo's params.yaml with a small pool and a grid of its own."""
    held: dict[str, Any] = yaml.safe_load((REPO / "params.yaml").read_text())
    held["pools"]["emoji"] |= {
        "pairs": PAIRS, "meta_validation": {"pairs": 10, "source": "mixture"}, "evaluation": {"pairs": 12},
        "scorer": {"pairs": 10},
    }  # fmt: skip
    held["grid"] = {
        "selections": ["oracle", "random", "topk", "alchemist", "loss"], "ratios": [0.5, 0.2],
        "raters": ["alchemist", "loss", "random"], "embeddings": [], "heuristics": [], "oracles": ["oracle"],
        "models": ["xs"], "seeds": [0], "ablation": {"selections": [], "ratios": []},
        "transfer": {"selections": [], "ratios": [], "models": []},
    } | grid  # fmt: skip
    held["statistics"] = {"primary": None, "secondary": [], "confidence": 0.95}
    return held


def study_of(held: dict[str, Any]) -> Study:
    grid = parse(GridSettings, held["grid"], "grid")
    chosen = {n: parse(SelectionSettings, held["selections"][n], n) for n in grid.chosen()}
    names = [*(s.rater for s in chosen.values()), *grid.raters, *grid.heuristics]
    return Study(grid, chosen, {name: rater_settings(held["raters"][name], name) for name in names})


def score(cell: report.Cell, pairs: int, number: float, noise: float = 0.0) -> dict[str, Any]:
    """Made-up figures: every cell's differ, and every checkpoint's."""
    budget = 12000
    number += noise * float(stateless.generator("score", cell.name).normal())
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
        "parameters": PARAMETERS[cell.model], "batch": 32, "train_seconds": 40.0, "train_flops": 3e12,
        "threads": 2,
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


def build(root: Path, held: dict[str, Any], planted: bool = True, noise: float = 0.0) -> None:
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
    for (name, rater), seed in itertools.product(study.raters.items(), study.grid.seeds):
        path = data / "ratings" / table_name(name, rater, seed)
        if not path.is_file():
            ratings = rng.normal(0.3 * informative, 1)
            ratings = informative.astype(float) if rater.kind == "oracle" else ratings
            table = pd.DataFrame({"id": ids, "rating": ratings}).sample(frac=1, random_state=1)
            path.parent.mkdir(parents=True, exist_ok=True)
            table.to_parquet(path)
            if rater.kind != "oracle":
                facts = {"log": log_of(rater.kind), "seconds": 60.0, "score_seconds": 5.0, "pairs": len(ids)}
                work = data / "raters" / name / path.stem / "rating.json"
                files.write_json(work, facts | {"train_flops": 4e12, "score_flops": 5e11})
        table = pd.read_parquet(path)
        for arm, ratio in study.arms():
            chosen = study.selections[arm]
            if chosen.rater == name:
                drawn = samplers.select(table, ratio, chosen.model_copy(update={"seed": chosen.seed + seed}))
                kept_in = data / "subsets" / arm / str(ratio) / f"{seed}.parquet"
                kept_in.parent.mkdir(parents=True, exist_ok=True)
                drawn.to_frame("id").to_parquet(kept_in)
    for number, cell in enumerate(study.cells()):
        kept = len(ids) if cell.selection == FULL else samplers.kept_count(len(ids), cell.ratio)
        made = score(cell, kept, number, noise)
        files.write_json(data / "scores" / f"{cell.name}.json", made)
        pixels = rng.integers(256, size=(128, 256, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / "scores" / f"{cell.name}.png")
    for name in stage.CLOCKED:
        files.write_json(
            data / "times" / f"{name}.json",
            {"seconds": 1.5, "flops": 2e11} if name == "encode" else {"seconds": 1.5},
        )
    (data / "tokenizer").mkdir()
    files.write_json(data / "tokenizer" / "card.json", {"psnr": 25.25, "config": {"codes": 2048}})
    files.write_manifest(data / "tokenizer")


def run(root: Path, monkeypatch: pytest.MonkeyPatch, out: str = "reports") -> Path:
    monkeypatch.chdir(root)
    given = ("pool", "truth", "ratings", "raters", "subsets", "scores", "tokenizer", "times")
    stage.run(**{name: Path("data") / name for name in given}, beside=Path("beside"), out=Path(out))
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
    wanted = [
        "results", "verdicts", "contrasts", "agreement", "cost", "paper", "curves", "makeup", "examples",
        "samples", "rating", "ledger", "facts",
    ]  # fmt: skip
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
    # Page and tables; curves, deciles of four raters, rater training, figures 3 and 6 of the paper.
    assert len(first) == 5 + 4 + 4 + 5 + 1 + 4


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
    assert f"full {DASH} 203 0 5 2 3 208" in rows
    assert "alchemist, 50 % 0 102 101 5 2 3 208" in rows
    assert "alchemist, 20 % 0 41 162 5 2 3 208" in rows
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
    assert set(table["pool"]) == {"emoji"}
    assert set(table["scale"]) == {"tiny"}


def test_one_seed_gets_no_interval_and_no_verdict_on_generators(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    for section in ("verdicts", "contrasts", "agreement", "cost"):
        assert "There is one seed" in text(part(page, section)), section
    rows = pd.read_csv(world / "reports" / "verdicts.csv")
    assert rows["claim"].tolist() == [f"C{i}" for i in range(1, 9)]
    assert set(rows["verdict"]) == {"not tested"}
    assert pd.read_csv(world / "reports" / "contrasts.csv").empty
    assert "this figure has nothing to show" in part(page, "paper")  # no block is in the grid


# -------------------------------------------------------------------------------- three seeds


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds, an ablation and a transfer; arms that stand later in the grid are worse."""
    held = params(
        selections=["alchemist", "random", "topk", "gsample", "loss"], oracles=[], heuristics=["clarity"],
        raters=["alchemist", "alchemist_no_group", "loss", "random"], seeds=[0, 1, 2],
        ablation={"selections": ["block0", "block40", "alchemist_no_group"], "ratios": [0.2]},
        transfer={"selections": ["random", "alchemist"], "ratios": [0.2], "models": ["s"]},
    )  # fmt: skip
    held["statistics"] |= {"primary": "alchemist_random", "secondary": ["alchemist_loss", "alchemist_full"]}
    root = tmp_path_factory.mktemp("three")
    build(root, held, noise=0.5)
    other = pd.DataFrame(
        [
            {"pool": pool, "scale": scale, "cell": "c", "selection": name, "rater": "", "sampler": "random",
             "ratio": 0.5, "model": "xs", "seed": seed, "subset_pairs": 9, "point": point, "images": 9,
             "epochs": 1.0, "fd_lite0": 111.0 + seed, "fd_lite0_tokenized": 1.0, "kid_lite0": 1.0,
             "kid_lite0_sd": 1.0, "clip_lit": 7.0, "nll": 3.0, "seconds": 1.0}
            for pool, scale in (("<i>other</i>", "tiny"), ("far", "huge"), ("emoji", "tiny"))
            for name, point, seed in itertools.product(
                ("random", "alchemist", "alchemist_carried"), ("equal_epochs", "equal_images"), (0, 1, 2)
            )
        ]
    )  # fmt: skip
    (root / "beside").mkdir()
    other.to_csv(root / "beside" / "others.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root


def of_table(root: Path, selection: str, ratio: float, point: str, metric: str) -> np.ndarray:
    table = pd.read_csv(root / "reports" / "table.csv")
    rows = table[(table["selection"] == selection) & (table["ratio"] == ratio) & (table["model"] == "xs")]
    return rows[rows["point"] == point].sort_values("seed")[metric].to_numpy()


def test_contrasts_are_paired_by_seed_and_holm_leaves_the_primary_alone(three: Path) -> None:
    rows = pd.read_csv(three / "reports" / "contrasts.csv").set_index("contrast")
    assert rows.index.tolist() == ["alchemist_random", "alchemist_loss", "alchemist_full"]
    gaps = of_table(three, "alchemist", 0.5, "equal_images", "fd_lite0")
    gaps = gaps - of_table(three, "random", 0.5, "equal_images", "fd_lite0")
    half = stats.t.ppf(0.975, 2) * gaps.std(ddof=1) / 3**0.5
    first = rows.loc["alchemist_random"]
    assert np.allclose(first[["mean", "low", "high"]].tolist(), gaps.mean() + np.array([0, -half, half]))
    assert (first["n"], first["p_flip"], first["favours"]) == (3, 0.25, "alchemist")
    assert np.isnan(first["p_holm"])
    others = rows.iloc[1:]
    assert others["p_holm"].min() == pytest.approx(2 * others["p_t"].min())
    said = text(part((three / "reports" / "index.html").read_text(), "contrasts"))
    roles = ["primary", "secondary", "secondary"]
    places = [said.index(f"{name} {role}") for name, role in zip(rows.index, roles, strict=True)]
    assert places == sorted(places)
    mean = f"{gaps.mean():+.1f} [{gaps.mean() - half:+.1f}, {gaps.mean() + half:+.1f}]".replace("-", MINUS)
    assert f"equal images alchemist 3 {mean}" in said


def test_verdicts_on_the_page_are_those_of_the_file(three: Path) -> None:
    rows = pd.read_csv(three / "reports" / "verdicts.csv")
    claims = rows.drop_duplicates("claim").set_index("claim")
    assert claims.index.tolist() == [f"C{i}" for i in range(1, 9)]
    assert {"supported", "not tested"} >= set(claims.loc[["C4"], "verdict"])
    page = (three / "reports" / "index.html").read_text()
    said = text(part(page, "verdicts"))
    for claim, row in claims.iterrows():
        assert f"{claim} {row['verdict']} {row['sentence']} {' '.join(row['why'].split())}" in said
    story = text(page[page.index("<h1>") : page.index("<nav>")])
    first = story[: story.index("The pool emoji holds")]
    assert "n = 3 seeds" in first
    for word, found in claims.groupby("verdict"):
        told = first[first.lower().index(f"{word}: ") :].split(". ")[0]
        assert re.findall(r"C\d", told) == found.index.tolist()
    decided = rows[rows["decides"] == True]  # noqa: E712
    assert set(decided["part_verdict"]) <= {"supported", "not supported", "undecided"}
    for _, row in decided[decided["unit"] == "fd"].iterrows():
        outside = row["low"] > 0 or row["high"] < 0
        assert (row["part_verdict"] == "undecided") != outside


def test_a_rating_that_was_carried_to_another_pool_decides_though_the_grid_has_it_not(three: Path) -> None:
    rows = pd.read_csv(three / "reports" / "verdicts.csv")
    rows = rows[(rows["claim"] == "C8") & (rows["unit"] == "fd") & rows["part"].str.contains("pool ")]
    found = {
        re.search(r"(\w+) less (\w+) at", row["part"]).groups(): row["decides"]  # type: ignore[union-attr]
        for _, row in rows[rows["part"].str.contains("equal epochs")].iterrows()
    }
    assert found == {
        ("alchemist_carried", "random"): True,
        ("alchemist_carried", "alchemist"): False,
        ("alchemist", "random"): False,
    }


def test_agreement_is_over_seeds_and_a_rater_meets_itself(three: Path) -> None:
    said = text(part((three / "reports" / "index.html").read_text(), "agreement"))
    tables = [pd.read_parquet(three / "data/ratings/loss" / f"{s}.parquet").set_index("id") for s in range(3)]
    ranks = [table["rating"].rank().reindex(tables[0].index) for table in tables]
    pairs = [a.corr(b) for a, b in itertools.combinations(ranks, 2)]
    low, mean, high = (f"{v:.3f}".replace("-", MINUS) for v in (min(pairs), np.mean(pairs), max(pairs)))
    assert f"{mean} {low} to {high}" in said
    # A rater without seeds has nothing to meet; random subsets of half share a third by chance.
    assert re.search(rf"clarity .* {DASH} Means over seeds", said)
    assert "keep 50 % : Jaccard index, 0.33" in said.replace("%:", "% :")


def test_a_ledger_row_holds_for_every_seed(three: Path) -> None:
    rows = text(part((three / "reports" / "index.html").read_text(), "ledger"))
    assert "alchemist, 50 % 0, 1, 2 102 101 5 2 3 208" in rows
    assert "block40, 20 % 0, 1, 2 41 162 5 2 3 208" in rows


def test_a_pair_twice_in_one_seed_is_refused(three: Path, tmp_path: Path) -> None:
    index = pool_store.read_index(three / "data" / "pool")
    index = index[index["split"] == "pool"]
    ids = index.loc[index["status"] == "ok", "id"].reset_index(drop=True)
    good, bad = ids[:40], pd.concat([ids[:39], ids[:1]])
    accounts = report_tables.ledger(
        index, {("a", 0.2, 0): good, ("a", 0.2, 1): good, ("a", 0.2, 2): ids[:50]}
    )
    assert [(a.kept, seeds) for a, seeds in report_tables.merged(accounts)] == [
        (PAIRS, []), (40, [0, 1]), (50, [2]),
    ]  # fmt: skip
    with pytest.raises(Refusal, match=r"a at 0\.2, seed 1, does not add up"):
        report_tables.ledger(index, {("a", 0.2, 0): good, ("a", 0.2, 1): bad})


def test_many_cells_show_the_samples_of_the_first_seed_and_say_so(three: Path) -> None:
    shown = part((three / "reports" / "index.html").read_text(), "samples")
    cells = 1 + 5 * 2 + 3 + 2
    assert shown.count("<img") == cells
    assert f"Only those of seed 0 are shown, to keep the page small; {2 * cells} cells" in text(shown)
    assert "seed 1" not in text(shown)


def test_paper_tables_and_figures_stand_beside_ours(three: Path) -> None:
    page = (three / "reports" / "index.html").read_text()
    said = text(part(page, "paper"))
    fd = of_table(three, "gsample", 0.2, "equal_images", "fd_lite0")
    gap = fd - of_table(three, "random", 0.2, "equal_images", "fd_lite0")
    figure = f"{fd.mean():.1f} ± {fd.std(ddof=1):.1f} {gap.mean():+.1f} ± {gap.std(ddof=1):.1f}"
    assert re.search(
        r"Gsample 20 % LAION-30M STAR-0\.3B gsample xs 19\.22 0\.2248 .*" + re.escape(figure), said
    )
    assert re.search(r"Shift-Gsample 20 % LAION-30M STAR-0\.3B alchemist_no_group xs 18\.37", said)
    # In Table 2 the proxy's model s stands for STAR-0.3B, the rater's xs for STAR-40M.
    assert "Ours 20 % LAION-30M STAR-40M alchemist xs 26.74 0.2059" in said
    assert "Random 20 % LAION-30M STAR-0.3B random s 20.69† 0.2219†" in said
    assert f"Ours 20 % LAION-30M STAR-0.9B {DASH} {DASH} 16.71 0.2356 {DASH} {DASH} {DASH} {DASH}" in said
    made = {path.stem for path in (three / "reports" / "figures").iterdir()}
    assert {"paper-2b-equal_epochs", "paper-2b-equal_images", "paper-3", "paper-6-fd-seconds"} <= made
    # Other pools of this scale, escaped; neither this pool again nor another scale.
    assert f"our pool <i>other</i> {DASH} random xs {DASH} {DASH} 112.0 ± 1.0 7.00 ± 0.00" in said
    assert "<i>other" not in page
    assert "our pool far" not in said
    assert "our pool emoji" not in said


def test_costs_stand_in_seconds_and_operations(three: Path) -> None:
    said = text(part((three / "reports" / "index.html").read_text(), "cost"))
    # 20 % of the full data's 40 s and 3 TFLOP, 55 s and 4 TFLOP of the rater, 5 s and 0.5 of scoring.
    assert (
        f"alchemist, 20 % xs 1.5 s 0.20 TFLOP {DASH} 55.0 s 4.00 TFLOP 5.0 s 0.50 TFLOP 8.0 s 0.60 TFLOP "
        "68.0 s 5.10 TFLOP 20.0 170.0"
    ) in said
    assert "clarity 203" in said
    assert "Against random at equal size, until its final FD (Lite0)" in said
    assert "Against random at equal size, until its final NLL" in said


def test_tables_of_other_pools_are_checked(tmp_path: Path) -> None:
    names = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
    assert report.read_beside(tmp_path / "nothing", "emoji", "tiny", names) is None
    pd.DataFrame({"pool": ["b"], "scale": ["tiny"]}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(Refusal, match=r"b\.csv has no column selection; it should be the table\.csv"):
        report.read_beside(tmp_path, "emoji", "tiny", names)


def test_a_cell_of_another_pool_counts_once(tmp_path: Path) -> None:
    """Two studies on one pool share cells; counted twice they would look like two seeds."""
    names = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
    row: dict[str, object] = dict.fromkeys(report.columns(names).values(), 1.0)
    row |= {"pool": "b", "scale": "tiny", "selection": "random", "ratio": 0.5, "model": "xs", "seed": 0}
    row |= {"point": "equal_images", "images": 10}
    first, again = pd.DataFrame([row]), pd.DataFrame([row | {"fd_lite0": 2.0}, row | {"seed": 1}])
    first.to_csv(tmp_path / "b-first.csv", index=False)
    again.to_csv(tmp_path / "b-second.csv", index=False)
    found = report.read_beside(tmp_path, "emoji", "tiny", names)
    assert found is not None
    assert found[["seed", "fd"]].to_numpy().tolist() == [[0, 1.0], [1, 1.0]]


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
    path = copy / "data" / "subsets" / "random" / "0.5" / "0.parquet"
    ids = pd.read_parquet(path)["id"].tolist()
    pd.DataFrame({"id": spoil(ids)}).to_parquet(path)
    with pytest.raises(Refusal, match=said):
        run(copy, monkeypatch)


@pytest.mark.parametrize("spoil", [lambda t: t.iloc[1:], lambda t: pd.concat([t.iloc[1:], t.iloc[1:2]])])
def test_ratings_that_miss_a_pair_are_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    path = copy / "data" / "ratings" / "loss" / "0.parquet"
    spoil(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(Refusal, match=r"loss/0\.parquet does not rate each of the 203 usable pairs"):
        run(copy, monkeypatch)


# ------------------------------------------------------------------------- other pools and grids


def test_two_seeds_and_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"selections": ["alchemist", "random"], "ratios": [0.5], "seeds": [0, 3], "oracles": []}
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
    held["selections"]["wide"] = held["selections"]["alchemist"] | {"sigma": 40.0}
    held["selections"]["exact"] = held["selections"]["alchemist"] | {"rater": "reference"}
    names = ["wide", "bare", "warm", "exact", "alchemist", "gsample", "loss", "oracle", "random", "clarity"]
    held["grid"]["selections"] = names
    study = study_of(held)

    def fid(name: str, ratio: float) -> float | None:
        found = report.paper_numbers(study, name, ratio)
        return None if found is None else float(found["fid"])

    assert [fid("alchemist", r) for r in (0.5, 0.2, 0.1, 0.3)] == [16.2, 18.22, 21.54, None]
    assert (fid("bare", 0.2), fid("bare", 0.5), fid("gsample", 0.2)) == (18.37, None, 19.22)
    assert (fid("random", 0.5), fid("random", 0.2), fid(FULL, 1.0)) == (19.70, 20.69, 17.48)
    assert (fid("clarity", 0.5), fid("clarity", 0.2)) == (17.85, None)
    assert fid("warm", 0.2) is fid("wide", 0.2) is fid("exact", 0.2) is None
    assert fid("loss", 0.2) is fid("oracle", 0.2) is None
    assert study.headline == "alchemist"  # though others of its kind stand before it


def test_paper_rows_keep_to_their_model_and_data() -> None:
    held = params(transfer={"selections": ["alchemist", "random"], "ratios": [0.2], "models": ["m"]})
    study = study_of(held)
    models = report.paper_models(study, {"proxy": "s", "rater": "xs"}, PARAMETERS)
    assert models == {"STAR-40M": "xs", "STAR-0.3B": None, "STAR-0.9B": "m"}
    rows = report.paper_rows(study, models)
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
    rows = report.paper_rows(study, report.paper_models(study, {"proxy": "s", "rater": "xs"}, PARAMETERS))
    assert [r.selection for r in rows if r.method == "Clarity"] == ["clarity", "clarity_shift"]
    assert [r.selection for r in rows if (r.table, r.method) == ("table1", "Ours")] == ["alchemist"]
    assert len(rows) == 33
    assert "alchemist_carried" not in {r.selection for r in rows}


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
    rows = {
        (r.selection, r.ratio): r
        for r in report.results(study, report.tidy(study, scores), "xs", "equal_images")
    }
    assert rows["block0", 0.3].to_random == {}  # no random subset of that size
    assert rows["topk", 0.2].to_random["nll"].mean == pytest.approx(1 / 50)


def test_rows_of_contrasts_without_any() -> None:
    assert report_tables.contrast_rows([]).columns.tolist()[:2] == ["contrast", "primary"]
    interval = Interval(3, -1.0, 0.5, -2.2, 0.2, 0.07, 0.25)
    one = Contrast("c", "a", "b", 0.5, "xs", "equal_images", "fd", True, {0: -1.0}, interval, -1, None)
    (row,) = report_tables.contrast_rows([one]).to_dict("records")
    assert (row["arm"], row["low"], row["favours"]) == ("a", -2.2, "")


def test_a_p_value_is_never_told_as_zero() -> None:
    assert [report_words.p_text(p) for p in (0.0, 0.0004, 0.25, None)] == [
        "< 0.001",
        "< 0.001",
        "0.250",
        DASH,
    ]


def test_few_cells_are_all_pictured() -> None:
    study = study_of(params(seeds=[3, 4], selections=["random"], ratios=[0.5]))
    assert report_page.pictured(study) == study.cells()


# ---------------------------------------------------------------------------- closed forms


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


def test_kinds_and_deciles_are_means_over_seeds() -> None:
    kinds = pd.Series(["plain", "informative", "informative", "plain"], index=list("wxyz"))
    first = pd.Series([4.0, 3, 2, 1], index=list("wxyz"))
    found = report_tables.kind_percentiles(
        {0: first, 1: pd.Series([4.0, 2, 1, 3], index=list("wxyz"))}, kinds
    )
    # Plain at 12.5 and 87.5, then at 12.5 and 37.5.
    assert found["plain"] == Stat(37.5, pytest.approx(25 / 2**0.5), 2)
    assert found["informative"].mean == 62.5
    alone = report_tables.kind_percentiles({0: first}, kinds)
    assert alone == {"informative": Stat(50.0, None, 1), "plain": Stat(50.0, None, 1)}
    ids = [f"p{i}" for i in range(10)]
    up, down = pd.Series(np.arange(10.0), index=ids), pd.Series(-np.arange(10.0), index=ids)
    kinds = pd.Series(["plain"] * 2 + ["chaotic"] * 8, index=ids)
    shares = report_tables.mean_decile_shares({0: up, 1: down}, kinds)
    assert shares["plain"].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0.5, 0.5]


def test_loss_bands_join_the_seeds_of_both_raters() -> None:
    ids = [f"p{i:02d}" for i in range(20)]
    rating = pd.Series(np.arange(20, 0, -1.0), index=ids)
    losses = {0: pd.Series(np.arange(20.0), index=ids), 3: pd.Series(np.arange(20.0)[::-1], index=ids)}
    bands = report_tables.loss_bands({0: rating, 3: rating}, losses)
    assert bands.index.tolist() == list(range(1, 11))
    assert bands[0].tolist() == [0.5 + 2 * i for i in range(10)]
    assert bands[3].tolist() == [18.5 - 2 * i for i in range(10)]


def test_subset_shares_are_means_over_seeds() -> None:
    kinds = pd.Series(["plain", "plain", "chaotic", "chaotic"], index=list("wxyz"))
    subsets = {("a", 0.5, 0): pd.Series(list("wx")), ("a", 0.5, 1): pd.Series(list("xy"))}
    made = report_tables.subset_shares(subsets, kinds)
    assert made == {(FULL, 1.0): {"chaotic": 0.5, "plain": 0.5}, ("a", 0.5): {"plain": 0.75, "chaotic": 0.25}}


def test_examples_hold_pairs_of_their_decile_and_do_not_depend_on_row_order() -> None:
    rating = pd.Series(np.arange(100.0), index=[f"p{i:02d}" for i in range(100)])
    chosen = report_tables.examples(rating, 3)
    assert all(90 - 10 * d <= rating[name] < 100 - 10 * d for d, names in enumerate(chosen) for name in names)
    assert [len(set(names)) for names in chosen] == [3] * 10
    assert report_tables.examples(rating.sample(frac=1, random_state=0), 3) == chosen


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

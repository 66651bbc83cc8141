"""Registered studies by their commands: what was said before counts, and nothing that was found is lost."""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from alchemist.params.registered import decides
from stages import carry, history, judge, part, register, registration
from stages.params_file import read_params

REPO = Path(__file__).parents[2]
STUDY = {
    "question": "Is it so?",
    "pools": {"emoji": {}, "emoji_crowded": {"device": "cpu", "scales.tiny.train": {"images": 3200}}},
    "values": {"grid.others.flux.proxy": "flux_s"},
    "scale": "tiny",
    "models": ["xs"],
    "ratios": [0.5],
    "further": {"selections": ["random", "alchemist"], "ratios": [0.2]},
    "seeds": {"first": 100, "count": 4, "part": 2},
    "looks": [2, 4],
    "metric": "fd",
    "point": "equal_epochs",
    "margins": {"fd": 5.0, "nll": 0.02},
    "primary": "A",
    "claims": {
        "A": {"says": "One beats <b>two</b>.", "arm": "alchemist", "against": "random"},
        "B": {"says": "One beats all.", "arm": "alchemist", "against": "full"},
        "C": {"says": "A fifth too.", "arm": "alchemist", "against": "random", "ratio": 0.2, "point": "best"},
    },
}  # fmt: skip
GAINS = {"alchemist": 10.0, "loss": 10.0, "random": 0.0, "full": 30.0}


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=t@example.com", *words], check=True)


def write(**changes: object) -> None:
    """Params with the study, its block changed."""
    given = read_params(REPO / "params.yaml")
    given["studies"] = {"s": STUDY | changes}
    Path("params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repo of git with the study committed, and dvc.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPO / "dvc.yaml", "dvc.yaml")
    write()
    git("init", "--quiet")
    git("add", "params.yaml", "dvc.yaml")
    git("commit", "--quiet", "-m", "a study")
    return tmp_path


def ran(gains: dict[str, float] = GAINS) -> None:
    """Leaves what a run of the grid in params.yaml leaves, with made-up figures."""
    params = check(read_params(Path("params.yaml")))
    arms = [("full", 1.0), *params.grid.arms()]
    rows = []
    for selection, ratio in arms:
        for seed in params.grid.seeds:
            cell = f"{selection}-{ratio}-xs-{seed}"
            rng = np.random.default_rng([seed, len(selection)])
            row = {"cell": cell, "selection": selection, "ratio": ratio, "model": "xs", "seed": seed,
                   "pool": params.pool, "scale": params.scale, "nll": 5.0 + 1e-4 * rng.normal(),
                   "fd_lite0": 300 - gains[selection] + rng.normal()}  # fmt: skip
            for reference in ("once", "as_is"):
                for point in ("equal_epochs", "equal_images", "best"):
                    cost = {"images": 100, "rate_tflop": 2.0, "train_tflop": 10 * ratio}
                    cost |= {"n": 64, "reference_n": 128}
                    rows.append(row | cost | {"reference": reference, "point": point})
            names = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}
            score = {"names": names, "likelihood": "nats", "decides": "once"}
            Path(f"data/scores/{cell}").mkdir(parents=True, exist_ok=True)
            files.write_json(Path(f"data/scores/{cell}/figures.json"), score)
            for verb in ("train", "evaluate"):
                took = {f"{verb}_seconds": 30.0, "versions": {"torch": "2.13"}, "hardware": "a CPU"}
                Path(f"data/timings/{verb}").mkdir(parents=True, exist_ok=True)
                files.write_json(Path(f"data/timings/{verb}/{cell}.json"), files.sealed(took))
    Path("data/pool").mkdir(exist_ok=True)
    Path("data/pool", files.MANIFEST).write_text("{}")
    Path("reports").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv("reports/references.csv", index=False)


def study() -> list[str]:
    """What ./study does: every part that is missing, then the verdicts. Gives the parts."""
    before, done = Path("params.yaml").read_text(), []
    while True:
        Path("params.yaml").write_text(before)
        part.run("s")
        if Path("params.yaml").read_text() == before:
            break
        params = check(read_params(Path("params.yaml")))
        done.append(f"{params.pool} {params.grid.seeds[0]}")
        ran()
        part.run("s", keep=True)
    judge.run("s")
    return done


def test_only_what_is_committed_can_be_registered(repo: Path) -> None:
    with pytest.raises(Refusal, match=r"not registered; commit params\.yaml"):
        part.run("s")
    write(metric="nll")
    with pytest.raises(Refusal, match="commit it first"):
        register.run("s")
    write()
    register.run("s")
    found = registration.registrations("s")
    assert [one["commit"] for one in found] == [registration.head()]
    assert found[0]["rule"]["margins"] == {"fd": 5.0, "nll": 0.02}
    # All blocks whole: a base, a default of the study's own, the block that a claim's arm names.
    assert found[0]["run"]["blocks"]["pools"]["emoji_crowded"]["emoji_crowded"]["pairs"] == 8000
    assert found[0]["run"]["blocks"]["selections"]["alchemist"]["rater"] == "alchemist"
    register.run("s")  # as it stands
    assert len(registration.registrations("s")) == 1
    with pytest.raises(Refusal, match="legal values are s"):
        register.run("t")


def test_seeds_of_a_kept_run_are_not_fresh(repo: Path) -> None:
    Path("reports/small").mkdir(parents=True)
    pd.DataFrame({"seed": [0, 101], "fd": [1.0, 2.0]}).to_csv("reports/small/table.csv", index=False)
    with pytest.raises(Refusal, match=r"studies.s.seeds has 101, by which reports/small/table\.csv was made"):
        register.run("s")
    shutil.rmtree("reports")
    register.run("s")
    Path("reports/small").mkdir(parents=True)  # nor for a study that takes them later
    pd.DataFrame({"seed": [0, 1, 101]}).to_csv("reports/small/table.csv", index=False)
    write(seeds={"first": 0, "count": 4, "part": 2})
    git("commit", "--quiet", "-am", "seeds that please")
    with pytest.raises(Refusal, match=r"studies.s.seeds has 0, by which"):
        register.run("s")


def test_seeds_of_a_part_are_fresh_only_for_a_study_that_shares_them(repo: Path) -> None:
    register.run("s")
    study()
    given = read_params(REPO / "params.yaml")
    for shared_with, said in (
        (None, r"studies\.t\.seeds has 100, by which reports/studies/s/emoji-100\.json was made"),
        ("u", r"studies\.t\.seeds\.shared_with is 'u', nearest to s; legal values are s"),
        ("s", None),
    ):
        seeds = STUDY["seeds"] | ({"shared_with": shared_with} if shared_with else {})  # type: ignore[operator]
        given["studies"] = json.loads(json.dumps({"s": STUDY, "t": STUDY | {"seeds": seeds}}))
        Path("params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
        git("commit", "--quiet", "-am", "the same seeds")
        with pytest.raises(Refusal, match=said) if said else contextlib.nullcontext():
            register.run("t")
    judge.run("t")
    assert "seeds 100 to 103, of those of s." in Path("reports/studies/t/index.html").read_text()
    given["studies"]["t"]["seeds"].pop("shared_with")  # afterwards, which the page tells
    Path("params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    judge.run("t")
    page = Path("reports/studies/t/index.html").read_text()
    assert "rule.seeds.shared_with: was &#39;s&#39;, is " in page
    given["studies"]["t"]["seeds"] |= {"first": 101, "shared_with": "s"}
    with pytest.raises(
        Refusal, match=r"shared_with is 's', which has not the seed 104; a study that has all"
    ):
        check(given)


def test_a_part_sets_all_that_the_study_says(repo: Path) -> None:
    register.run("s")
    part.run("s", pool="emoji_crowded")
    params = check(read_params(Path("params.yaml")))
    assert (params.pool, params.scale, params.device, params.grid.seeds) == (
        "emoji_crowded",
        "tiny",
        "cpu",
        (100, 101),
    )
    assert params.scales["tiny"].train.images == 3200
    assert params.grid.arms() == [
        ("alchemist", 0.5), ("random", 0.5), ("random", 0.2), ("alchemist", 0.2),
    ]  # fmt: skip
    assert params.grid.raters == ("alchemist", "random")
    assert params.statistics.primary is None


def test_all_parts_then_verdicts(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register.run("s")
    assert study() == ["emoji 100", "emoji_crowded 100", "emoji 102", "emoji_crowded 102"]
    assert study() == []  # nothing is run twice
    said = capsys.readouterr().out
    assert "A: verified" in said
    assert "B: falsified" in said
    table = pd.read_csv("reports/studies/s/verdicts.csv")
    deciding = table[table["decides"]]
    assert set(deciding["n"]) == {4}
    assert dict(deciding.groupby("claim")["verdict"].first()) == {
        "A": "verified",
        "B": "falsified",
        "C": "verified",
    }
    assert set(table["reference"]) == {"once", "as_is"}
    page = Path("reports/studies/s/index.html").read_text()
    assert "One beats &lt;b&gt;two&lt;/b&gt;." in page
    assert "Nothing that decides" in page
    assert "less random" in page  # every arm, by both references of both pools
    assert page.count("<summary>emoji") == 4
    past = pd.read_csv("reports/history.csv")
    assert len(past) == 3 * 2 * 2 * 2 * 3  # claims, pools, references, metrics, points


def test_machines_take_parts_of_their_own(repo: Path) -> None:
    register.run("s")
    part.run("s", pool="emoji", seed=102)
    params = check(read_params(Path("params.yaml")))
    assert (params.pool, params.grid.seeds) == ("emoji", (102, 103))
    ran()
    part.run("s", keep=True)
    write()
    with pytest.raises(Refusal, match=r"--from is '101', nearest to 100; legal values are 100, 102"):
        part.run("s", seed=101)
    part.run("s", pool="emoji", seed=102)
    assert check(read_params(Path("params.yaml"))).grid.seeds == (0, 1, 2)  # nothing is laid over: it is kept
    assert study() == ["emoji 100", "emoji_crowded 100", "emoji_crowded 102"]


def test_between_looks_there_is_no_verdict(repo: Path) -> None:
    write(looks=[4])
    git("commit", "--quiet", "-am", "one look")
    register.run("s")
    for _ in range(3):
        write(looks=[4])
        part.run("s")
        ran()
        part.run("s", keep=True)
    write(looks=[4])
    judge.run("s")
    assert "No verdict yet" in Path("reports/studies/s/index.html").read_text()
    assert not Path("reports/history.csv").exists()


def test_a_changed_rule_stands_beside_the_one_before(repo: Path) -> None:
    register.run("s")
    study()
    first = Path("reports/history.csv").read_text()
    write(margins={"fd": 50.0, "nll": 0.02})  # changed afterwards, and not registered
    judge.run("s")
    page = Path("reports/studies/s/index.html").read_text()
    assert "rule.margins.fd: was 5.0, is 50.0" in page
    table = pd.read_csv("reports/studies/s/verdicts.csv")
    words = table[table["decides"] & (table["claim"] == "A")].groupby("rule")["verdict"].first()
    assert sorted(words) == ["falsified", "verified"]
    assert words["in force, not registered"] == "falsified"
    assert Path("reports/history.csv").read_text() == first
    # Registered too, it comes first, and what was found before stays.
    git("commit", "--quiet", "-am", "another margin")
    register.run("s")
    judge.run("s")
    both = Path("reports/history.csv").read_text()
    assert both.startswith(first)
    assert len(both) > len(first)
    assert study() == []  # the rule makes no figure
    head = registration.head() or ""
    page = Path("reports/studies/s/index.html").read_text()
    assert f"registered by {head[:10]}, after figures were there" in page


def test_a_changed_run_is_another_run(repo: Path) -> None:
    register.run("s")
    study()
    write(pools={"emoji": {"device": "cpu"}})
    with pytest.raises(Refusal, match="register it anew"):
        part.run("s")
    git("commit", "--quiet", "-am", "another device")
    register.run("s")
    judge.run("s")
    page = Path("reports/studies/s/index.html").read_text()
    assert (
        "Not counted, because it was made by other values or seeds, or is not as it was kept: emoji-100.csv"
        in page
    )
    assert "No verdict yet" in page
    assert study() == ["emoji 100", "emoji 102"]


def rules(claim: str = "A") -> dict[str, str]:
    """The first pool's verdict of a claim by every rule."""
    table = pd.read_csv("reports/studies/s/verdicts.csv")
    return dict(table[table["decides"] & (table["claim"] == claim)].groupby("rule")["verdict"].first())


def test_parts_of_another_size_go_on_where_the_others_ended(repo: Path) -> None:
    register.run("s")
    study()
    small = {"first": 100, "count": 4, "part": 1}
    for seeds, made in (
        (small, []),
        (
            {"first": 98, "count": 8, "part": 4},
            ["emoji 98", "emoji_crowded 98", "emoji 104", "emoji_crowded 104"],
        ),
    ):
        write(seeds=seeds, looks=[seeds["count"]])
        git("commit", "--quiet", "-am", "other parts")
        register.run("s")
        assert study() == made


def test_the_verdict_of_the_seeds_before_stays_beside_that_of_others(repo: Path) -> None:
    register.run("s")
    study()
    first = registration.head() or ""
    write(seeds={"first": 200, "count": 2, "part": 2}, looks=[2])
    git("commit", "--quiet", "-am", "seeds that please")
    register.run("s")
    assert study() == ["emoji 200", "emoji_crowded 200"]
    assert f"registered by {first[:10]}" in rules()
    assert len(rules()) == 2


def test_a_rule_whose_arms_are_gone_hides_no_other(repo: Path) -> None:
    other = {name: one | {"arm": "loss"} for name, one in STUDY["claims"].items() if name != "C"}  # type: ignore[attr-defined]
    register.run("s")
    changes = {"claims": other, "further": {"selections": [], "ratios": []}}
    write(**changes)
    git("commit", "--quiet", "-am", "another arm")
    register.run("s")
    before = Path("params.yaml").read_text()
    study()
    assert Path("params.yaml").read_text() == before
    assert list(rules().values()) == ["verified"]
    assert "no cell of alchemist at ratio 0.5" in Path("reports/studies/s/index.html").read_text()


def test_a_registration_that_was_taken_back_is_told(repo: Path) -> None:
    register.run("s")
    study()
    Path("reports/studies/s/registered.json").unlink()
    write(margins={"fd": 50.0, "nll": 0.02})
    git("commit", "--quiet", "-am", "a margin that pleases")
    register.run("s")
    judge.run("s")
    page = Path("reports/studies/s/index.html").read_text()
    assert "registration that registered.json does not have" in page


def test_a_table_that_was_edited_does_not_count(repo: Path) -> None:
    register.run("s")
    study()
    path = Path("reports/studies/s/emoji-102.csv")
    path.write_text(path.read_text().replace("equal_epochs", "equal_images"))
    judge.run("s")
    assert "is not as it was kept: emoji-102.csv" in Path("reports/studies/s/index.html").read_text()
    assert study() == ["emoji 102"]


def test_parts_of_other_bytes_of_a_pool_are_told(repo: Path) -> None:
    register.run("s")
    study()
    page = Path("reports/studies/s/index.html")
    assert "Not all parts" not in page.read_text()
    # Every arm's last checkpoint is its best here: a block says so in the place of the same figures.
    assert page.read_text().count("as at equal images, since") == 2
    path = Path("reports/studies/s/emoji-102.json")
    files.write_json(path, files.read_json(path) | {"pool_sha256": "0"})
    judge.run("s")
    said = (
        "bytes of emoji: seeds 100\N{EN DASH}101 with 64 prompts and 128 references; seeds 102\N{EN DASH}103"
    )
    assert said in page.read_text()
    files.write_json(path, files.read_json(path) | {"reference": "as_is"})
    with pytest.raises(Refusal, match=r"emoji the part of seed 102 is measured by 'as_is' and"):
        judge.run("s")


def test_figures_of_another_scale_or_of_other_arms_are_not_kept(repo: Path) -> None:
    register.run("s")
    part.run("s")
    ran()
    figures = pd.read_csv("reports/references.csv")
    figures.assign(scale="small").to_csv("reports/references.csv", index=False)
    with pytest.raises(Refusal, match="at scale tiny; run dvc repro"):
        part.run("s", keep=True)
    figures[figures["selection"] != "random"].to_csv("reports/references.csv", index=False)
    with pytest.raises(Refusal, match="has not the arms"):
        part.run("s", keep=True)


@pytest.mark.parametrize("key", ["pool", "scale", "grid.seeds", "grid.seeds.0", "studies.s.metric"])
def test_values_cannot_undo_what_the_study_says(repo: Path, key: str) -> None:
    for where, block in (("values", {key: "x"}), ("pools", {"emoji": {key: "x"}})):
        write(**{where: block})
        with pytest.raises(Refusal, match=f"has {key}, which the study sets by its own keys"):
            part.run("s")


def test_values_may_be_blocks_and_are_on_the_page(repo: Path) -> None:
    write(values={"scales.tiny.train": {"images": 3200}})
    git("commit", "--quiet", "-am", "a budget")
    register.run("s")
    part.run("s")
    assert check(read_params(Path("params.yaml"))).scales["tiny"].train.images == 3200
    write(values={"scales.tiny.train": {"images": 3200}})
    judge.run("s")
    page = Path("reports/studies/s/index.html").read_text()
    assert "scales.tiny.train.images 3200" in page
    assert "device &#39;cpu&#39; on emoji_crowded" in page


def test_raters_of_another_pool_are_trained_first_and_once(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claims = {"A": {"says": "It carries.", "arm": "alchemist_carried", "against": "random"}}
    changes = {"claims": claims, "pools": {"emoji_crowded": {}}, "carried_from": "emoji", "looks": [4]}
    write(**changes)
    git("commit", "--quiet", "-am", "a rater of another pool")
    register.run("s")
    assert {*registration.last("s")["run"]["blocks"]["pools"]} == {"emoji_crowded", "emoji"}
    before = Path("params.yaml").read_text()
    shutil.copytree(REPO / "assets/raters/emoji-small/0", "assets/raters/emoji-small/101")
    capsys.readouterr()
    carry.run("s")
    assert capsys.readouterr().out == "rate@alchemist_carried-100\n"  # that of 101 is there
    params = check(read_params(Path("params.yaml")))
    assert (params.pool, params.grid.seeds) == ("emoji", (100,))
    assert params.raters["alchemist_carried"] == params.raters["alchemist"]  # weights: null
    Path("params.yaml").write_text(before)
    left = Path("data/raters/alchemist_carried/100")
    shutil.copytree(REPO / "assets/raters/emoji-small/0", left)
    card = files.read_json(left / "card.json")
    files.write_json(left / "card.json", card | {"pool": "emoji_crowded"})  # of a run of the study itself
    files.write_manifest(left)
    with pytest.raises(Refusal, match=r"was trained by other values \(pool emoji_crowded"):
        carry.run("s", keep=True)
    files.write_json(left / "card.json", card)
    files.write_manifest(left)
    carry.run("s", keep=True)
    kept = Path("assets/raters/emoji-small/100")
    assert files.sha256(kept / "rater.safetensors") == files.sha256(left / "rater.safetensors")
    carry.run("s")  # the same part lacks none
    assert Path("params.yaml").read_text() == before
    files.write_json(kept / "card.json", card | {"budget": card["budget"] | {"images": 1}})
    files.write_manifest(kept)
    with pytest.raises(Refusal, match=r"emoji-small/100 was trained by other values \(images 1"):
        carry.run("s")
    part.run("s")
    params = check(read_params(Path("params.yaml")))
    assert (params.pool, params.grid.seeds) == ("emoji_crowded", (100, 101))
    assert params.raters["alchemist_carried"].weights == "emoji-small"  # type: ignore[attr-defined]


def test_a_study_without_carried_raters_is_as_it_was_before_there_were_any() -> None:
    given = read_params(REPO / "params.yaml")
    for name, block in given["studies"].items():
        found = decides(given, name)["run"]
        assert ("carried_from" in found["study"]) == ("carried_from" in block)


def test_what_cannot_run_is_not_registered(repo: Path) -> None:
    write(models=["xs", "flux_s"])
    git("commit", "--quiet", "-am", "two families")
    with pytest.raises(Refusal, match=r"grid\.models holds flux_s"):
        register.run("s")
    write(values={"pools.mine.path": "${x}"})
    git("commit", "--quiet", "-am", "an interpolation")
    with pytest.raises(Refusal, match="cannot be laid over"):
        register.run("s")
    write(pools={"emoji": {"scales.tiny.trian.images": 3200}})
    git("commit", "--quiet", "-am", "a key that there is not")
    with pytest.raises(Refusal, match="trian is not a known key, nearest to train"):
        register.run("s")


def test_a_commit_whose_block_is_of_other_code_cannot_be_read(repo: Path) -> None:
    write(seeds={"first": 100, "count": 1})
    git("commit", "--quiet", "-am", "one seed")
    assert registration.at_commit(registration.head() or "", "s") is None


def test_figures_of_another_run_are_not_kept(repo: Path) -> None:
    register.run("s")
    part.run("s")
    ran()
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("- 100", "- 104"))
    with pytest.raises(Refusal, match="is not of pool emoji and seeds"):
        part.run("s", keep=True)


def test_history_of_an_older_run(repo: Path) -> None:
    for name in ("contrasts", "verdicts"):
        Path("old").mkdir(exist_ok=True)
        shutil.copy(REPO / f"reports/small/{name}.csv", f"old/{name}.csv")
    git("add", "old")
    git("commit", "--quiet", "-m", "a run")
    commit = registration.head()
    assert commit is not None
    shutil.rmtree("old")
    history.run("small", Path("old"), commit)
    rows = pd.read_csv("reports/history.csv")
    kept = {name: pd.read_csv(REPO / f"reports/small/{name}.csv") for name in ("contrasts", "verdicts")}
    assert len(rows) == sum(map(len, kept.values()))
    primary = rows[rows["claim"] == "contrast alchemist_random"].iloc[0]
    assert primary["verdict"] == "favours alchemist"
    assert primary["mean"] == pytest.approx(kept["contrasts"]["mean"][0])
    history.run("small", Path("old"), commit)
    assert len(pd.read_csv("reports/history.csv")) == len(rows)


def test_the_registered_studies_of_this_repo_are_as_they_were_registered() -> None:
    """By the files alone: what each last registration holds makes its own digest."""
    for path in (REPO / "reports/studies").glob("*/registered.json"):
        for one in json.loads(path.read_text())["registrations"]:
            assert registration.digest(one["run"]) == one["run_sha256"]

"""Registered studies by their commands: what was said before counts."""

import contextlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from registered_helpers import REPO, STUDY, git, ran, study, write

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from alchemist.params.registered import decides
from stages import carry, judge, part, register, registration, revision
from stages.params_file import read_params


def test_only_what_is_committed_can_be_registered(repo: Path) -> None:
    with pytest.raises(Refusal, match=r"not registered; commit params\.yaml"):
        part.run("s")
    write(metric="nll")
    with pytest.raises(Refusal, match="commit it first"):
        register.run("s")
    write()
    code = Path("alchemist/raters/kinds/of_mine.py")  # a rater that the commit does not have
    code.parent.mkdir(parents=True)
    code.write_text("")
    with pytest.raises(
        Refusal, match=r"^alchemist/.* is not as the last commit has it; commit it first, since code"
    ):
        register.run("s")
    code.unlink()
    register.run("s")
    found = registration.registrations("s")
    assert [one["commit"] for one in found] == [revision.head()]
    assert found[0]["rule"]["margins"] == {"fd": 5.0, "nll": 0.02}
    # All blocks whole: a base, a default of the study's own, the block that a claim's arm names.
    assert found[0]["run"]["blocks"]["pools"]["emoji_crowded"]["emoji_crowded"]["pairs"] == 8000
    assert found[0]["run"]["blocks"]["selections"]["alchemist"]["rater"] == "alchemist"
    register.run("s")  # as it stands
    assert len(registration.registrations("s")) == 1
    with pytest.raises(Refusal, match="legal values are s"):
        register.run("t")


@pytest.mark.parametrize(
    ("name", "scale", "said"),
    [
        (
            "table1",
            "tiny",
            r"^studies\.table1 has a name that \./study has for a run of its own; any other is",
        ),
        ("show", "tiny", r"^studies\.show has a name"),
        (
            "s",
            "quick",
            r"^studies\.s\.scale is 'quick', of which no figure means anything; legal are tiny, small",
        ),
    ],
)
def test_what_could_not_be_run_or_read_is_not_registered(
    repo: Path, name: str, scale: str, said: str
) -> None:
    given = read_params(REPO / "params.yaml") | {"studies": {name: STUDY | {"scale": scale}}}
    Path("params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    git("commit", "--quiet", "-am", "as it is")
    with pytest.raises(Refusal, match=said):
        register.run(name)
    assert not Path("reports").exists()


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


def test_the_model_of_a_role_that_a_study_sets_decides(repo: Path) -> None:
    write(
        values={"roles.proxy": "xs", "grid.others.flux.proxy": "flux_s"},
        pools={"emoji": {"roles": {"rater": "s"}}, "emoji_crowded": {}},
    )
    git("commit", "--quiet", "-am", "roles of its own")
    register.run("s")
    roles = registration.last("s")["run"]["blocks"]["roles"]
    assert {role: model.get("depth", model.get("single_blocks")) for role, model in roles.items()} == {
        "proxy": 2,
        "rater": 2,
        "grid.others.flux.proxy": 2,
        "grid.others.flux.rater": 1,
        "rater on emoji": 4,
    }
    text = Path("params.yaml").read_text()
    given = yaml.safe_load(text)
    given["models"]["s"]["depth"] = 3  # in no list of the study
    Path("params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    with pytest.raises(Refusal, match=r"roles\.rater on emoji\.depth: was 4, is 3"):
        part.run("s")
    for key, model in (("roles.proxy", "xs"), ("grid.others.flux.proxy", "flux_s")):
        Path("params.yaml").write_text(text.replace(f"{key}: {model}", f"{key}: huge"))
        with pytest.raises(Refusal, match=f"studies.s.values.{key} is 'huge'"):
            part.run("s")


def test_what_cannot_run_is_not_registered(repo: Path) -> None:
    write(models=["flux_adapted"])
    git("commit", "--quiet", "-am", "a network that is trained before, on pairs that the pool has not")
    with pytest.raises(Refusal, match=r"pools\.emoji\.pretraining\.pairs is 0"):
        register.run("s")
    claims = {"A": {"says": "One beats two.", "arm": "alchemist", "against": "random", "model": "flux_s"}}
    write(models=["xs", "flux_s"], claims={"A": claims["A"] | {"metric": "nll"}}, primary="A")
    git("commit", "--quiet", "-am", "a likelihood of a model that has none")
    with pytest.raises(Refusal, match=r"claims\.A is decided by nll, and the model flux_s has no likelihood"):
        register.run("s")
    further = {"selections": ["alchemist", "random"], "ratios": [0.2]}
    both = {"A": claims["A"] | {"ratio": 0.2}, "B": claims["A"]}
    write(models=["xs", "flux_s"], claims=both, primary="A", further=further)
    git("commit", "--quiet", "-am", "a ratio at which a further family has no cells")
    with pytest.raises(
        Refusal, match=r"claims\.A asks for (alchemist|random) at 0\.2 of the model flux_s, of"
    ):
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
    assert registration.at_commit(revision.head() or "", "s") is None


def test_figures_of_another_run_are_not_kept(repo: Path) -> None:
    register.run("s")
    part.run("s")
    ran()
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("- 100", "- 104"))
    with pytest.raises(Refusal, match="is not of pool emoji and seeds"):
        part.run("s", keep=True)


def test_the_registered_studies_of_this_repo_are_as_they_were_registered() -> None:
    """By the files alone: what each last registration holds makes its own digest."""
    for path in (REPO / "reports/studies").glob("*/registered.json"):
        for one in json.loads(path.read_text())["registrations"]:
            assert registration.digest(one["run"]) == one["run_sha256"]

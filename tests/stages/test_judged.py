"""Verdicts of registered studies by their commands: each rule beside the others, nothing lost."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from registered_helpers import GAINS, REPO, STUDY, git, study, write
from study_helpers import study as made_up

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from alchemist.params.registered import changed, decides
from stages import history, judge, looks, part, register, registration, revision
from stages.params_file import read_params


def test_all_parts_then_verdicts(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register.run("s")
    assert study() == ["emoji 100", "emoji_crowded 100", "emoji 102", "emoji_crowded 102"]
    assert study() == []  # nothing is run twice
    said = capsys.readouterr().out
    assert "A: verified" in said
    assert "B: falsified\n  emoji: worse; FD (Lite0) at equal epochs +" in said
    assert "\n    as drawn, copies and all: against it FD\n" in said
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
    assert "<b>falsified</b>" in page
    assert '<small class="why">as drawn, copies and all: against it FD</small>' in page
    assert "less random" in page  # every arm, by both references of both pools
    assert ">5.250 ± 0.000<small>+0.250 ± 0.000</small>" in page
    assert "The pairs that decide on emoji, emoji_crowded are informative ones alone" in page
    assert page.count("<summary>emoji") == 8  # every arm, and what it took, on two pools by two references
    assert "<details open><summary>All metrics at equal epochs, copies counted once" in page  # as it decides
    past = pd.read_csv("reports/history.csv")
    assert len(past) == 3 * 2 * 2 * 2 * 3  # claims, pools, references, metrics, points


@pytest.mark.parametrize("deciding", ["clean", "once"])
def test_the_page_says_where_clean_pairs_alone_decide(repo: Path, deciding: str) -> None:
    mixed = {
        "pools.emoji_crowded.evaluation": {"source": "mixture"}, "pools.emoji_crowded.clean.pairs": 400,
        f"scales.{STUDY['scale']}.evaluate.decides": deciding,
    }  # fmt: skip
    write(pools={"emoji": {}, "emoji_crowded": mixed})
    git("commit", "--quiet", "-am", "one pool by its own mixture")
    register.run("s")
    study()
    of = "emoji, emoji_crowded" if deciding == "clean" else "emoji"
    page = Path("reports/studies/s/index.html").read_text()
    assert f"The pairs that decide on {of} are informative ones alone" in page


def test_another_pool_that_is_a_split_decides_too() -> None:
    given: dict[str, Any] = read_params(REPO / "params.yaml")
    found = decides(given, "arena_natural")
    assert set(found["run"]["blocks"]["pools"]) == {"icons", "icons_clean"}
    given["pools"]["icons_clean"]["sample"] = 0.3
    assert changed(found["run"], decides(given, "arena_natural")["run"])


def test_a_claim_at_equal_cost(repo: Path) -> None:
    given = STUDY["claims"]
    write(claims={name: given[name] | {"point": "equal_cost"} for name in "AB"} | {"C": given["C"]})  # type: ignore[index]
    git("commit", "--quiet", "-am", "a claim at equal cost")
    register.run("s")
    study()
    table = pd.read_csv("reports/studies/s/verdicts.csv")
    deciding = table[table["decides"]].groupby("claim")[["point", "verdict", "n"]].first()
    assert deciding.loc["A"].tolist() == ["equal_cost", "verified", 4]
    assert deciding.loc["B"].tolist() == ["equal_cost", "falsified", 4]
    assert deciding.loc["C"].tolist() == ["best", "verified", 4]
    page = Path("reports/studies/s/index.html").read_text()
    assert "All metrics at equal cost" in page
    assert "How far each arm came at equal cost" in page
    # A rating that takes as much as everything leaves nothing for a target.
    for path in sorted(Path("reports/studies/s").glob("emoji*.csv")):
        dear = pd.read_csv(path)
        dear.loc[dear["selection"] == "alchemist", "rate_tflop"] = 10.0
        dear.to_csv(path, index=False)
        facts = files.read_json(path.with_suffix(".json"))
        files.write_json(path.with_suffix(".json"), facts | {"table_sha256": files.sha256(path)})
    with pytest.raises(Refusal, match=r"no cell of alchemist at ratio 0\.5 for model xs at equal_cost"):
        judge.run("s")


def test_costs_beside_nll_are_of_models_that_have_one() -> None:
    params = check(read_params(REPO / "params.yaml"))
    rows = [
        {"selection": "full", "ratio": 1.0, "model": model, "seed": 0, "point": "best", "images": 10,
         "rate_tflop": 0.0, "train_tflop": 1.0, "fd": 300.0, "nll": nll, "reference": "once"}
        for model, nll in (("xs", 5.0), ("flux_s", None))
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    found = judge.arenas(params, made_up(), {"here": looks.Looked(table, "once")})
    assert {key: [one.model for one in own] for key, own in found.items()} == {
        ("here", "once", "fd"): ["flux_s", "xs"],
        ("here", "once", "nll"): ["xs"],
    }
    without = judge.arenas(params, made_up(), {"here": looks.Looked(table.drop(columns="nll"), "once")})
    assert [*without] == [("here", "once", "fd")]
    clean = table.assign(reference="clean", fd=100.0)  # first where it decides, and each by its own figures
    both = judge.arenas(params, made_up(), {"here": looks.Looked(pd.concat([table, clean]), "clean")})
    assert {key: own[0].figure for key, own in both.items() if key[2] == "fd"} == {
        ("here", "clean", "fd"): 100.0,
        ("here", "once", "fd"): 300.0,
    }
    assert [key[1] for key in both] == ["clean", "clean", "once", "once"]


def test_between_looks_there_is_no_verdict(repo: Path) -> None:
    register.run("s")
    study(parts=3)
    assert "No verdict yet" in Path("reports/studies/s/index.html").read_text()
    assert not Path("reports/history.csv").exists()


def test_a_claim_keeps_the_verdict_of_the_look_that_ended_it(repo: Path) -> None:
    """A ends at three seeds, B does not; by six seeds A would have turned round."""
    looked_at_twice()
    assert study({**GAINS, "alchemist": 40.0, "full": 38.0}, parts=1) == ["emoji 100"]
    assert [*rules("A").values(), *rules("B").values()] == ["verified", "inconclusive"]
    assert study({**GAINS, "alchemist": -200.0}) == ["emoji 103"]
    table = pd.read_csv("reports/studies/s/verdicts.csv")
    deciding = table[table["decides"]].set_index("claim")
    assert deciding["n"].to_dict() == {"A": 3, "B": 6}
    assert deciding["verdict"]["A"] == "verified"
    own = ["claim", "pool", "reference", "metric", "point"]
    later = table[~table["decides"]].merge(deciding.reset_index()[own], on=own)
    assert later[["claim", "n", "verdict"]].to_numpy().tolist() == [["A", 6, "inconclusive"]]
    assert "keeps that verdict" in Path("reports/studies/s/index.html").read_text()


def test_a_look_that_ends_every_claim_ends_the_study(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looked_at_twice()
    assert study() == ["emoji 100"]
    assert "every claim has ended: no further part is run" in capsys.readouterr().out
    assert study() == []


def test_a_look_that_cannot_be_read_leaves_what_one_before_it_ended(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no further part is run until it can."""
    looked_at_twice(count=9, looks=[3, 6, 9])
    study({**GAINS, "alchemist": 40.0, "full": 38.0}, parts=1)
    study({**GAINS, "alchemist": math.nan, "full": 38.0}, parts=1)
    assert (
        "the look behind 3 seeds cannot be read: pool emoji has no fd at equal_epochs"
        in capsys.readouterr().out
    )
    assert (
        "<b>The look behind 3 seeds cannot be read:</b>" in Path("reports/studies/s/index.html").read_text()
    )
    assert [*rules("A").values(), *rules("B").values()] == ["verified", "inconclusive"]
    with pytest.raises(Refusal, match="which decides A"):
        part.run("s")


def looked_at_twice(count: int = 6, looks: Sequence[int] = (3, 6)) -> None:
    """Registers a study of two claims on one pool, looked at after three seeds and after six, or more."""
    claims = {name: STUDY["claims"][name] for name in "AB"}  # type: ignore[index]
    none = {"selections": [], "ratios": []}
    seeds = {"first": 100, "count": count, "part": 3}
    write(claims=claims, pools={"emoji": {}}, further=none, looks=[*looks], seeds=seeds)
    git("commit", "--quiet", "-am", "two looks")
    register.run("s")


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
    head = revision.head() or ""
    page = Path("reports/studies/s/index.html").read_text()
    assert f"registered by {head[:10]}, after figures were there" in page


def test_a_rule_is_late_behind_parts_of_another_run_too(repo: Path) -> None:
    register.run("s")
    study()
    write(margins={"fd": 50.0, "nll": 0.02}, values={"scales.tiny.train.images": 3200})
    git("commit", "--quiet", "-am", "another margin and a shorter run, whose parts take the place of those")
    register.run("s")
    study()
    page, head = Path("reports/studies/s/index.html").read_text(), revision.head() or ""
    assert f"registered by {head[:10]}, after figures were there" in page


def test_history_has_what_a_rule_says_that_another_took_the_place_of(repo: Path) -> None:
    register.run("s")
    old = revision.head() or ""
    write(margins={"fd": 50.0, "nll": 0.02})
    git("commit", "--quiet", "-am", "another margin, before any part")
    register.run("s")
    new = revision.head() or ""
    study()
    past = pd.read_csv("reports/history.csv")
    words = past[past["decides"] & (past["claim"] == "A")].groupby("registered")["verdict"].first()
    assert {key: word.partition(":")[0] for key, word in words.items()} == {old: "verified", new: "falsified"}


def test_a_change_of_the_code_that_judges_is_told(repo: Path) -> None:
    assert [path for path in registration.JUDGED_BY if not (REPO / path).is_file()] == []
    register.run("s")
    judge.run("s")
    page = Path("reports/studies/s/index.html")
    assert "code that makes verdicts" not in page.read_text()
    Path("alchemist/analysis").mkdir(parents=True)
    for name, why in (("outcomes", "other <tests>"), ("arena", "what it costs")):
        Path(f"alchemist/analysis/{name}.py").touch()
        git("add", ".")
        git("commit", "--quiet", "-m", why)
    judge.run("s")
    assert "other &lt;tests&gt;</li></ul>" in page.read_text()
    assert "what it costs" not in page.read_text()


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
    first = revision.head() or ""
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


def test_history_of_an_older_run(repo: Path) -> None:
    for name in ("contrasts", "verdicts"):
        Path("old").mkdir(exist_ok=True)
        shutil.copy(REPO / f"reports/small/{name}.csv", f"old/{name}.csv")
    git("add", "old")
    git("commit", "--quiet", "-m", "a run")
    commit = revision.head()
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

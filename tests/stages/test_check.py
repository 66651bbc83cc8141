"""`python -m stages.check` tells what is wrong with params.yaml before DVC is started, in one sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pool_helpers import settled, write_pair
from tiny import REPO

from alchemist.core.refusal import Refusal
from alchemist.params.check import check as check_params
from alchemist.params.here import check_here
from alchemist.pools.read import pool_settings
from stages import check
from stages.params_file import read_params

PARAMS = (REPO / "params.yaml").read_text()
RATIOS = next(line for line in PARAMS.splitlines() if line.startswith("  ratios: "))
SHARES = "it should be a list with at least one item, each a finite number, larger than 0 and less than 1"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what the repo has of codecs and raters, in which the stage runs."""
    (tmp_path / "assets").symlink_to(REPO / "assets")
    monkeypatch.chdir(tmp_path)


def told(text: str) -> str:
    """The sentence by which params are refused, "" where they are sound."""
    Path("params.yaml").write_text(text)
    try:
        check.run(out=Path("data/params.json"))
    except Refusal as refused:
        assert not Path("data").exists(), "a wrong file is passed on to no stage"
        return str(refused)
    return ""


def command(text: str) -> subprocess.CompletedProcess[str]:
    Path("params.yaml").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "stages.check"], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, env={"PYTHONPATH": str(REPO), "PATH": ""},
    )  # fmt: skip


def test_the_repos_params_are_sound_and_nothing_is_written() -> None:
    done = command(PARAMS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("params.yaml is sound: pool emoji, scale tiny, ")
    assert sorted(path.name for path in Path().iterdir()) == ["assets", "params.yaml"]


def test_a_mistake_ends_the_command_with_one_sentence_and_exit_code_2() -> None:
    done = command(PARAMS.replace(RATIOS, "  ratios: 0.5", 1))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: grid.ratios is 0.5; {SHARES} (write [0.5]).\n"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (RATIOS, "  ratios: 0.5", f"grid.ratios is 0.5; {SHARES} (write [0.5])."),
        (RATIOS, "  ratios: []", f"grid.ratios is []; {SHARES}."),
        (RATIOS, "  ratios: null", f"grid.ratios is null; {SHARES}."),
        (RATIOS, f"{RATIOS}\n  ratios: [0.3]", "params.yaml has the key ratios twice in one block,"),
        ("raters: [alchemist, best, random]", "raters: alchemist",
         "grid.raters is 'alchemist'; it should be a list, each text (write ['alchemist'])."),
        ("device: auto", "device: auto\nscale: tiny", "params.yaml has the key scale twice in one"),
        ("    base: tiny", "    <<: *tiny", "params.yaml has the alias *tiny in line"),
        ("    base: tiny", "    base: tinny", "scales.small.base is 'tinny', nearest to tiny; legal"),
        ("device: auto", "device: [auto", "params.yaml is no YAML in line"),
        ("device: auto", "devise: auto", "devise is not a known key, nearest to device; legal"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(before: str, after: str, sentence: str) -> None:
    assert before in PARAMS
    found = told(PARAMS.replace(before, after, 1))
    assert found.startswith(sentence)
    assert "\n" not in found


@pytest.mark.parametrize("missing", [True, False])
def test_the_families_beside_are_those_of_the_pipeline(missing: bool) -> None:
    """DVC stumbles over one that is missing before any stage, and would run nothing of one more."""
    pipeline, block = (REPO / "dvc.yaml").read_text(), re.search(r"  others:\n(    .*\n)+", PARAMS)
    assert block is not None
    if missing:
        Path("dvc.yaml").write_text(pipeline)
        found = told(PARAMS.replace(block[0], "  others: {}\n"))
        assert found.startswith("grid.others.flux is missing;")
    else:
        Path("dvc.yaml").write_text(pipeline.replace("grid.others.flux.", "grid."))
        found = told(PARAMS)
        assert found.startswith("grid.others has flux, of which dvc.yaml has no stages;")
    Path("dvc.yaml").write_text(pipeline)
    assert told(PARAMS) == ""


Changes = list[tuple[str, str]]


def edited(changes: Changes) -> str:
    """params.yaml with texts replaced."""
    text = PARAMS
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return text


ALONE = ("raters: [alchemist, best, random]", "raters: [alchemist_carried, best, random]")
MINE = ("pool: emoji", "pool: mine")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([("asset: emoji32", "asset: emoji23")],
         "codecs.star.asset is 'emoji23', nearest to emoji32; legal values are emoji32."),
        ([("asset: emoji32", "asset: ../codecs/emoji32/..")], "codecs.star.asset is '../codecs/emoji32/..'"),
        ([("asset: emoji32", f"asset: {'a' * 300}")], "codecs.star.asset is \"aaa"),  # too long for a file
        ([("pairs: 8000, resolution: 32", "pairs: 8000, resolution: 64")],
         "codecs.star.asset is 'emoji32', a tokenizer of 32 pixels, and the pictures of the pool have 64;"),
        ([("kind: fitted, asset", "kind: published, asset")],
         "codecs.star.kind is published, which takes pictures of 256, 512, 1024 pixels, and those of the "
         "pool have 32; kind fitted is legal."),
        ([("weights: emoji-small", "weights: emoji-large"),
          ("{rater: alchemist, sampler: shift", "{rater: alchemist_carried, sampler: shift"), ALONE],
         "raters.alchemist_carried.weights is 'emoji-large'; assets/raters has no such rater of the seed 0,"),
        ([("weights: emoji-small", "weights: emoji-small, upper_weight: 0.5"),
          ("{rater: alchemist, sampler: shift", "{rater: alchemist_carried, sampler: shift"), ALONE],
         "raters.alchemist_carried.upper_weight is 0.5, and assets/raters/emoji-small/0 was trained with "
         "1.0; beside weights, which no training here changes, that is legal."),
        ([MINE], "pools.mine.path is 'my-pairs', which does not exist; it should be the folder or the"),
        ([("families: [star]", "families: [star, flux]"),
          ("raters: [], models: []", "raters: [], models: [flux_s]"),
          ("kind: pixels", "kind: latents, weights: ./vae")],
         "codecs.flux.weights is './vae', which does not exist; a path, or OWNER/NAME of the hub is legal."),
        ([("evaluate: {images: null}", "evaluate: {features: inception, weights: {inception: no.pth}}")],
         "scales.tiny.evaluate.weights.inception is 'no.pth', which does not exist;"),
        ([("encode: {}", "encode: {text: {star: {kind: clip, weights: ./clip}}}")],
         "scales.tiny.encode.text.star.weights is './clip', which does not exist;"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_named_and_not_there_is_told_before_any_work(changes: Changes, sentence: str) -> None:
    assert told(edited(changes)).startswith(sentence)


@pytest.mark.parametrize(
    "changes",
    [
        [("asset: emoji32, refit: false", "asset: none, refit: true")],  # nothing of it is read
        [("encode: {}", "encode: {text: {star: {kind: clip, weights: owner/name}}}")],  # the hub is not asked
        [MINE, ("format: folder\n    path: my-pairs", "format: huggingface\n    path: owner/name")],
        [("path: my-pairs", "path: nowhere")],  # another pool is in force
    ],
)  # fmt: skip
def test_what_the_grid_in_force_does_not_need_here_may_be_missing(changes: Changes) -> None:
    assert told(edited(changes)) == ""


def test_a_pool_was_read_by_other_settings_once_another_column_should_be_kept() -> None:
    shares = {"meta_validation": 0.3, "evaluation": 0.3, "scorer": 0.2}
    block = {"splits": shares, "copies": {"find": False}, "format": "folder", "path": "my-pairs"}
    lines = []
    for number in range(30):
        write_pair(Path("my-pairs"), f"{number}", None, number)
        lines.append({"file_name": f"{number}.png", "text": f"{number}", "origin": "y", "score": 1})
    Path("my-pairs/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = {**yaml.safe_load(PARAMS), "pool": "mine"}

    def read(**changes: object) -> bool:
        given["pools"]["mine"] = {**block, **changes}
        return check.was_read(check_params(given), {})

    for keep in ({}, {"keep": ["origin"]}):
        settled(Path(), pool_settings({**block, **keep}, "pools.mine"))
        assert read(**keep)
        assert not read(keep=["score"])
        assert read() == (not keep)
        assert not read(**keep, links=True)


@pytest.mark.parametrize("split", [False, True])
def test_files_that_were_written_after_the_pool_was_read_are_told(
    split: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a split that is another pool, too; what stood there before is not, nor is a hidden file."""
    for number in range(30):
        write_pair(Path("my-pairs"), f"{number}", f"caption {number}", number)
        write_pair(Path("theirs"), f"{number}", f"other {number}", 50 + number)
    shares = {"meta_validation": 0.3, "evaluation": {"pool": "theirs"} if split else 0.3, "scorer": 0.2}
    common = {"splits": shares, "copies": {"find": False}, "format": "folder"}
    blocks = {"mine": {**common, "path": "my-pairs"}, "theirs": {"format": "folder", "path": "theirs"}}
    pools = {name: pool_settings(block, f"pools.{name}") for name, block in blocks.items()}
    settled(Path(), pools["mine"], **({"theirs": pools["theirs"]} if split else {}))
    given = yaml.safe_load(PARAMS)
    given["pool"], given["pools"] = "mine", {**given["pools"], **blocks}
    Path("params.yaml").write_text(yaml.safe_dump(given))

    def said() -> list[str]:
        capsys.readouterr()
        check.run()
        return [line for line in capsys.readouterr().out.splitlines() if "was read before" in line]

    assert said() == []
    folder, name = ("theirs", "theirs") if split else ("my-pairs", "mine")
    Path(folder, ".seen").write_text("")
    assert said() == []
    write_pair(Path("elsewhere"), "7", "a caption that was edited", 7)
    os.utime("elsewhere/7.txt", (0, 0))  # as a copy that keeps the time of its content has it
    os.replace("elsewhere/7.txt", f"{folder}/7.txt")
    (line,) = said()
    assert line.startswith(
        f"pools.{name} was read before {folder}/7.txt was written or touched: `dvc repro --force "
    )
    settled(Path(), pools["mine"], **({"theirs": pools["theirs"]} if split else {}))
    assert said() == []  # read anew
    Path("data/timings/prepare.json").write_text("{")
    assert said() == []  # damaged, which is no reason to refuse params.yaml


def test_the_files_of_a_pool_may_be_gone_once_it_was_read() -> None:
    Path("params.yaml").write_text(PARAMS.replace("pool: emoji", "pool: mine", 1))
    sound = check_params(read_params(Path("params.yaml")))
    check_here(sound, Path("assets"), was_read=True)
    with pytest.raises(Refusal, match=r"pools\.mine\.path is 'my-pairs', which does not exist;"):
        check_here(sound, Path("assets"), was_read=False)

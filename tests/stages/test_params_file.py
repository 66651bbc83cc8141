"""params.yaml is read as DVC reads it, and what DVC would stumble over is told in a sentence."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from stages.params_file import parse_params, read_params

REPO = Path(__file__).parents[2]


def read(folder: Path, text: str | bytes) -> Any:
    path = folder / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_params(path)


def test_the_repos_params_are_what_dvc_reads() -> None:
    assert read_params(REPO / "params.yaml") == YAML(typ="safe").load(REPO / "params.yaml")


@pytest.mark.parametrize(
    "text",
    ["1e-3", "-1.5E+2", "1.", ".5", "7", "-7", "+7", "0", "yes", "no", "on", "Off", "true", "FALSE", "null",
     "~", "", "1:30", "'1'", "-.inf", "a b", "[1, 2.5, x]", "{a: {b: [1]}}", "1e", "e3", "."],
)  # fmt: skip
def test_a_plain_value_is_what_dvc_takes_it_for(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, f"a: {text}\n")["a"]
    wanted = YAML(typ="safe").load(f"a: {text}\n")["a"]
    assert (found, type(found)) == (wanted, type(wanted))


@pytest.mark.parametrize("text", ["010", "1_000", "0x10", "2026-01-01"])
def test_a_number_that_readers_of_yaml_take_for_two_is_left_text_for_the_settings_to_refuse(
    tmp_path: Path, text: str
) -> None:
    assert read(tmp_path, f"a: {text}\n") == {"a": text}


TWICE = "in one block, in lines 1 and 3; it should stand there once."
ALIAS = (
    "in line 2; it should be the values themselves, or base: NAME in a block, because dvc exp run -S loses"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", f"params.yaml has the key a twice {TWICE}"),
        ("x: {a: 1,\n b: 2,\n a: 1}\n", f"params.yaml has the key a twice {TWICE}"),
        ("a:\n  <<: *tiny\n", f"params.yaml has the alias *tiny {ALIAS}"),  # an anchor that there is not
        ("a: &x {b: 1}\nc: *x\n", f"params.yaml has the alias *x {ALIAS}"),
        ("a: [1, 2\nb: 3\n", "params.yaml is no YAML in line 2: did not find expected ',' or ']'."),
        ("a: b: c\n", "params.yaml is no YAML in line 1: mapping values are not allowed in this"),
        ("{{x}}: 1\n", "params.yaml has a key in line 1 that is a block or a list; it should be a name."),
        (
            "a: !!python/name:os.system ''\n",
            "params.yaml has the tag !!python/name:os.system in line 1; it should be left out.",
        ),
        ("a: !!set {b, c}\n", "params.yaml has the tag !!set in line 1; it"),
        ("a: !!float 4e-3\n", "params.yaml has the tag !!float in line 1; it"),
        ("a: 1\nb: " + "{a: " * 3000, "params.yaml goes more than 20 blocks or lists deep in line 2; fewer"),
        ("a: " + "9" * 5000, "params.yaml has a number of 5000 digits in line 1; at most 40 are legal."),
        ("a: x\0\n", r"params.yaml is no YAML: the character at 4, \0, is not legal."),
        ("a: 1\n--- b\n", "params.yaml is no YAML in line 2: but found another document."),
        ("a:\t- b\n\t- c\n", "params.yaml is no YAML in line 1: block sequence entries are not allowed in"),
        ("#" * 1_000_001, "params.yaml has more than 1000000 bytes; it should be a file of settings."),
        ("\u202e: 1\n\u202e: 2\n", r'params.yaml has the key "\u202e" twice in one block, in lines 1'),
        (b"a: \xff\n", "params.yaml cannot be read: byte 3 is no UTF-8."),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(tmp_path, text)
    assert told in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_one_sentence(tmp_path: Path) -> None:
    for path, told in ((tmp_path / "no.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(Refusal, match=rf"{path} cannot be read: {told}\."):
            read_params(path)


def test_dvc_loses_what_it_sets_in_blocks_that_share_an_anchor_which_is_why_there_are_none(
    tmp_path: Path,
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("tiny: &tiny\n  train: {images: 1}\nother: {<<: *tiny, more: 1}\n")
    apply_overrides(path, ["tiny.train.images=2"])
    assert YAML(typ="safe").load(path)["tiny"]["train"]["images"] == 1


@pytest.mark.parametrize("override", ["scales.small.train.images=100", "++scales.small.train.images=100"])
def test_dvc_sets_one_value_of_one_scale(tmp_path: Path, override: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((REPO / "params.yaml").read_text())
    apply_overrides(path, [override])
    wanted = read_params(REPO / "params.yaml")
    wanted["scales"]["small"]["train"]["images"] = 100
    assert read_params(path) == wanted


def test_dvc_sets_a_value_that_the_file_leaves_to_its_default(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((REPO / "params.yaml").read_text())
    apply_overrides(path, ["++scales.small.rate.images=100", "++scales.tiny.train.learning_rate=1e-3"])
    found, wanted = read_params(path), read_params(REPO / "params.yaml")
    wanted["scales"]["small"]["rate"] = {"images": 100}
    wanted["scales"]["tiny"]["train"]["learning_rate"] = 0.001
    assert found == wanted


# Words of YAML beside any others: what a reader trips over lies between them.
PARTS = st.one_of(
    st.sampled_from(
        ["a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&x ", "*x", "!!int ", "!t ", "<<: ", "? ",
         "|", ">", "\t", "'",'"', "#", "%YAML 1.1", "---", "...", "1e999", ".nan", "0x1", "9" * 50, "~",
         "true", "\0", "\ud800", "\u202e", "\ufeff", "\x85", "1: 2", "null: ", "[a]: ", "2026-01-01", "1:30"]
    ),
    st.text(max_size=5),
)  # fmt: skip


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.one_of(st.lists(PARTS, max_size=30).map("".join), st.binary(max_size=200)))
def test_whatever_a_file_holds_it_is_read_and_checked_or_refused_in_one_sentence(held: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(held if isinstance(held, bytes) else held.encode(errors="surrogatepass"))
        try:
            given = parse_params(held, path) if isinstance(held, str) else read_params(path)
            check(given)
        except Refusal as refused:
            told = str(refused)
            assert told.endswith(".")
            assert told.isprintable()
            assert len(told) < 700
        else:
            raise AssertionError("this is no params.yaml")

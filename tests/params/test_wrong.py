"""Any single wrong leaf of params.yaml is one sentence that helps; torture/params.py asks for all of them."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from params_helpers import REPOS, edited

from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from torture import params as wrong

WHOLE = wrong.whole_form()
FORMS = {"whole": WHOLE, "committed": REPOS}
PLACES = [(form, place) for form, params in FORMS.items() for place in wrong.places(params)]
BARE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_subnormal=False),
    st.text(max_size=8),
    st.just(10**400),
    st.just("9" * 9),
)
VALUES = st.one_of(
    st.sampled_from(list(wrong.WRONG.values())),
    BARE,
    st.recursive(
        BARE,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
)


def test_the_whole_form_is_sound_and_has_every_key_of_every_block() -> None:
    assert wrong.told(WHOLE) == ""
    assert set(wrong.places(WHOLE)) >= {
        ("scales", "small", "rate", "signs", "gate"), ("pools", "icons", "copies", "threshold_other"),
        ("codecs", "star", "fit", "codes"), ("raters", "alchemist", "unroll_steps"), ("plan", "card", "name"),
    }  # fmt: skip


@settings(max_examples=250, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(PLACES), VALUES)
@example(("whole", ("grid", "others", "flux", "proxy")), "")  # read by nobody, and passed on
@example(("whole", ("grid", "families", 0)), "\u202e\n" * 50_000)
@example(("whole", ("scales", "tiny", "sample")), {1: 2})
def test_a_wrong_value_is_one_sentence_with_its_key_or_works(at: tuple[str, Any], value: Any) -> None:
    form, place = at
    sentence = wrong.told(wrong.changed(FORMS[form], place, value))
    assert not sentence or wrong.faults(sentence, place, value) == [], sentence


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(st.sampled_from(PLACES))
@example(("whole", ("studies", "confirm", "claims", "C6")))  # a name of one's own
@example(("whole", ("studies", "confirm", "claims", "C6", "against")))
@example(("whole", ("studies", "natural", "pools", "icons", "codecs.star.refit")))
def test_a_misspelt_key_is_told_with_the_nearest(at: tuple[str, Any]) -> None:
    form, place = at
    for row in wrong.wrong_keys(FORMS[form], place):
        assert row["holds"], row


def test_a_mangled_file_is_refused_on_one_line_or_works() -> None:
    assert [row for row in wrong.wrong_texts(60) if not row["holds"]] == []


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("scale is None; legal values are tiny.", "says None"),
        ("scale is 3; it should be a valid tuple.", "says valid"),
        ("scale is 3; it should be\ntiny.", "is no short line that ends in a period"),
        ("pool is 3; it should be emoji.", "names no key"),
        ("scale should be tiny.", "shows no value"),
        (f"{wrong.CRASH}: KeyError: 3", "is no refusal"),
    ],
)
def test_a_sentence_that_does_not_help_is_found(sentence: str, fault: str) -> None:
    assert fault in wrong.faults(sentence, ("scale",), 3)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("scales.tiny.train.learning_rate", "4e-3", "larger than 0 (write 4.0e-3)."),
        ("scales.tiny.train.learning_rate", "0,5", "larger than 0 (write 0.5)."),
        ("scales.tiny.train.learning_rate", [0.1],
         "is [0.1]; it should be a finite number, larger than 0 (write 0.1"),
        ("scales.tiny.train.batch", "1_000", "at least 1 (write 1000)."),
        ("scales.tiny.train.batch", 3.0, "is 3.0; it should be a whole number, at least 1 (write 3)."),
        ("scales.tiny.train.batch", 0.0, "is 0.0; it should be a whole number, at least 1."),
        ("scales.tiny.train.chunk", "null", "at least 1 or null (write null)."),
        ("scales.tiny.train.batch", 2**53 + 1, "at most 9007199254740992 is legal of any whole number."),
        ("scales.tiny.train.learning_rate", 1e31, "at most 1e+30 is legal of any number."),
        ("pools.mine.splits.evaluation", "50%", "(write 0.5)."),
        ("codecs.star.refit", "Off", "it should be true or false (write false)."),
        ("models.flux_s.rope", [8, 24], "is [8, 24]; it should be a list of 3 items, each a whole number."),
        ("models.s.width", 130, "models.s is {width: 130, heads: 4}; width should be heads (4) times a"),
        ("raters.clarity.direction", True, "direction is true; it should be 1 or -1."),
        ("raters.loss", {"knd": "loss"}, "raters.loss.knd is not a known key, nearest to kind; kind should"),
        ("pools.mine.path", "a\0b", r'path is "a\0b"; no text may hold a control character.'),
        ("plan.card.name", "x" * 20_000, "(20000 characters); at most 10000 characters are legal"),
        ("scales.tiny.train_of", {3: {}}, "scales.tiny.train_of has the key 3; it should be a name."),
        ("grid.others", {"flx": {}}, "grid.others.flx.proxy is missing"),
    ],
)  # fmt: skip
def test_what_was_meant_and_what_no_machine_takes_are_told(key: str, value: Any, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(edited(key, value))
    assert told in str(refused.value)

import unicodedata

from alchemist.core.one_line import LETTERS, one_line


def test_what_is_short_and_plain_stays():
    for text in ("", "a cat", "größe 日本 👩\u200d🚀", "<b>&amp;</b>", "a" * LETTERS):
        assert one_line(text) == text


def test_a_long_text_ends_in_an_ellipsis():
    assert one_line("a" * (LETTERS + 1)) == "a" * LETTERS + " …"
    assert one_line("word " * 40, 10) == "word word …"
    assert one_line(" \n" * 10_000_000 + "x", 10) == "  …"
    assert one_line("a\t\n b\r\nc") == "a b c"


def test_no_character_has_power_over_what_stands_around():
    assert one_line("a\0b\x1b[31m\x7f\x85") == "a\\x00b\\x1b[31m\\x7f\\x85"
    assert one_line("\u202eevil\u2069\u200f") == "\\u202eevil\\u2069\\u200f"
    assert one_line("a\u2028b\ud800") == "a\\u2028b\\ud800"
    for code in [*range(0x3100), *range(0xFFF0, 0x1_0400), *range(0xE_0000, 0xE_0100)]:
        said = one_line(chr(code))
        assert len(said) == 1 or unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        if unicodedata.bidirectional(chr(code)) in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        ):
            assert said == f"\\u{code:04x}"
    said = one_line("\0" * 1000)
    assert said.endswith(" …")
    assert len(said) <= LETTERS + 2

"""Every leaf of params.yaml with every kind of wrong value: one sentence that helps, or a value that works.

The whole form of params.yaml spells every key of every block, those that it leaves to their defaults too.
tests/params/test_wrong.py takes some of the cases; python -m torture.params all of them, in three minutes, or
python -m torture.params KEY … those of some keys at the top of the file.
"""

import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from alchemist.core.files import json_text
from alchemist.core.refusal import Refusal
from alchemist.core.settings.legal import one_letter_off
from alchemist.core.shown import shown
from alchemist.params.check import check
from alchemist.params.inherit import TABLES
from alchemist.params.sources import passed_on
from stages.params_file import parse_params, read_params

PARAMS = Path(__file__).parents[1] / "params.yaml"
PASSED = ("sources", "budgets", "rating")  # what stage check adds
CRASH = "CRASH"
TEXTS = 5_000  # mangled files of a run
PARTS = [
    ": ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&x ", "*x", "!!int ", "!t ", "<<: ", "? ", "|", ">",
    "\t", "'", '"', "#", "%YAML 1.1\n", "---\n", "...", "1e999", ".nan", "0x1", "9" * 50, "~", "true", "\0",
    "\u202e", "\ufeff", "\x85", "null: ", "[a]: ", "2026-01-01", "1:30", "[" * 40, "{a: " * 40, "x" * 20_000,
    "\ud800", "base: ", "-1", "0.5", "[]", "{}", "",
]  # fmt: skip
LONGEST = 600  # characters of a sentence
Path_ = tuple[Any, ...]

DEEP: Any = 1
for _ in range(50):
    DEEP = [DEEP]
WRONG: dict[str, Any] = {
    "null": None, "true": True, "zero": 0, "minus": -1, "large": 2**53 + 1, "huge": 10**39, "half": 0.5,
    "many": 1.5, "below": -0.5, "nan": float("nan"), "inf": float("inf"), "tiny": 1e-300, "giant": 1e308,
    "empty": "", "name": "no_such_name", "digits": "4e-3", "octal": "010", "yes": "yes",
    "long": "x" * 100_000, "odd keys": {"\u202e\n" * 5000: {"b": 1}, "a\0": {}},
    "odd": "a\u202eb\0\n\u00e9'\"\\", "none": "None", "list": [], "nulls": [None], "texts": ["no", "no"],
    "nested": [[1]], "numbers": [1, 2, 3] * 500, "block": {}, "blocks": {"a": {"b": 1}}, "deep": DEEP,
    "keys": {1: 2}, "path": "../x", "dash": "-",
}  # fmt: skip
# What no sentence for a person holds, outside of what was quoted from the file.
PYTHON = re.compile(
    r"\bNone\b|\bTrue\b|\bFalse\b|\(\)|\btuple|\bdict\b|\bstr\b|\bint\b|\bbool\b|\bNoneType|\bInput\b|\bvalid\b"
    r"|validation error|pydantic|Settings\b|<class|(?<![.\w])(?:nan|inf)\b|instance|\bobject|Error\b"
    r"|Traceback|another value"
)
QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"")


def spelt(value: Any) -> Any:
    """A block as YAML has it, every key spelt out."""
    if isinstance(value, BaseModel):
        return {name: spelt(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: spelt(item) for key, item in value.items()}
    return [spelt(item) for item in value] if isinstance(value, tuple) else value


def whole_form() -> dict[str, Any]:
    """The committed params.yaml without bases and defaults; it is sound."""
    found: dict[str, Any] = spelt(check(read_params(PARAMS)))
    for scale in found["scales"].values():
        if scale["pretrain"] is not None:
            del scale["pretrain"]["checkpoints"]  # which that block has none of
    return found


def places(value: Any, above: Path_ = ()) -> Iterator[Path_]:
    """Of every key, and of every first item of a list."""
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, item in items:
        yield (*above, key)
        yield from places(item, (*above, key))


def at(params: Any, place: Path_) -> Any:
    """What stands there."""
    for part in place:
        params = params[part]
    return params


def changed(params: Any, place: Path_, value: Any) -> Any:
    """The params with another value at one place; what does not change is shared."""
    if not place:
        return value
    first, *rest = place
    copy = list(params) if isinstance(params, list) else dict(params)
    copy[first] = changed(params[first], tuple(rest), value)
    return copy


def renamed(params: Any, place: Path_, name: str) -> Any:
    """The params with another name of the key at a place."""
    *above, last = place
    block = {name if key == last else key: value for key, value in at(params, tuple(above)).items()}
    return changed(params, tuple(above), block)


def misspelt(name: str) -> list[str]:
    """One letter less, another, two turned round, one more."""
    half = len(name) // 2
    turned = name[:half] + name[half : half + 2][::-1] + name[half + 2 :]
    return [name[1:], name[:half] + "q" + name[half + 1 :], turned, name + name[-1]]


def told(params: Any) -> str:
    """The sentence of stage check, or "" for params that it passes on, as sound to those who read them."""
    try:
        check(params)
    except Refusal as refused:
        return str(refused)
    except Exception as error:  # which is what this looks for
        return f"{CRASH}: {type(error).__name__}: {error}"
    try:
        again = json.loads(json_text(passed_on(params)))
        check({key: value for key, value in again.items() if key not in PASSED})
    except Exception as error:
        return f"{CRASH} after check: {type(error).__name__}: {error}"
    return ""


def faults(sentence: str, place: Path_, value: Any) -> list[str]:
    """What is wrong with the sentence about a wrong value at a place."""
    if sentence.startswith(CRASH):
        return ["is no refusal"]
    bare = QUOTED.sub("''", sentence)
    found = [f"says {word[0]}" for word in PYTHON.finditer(bare)]
    if not sentence.isprintable() or not sentence.endswith(".") or len(sentence) > LONGEST:
        found.append("is no short line that ends in a period")
    names = [str(part) for part in place if isinstance(part, str)]
    if (
        not re.search(rf"(?<!\w){re.escape(names[-1])}(?!\w)", sentence)
        and ".".join(names[:2]) not in sentence
    ):
        found.append("names no key")
    if not any(word in sentence for word in _shown_as(value, place)):
        found.append("shows no value")
    return found


def _shown_as(value: Any, place: Path_) -> list[str]:
    """What a sentence may show of a value: as a whole, or the part or the missing part that is wrong."""
    found = [shown(value)]
    if isinstance(value, str) and value:
        found.append(value)
    if isinstance(value, float):
        found.append(f"{value:g}")
    if isinstance(value, dict):
        found += [" is missing", " is not a known key", *(f" {shown(key)};" for key in value)]
    if isinstance(value, list):
        found.append(shown(value)[1:-1] or ".".join(map(str, place)))
    inner = value.values() if isinstance(value, dict) else value[:3] if isinstance(value, list) else ()
    return found + [words for item in inner for words in _shown_as(item, place)]


def wrong_values(params: Any, place: Path_) -> Iterator[dict[str, Any]]:
    """A row for each kind of wrong value at a place."""
    now = at(params, place)
    for name, value in WRONG.items():
        if type(value) is type(now) and value == now:
            continue
        sentence = told(changed(params, place, value))
        bad = faults(sentence, place, value) if sentence else []
        yield _row(f"{'.'.join(map(str, place))}: {name}", sentence, bad)


def wrong_keys(params: Any, place: Path_) -> Iterator[dict[str, Any]]:
    """A row for each way to misspell the key at a place, where a key and no name of a block stands there."""
    above, name = at(params, place[:-1]), place[-1]
    free = (len(place) == 2 and place[0] in TABLES) or place[-2:-1] == ("train_of",)
    # Names of claims are one's own; of values, by their dotted keys, the command that lays them over tells.
    free |= place[0] == "studies" and (
        place[2:-1] in (("claims",), ("values",)) or (len(place) == 5 and place[2] == "pools")
    )
    if not isinstance(name, str) or free:
        return
    for other in misspelt(name):
        if other in above or other in ("", name):
            continue
        sentence = told(renamed(params, place, other))
        near = re.search(r"nearest to (\w+)", sentence)
        bad = [] if near and (near[1] == name or one_letter_off(other, near[1])) else ["names no near key"]
        yield _row(
            f"{'.'.join(map(str, place))} as {other}",
            sentence,
            bad + faults(sentence, (*place[:-1], other), other),
        )


def mangled(text: str, seed: int) -> str:
    """The text with a few spans of it taken out, doubled, or replaced by what YAML gives a meaning to."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(text))
        end = start + draw.choice([0, 1, 1, 3, 20, 200])
        letter = chr(draw.randrange(1, 256))
        put = draw.choice([draw.choice(PARTS), text[start:end] * 2, "", letter])
        text = text[:start] + put + text[end:]
    return text


def wrong_texts(count: int) -> Iterator[dict[str, Any]]:
    """A row for each mangled params.yaml: read and checked, or refused on one line."""
    text = PARAMS.read_text(encoding="utf-8")
    for seed in range(count):
        try:
            sentence = told(parse_params(mangled(text, seed), Path("params.yaml")))
        except Refusal as refused:
            sentence = str(refused)
        except Exception as error:  # which is what this looks for
            sentence = f"{CRASH}: {type(error).__name__}: {error}"
        plain = sentence.isprintable() and sentence.endswith(".") and len(sentence) <= LONGEST
        is_wrong = bool(sentence) and (not plain or sentence.startswith(CRASH))
        bad = ["is no short line that ends in a period"] if is_wrong else []
        yield _row(f"params.yaml mangled by {seed}", sentence, bad)


def _row(case: str, sentence: str, bad: list[str]) -> dict[str, Any]:
    return {"promise": "wrong params", "case": case, "figure": sentence, "holds": not bad, "bad": bad}


def run(folder: Path) -> list[dict[str, Any]]:
    """Rows of what all cases come to, and one for each that does not hold. `folder` is not written to."""
    return [*_counted("every leaf and key", leaves()), *_counted("mangled files", wrong_texts(TEXTS))]


def leaves(keys: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """A row for every place of the whole form, and of the committed one, with every kind of wrong value.

    Of `keys` at the top alone, where there are some.
    """
    for params in (whole_form(), read_params(PARAMS)):
        sentence = told(params)
        yield _row("a sound file", sentence, ["is refused"] if sentence else [])
        for place in places(params):
            if keys and place[0] not in keys:
                continue
            yield from wrong_values(params, place)
            yield from wrong_keys(params, place)


def _counted(case: str, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row that counts all, and those that do not hold."""
    count, started, wrong = Counter[str](), time.perf_counter(), []
    for row in rows:
        count["refused in one sentence" if row["figure"] else "legal"] += 1
        if not row["holds"]:
            wrong.append(row)
    figure = {**count, "seconds": round(time.perf_counter() - started)}
    return [{"promise": "wrong params", "case": case, "figure": figure, "holds": not wrong}, *wrong]


def main() -> int:
    """Prints the rows as JSON lines; 1 where one does not hold."""
    keys = sys.argv[1:]
    if unknown := [key for key in keys if key not in read_params(PARAMS)]:
        raise SystemExit(f"params.yaml has no key {unknown[0]}")
    rows = [*_counted(f"every leaf and key of {', '.join(keys)}", leaves(keys))] if keys else run(Path())
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

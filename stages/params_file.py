"""Reads params.yaml by the rules of DVC, and tells what DVC would stumble over or silently lose."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from alchemist.core.refusal import Refusal
from alchemist.core.settings.grid import OtherSettings
from alchemist.core.shown import named, visible

try:
    from yaml import CSafeLoader as Base  # some ten times as fast
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as Base  # type: ignore[assignment]

# DVC reads YAML 1.2, PyYAML 1.1: there 1e-3 is text, yes is true and 010 is eight. What the two read
# differently, and is no number of plain digits, is left text here, so that the settings refuse it.
PLAIN = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


MOST = 1_000_000  # bytes of the file
DEEPEST = 20  # blocks and lists inside each other
DIGITS = 40  # of a whole number, which more make no other than wrong


class Loader(Base):
    """Plain scalars by YAML 1.2; a key that stands twice in a block is refused."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 # PyYAML's own, of YAML 1.1, are not taken over

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The block as a dictionary."""
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if isinstance(key, dict | list):
                raise Refusal(
                    f"params.yaml has a key in line {line} that is a block or a list; it should be a name."
                )
            if key in lines:
                raise Refusal(
                    f"params.yaml has the key {named(key)} twice in one block, in lines "
                    f"{lines[key]} and {line}; it should stand there once."
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


def _number(loader: Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan")
    return float(text)


def _whole(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > DIGITS:
        raise Refusal(
            f"params.yaml has a number of {len(text)} digits in line {node.start_mark.line + 1}; at most "
            f"{DIGITS} are legal."
        )
    return int(text)


for _name, (_pattern, _first) in PLAIN.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:float", _number)
Loader.add_constructor("tag:yaml.org,2002:int", _whole)


def read_params(path: Path) -> Any:
    """What a YAML file holds, as DVC reads it. Raises Refusal, with the line, where it cannot be read.

    Anchors are refused too: to `dvc exp run -S` the blocks that share one are one object, into which it
    merges each of them in turn, so that the last one's old values undo what was set.
    """
    try:
        with path.open("rb") as file:
            held = file.read(MOST + 1)
        if len(held) > MOST:
            raise Refusal(f"{path} has more than {MOST} bytes; it should be a file of settings.")
        text = held.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"byte {error.start} is no UTF-8"
        raise Refusal(f"{path} cannot be read: {reason}.") from None
    return parse_params(text, path)


def parse_params(text: str, path: Path) -> Any:
    """What the text of the file `path` holds: see `read_params`."""
    try:
        for event, depth in _nested(text):
            place = _place(event.start_mark)
            if depth > DEEPEST:
                raise Refusal(
                    f"{path} goes more than {DEEPEST} blocks or lists deep{place}; fewer are legal."
                )
            if isinstance(event, yaml.AliasEvent):
                raise Refusal(
                    f"{path} has the alias *{visible(str(event.anchor))}{place}; it should be the values "
                    "themselves, or base: NAME in a block, because dvc exp run -S loses what it sets in "
                    "blocks that share an anchor."
                )
            if tag := getattr(event, "tag", None):
                short = visible(tag.replace("tag:yaml.org,2002:", "!!"))
                raise Refusal(f"{path} has the tag {short}{place}; it should be left out.")
        return yaml.load(text, Loader=Loader)
    except yaml.reader.ReaderError as error:
        reason = f"the character at {error.position}, {visible(chr(int(error.character)))}, is not legal"
        raise Refusal(f"{path} is no YAML: {reason}.") from None
    except UnicodeError:  # of half a character, which no file of UTF-8 holds
        raise Refusal(f"{path} is no YAML: it holds half a character.") from None
    except yaml.YAMLError as error:
        place = _place(getattr(error, "problem_mark", None))
        reason = visible(" ".join(str(getattr(error, "problem", None) or error).split()), 200)
        raise Refusal(f"{path} is no YAML{place}: {reason}.") from None


def _nested(text: str) -> Iterator[tuple[yaml.Event, int]]:
    """The events of a text, each with how deep it lies. Nothing is built, however large it would get."""
    depth = 0
    for event in yaml.parse(text, Loader=Base):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        yield event, depth


def check_others(given: Any, pipeline: Path) -> None:
    """Compares the families of sound params' `grid.others` with those that DVC's file, if any, reads.

    Raises Refusal for one that is missing, over which DVC would stumble, and for one of which it would run
    nothing.
    """
    if not pipeline.is_file():
        return
    named = set(re.findall(r"\$\{grid\.others\.(\w+)\.", pipeline.read_text(encoding="utf-8")))
    others = set(given["grid"]["others"])
    for family in sorted(named - others):
        raise Refusal(
            f"grid.others.{family} is missing; {pipeline} reads it, so it should be a block with the keys "
            f"{', '.join(OtherSettings.model_fields)}, lists of which are [] where there is nothing."
        )
    for family in sorted(others - named):
        raise Refusal(
            f"grid.others has {family}, of which {pipeline} has no stages; leave it out there, or see "
            "CONTRIBUTING.md, A new model family."
        )


def _place(mark: Any) -> str:
    return f" in line {mark.line + 1}" if mark is not None else ""

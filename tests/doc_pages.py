"""The pages of a repo: links and anchors by GitHub's rules, pointers to code, and the commands shown."""

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

FENCE = re.compile(r"^[ ]*```(\S*)[^\n]*\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
POINTER = re.compile(r"[\w/]+\.py::\w+")
FILE = re.compile(
    r"(?:alchemist|stages|tests|docs|benchmarks|torture|assets/codecs)/[a-z0-9_/]+(?:\.(?:py|md|json|yaml|sh))?"
)
SHELLS = ("", "sh", "bash", "console")
# Where pages lie beside the root. Others are a person's own, or written by stages.
PLACES = ("assets/**/*.md", "benchmarks/*.md", "data/README.md", "docs/**/*.md", "reports/**/*.md")
WRITTEN = "reports/tables/"  # by the stage report
# LOG.md tells of the past and its commands.
OF_THE_PAST = "LOG.md"


def pages(root: Path) -> list[Path]:
    """Every page, by its path from the root on."""
    found = [path.relative_to(root) for place in ("*.md", *PLACES) for path in root.glob(place)]
    return sorted(path for path in found if not path.as_posix().startswith(WRITTEN))


def without_code(text: str) -> str:
    """A page whose blocks are gone, line for line, and whose code within lines is crossed out."""
    text = FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    return CODE.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), text)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", words.strip().lower()).replace(" ", "-")


@cache
def anchors(path: Path) -> set[str]:
    """Those of a page; of equal headings the second has -1 behind it."""
    text = FENCE.sub(lambda found: "\n" * found[0].count("\n"), path.read_text(encoding="utf-8"))
    seen: dict[str, int] = {}
    out = set()
    for heading in HEADING.findall(text):
        name = slug(heading)
        out.add(f"{name}-{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return out


def link_complaints(root: Path) -> list[str]:
    """Relative links to what is not there, and to headings that are not."""
    out = []
    for page in pages(root):
        text = without_code((root / page).read_text(encoding="utf-8"))
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            to = (root / page).parent / path if path else root / page
            if not to.exists() or not to.resolve().is_relative_to(root.resolve()):
                out.append(f"{page}: {target} is not there")
            elif anchor and (to.suffix != ".md" or anchor not in anchors(to)):
                out.append(f"{page}: {target} has no such heading")
    return out


# ------------------------------------------------------------------------------ pointers to code


@cache
def defined(path: Path) -> set[str]:
    """Names of functions and classes of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def pointer_complaints(root: Path, new: set[str]) -> list[str]:
    """Code that a page names, `file` or `file::name`, and that is not there; `new` are files to be made."""
    out = []
    for page in pages(root):
        if page.name == OF_THE_PAST:
            continue
        text = FENCE.sub("", (root / page).read_text(encoding="utf-8"))
        for _, code in CODE.findall(text):
            file, _, name = code.partition("::")
            if not (POINTER.fullmatch(code) or FILE.fullmatch(code)) or file in new:
                continue
            if not (root / file).exists():
                out.append(f"{page}: {code} is not there")
            elif name and name not in defined(root / file):
                out.append(f"{page}: {file} has no {name}")
    return out


# ------------------------------------------------------------------------------ commands


@dataclass(frozen=True)
class Command:
    """A command of a page: its words, whether … cuts it short, and whether it stands in a line of text."""

    page: Path
    words: tuple[str, ...]
    cut: bool
    inline: bool

    def __str__(self) -> str:
        return " ".join(self.words)


INLINE = re.compile(
    r"(make|dvc|pytest|ruff|mypy|pre-commit|torchrun|accelerate|sbatch|srun|hf|\.ci/run|\.ci/docs|\./repro|\./study|"
    r"python -m|pip install|sphinx-build|git|bash|apt-get|-S)( |$)"
)


def blocks(text: str) -> list[str]:
    """The blocks of a page that name a shell or no language, as one would copy them."""
    return [textwrap.dedent(block) for language, block in FENCE.findall(text) if language in SHELLS]


def commands(root: Path) -> list[Command]:
    """Those of all pages, in their order: of blocks that name a shell or no language, and within lines."""
    out = []
    for page in pages(root):
        if page.name == OF_THE_PAST:
            continue
        text = (root / page).read_text(encoding="utf-8")
        for block in blocks(text):
            lines = re.sub(r"(\\|\|)\n", lambda found: found[1].strip("\\") + " ", block).splitlines()
            out += [one for line in lines for one in parsed(page, line, inline=False)]
        for _, code in CODE.findall(FENCE.sub("", text)):
            line = " ".join(code.split())
            if INLINE.match(line) and line not in {"make", "dvc", "git", "bash", "hf"}:
                out += parsed(page, line, inline=True)
    return out


def parsed(page: Path, line: str, *, inline: bool) -> Iterator[Command]:
    """The commands of a line of shell, each by itself; those within $(…) too."""
    for within in re.findall(r"\$\(([^()]*)\)", line):
        yield from parsed(page, within, inline=inline)
    line = re.sub(r"\$\([^()]*\)", "FOUND", line)
    line = re.sub(r"(?<!\S)\[([^\]]*)\]", r"\1", line)  # what may be left out
    cut = "…" in line
    lexer = shlex.shlex(line.replace("…", ""), posix=True, punctuation_chars="|&;")
    lexer.whitespace_split, words = True, list[str]()
    for word in [*lexer, ";"]:
        if word[0] not in "|&;" if word else True:
            if words or not re.match(r"[A-Z_]+=", word):  # a variable before a command
                words.append(word)
        elif words:
            yield Command(page, tuple(words), cut, inline)
            words = []

"""The site: built without a warning, it loads nothing from elsewhere and has its equations."""

import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from closure import ROOT
from doc_pages import pages

pytest.importorskip("sphinx", reason="sphinx is not installed: pip install -e '.[docs]'")
UNTITLED = {f"{page}.md" for page in runpy.run_path(str(ROOT / "docs/conf.py"))["UNTITLED"]}
EXTERNAL = re.compile(r"(https?:)?//")


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-c", str(ROOT / "docs"), str(source), str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out


class Loads(HTMLParser):
    """What a browser fetches to show a page, not what a reader may click."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.found += [
                value or "" for name, value in attrs if name in ("src", "href", "data", "srcset", "poster")
            ]


def loads(text: str) -> list[str]:
    """From elsewhere: by tags of a page, and by styles."""
    parser = Loads()
    parser.feed(text)
    styled = re.findall(r"(?:@import\s+|url\()\s*['\"]?([^'\")\s;]+)", text)
    return [one for one in (*parser.found, *styled) if EXTERNAL.match(one)]


def test_it_is_built_without_a_warning(site: Path) -> None:
    assert all((site / page.with_suffix(".html")).is_file() for page in pages(ROOT))
    assert "README.html" in (site / "index.html").read_text()


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    files = [
        path
        for path in site.rglob("*")
        if path.suffix in (".html", ".css") and "_downloads" not in path.parts
    ]
    assert len(files) > 30
    assert {str(path): found for path in files if (found := loads(path.read_text(encoding="utf-8")))} == {}


def test_equations_are_mathml(site: Path) -> None:
    page = (site / "docs/method.html").read_text(encoding="utf-8")
    source = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    assert page.count('display="block"') == source.count("$$") / 2 >= 12
    assert page.count("<math") > 100
    unknown = [math for math in re.findall(r"<math.*?</math>", page, re.DOTALL) if "\\" in math]
    assert unknown == [], "a command of TeX that the converter does not know"
    assert "$" not in re.sub(r"<[^>]*>", "", page.split("<article")[1].split("</article>")[0])


def test_no_word_of_the_menu_stands_in_the_page_of_the_repo(site: Path) -> None:
    assert "toctree" not in (ROOT / "README.md").read_text()
    page = (site / "README.html").read_text(encoding="utf-8")
    assert all(f'href="docs/{name}.html"' in page for name in ("method", "sweep", "add_a_rater", "faq"))


# ------------------------------------------------------------------------------ the checks can fail


def built(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """The build of pages without text but for these lines of the first."""
    for page in pages(ROOT):
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        heading = "" if str(page) in UNTITLED else "# A page\n\n## A question\n"
        (folder / page).write_text(heading + "Text.\n")
    with (folder / "README.md").open("a") as file:
        file.write("".join(f"\n{line}\n" for line in lines))
    return build(folder, folder / "out")


def test_a_fault_of_a_page_ends_the_build(tmp_path: Path) -> None:
    told = {
        "[x](docs/gone.md)": "target not found: 'docs/gone.md'",
        "[x](#gone)": "target not found: 'gone'",
        "[x](docs/faq.md#gone)": "local id not found in doc 'docs/faq': 'gone'",
        "#### too deep": "Non-consecutive header level",
    }
    done = built(tmp_path, *told)
    assert done.returncode != 0
    for text, says in told.items():
        assert done.stderr.count(says) == 1, text
    assert done.stderr.count("WARNING") == len(told)


def test_what_is_no_fault_does_not_end_it(tmp_path: Path) -> None:
    done = built(tmp_path, "[x](docs), [x](docs/faq.md#a-question) and $x^2$")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>', '<img src="//example.com/x.png">',
        '<link rel="stylesheet" href="http://example.com/x.css">', "@import 'https://example.com/x.css';",
        "src: url(https://example.com/x.woff)",
    ],
)  # fmt: skip
def test_what_is_loaded_from_elsewhere_is_found(text: str) -> None:
    assert len(loads(text)) == 1
    assert loads('<a href="https://example.com">x</a><img src="x.png">') == []

"""Every link, heading and pointer to code of the pages leads somewhere; each check finds a fault."""

import shutil
import subprocess
from pathlib import Path

import pytest
from closure import ROOT
from doc_pages import anchors, link_complaints, pages, pointer_complaints, slug

# Files that docs/add_a_rater.md tells to make.
NEW = {
    "alchemist/raters/kinds/brightness.py", "alchemist/raters/kinds/caption_share.py",
    "alchemist/pruning/bottomk.py", "alchemist/pools/zip.py",
}  # fmt: skip


def test_every_page_is_looked_at() -> None:
    found = {str(page) for page in pages(ROOT)}
    assert {"README.md", "LOG.md", "docs/method.md", "docs/data/icons.md", "data/README.md"} <= found
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "*.md"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
        assert {name for name in listed if (ROOT / name).exists()} <= found


def test_every_link_leads_somewhere() -> None:
    assert link_complaints(ROOT) == []


def test_every_pointer_to_code_is_right() -> None:
    assert pointer_complaints(ROOT, NEW) == []


# ------------------------------------------------------------------------------ the checks can fail


PAGE = """# A page
## What `fd_lite0` is, in [short](other.md)
## What fd_lite0 is, in short
Links: [here](#a-page), [code](code.py), [again](#what-fd_lite0-is-in-short-1), [out](https://example.com/x).
`[no](link.md)`, `code.py::known` and `alchemist/code.py::known`.
```
[no](link.md) # no heading
```
"""


def write(root: Path, text: str) -> None:
    (root / "alchemist").mkdir()
    for name in ("code.py", "alchemist/code.py"):
        (root / name).write_text("class A:\n    def known(self): ...\n")
    (root / "other.md").write_text("# Other\n")
    (root / "page.md").write_text(text)


def test_a_healthy_page_has_no_complaint(tmp_path: Path) -> None:
    write(tmp_path, PAGE)
    assert link_complaints(tmp_path) == pointer_complaints(tmp_path, set()) == []
    assert anchors(tmp_path / "page.md") == {
        "a-page",
        "what-fd_lite0-is-in-short",
        "what-fd_lite0-is-in-short-1",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[x](gone.md)", "page.md: gone.md is not there"),
        ("![x](gone.png)", "page.md: gone.png is not there"),
        ("[x](other.md#gone)", "page.md: other.md#gone has no such heading"),
        ("[x](#gone)", "page.md: #gone has no such heading"),
        ("[x](code.py#L3)", "page.md: code.py#L3 has no such heading"),
        ("[`x`](gone.md)", "page.md: gone.md is not there"),
        ("[x](../outside.md)", "page.md: ../outside.md is not there"),
        ("`alchemist/gone.py`", "page.md: alchemist/gone.py is not there"),
        ("`alchemist/code.py::gone`", "page.md: alchemist/code.py has no gone"),
    ],
)
def test_a_fault_is_found(tmp_path: Path, text: str, says: str) -> None:
    write(tmp_path, PAGE + text)
    assert [*link_complaints(tmp_path), *pointer_complaints(tmp_path, set())] == [says]


def test_slugs_are_those_of_github() -> None:
    assert slug("Weights in parts (FSDP2)") == "weights-in-parts-fsdp2"
    assert slug("The paper's tables and figures") == "the-papers-tables-and-figures"
    assert slug("Add one's own: a `rater`, e.g. \u2013 two") == "add-ones-own-a-rater-eg--two"

"""Packages of icons as npm has them, small ones that the tests write."""

import io
import json
import tarfile
from dataclasses import replace

from alchemist.core import npm
from alchemist.pools.icons import SETS

RED = '<path fill="#f00" d="M0 0h8v16H0z"/>'  # the left half


def archive(icons: object, **more: object) -> bytes:
    """The .tgz of a package with icons.json, and metadata.json where `more` has it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, value in {"icons": icons, **more}.items():
            content = json.dumps(value).encode()
            info = tarfile.TarInfo(f"package/{name}.json")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def faces() -> bytes:
    """A set with every kind of name: drawings, second names, withdrawn ones, one that is broken."""
    icons = {
        "prefix": "faces",
        "icons": {
            "red-half": {"body": RED},
            "wide-logo": {"body": '<path d="M0 0h32v16H0z"/>', "width": 32},
            "currency": {"body": '<path fill="currentColor" d="M0 0h16v16H0z"/>'},
            "gone": {"body": RED, "hidden": True},
            "broken": {"body": "<g>"},
        },
        "aliases": {
            "half": {"parent": "red-half"},
            "other-half": {"parent": "half", "hFlip": True},
            "same-half": {"parent": "other-half", "hFlip": True},
            "gone-too": {"parent": "gone"},
            "of-none": {"parent": "nothing"},
            "round": {"parent": "round-too"},
            "round-too": {"parent": "round"},
            "upside-down": {"parent": "red-half", "vFlip": True},
        },
    }
    return archive(icons, metadata={"categories": {"Halves": ["red-half"], "Signs": ["currency", "half"]}})


def tools() -> bytes:
    """A set without categories."""
    return archive({"prefix": "tools", "width": 8, "height": 8, "icons": {"saw": {"body": RED}}})


def set_of(name: str, content: bytes):
    """A set whose package has that content."""
    package = npm.Package(f"@x/{name}", "1.0.0", npm.integrity(content))
    return replace(SETS[0], title=name.title(), author="Nobody", licence="CC0-1.0", package=package)

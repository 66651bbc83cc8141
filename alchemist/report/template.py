"""The templates of the pages: HTML in which every value is escaped, and a name that is not given is told."""

from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).with_name("templates")
_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def rendered(name: str, **context: Any) -> str:
    """A page by the template NAME.html.j2."""
    return _ENVIRONMENT.get_template(f"{name}.html.j2").render(context)


def script() -> str:
    """What the page of a report runs."""
    return "\n".join(
        (_FOLDER / name).read_text(encoding="utf-8") for name in ("page.js", "explore.js", "samples.js")
    )

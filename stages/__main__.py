"""`python -m stages`: every command of the project in a line."""

import ast
from pathlib import Path

import typer

from stages import stage


def run() -> None:
    """Lists the commands; each tells its own options by --help."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "    stage(run)" in text and not path.stem.startswith("_"):
            said = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
            typer.echo(f"python -m stages.{path.stem:<12} {said}")


if __name__ == "__main__":
    stage(run)

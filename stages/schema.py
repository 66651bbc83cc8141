"""Writes the JSON Schema of params.yaml, for editors: python -m stages.schema, after an edit of settings."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.params.schema import schema
from stages import stage


def run(out: Annotated[Path, typer.Option(help="JSON to write")] = Path("params.schema.json")) -> None:
    """Makes the schema from the settings classes; no stage of dvc.yaml reads it."""
    files.write_json(out, schema())
    print(f"wrote {out}")


if __name__ == "__main__":
    stage(run)

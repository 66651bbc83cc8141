"""Tables of results, ratings and kept ids, whose bytes are told where they changed since."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alchemist.core import files
from alchemist.core.refusal import Refusal

GROUP = 65_536  # rows of a row group, so that a table of any size can be read by parts
ROWS = b"rows"  # in the file's metadata: a footer has no checksum, and may lose rows without an error


def write(path: Path, table: pd.DataFrame) -> None:
    """Parquet without the index, with a checksum of each page."""
    written = pa.Table.from_pandas(table, preserve_index=False)
    written = written.replace_schema_metadata({**written.schema.metadata, ROWS: str(len(table))})
    with files.whole(path) as draft:
        pq.write_table(written, draft, row_group_size=GROUP, write_page_checksum=True)


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of what `write`, or a person, wrote. Raises Refusal where it is not as it was written."""
    try:
        # Without a buffer before it, which would hold the bytes of the whole file beside what they decode to.
        table = pq.read_table(path, columns=list(columns), page_checksum_verification=True, pre_buffer=False)
        found = table.to_pandas()
        stated = int((table.schema.metadata or {}).get(ROWS, len(found)))  # none in a table of a person's own
        is_whole = stated == len(found) and list(found.columns) == list(columns)
    except FileNotFoundError:
        raise
    except Exception:  # a damaged footer ends in nearly every type
        is_whole = False
    if not is_whole:
        raise Refusal(f"{path} is damaged: its bytes are not those that were written; {files.REMEDY}.")
    return found

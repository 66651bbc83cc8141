"""The pool as all later stages read it: the index that was read, with what the stage copies decided."""

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alchemist.core import files
from alchemist.pools.base import NEAR_HELD
from alchemist.pools.copies import REASONS, SHOWN, Pairs, Settled
from alchemist.pools.row import SPLITS
from alchemist.pools.store import CARD, EXTRA, INDEX, write_card
from alchemist.pools.table import ROW_GROUP

Counts = dict[str, dict[str, Counter[str]]]  # pairs by source, split and reason, "ok" for usable ones


def write(
    source: Path, draft: Path, out: Path, pairs: Pairs | None = None, settled: Settled | None = None
) -> tuple[dict[str, Any], Counter[str]]:
    """Writes index, card and what else is known of pairs into `draft`, which becomes `out`.

    Gives the card, and how many pairs are usable by split and not by reason.

    Images stay in `source`, as the card says. Nothing was settled of a pool without `pairs`: its index is
    the one that was read, byte for byte. Memory is flat in the pool.
    """
    for path in source.glob(EXTRA.replace(".", "*.")):
        shutil.copy(path, draft / path.name)
    facts = files.read_json(source / CARD)
    if pairs is None or settled is None:
        shutil.copy(source / INDEX, draft / INDEX)
        counts = {
            name: {split: Counter(found.get(split, {})) for split in SPLITS}
            for name, found in facts["sources"].items()
        }
    else:
        counts = _index(source, draft, pairs, settled)
    return write_card(draft, {**facts, "shards": os.path.relpath(source, out)}, counts), _total(counts)


def _index(source: Path, draft: Path, pairs: Pairs, settled: Settled) -> Counts:
    """The index with other splits, reasons and clusters; gives the counts. Places of images stay."""
    counts: Counts = {}
    words, reasons = np.array(SPLITS, dtype=object), np.array(REASONS, dtype=object)
    done = 0
    with (
        pq.ParquetFile(source / INDEX) as index,
        pq.ParquetWriter(draft / INDEX, index.schema_arrow) as writer,
    ):
        for batch in index.iter_batches(ROW_GROUP):
            rows = batch.to_pandas()
            usable = (rows["status"] == "ok").to_numpy()
            here = slice(done, done + int(usable.sum()))
            done = here.stop
            own = pairs.source[here] == pairs.own
            reason, split = settled.reason[here], settled.split[here]
            rows.loc[usable, "split"] = words[split]
            rows.loc[usable, "reason"] = np.where(settled.surplus[here], NEAR_HELD, reasons[reason])
            rows.loc[usable, "status"] = np.where(reason == 0, "ok", "rejected")
            rows.loc[usable, "lent"] = own & (split != SPLITS.index("pool")) & ~settled.surplus[here]
            rows.loc[usable, "cluster"] = pairs.key[settled.leader[here]]
            writer.write_table(_table(batch, rows))
            _count(counts, rows)
    return counts


def _table(batch: pa.RecordBatch, rows: pd.DataFrame) -> pa.Table:
    """The batch with the columns that changed; the others stay as they are, and so do their types."""
    table = pa.Table.from_batches([batch])
    for name in ("split", "reason", "status", "lent", "cluster"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.field(name), pa.array(rows[name], table.field(name).type))
    return table.unify_dictionaries()


def _count(counts: Counts, rows: pd.DataFrame) -> None:
    outcome = rows["reason"].where(rows["status"] != "ok", "ok")
    for (name, split, reason), count in Counter(
        zip(rows["source"], rows["split"], outcome, strict=True)
    ).items():
        counts.setdefault(name, {split: Counter() for split in SPLITS})[split][reason] += count


def _total(counts: Counts) -> Counter[str]:
    """Usable pairs by split and others by reason."""
    out: Counter[str] = Counter()
    for splits in counts.values():
        for split, found in splits.items():
            for reason, count in found.items():
                out[split if reason == "ok" else reason] += count
    return out


def told(source: Path, pairs: Pairs, settled: Settled) -> list[dict[str, Any]]:
    """The largest clusters for a person: their sizes, splits, and ids and captions of the first pairs."""
    wanted = np.concatenate([rows[:SHOWN] for rows in settled.largest] or [np.empty(0, np.int64)])
    found: dict[int, tuple[str, str]] = {}
    done = 0
    with pq.ParquetFile(source / INDEX) as index:
        for batch in index.iter_batches(columns=["id", "caption", "status"]):
            rows = batch.to_pandas()
            rows = rows[rows["status"] == "ok"]
            for row in wanted[(wanted >= done) & (wanted < done + len(rows))]:
                found[int(row)] = rows["id"].iloc[row - done], rows["caption"].iloc[row - done]
            done += len(rows)
    return [
        {
            "size": len(rows),
            "split": SPLITS[settled.split[rows[0]]],
            "ids": [found[int(row)][0] for row in rows[:SHOWN]],
            "captions": [found[int(row)][1] for row in rows[:SHOWN]],
        }
        for rows in settled.largest
    ]

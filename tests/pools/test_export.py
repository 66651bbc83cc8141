"""Exported pairs, read by the adapter of every layout: the same whatever the layout and the order."""

import pytest
from pool_helpers import encoded, picture, user_pool

from alchemist.pools.export import Layout, Pair, write
from alchemist.pools.image import decode
from alchemist.pools.read import licence, records
from alchemist.pools.row import pixel_hash

NAMES = [
    ("art", "a-b", "a, b"),
    ("art", "c", 'with "quotes"\nand a line'),
    ("food", "é", "käse"),
    ("food", "c", "c"),
]
PAIRS = [
    Pair(f"{group}/{name}", caption, group.title(), encoded(picture(number)))
    for number, (group, name, caption) in enumerate(NAMES)
]


def exported(folder, layout, pairs):
    folder.mkdir()
    assert write(pairs, layout, folder) == len(pairs)
    columns = {"columns": {"id": "id"}} if layout is Layout.PARQUET else {}
    return user_pool(folder, layout.value, licence="theirs", **columns)


@pytest.mark.parametrize("layout", list(Layout))
def test_every_adapter_reads_its_layout_alike_in_any_order(tmp_path, layout):
    expected = {pair.id: (pair.caption, pixel_hash(decode(pair.image, 16)[0]), "") for pair in PAIRS}
    assert len({pixels for _, pixels, _ in expected.values()}) == len(PAIRS)
    for name, order in (("sorted", [0, 1, 2, 3]), ("shuffled", [2, 1, 3, 0])):
        pairs = [PAIRS[place] for place in order]
        pool = exported(tmp_path / name, layout, pairs)
        found = {record.id: (record.caption, record.pixels, record.reason) for record in records(pool)}
        assert found == expected
        assert licence(pool) == "theirs"
        if layout is Layout.WEBDATASET:  # ids have the tar's name, so tars come one after the other
            pairs = sorted(pairs, key=lambda pair: pair.id.partition("/")[0])
        assert list(found) == [pair.id for pair in pairs]


@pytest.mark.parametrize("layout", list(Layout))
def test_equal_pairs_give_equal_bytes(tmp_path, layout):
    found = []
    for name in ("a", "b"):
        exported(tmp_path / name, layout, PAIRS)
        files = sorted((tmp_path / name).rglob("*"))
        found.append({str(p.relative_to(tmp_path / name)): p.read_bytes() for p in files if p.is_file()})
    assert found[0] == found[1]

import io
import subprocess
import sys

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doc_pages import commands
from hub import serving
from pool_helpers import NO_SPLITS, encoded, outcomes, picture, user_pool
from tiny import REPO

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools import base, store
from alchemist.pools.image import decode
from alchemist.pools.place import Span
from alchemist.pools.read import ADAPTERS, expected, records, rows

COLUMNS = {"image": "image", "caption": "text", "id": None}
FEATURES = {
    "image": datasets.Image(),
    "text": datasets.Value("string"),
    "name": datasets.Value("string"),
    "score": datasets.Value("float32"),
    "votes": datasets.Value("int64"),
    "safe": datasets.Value("bool"),
    "boxes": datasets.List(datasets.Value("int64")),
}
ROWS = {
    "image": [picture(0), picture(1), None, picture(3), picture(4)],
    "text": ["zero", None, "two", " ", "four"],
    "name": ["a", "b", "c", None, "a"],
    "score": [0.5, None, 1.0, 2.0, 3.0],
    "votes": [1, 2, 3, None, 5],
    "safe": [True, False, None, True, True],
    "boxes": [[1], [], [2, 3], [], []],
}


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()


@pytest.fixture
def saved(tmp_path):
    """One split as Dataset.save_to_disk leaves it."""
    data = datasets.Dataset.from_dict(ROWS, features=datasets.Features(FEATURES))
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    return tmp_path / "saved"


def pool(path, **changes):
    return user_pool(path, "huggingface", **{"columns": COLUMNS, **changes})


def test_every_row_of_a_saved_data_set_has_an_outcome(saved):
    assert outcomes(pool(saved)) == {
        "train:0": "", "train:1": base.MISSING_CAPTION, "train:2": base.MISSING_IMAGE,
        "train:3": base.EMPTY_CAPTION, "train:4": "",
    }  # fmt: skip
    assert expected(pool(saved)) == 5
    by_name = outcomes(pool(saved, columns={**COLUMNS, "id": "name"}))
    assert list(by_name) == ["a", "b", "c", "train:3", "a#2"]
    assert by_name["a#2"] == base.DUPLICATE_ID


def test_columns_are_kept_beside_as_numbers_or_text(saved):
    found = list(rows(pool(saved, keep=["score", "votes", "name", "safe"]), 1))
    assert [row.extra["name"] for row in found] == ["a", "b", "c", "", "a"]
    for name in ("score", "votes", "safe"):
        wanted = [float("nan" if value is None else value) for value in ROWS[name]]
        assert [row.extra[name] for row in found] == pytest.approx(wanted, nan_ok=True)
    assert all(isinstance(row.extra["votes"], float) for row in found)


@pytest.mark.parametrize(
    "kind",
    [
        datasets.Image(),
        {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        datasets.Value("binary"),
    ],
    ids=["image", "struct", "bytes"],
)
def test_encoded_bytes_pass_as_they_are(tmp_path, kind):
    content = encoded(picture(7), "JPEG", quality=50)
    cell = content if isinstance(kind, datasets.Value) else {"bytes": content, "path": "x.jpg"}
    features = datasets.Features({"image": kind, "text": datasets.Value("string")})
    data = datasets.Dataset.from_dict({"image": [cell], "text": ["x"]}, features=features)
    data.save_to_disk(tmp_path / "saved")
    assert [found.image for found in ADAPTERS["huggingface"].read(pool(tmp_path / "saved"))] == [content]


def test_an_image_that_was_not_embedded_stays_in_its_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(picture(7), "JPEG"))
    kind = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": kind, "text": datasets.Value("string")})
    cell = {"bytes": None, "path": str(tmp_path / "a.jpg")}
    datasets.Dataset.from_dict({"image": [cell], "text": ["x"]}, features=features).save_to_disk(
        tmp_path / "s"
    )
    (found,) = ADAPTERS["huggingface"].read(pool(tmp_path / "s"))
    assert found.image == Span(tmp_path / "a.jpg")
    assert outcomes(pool(tmp_path / "s")) == {"train:0": ""}


def test_one_split_of_several_is_read(saved):
    data = datasets.load_from_disk(saved)
    both = saved.with_name("both")
    datasets.DatasetDict({"train": data, "test": data.select([4, 0])}).save_to_disk(both)
    assert list(outcomes(pool(both, split="test"))) == ["test:0", "test:1"]
    assert [record.caption for record in records(pool(both, split="test"))] == ["four", "zero"]
    with pytest.raises(Refusal, match=r"split is 'dev'; the data set at .*both has train, test"):
        next(records(pool(both, split="dev")))
    named = datasets.Dataset.from_dict(ROWS, features=datasets.Features(FEATURES), split="test")
    named.save_to_disk(saved.with_name("named"))
    assert len(outcomes(pool(saved.with_name("named"), split="test"))) == 5
    with pytest.raises(Refusal, match=r"split is 'train'; the data set at .*named is the split test"):
        next(records(pool(saved.with_name("named"))))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"columns": {**COLUMNS, "caption": "caption"}},
            r"columns.caption is 'caption', which .* lacks.*text",
        ),
        ({"columns": {**COLUMNS, "id": "uid"}}, r"columns.id is 'uid', which .* lacks"),
        (
            {"columns": {**COLUMNS, "image": "text", "caption": "image"}},
            r"columns.image is 'text', which is of type .*string",
        ),
        ({"keep": ["aesthetic"]}, r"keep is 'aesthetic', which .* lacks"),
        ({"keep": ["boxes"]}, r"keep holds 'boxes', which is of type list.*; keep numbers or text"),
    ],
)
def test_wrong_columns_are_refused(saved, changes, told):
    with pytest.raises(Refusal, match=told):
        next(records(pool(saved, **changes)))


def test_what_is_no_data_set_is_refused(saved, tmp_path):
    with pytest.raises(Refusal, match="is no data set that save_to_disk wrote"):
        next(records(pool(tmp_path)))
    next(saved.glob("*.arrow")).write_bytes(b"no arrow")
    with pytest.raises(Refusal, match="is no data set that save_to_disk wrote"):
        next(records(pool(saved)))
    with pytest.raises(Refusal, match=r"which does not exist and is no name on the hub"):
        next(records(pool(tmp_path / "nowhere")))


@pytest.fixture
def hub(monkeypatch):
    with serving() as server:
        monkeypatch.setattr("datasets.config.HF_ENDPOINT", server.address)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        yield server


def test_a_gated_data_set_is_read_by_its_name_at_a_revision_after_a_login(hub, tmp_path):
    content = [encoded(picture(number), "JPEG") for number in range(3)]
    shard = io.BytesIO()
    cells = [{"bytes": one, "path": None} for one in content]
    pq.write_table(pa.table({"image": cells, "text": ["zero", "one", "two"]}), shard)
    hub.data_sets["owner/name"] = {
        "README.md": b"---\nlicense: mit\n---\n",
        "data/test-00000-of-00001.parquet": shard.getvalue(),
    }
    hub.gated = {"owner/name"}
    with pytest.raises(Refusal, match="gated"):
        next(records(pool("owner/name", split="test")))
    # The page's command, which a person answers in the browser.
    (login,) = {one.words for one in commands(REPO) if str(one).startswith("hf auth")}
    home = hub.environment(tmp_path / "home")
    done = subprocess.run(
        login, env=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert hub.address in done.stdout
    block = {
        "format": "huggingface", "path": "owner/name", "revision": "v1", "split": "test", "resolution": 16,
        "columns": {"caption": "text"}, "splits": NO_SPLITS,
    }  # fmt: skip
    params = {"pools": {"mine": block}, "sources": {"mine": {"mine": block}}}
    files.write_json(tmp_path / "data/params.json", files.sealed(params))
    command = [sys.executable, "-m", "stages.prepare", "--pool", "mine", "--out", "data/pool"]
    command += ["--truth-out", "data/truth", "--time-out", "data/time.json"]
    # A process of its own: where the library keeps what it downloads is read when it is imported.
    done = subprocess.run(command, cwd=tmp_path, env=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "v1" in hub.revisions
    index = store.usable(store.read_index(tmp_path / "data/pool"), "pool")
    assert list(zip(index["id"], index["caption"], strict=True)) == [
        ("test:0", "zero"), ("test:1", "one"), ("test:2", "two"),
    ]  # fmt: skip
    wanted = np.stack([decode(one, 16)[0] for one in content])
    assert np.array_equal(store.images(tmp_path / "data/pool", index), wanted)


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (401, "GatedRepo", "gated data set|gated dataset.*must be authenticated"),
        (403, "GatedRepo", "gated dataset.*ask for access"),
        (404, "RepoNotFound", "doesn't exist on the Hub or cannot be accessed"),
    ],
)
def test_what_the_hub_does_not_give_is_told_in_a_sentence(hub, status, code, told):
    hub.status, hub.code = status, code
    with pytest.raises(
        Refusal, match=f"path is 'owner/none', which the hub does not give: .*({told})"
    ) as found:
        next(records(pool("owner/none")))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("off", [True, False])
def test_a_hub_out_of_reach_is_told_in_a_sentence(monkeypatch, caplog, off):
    """At once, where the library alone would try for half a minute and tell of each try."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", off)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", off)
    for name in ("datasets.config.HF_ENDPOINT", "huggingface_hub.constants.ENDPOINT"):
        monkeypatch.setattr(name, "http://127.0.0.1:9")
    told = "path is 'owner/none', which the hub does not give: .*(reach|offline)"
    with pytest.raises(Refusal, match=told) as found:
        next(records(pool("owner/none")))
    assert "\n" not in str(found.value)
    assert not caplog.records


def test_cells_that_are_too_large_are_told_and_not_copied(tmp_path):
    cells = [encoded(picture(0)), b"x" * 600_000, encoded(picture(1))]
    words = ["a", "b", "y" * 600_000]
    data = datasets.Dataset.from_dict({"image": cells, "text": words})
    data.save_to_disk(tmp_path / "saved")
    assert outcomes(pool(tmp_path / "saved", largest=1)) == {
        "train:0": "", "train:1": base.TOO_LARGE, "train:2": base.LONG_CAPTION,
    }  # fmt: skip


def test_flipped_bits_of_the_arrow_file_end_no_reader_and_lose_no_row(tmp_path):
    """Arrow reads cells where their offsets say, without a look: one bit more, and the process is gone."""
    features = {name: FEATURES[name] for name in ("image", "text", "votes")}
    data = datasets.Dataset.from_dict({name: ROWS[name] for name in features}, datasets.Features(features))
    data.save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    whole, refused, rejected = path.read_bytes(), 0, 0
    for at in range(0, 8 * len(whole), len(whole) // 32):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            found = list(ADAPTERS["huggingface"].read(pool(tmp_path / "saved", keep=("votes",))))
        except Refusal:
            refused += 1
            continue
        assert len(found) == 5
        rejected += sum(pair.reason == base.UNREADABLE_METADATA for pair in found)
    assert refused > 5
    assert rejected


@pytest.mark.parametrize("column", ["text", "name", "tag"])
def test_bytes_that_are_no_utf8_cost_the_caption_alone(tmp_path, column):
    words = {"text": [b"zero", b"one"], "name": [b"a", b"b"], "tag": [b"x", b"y"]}
    words[column][1] = b"gr\xfcn"
    columns = {"image": pa.array([encoded(picture(i), "PNG") for i in range(2)], pa.binary())}
    for name, values in words.items():
        nulls, offsets, data = pa.array(values, pa.binary()).buffers()
        columns[name] = pa.StringArray.from_buffers(2, offsets, data, nulls)
    datasets.Dataset(pa.table(columns)).save_to_disk(tmp_path / "saved")
    block = pool(tmp_path / "saved", columns={**COLUMNS, "id": "name"}, keep=("tag",))
    wanted = base.UNREADABLE_CAPTION if column == "text" else ""
    assert outcomes(block) == {"a": "", r"gr\udcfcn" if column == "name" else "b": wanted}

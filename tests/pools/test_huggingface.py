import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import datasets
import pytest
from pool_helpers import encoded, outcomes, picture, user_pool

from alchemist.core.refusal import Refusal
from alchemist.pools import base
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
        ({"columns": {**COLUMNS, "image": "text"}}, r"columns.image is 'text', which is of type .*string"),
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
    """A hub that answers every question with the status and the error code that it holds."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(server.status)
            self.send_header("X-Error-Code", server.code)
            self.send_header("X-Error-Message", "refused")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", address)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


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


def test_a_hub_out_of_reach_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = "path is 'owner/none', which the hub does not give: .*(reach|offline)"
    with pytest.raises(Refusal, match=told) as found:
        next(records(pool("owner/none")))
    assert "\n" not in str(found.value)

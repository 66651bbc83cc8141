"""Weights by path or by name on the hub; a file that fits becomes the network, all else is one sentence."""

import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from alchemist.core import weights
from alchemist.core.refusal import Refusal
from alchemist.core.weights import Weights, find, find_file

KEY = "evaluate.weights.cmmd"
COMMIT = "0" * 40


def network(width: int = 4, device: str = "cpu") -> nn.Module:
    with torch.device(device):
        return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


@pytest.fixture
def stored() -> dict[str, torch.Tensor]:
    made = network()
    with torch.no_grad():
        made[1].running_mean.uniform_()
    return made.state_dict()


def refused(match: str, call: object, *arguments: object) -> None:
    with pytest.raises(Refusal, match=match) as told:
        call(*arguments)  # type: ignore[operator]
    assert str(told.value).startswith(f"{KEY} is ")
    assert str(told.value).endswith(".")
    assert "\n" not in str(told.value)


def at(path: Path) -> Weights:
    return find_file(str(path), KEY, "")


# --- where they are ---


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


class Hub(BaseHTTPRequestHandler):
    """A hub that answers every question by one code and reason; `listed`: but tells what a repository has."""

    answer, listed = (500, ""), False

    def do_GET(self) -> None:
        (code, reason), body = self.answer, b""
        if self.listed and self.path.startswith("/api/models/"):
            file = {"type": "file", "path": "w", "size": 1, "oid": COMMIT}
            told = [file] if "/tree/" in self.path else {"id": "owner/model", "sha": COMMIT}
            code, body = 200, json.dumps(told).encode()
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), Hub) as running:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        address = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield
        running.shutdown()


@pytest.fixture
def unreachable(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Online by the settings, but nothing listens."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_a_path_is_taken_as_it_is_and_the_home_folder_may_be_written_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.pth").write_bytes(b"")
    assert find(str(tmp_path), KEY, ["*.json"]).path == tmp_path
    for asked in (str(tmp_path), str(tmp_path / "w.pth"), "~/w.pth", "~"):
        assert find_file(asked, KEY, "w.pth").path == tmp_path / "w.pth"
    refused(r"which holds no other\.pth", find_file, str(tmp_path), KEY, "other.pth")


@pytest.mark.parametrize(
    "name", ["./nothing", "/nothing/at/all", "nothing", "a/b/c", "../x/y", "a/b.pth", "none.safetensors"]
)
def test_what_is_neither_path_nor_name_is_refused(cache: Path, name: str) -> None:
    refused(r"which does not exist; a path, or OWNER/NAME of the hub is legal", find, name, KEY, ["*"])


@pytest.mark.parametrize("how", ["cache", "unreachable"])
def test_without_the_hub_only_what_was_fetched_before_is_found(
    how: str, cache: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(how)
    host = "huggingface.co" if how == "cache" else "127.0.0.1"
    words = (
        rf"'owner/model', which is not here, and {host} is out of reach: go online once; or set it to a path"
    )
    refused(words, find, "owner/model", KEY, ["*"])
    refused("'a--b/c', which is not here", find_file, "a--b/c", KEY, "w")  # no name that the hub allows
    # As the hub's client lays out its cache.
    kept = cache / "models--owner--model/snapshots/abc"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}")
    (cache / "models--owner--model/refs").mkdir()
    (cache / "models--owner--model/refs/main").write_text("abc")
    assert find("owner/model", KEY, ["*"]).path == kept
    assert find_file("owner/model", KEY, "config.json").path == kept / "config.json"
    assert weights.here("owner/model", "config.json") == kept / "config.json"
    refused(r"which holds no w\.bin", find_file, "owner/model", KEY, "w.bin")


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, "GatedRepo"), "whose licence is not accepted"),
        ((404, "RepoNotFound"), r"neither a path here nor a repository of 127\.0\.0\.1"),
        ((400, ""), r"127\.0\.0\.1 does not give it"),
    ],
)
def test_what_the_hub_answers_is_told(
    server: None, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], words: str, listed: bool
) -> None:
    """Of the repository or, where that is shown to everybody, of a file."""
    monkeypatch.setattr(Hub, "answer", answer)
    monkeypatch.setattr(Hub, "listed", listed)
    refused(rf"is 'owner/model', .*{words}.*\.$", find_file, "owner/model", KEY, "w")


# --- what they hold ---


@pytest.mark.parametrize("form", ["safetensors", "zip", "old"])
def test_the_stored_tensors_become_the_networks_own(
    form: str, stored: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in stored.items()}
    if form == "safetensors":
        save_file(halves, path)
    else:  # torch's form of before 2020 too, which pytorch-fid's file has
        torch.save(halves, path, _use_new_zipfile_serialization=form == "zip")
    found = at(path).fill(network(device="meta"), at(path).tensors())
    assert not found.training
    for name, value in found.state_dict().items():
        assert value.device.type == "cpu"
        assert value.dtype == stored[name].dtype, "float32, whatever the file holds"
        assert torch.allclose(value, stored[name], atol=1e-3)
    assert not any(value.requires_grad for value in found.parameters())


def test_a_file_of_before_batches_were_counted_fits(stored: dict[str, torch.Tensor], tmp_path: Path) -> None:
    del stored["1.num_batches_tracked"]
    found = Weights(KEY, "w", tmp_path).fill(network(device="meta"), stored).to("cpu")
    assert torch.isfinite(found(torch.ones(2, 3))).all()


def test_a_checkpoint_of_another_network_is_one_sentence(stored: dict[str, torch.Tensor]) -> None:
    fill = Weights(KEY, "owner/net", Path("other.pth")).fill
    refused(
        r"other\.pth has 0\.weight of the shape \(4, 3\), which is \(5, 3\) in that network",
        fill,
        network(5),
        stored,
    )
    spoilt = stored | {"2.weight": torch.zeros(1)}
    refused(r"holds 2\.weight, which that network does not have", fill, network(), spoilt)
    fill(network(), spoilt, ("2.",))
    named = {f"published.{name}": value for name, value in stored.items()}
    fill(network(), named, (), "published.{}".format)
    del stored["0.bias"], named["published.0.bias"]
    refused(r"'owner/net', whose other\.pth lacks 0\.bias", fill, network(), stored)
    refused(r"lacks published\.0\.bias", fill, network(), named, (), "published.{}".format)


def test_what_is_no_file_of_weights_is_one_sentence(tmp_path: Path) -> None:
    """Nothing in a file is executed: a pickle of anything but tensors is refused."""
    texts = {"b.safetensors": b"x" * 100, "d.pth": b"<html>not found</html>", "h.pt": pickle.dumps(Path("x"))}
    for name in ("a.safetensors", "c.pth"):
        texts[name] = b""
    save_file(network().state_dict(), tmp_path / "i.safetensors")
    texts["i.safetensors"] = (tmp_path / "i.safetensors").read_bytes()[:-10]
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
        refused(rf"whose {name} cannot be read[^.]*\.$", at(tmp_path / name).tensors)
    torch.save(network(), tmp_path / "f.pth")
    refused(r"whose f\.pth cannot be read as tensors alone", at(tmp_path / "f.pth").tensors)
    torch.jit.save(torch.jit.trace(network().eval(), torch.ones(1, 3)), tmp_path / "g.pt")
    refused(r"whose g\.pt cannot be read", at(tmp_path / "g.pt").tensors)
    for content in ({"model": {"w": torch.zeros(1)}, "epoch": 3}, [1, 2]):
        torch.save(content, tmp_path / "e.pth")
        refused(r"whose e\.pth should hold tensors by name", at(tmp_path / "e.pth").tensors)

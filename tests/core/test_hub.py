"""Weights by path or by their name on the hub; nothing else stands in for them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from alchemist.core import hub
from alchemist.core.refusal import Refusal


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


class Hub(BaseHTTPRequestHandler):
    """A hub that answers every question by one code and reason."""

    answer = (500, "")

    def do_GET(self) -> None:
        code, reason = self.answer
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), Hub) as running:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield
        running.shutdown()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert hub.folder(str(tmp_path), ["*.json"], "key") == tmp_path


@pytest.mark.parametrize("name", ["./nothing", "/nothing/at/all", "nothing", "a/b/c", "../x/y"])
def test_what_is_neither_path_nor_name_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(Refusal, match=rf"key is '{name}', which does not exist; a path, or OWNER/NAME"):
        hub.folder(name, ["*"], "key")


def test_without_the_hub_only_what_was_fetched_before_is_found(cache: Path) -> None:
    words = r"key is 'owner/model', which is no path here, and huggingface\.co did not give it \(.*\); or"
    with pytest.raises(Refusal, match=words):
        hub.folder("owner/model", ["*"], "key")
    # As the hub's client lays out its cache.
    kept = cache / "models--owner--model/snapshots/abc"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}")
    (cache / "models--owner--model/refs").mkdir()
    (cache / "models--owner--model/refs/main").write_text("abc")
    assert hub.folder("owner/model", ["*"], "key") == kept


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, "GatedRepo"), "whose licence is not accepted"),
        ((404, "RepoNotFound"), r"neither a path here nor a repository of huggingface\.co"),
        ((400, ""), r"huggingface\.co did not give it"),
    ],
)
def test_what_the_hub_answers_is_told(
    server: None, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], words: str
) -> None:
    monkeypatch.setattr(Hub, "answer", answer)
    with pytest.raises(Refusal, match=rf"key is 'owner/model', .*{words}.*\.$") as refused:
        hub.folder("owner/model", ["*"], "key")
    assert "\n" not in str(refused.value)

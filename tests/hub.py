"""Servers that the tests download from, among them one that speaks what they need of the hub's protocol."""

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_this_test"
Files = Mapping[str, bytes]  # by their paths


class Hub(ThreadingHTTPServer):
    """Data sets by their names, and what was asked of them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubAnswer)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.data_sets: dict[str, Files] = {}
        self.gated: set[str] = set()  # whose files are given to who is logged in
        self.status, self.code = 200, ""  # another status is the answer to everything
        self.revisions: set[str] = set()  # that files were asked of
        self.given: list[str] = []  # paths of files whose content was
        self.waits = 1  # how often who logs in is told to ask again

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that is to take this for the hub, and to keep what it downloads in `home`."""
        names = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"}
        return {
            **{name: value for name, value in os.environ.items() if name not in names},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",  # asked of others
            "no_proxy": "127.0.0.1",
        }


class Answer(BaseHTTPRequestHandler):
    """An answer in one piece, of which nothing is logged."""

    protocol_version = "HTTP/1.1"

    def reply(self, body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class HubAnswer(Answer):
    """What the hub answers."""

    server: Hub

    def do_GET(self) -> None:
        hub, asked = self.server, urlsplit(self.path)
        path = unquote(asked.path)
        name = "/".join(path.removeprefix("/api").split("/")[2:4])
        files = hub.data_sets.get(name)
        if hub.status != 200:
            self.refuse(hub.status, hub.code)
        elif path == "/api/whoami-v2" and self.is_known():
            self.tell({"name": "somebody", "type": "user"})
        elif files is None:
            self.refuse(404, "RepoNotFound")
        elif path.startswith(f"/datasets/{name}/resolve/"):
            self.file(name, files, *path.split("/resolve/")[1].split("/", 1))
        elif path.startswith(f"/api/datasets/{name}/tree/"):
            below = path.split("/tree/")[1].partition("/")[2]
            self.tell(listed(files, below, recursive="recursive" in parse_qs(asked.query)))
        else:
            self.tell({"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        """A login by the browser, in which somebody says yes at once."""
        self.rfile.read(int(self.headers["Content-Length"]))
        hub = self.server
        if self.path == "/oauth/device":
            uri = f"{hub.address}/device"
            self.tell({"device_code": "d", "user_code": "ABCD", "verification_uri": uri, "interval": 0})
        elif self.path == "/oauth/token" and hub.waits:
            hub.waits -= 1
            self.tell({"error": "authorization_pending"}, 400)
        elif self.path == "/oauth/token":
            self.tell({"access_token": TOKEN, "token_type": "bearer"})
        else:
            self.refuse(404)

    def is_known(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    def file(self, name: str, files: Files, revision: str, path: str) -> None:
        self.server.revisions.add(revision)
        if name in self.server.gated and not self.is_known():
            return self.refuse(401, "GatedRepo")
        if path not in files:
            return self.refuse(404, "EntryNotFound")
        if self.command == "GET":
            self.server.given.append(path)
        tag = hashlib.sha1(files[path]).hexdigest()
        return self.reply(files[path], headers={"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def tell(self, value: object, status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), status)

    def refuse(self, status: int, code: str = "") -> None:
        self.reply(b"", status, {"X-Error-Code": code, "X-Error-Message": "refused"})


def listed(files: Files, below: str, *, recursive: bool) -> list[dict[str, object]]:
    """What lies in a folder of a data set, as the hub's tree has it."""
    before = f"{below}/" if below else ""
    out: dict[str, dict[str, object]] = {}
    for path, content in files.items():
        first, is_deeper, _ = path.removeprefix(before).partition("/")
        if not path.startswith(before):
            continue
        if is_deeper:
            out[before + first] = {"type": "directory", "path": before + first, "oid": COMMIT}
        if not is_deeper or recursive:
            out[path] = {"type": "file", "path": path, "size": len(content), "oid": COMMIT}
    return list(out.values())


@contextlib.contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serves meanwhile."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    with server:
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub without a data set."""
    hub = Hub()
    with running(hub):
        yield hub

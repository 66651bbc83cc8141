"""A `python` that is forked from a process that has the libraries loaded, for stages that dvc starts.

Loading torch takes two seconds of a core, half of what a tiny stage takes. The forks run what
`python -m stages.NAME` would, in a process of their own, with the code of the folder that they run in.
What a stage loads by itself is tested where a Python of its own starts it first (`first_of_its_own`).

    python tests/forks.py SOCKET    # the server
"""

import contextlib
import gc
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LOADED = (
    "torch", "pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.stats", "safetensors.torch", "pydantic",
    "typer", "tqdm", "transformers.models.bert.modeling_bert", "accelerate", "open_clip", "timm",
    "cleanfid.features", "cv2", "matplotlib.figure", "jinja2",
)  # fmt: skip
FORK = multiprocessing.get_context("fork")
# Asks for a run, and lends its standard streams for it.
CLIENT = """#!{python} -IS
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
words = [os.getcwd(), str(len(sys.argv)), *sys.argv, *map("=".join, os.environ.items())]
socket.send_fds(server, ["\\0".join(words).encode()], [0, 1, 2])
sys.exit(int(server.recv(8) or 1))
"""

FIRST = """#!/bin/sh
if mkdir {folder}/"$2" 2>/dev/null; then exec {python} "$@"; else exec {forked} "$@"; fi
"""


@contextlib.contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """Runs a server; gives the folder of its `python`, for PATH."""
    address, python = folder / "socket", folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(CLIENT.format(python=sys.executable, address=str(address)))
    python.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__, str(address)], stdout=subprocess.PIPE, env=environment, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        try:
            yield python.parent
        finally:
            server.terminate()


def first_of_its_own(folder: Path, forked: Path) -> Path:
    """The folder of a `python` that starts each module once as a Python of its own, then as a fork."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(FIRST.format(folder=folder, python=sys.executable, forked=forked / "python"))
    python.chmod(0o755)
    return python.parent


def serve(address: str) -> None:
    """One run after the other, as dvc asks for them."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            asked, streams, _, _ = socket.recv_fds(client, 2**20, 3)
            run = FORK.Process(target=become, args=(asked.decode().split("\0"), streams))
            run.start()
            for stream in streams:
                os.close(stream)
            run.join()
            client.send(str(run.exitcode).encode())


def become(words: list[str], streams: list[int]) -> None:
    """Runs `python -m MODULE …` as the client that sent these words would have."""
    folder, count, _, flag, module, *rest = words
    assert flag == "-m"
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    options = int(count) - 3
    os.environ.clear()
    os.environ.update(pair.split("=", 1) for pair in rest[options:])
    sys.argv = [module, *rest[:options]]
    sys.path[0] = folder
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # until a fork has the folder that it runs in
    from alchemist.core import process

    process.prepare()
    for name in LOADED:
        __import__(name)
    # The forks load the code of their own folders.
    for name in [name for name in sys.modules if name.split(".")[0] == "alchemist"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # or each fork copies what it looks through
    serve(sys.argv[1])

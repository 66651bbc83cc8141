"""What a command says of what the machine has not, and of a person who stops it."""

import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from safetensors import SafetensorError
from terminal import on_terminal
from tiny import REPO

import stages
from alchemist.core import files

FULL = errno.ENOSPC, "No space left on device"


def ends(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code", "says"),
    [
        # As the libraries word it, of which two have no number of the error (`python -m torture disk`).
        (ends(OSError(*FULL)), 1, "error: the disk is full; what was saved is whole, so make room"),
        (ends(OSError("1048576 requested and 131056 written")), 1, "error: the disk is full"),
        (ends(SafetensorError(f"Error while serializing: I/O error: {FULL[1]} (os error 28)")), 1,
         "error: the disk is full"),
        (ends(MemoryError()), 1, "error: memory is full; a smaller batch or chunk in params.yaml"),
        (lambda: Path("/nothing").read_text(), 1, "error: /nothing is missing; dvc repro makes what a stage"),
        (lambda: files.write_json(Path("/dev/null/x"), 1), 1, "error: /dev/null cannot be read or written: "),
        (lambda: Path("/").read_text(), 1, "error: / cannot be read or written: Is a directory."),
        (ends(KeyboardInterrupt()), 130, "stopped; the same command again goes on from what it last saved."),
    ],
)  # fmt: skip
def test_what_is_not_the_projects_fault_ends_in_a_sentence(
    work: Callable[[], object],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback, and no result."""
    commands: list[Callable[..., None]] = []
    monkeypatch.setattr(typer, "run", commands.append)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(time_out: Annotated[Path | None, typer.Option()] = None) -> None:
        work()

    stages.stage(run)
    with pytest.raises(SystemExit) as ended:
        commands[0]()
    assert ended.value.code == code
    said = capsys.readouterr()
    assert said.err.startswith(says)
    assert said.err.count("\n") == 1
    assert not said.out


REFUSES = """
import sys
import stages
from alchemist.core.refusal import Refusal
def run() -> None:
    print("begun")
    sys.stdin.readline()
    raise Refusal("what is legal")
stages.stage(run)
"""


def test_what_a_stage_says_is_in_a_log_at_once_and_without_colour() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", REFUSES], cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0], "nothing is said while it waits for its input"
        assert process.stdout.readline() == "begun\n"
        assert process.communicate("\n") == ("", "error: what is legal\n")
        assert process.returncode == 2


@pytest.mark.parametrize(
    ("environment", "word"), [({}, "\x1b[31m\x1b[1merror:\x1b[0m"), ({"NO_COLOR": "1"}, "error:")]
)
def test_a_terminal_has_a_mistake_in_red_unless_nobody_wants_colour(
    environment: dict[str, str], word: str
) -> None:
    code, said = on_terminal(REFUSES.replace("sys.stdin.readline()", ""), **environment)
    assert (code, said.splitlines()) == (2, ["begun", f"{word} what is legal"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_torch_makes_an_error_of_ends_in_the_same_sentence(
    how: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pybind11 does with whatever a hook of Python raises within an operation of C++."""
    commands: list[Callable[..., None]] = []
    monkeypatch.setattr(typer, "run", commands.append)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def run() -> None:
        try:
            os.kill(os.getpid(), how)
        except KeyboardInterrupt:
            raise RuntimeError("KeyboardInterrupt: At: a.py(1): f") from None

    try:
        stages.stage(run)
        with pytest.raises(SystemExit) as ended:
            commands[0]()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped; the same command again goes on from what it last saved.\n"


def test_a_signal_while_python_ends_is_no_traceback() -> None:
    """What libraries clean up is Python, too, and a signal may fall into it."""
    code = (
        "import atexit, os, signal\n"
        "from stages import stage\n"
        "def run() -> None:\n    print('done', flush=True)\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "stage(run)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPO)
    assert done.stdout == "done\n"
    assert "Traceback" not in done.stderr
    assert done.returncode == -signal.SIGINT


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stages.outside(KeyError("column")) is None
    assert stages.outside(RuntimeError("shapes differ")) is None

"""./repro: asks dvc for every rating and cell once, a cell's training before its evaluation."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
CELLS = [f"{arm}-0.5-xs-{seed}" for arm in ("random", "alchemist") for seed in range(3)]
NAMES = [
    "check", "prepare", "copies", "codec@star", "codec@flux", "encode@star", "encode@flux", "scorer",
    "floors@star", "floors@flux", *(f"rate_flux@alchemist_flux-{seed}" for seed in range(3)),
    *(f"rate@alchemist-{seed}" for seed in range(3)), "heuristic@clarity",
    "prune@random-0.5", "prune@alchemist-0.5", "prune_ablation@clarity-0.3",
    *(f"train@{cell}" for cell in CELLS), "train_full@full-xs-0", "train_transfer@random-0.5-s-0",
    "train_flux@alchemist-0.5-flux_s-0", "train_flux_full@full-flux_s-0",
    *(f"evaluate@{cell}" for cell in CELLS), "evaluate_full@full-xs-0", "evaluate_transfer@random-0.5-s-0",
    "evaluate_flux@alchemist-0.5-flux_s-0", "evaluate_flux_full@full-flux_s-0",
    "report",
]  # fmt: skip
CODECS = ["codec@star", "codec@flux"]
# Stands for dvc: notes its arguments in a line; `status` says that something is to be done.
DVC = """#!/bin/sh
[ "$1" != stage ] || { cat names; exit; }
[ "$1" != status ] || exit ${STATUS:-1}
printf '%s\\n' "$*" >> asked
printf '%s\\n' "${CUDA_VISIBLE_DEVICES-all} $*" >> devices
case "$*" in *${BROKEN:-nothing}*) exit 7 ;; esac
"""
# Stand for nvidia-smi: without a driver, and with three GPUs.
NONE = "#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n"
GPUS = """#!/bin/sh
for i in 0 1 2; do echo "GPU $i: NVIDIA H100 80GB HBM3 (UUID: GPU-$i)"; done
"""


def repro(
    folder: Path, *words: str, gpus: str = NONE, line: str = "", **environment: str
) -> tuple[int, list[str]]:
    """Its exit status and what it asked of dvc; `gpus` is a nvidia-smi, `line` a changed line of params."""
    shutil.copy(REPO / "repro", folder / "repro")
    params = (REPO / "params.yaml").read_text()
    if line:
        params = re.sub(f"^{line.partition(':')[0]}:.*$", line, params, flags=re.MULTILINE)
    (folder / "params.yaml").write_text(params)
    (folder / "names").write_text("\n".join(NAMES) + "\n")
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in {"dvc": DVC, "python": "#!/bin/sh\n", "nvidia-smi": gpus}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    outer = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [str(folder / "repro"), *words], env={**outer, **environment, "PATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    asked = folder / "asked"
    return done.returncode, asked.read_text().splitlines() if asked.is_file() else []


@pytest.mark.parametrize("jobs", ["2", "3", "16"])
def test_every_stage_is_asked_for_once_and_a_cell_is_trained_before_it_is_measured(
    tmp_path: Path, jobs: str
) -> None:
    code, asked = repro(tmp_path, jobs)
    assert code == 0
    assert asked[-1] == "repro"
    # The group is asked for by its own name.
    targets = [
        [name for word in line.split() for name in (CODECS if word == "codec" else [word])] for line in asked
    ]
    targets = [[name for name in line if name in NAMES] for line in targets]
    counts = Counter(name for line in targets for name in line)
    assert counts == Counter(
        set(NAMES) - {"check", "report"}
    )  # check is a dep of the first, the last runs both
    for line in targets:
        for cell in [name.removeprefix("train") for name in line if name.startswith("train")]:
            assert line.index(f"train{cell}") < line.index(f"evaluate{cell}")
    cells = [line for line in targets if any(name.startswith("train") for name in line)]
    assert len(cells) == min(int(jobs), 10)
    assert max(map(len, cells)) - min(map(len, cells)) <= 2, "dealt out evenly"
    order = [name for line in targets for name in line]
    assert order.index("scorer") < order.index("floors@star")
    first = min(order.index(name) for name in NAMES if name.startswith("encode@"))
    assert first > max(map(order.index, CODECS))
    assert order.index("prune@random-0.5") > max(order.index(name) for name in NAMES if "rate@" in name)


def test_what_fails_ends_it(tmp_path: Path) -> None:
    code, asked = repro(tmp_path, "2", BROKEN="train@random-0.5-xs-1")
    assert code != 0
    assert asked[-1] != "repro"


@pytest.mark.parametrize(("words", "status"), [(("1",), "1"), (("2",), "0")])
def test_one_job_or_nothing_to_do_is_a_plain_repro(
    tmp_path: Path, words: tuple[str, ...], status: str
) -> None:
    assert repro(tmp_path, *words, STATUS=status) == (0, ["repro"])


def seen(folder: Path) -> list[str]:
    """The devices that each call of dvc for cells saw, sorted."""
    lines = (folder / "devices").read_text().splitlines()
    (folder / "devices").unlink()
    return sorted(line.split()[0] for line in lines if "evaluate" in line)


def test_each_worker_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    """By default a worker a GPU; more of them share. Only those that may be seen count."""
    assert repro(tmp_path, gpus=GPUS)[0] == 0
    assert seen(tmp_path) == ["0", "1", "2"]
    assert repro(tmp_path, "4", gpus=GPUS, CUDA_VISIBLE_DEVICES="4,7")[0] == 0
    assert seen(tmp_path) == ["4", "4", "7", "7"]


@pytest.mark.parametrize("line", ["device: cuda:1", "device: cpu", "launcher: torchrun --nproc-per-node 3"])
def test_a_device_or_a_launcher_of_a_persons_own_is_left_alone(tmp_path: Path, line: str) -> None:
    assert repro(tmp_path, "2", gpus=GPUS, line=line)[0] == 0
    assert seen(tmp_path) == ["all", "all"]


REAL = """
stages:
  well: {cmd: echo all is well > well, outs: [well]}
  said: {cmd: "echo what a stage says; echo and its error >&2; cp well said", deps: [well], outs: [said]}
  killed: {cmd: "kill -9 $$", deps: [said], outs: [killed]}
"""


def test_of_dvc_itself_only_what_went_wrong_is_shown(tmp_path: Path) -> None:
    """By the real one, whose stage is killed without a word of its own."""
    (tmp_path / "dvc.yaml").write_text(REAL)
    shutil.copy(REPO / "repro", tmp_path / "repro")
    (tmp_path / "params.yaml").write_text("device: cpu\nlauncher: python\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text("#!/bin/sh\n")
    (tmp_path / "bin/python").chmod(0o755)
    around = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "bin/dvc").write_text(f'#!/bin/sh\nexec {sys.executable} -m dvc "$@"\n')
    (tmp_path / "bin/dvc").chmod(0o755)

    def done() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "repro", "1"], cwd=tmp_path, env=around, capture_output=True, text=True, check=False
        )

    first = done()
    assert first.returncode != 0
    assert first.stdout == "what a stage says\n"
    assert "and its error" in first.stderr
    assert "ERROR: failed to reproduce 'killed'" in first.stderr
    (tmp_path / "dvc.yaml").write_text(REAL.replace("kill -9 $$", "cp said killed"))
    again = done()
    assert (again.returncode, again.stdout) == (0, "")


def test_errors_of_several_stages_at_a_time_stay_errors(tmp_path: Path) -> None:
    """And what they write besides stays apart from them."""
    (tmp_path / "dvc").write_text("")
    text = DVC.replace(
        "printf '%s\\n' \"$*\" >> asked",
        'echo "error: of $*" >&2; echo "of $*"; printf \'%s\\n\' "$*" >> asked',
        1,
    )
    assert text != DVC
    (tmp_path / "names").write_text("\n".join(NAMES) + "\n")
    repro(tmp_path, "2")  # for the folder
    (tmp_path / "bin/dvc").write_text(text)
    done = subprocess.run(
        ["bash", "repro", "2"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0
    for lines, begin in ((done.stdout, "of "), (done.stderr, "error: of ")):
        assert all(line.startswith(begin) for line in lines.splitlines())
        assert f"{begin}--wait-for-lock repro --single-item rate" in lines

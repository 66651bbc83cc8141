"""A cluster of SLURM on this machine: its own daemons, two nodes with a GPU each by name, nobody else's jobs.

Its devices are files, so a job is given a GPU that no library finds, and computes on the CPU.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "sbatch")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # where daemons lie; not everyone's PATH has it
OLDEST = (24, 5)  # the first that runs without cgroups, which want a daemon of the system's
# Nobody else talks to these daemons, and they run as who runs the tests: no keys, no accounts, no cgroups.
# A job that is requeued waits until its credential has expired, two minutes without a word.
SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
SchedulerParameters=sched_interval=1,batch_sched_delay=0
AuthInfo=cred_expire=20
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=40000 Gres=gpu:1
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=40000 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
DEVICES = "NodeName=one Name=gpu File=/dev/zero\nNodeName=two Name=gpu File=/dev/full\n"


def needed() -> None:
    """Skips what asks where SLURM is not installed or old; fails where CI_SLURM says that it is here."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing and os.environ.get("CI_SLURM"):
        pytest.fail(f"no {missing[0]} is here, and CI_SLURM asks for it; apt-get install slurm-wlm")
    if missing:
        pytest.skip(f"no {missing[0]} is here; apt-get install slurm-wlm")
    told = subprocess.run(
        ["slurmd", "-V"], capture_output=True, text=True, check=True, env={"PATH": PATH}
    ).stdout  # slurm-wlm 24.11.5
    version = tuple(int(part) for part in told.split()[-1].split(".")[:2])
    if version < OLDEST:
        pytest.skip(f"{told.strip()} is here; 24.05 is the first that these tests run")


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Runs the daemons; gives what the programs of SLURM want in their environment."""
    ports = free_ports(3)
    for name in ("state", "spool-one", "spool-two"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(
        SETTINGS.format(host=host, ports=ports, user=getpass.getuser(), folder=folder)
    )
    (folder / "gres.conf").write_text(DEVICES)
    (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    told = {"SLURM_CONF": str(folder / "slurm.conf")}
    environment = {**os.environ, **told, "PATH": PATH}
    daemons = (["slurmctld", "-D"], ["slurmd", "-D", "-N", "one"], ["slurmd", "-D", "-N", "two"])
    with open(folder / "said.log", "w") as log, contextlib.ExitStack() as running:
        for words in daemons:
            daemon = running.enter_context(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
            running.callback(daemon.terminate)
        _until(["sinfo", "--noheader", "--format", "%t %D"], "idle 2", folder, environment)
        try:
            yield told
        finally:  # of a test that failed, jobs
            subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=False)
            _until(["squeue", "--noheader"], "", folder, environment)


def wait(folder: Path, told: dict[str, str], seconds: int = 600) -> None:
    """Until no job is left on the cluster in a folder."""
    _until(["squeue", "--noheader"], "", folder, {**os.environ, **told}, seconds)


def free_ports(count: int) -> list[int]:
    """Of this machine; asked for at once, or the system could give one twice."""
    with contextlib.ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _until(
    words: list[str], wanted: str, folder: Path, environment: dict[str, str], seconds: int = 60
) -> None:
    """Until a program of SLURM says what is wanted; fails with what the daemons said."""
    end = time.monotonic() + seconds
    said = ""
    while time.monotonic() < end:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if said.split() == wanted.split():
            return
        time.sleep(0.5)
    logs = "".join(f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(folder.glob("*.log")))
    pytest.fail(f"{' '.join(words)} says {said!r} after {seconds} s, not {wanted!r}. {logs}")

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
from dataclasses import dataclass
from pathlib import Path

import pytest
from programs import free_ports, needed
from shell import said

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


def installed() -> None:
    """Leaves a test out where SLURM is not here or old; fails where CI_SLURM asks for it."""
    for name in PROGRAMS:
        missing = f"no {name} is here (apt-get install slurm-wlm)"
        needed(shutil.which(name, path=PATH), missing, "CI_SLURM")
    told = subprocess.run(
        ["slurmd", "-V"], capture_output=True, text=True, check=True, env={"PATH": PATH}
    ).stdout  # slurm-wlm 24.11.5
    version = tuple(int(part) for part in told.split()[-1].split(".")[:2])
    if version < OLDEST:
        pytest.skip(f"{told.strip()} is here; 24.05 is the first that these tests run")


@dataclass(frozen=True)
class Cluster:
    """The folder of the daemons, and what SLURM's programs want in their environment."""

    folder: Path
    told: dict[str, str]

    def __call__(self, folder: Path, script: str) -> str:
        """Runs a script of bash in a folder; gives what it said."""
        return said(folder, script, **self.told)

    def wait(self, seconds: int = 600) -> None:
        """Until no job is left."""
        self.until("squeue --noheader", "", seconds)

    def until(self, script: str, wanted: str, seconds: int) -> None:
        """Until a program says what is wanted; fails with what the daemons said."""
        end, last = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            last = self(self.folder, f"{script} 2>&1 || true")
            if last.split() == wanted.split():
                return
            time.sleep(0.5)
        logs = "".join(
            f"{path.name}: {path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.log"))
        )
        pytest.fail(f"{script} says {last!r} after {seconds} s, not {wanted!r}. {logs}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster, and its daemons meanwhile."""
    ports = free_ports(3)
    for name in ("state", "spool-one", "spool-two"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    (folder / "slurm.conf").write_text(
        SETTINGS.format(host=host, ports=ports, user=getpass.getuser(), folder=folder)
    )
    (folder / "gres.conf").write_text(DEVICES)
    (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
    one = Cluster(folder, {"SLURM_CONF": str(folder / "slurm.conf")})
    environment = {**os.environ, **one.told, "PATH": PATH}
    daemons = (["slurmctld", "-D"], ["slurmd", "-D", "-N", "one"], ["slurmd", "-D", "-N", "two"])
    with open(folder / "said.log", "w") as log, contextlib.ExitStack() as held:
        for words in daemons:
            daemon = held.enter_context(subprocess.Popen(words, env=environment, stdout=log, stderr=log))
            held.callback(daemon.terminate)
        one.until("sinfo --noheader --format '%t %D'", "idle 2", 60)
        try:
            yield one
        finally:  # of a test that failed, jobs
            one(folder, f"scancel --user {getpass.getuser()} || true")
            one.wait(60)

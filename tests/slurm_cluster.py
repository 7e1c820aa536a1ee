"""A SLURM of the tests' own on one machine: munged, slurmctld and several slurmd, all on the loopback.

Each slurmd has a hostname of its own (a UTS namespace), so that claims and heartbeats see several machines. Skipped,
with the reason, where SLURM is not installed or nobody is root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

NODES = ("n1", "n2", "n3")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "unshare", "nsenter")
CONFIGURATION = """
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort={ctld}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.%n.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
MaxArraySize={max_array}
KillWait=15
OverTimeLimit=0
ReturnToService=2
SlurmdTimeout=15
BatchStartTimeout=10
PropagateResourceLimits=NONE
{nodes}
PartitionName=main Nodes={first}-{last} Default=YES MaxTime=60 DefaultTime=10 State=UP
"""


class Cluster:
    """The running daemons. `base`: their files; shared disks of the jobs are wherever the tests put them."""

    def __init__(self, base: Path, *, max_array: int) -> None:
        self.base, self.configuration = base, base / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        for folder in (base, base / "state", base / "spool"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        key = base / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = socket.gethostname().split(".")[0]
        ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        self.configuration.write_text(
            CONFIGURATION.format(
                host=host, base=base, ctld=ports[0], max_array=max_array, nodes=nodes, first="n[1", last="3]"
            )
        )
        hosts = [Path("/etc/hosts").read_text(), *(f"127.0.0.1 {node}" for node in NODES)]
        (base / "hosts").write_text("\n".join(hosts) + "\n")

    def start(self) -> None:
        base = self.base
        self._call(
            "munged", "--force", f"--key-file={base}/munge.key", f"--socket={base}/munge.socket",
            f"--pid-file={base}/munged.pid", f"--log-file={base}/munged.log", f"--seed-file={base}/munge.seed",
        )  # fmt: skip
        self._call("slurmctld", "-c")
        for node in NODES:
            self.start_node(node)
        self.until(
            lambda: len(self.call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split()) == len(NODES)
        )

    def start_node(self, node: str) -> None:
        """A slurmd with a hostname of its own, which it finds in its own /etc/hosts."""
        setup = f"hostname {node} && mount --bind {self.base}/hosts /etc/hosts && exec slurmd -N {node}"
        self._call("unshare", "--uts", "--mount", "bash", "-c", setup)

    def kill_node(self, node: str) -> None:
        """All that runs on the node dies at once, slurmd first."""
        found = [p for p in psutil.process_iter() if self._is_of(p, node)]
        found.sort(key=lambda process: process.name() != "slurmd")
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    def _is_of(self, process: psutil.Process, node: str) -> bool:
        """By the hostname in its namespace; not of this machine's own."""
        try:
            if Path(f"/proc/{process.pid}/ns/uts").readlink() == Path("/proc/self/ns/uts").readlink():
                return False
            name = subprocess.run(
                ["nsenter", "-t", str(process.pid), "-u", "hostname"],
                capture_output=True,
                text=True,
                check=False,
            )
            return name.stdout.strip() == node
        except OSError:
            return False

    def call(self, *command: str) -> str:
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return answer.stdout

    def _call(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=60)

    def until(self, holds: Callable[[], bool], *, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.2)

    def told(self) -> str:
        """What the queue and the logs say."""
        logs = [path.read_text(errors="replace")[-1500:] for path in sorted(self.base.glob("*.log"))]
        return "\n".join([self.call("squeue"), self.call("sinfo"), *logs])

    def stop(self) -> None:
        self.call("scancel", "--user=root")
        with contextlib.suppress(AssertionError):
            self.until(lambda: not self.call("squeue", "-h"), seconds=20)
        for file in (*self.base.glob("slurmd.*.pid"), self.base / "slurmctld.pid", self.base / "munged.pid"):
            with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
                daemon = psutil.Process(int(file.read_text()))
                if daemon.name() in PROGRAMS:
                    daemon.terminate()
                    daemon.wait(10)


@pytest.fixture(scope="module", name="slurm")
def own_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of three nodes with two cores each, whose arrays have at most four tasks."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"SLURM is not installed here: no {missing[0]} (Debian: apt-get install slurm-wlm munge)")
    if os.geteuid() != 0:
        pytest.skip("several nodes on one machine need root, for hostnames of their own")
    own = ["unshare", "--uts", "--mount", "sh", "-c", "hostname n1 && mount --bind /etc/hosts /etc/hosts"]
    if subprocess.run(own, capture_output=True, check=False).returncode:
        pytest.skip(
            "several nodes on one machine need namespaces of hostnames and mounts, which are forbidden here"
        )
    base = tmp_path_factory.mktemp("slurm")
    for parent in (base, *base.parents):
        if "pytest" in parent.name:
            parent.chmod(0o755)
    cluster = Cluster(base, max_array=4)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as around:
        sockets = [around.enter_context(socket.socket()) for _ in range(n)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]

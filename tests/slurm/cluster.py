"""A SLURM cluster of two nodes on this machine, from Debian's packages, for as long as a test.

Nothing of it lies outside one folder: configuration, key, sockets, logs and state. A SLURM that the
machine may have is neither used nor disturbed. `python tests/slurm/cluster.py COMMAND ...` runs a
command beside such a cluster.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PACKAGES = ("slurm-wlm", "slurm-client", "munge")
NODES = ("n1", "n2")

# A GPU must have a device file: any will do. `config_overrides`: a node may claim more than there
# is. OverMemoryKill: a job that needs more memory than it asked for dies, as on a real cluster.
# SlurmdTimeout: long enough that a node of a busy machine is not taken for a dead one.
SLURM_CONF = """\
ClusterName=lwdna-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=86400
SlurmdTimeout=20
KillWait=30
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
AccountingStorageType=accounting_storage/none
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmctldPort={ports[0]}
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
NodeName=DEFAULT CPUs=8 RealMemory=64000 Gres=gpu:1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=cpu Nodes=n[1-2] Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes=n[1-2] MaxTime=1-00:00:00 State=UP
"""


def missing():
    """Why there can be no cluster here, or None."""
    if os.geteuid() != 0:
        return "only root can bring up a SLURM"
    if not _installed() and shutil.which("apt-get") is None:
        return "there is neither a SLURM here nor apt-get to install one"
    return None


def _installed():
    return all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged"))


def install():
    """Install Debian's packages where they are missing; they stay."""
    if _installed():
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in ("update", f"install -y --no-install-recommends {' '.join(PACKAGES)}"):
        command = ["apt-get", "-qq", *words.split()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")


def wait_for(condition, what, seconds=120):
    """Wait until a condition holds; a sentence says what did not come."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds} s in vain for {what}.")
        time.sleep(0.1)
    return found


class Cluster:
    """A running cluster; `environment` is what its commands need."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
        }
        self._daemons = {}

    def up(self):
        """Start munged, slurmctld and a slurmd for each node; wait until the nodes are idle."""
        folder = self.folder
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (folder / name).mkdir()
        host = socket.gethostname().split(".")[0]
        text = SLURM_CONF.format(host=host, user="root", folder=folder, ports=_free_ports(3))
        (folder / "slurm.conf").write_text(text)
        gres = "".join(f"NodeName={node} Name=gpu File=/dev/null\n" for node in NODES)
        (folder / "gres.conf").write_text(gres)
        # In a job, the plugin drops every variable of SLURM's before it calls srun.
        srun = folder / "bin/srun"
        srun.parent.mkdir()
        real = shutil.which("srun")
        srun.write_text(f"#!/bin/sh\nSLURM_CONF='{folder}/slurm.conf' exec {real} \"$@\"\n")
        srun.chmod(0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        paths = {name: f"--{name}-file={folder}/munged.{name}" for name in ("pid", "log", "seed")}
        munged = [f"--socket={folder}/munge.socket", f"--key-file={key}", *paths.values()]
        self._start("munged", "--foreground", "--force", *munged)
        wait_for((folder / "munge.socket").exists, "munged")
        self._start("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        wait_for(self._idle, "the nodes to be idle")

    def _idle(self):
        for name, process in self._daemons.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.folder / f'{name}.out').read_text()}")
        return self.states() == dict.fromkeys(NODES, "idle")

    def start_node(self, node):
        """Start the daemon of a node."""
        self._start("slurmd", "-D", "-N", node, key=node)

    def kill_daemon(self, node):
        """Kill the daemon of a node; what it started lives on, unseen by SLURM."""
        self._daemons[node].kill()
        self._daemons.pop(node).wait()

    def kill_node(self, node):
        """Kill everything that runs on a node, as a power cut does."""
        self.kill_daemon(node)
        for process in self.on_node(node):
            process.kill()

    def command(self, *words):
        """What a command of SLURM prints."""
        return subprocess.run(
            list(map(str, words)), env=self.environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def states(self):
        """The state of each node, as `sinfo` says it."""
        try:
            rows = self.command("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        except subprocess.CalledProcessError:
            return {}
        return dict(row.split() for row in rows)

    def jobs(self):
        """Running jobs: number -> (comment, node)."""
        rows = self.command("squeue", "--noheader", "--states=R", "--format=%A|%k|%N").splitlines()
        return {number: (comment, node) for number, comment, node in (r.split("|") for r in rows)}

    def requests(self, comment):
        """The memory that the jobs with a comment asked for, first to last, ended ones included."""
        text = self.command("squeue", "--noheader", "--states=all", "--format=%A|%m|%k")
        rows = [line.split("|") for line in text.splitlines()]
        return [memory for _, memory in sorted((int(n), m) for n, m, k in rows if k == comment)]

    def processes(self):
        """Every process that belongs to the cluster or was started by it, except the daemons."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        others = {os.getpid(), *(process.pid for process in self._daemons.values())}
        found = []
        for process in psutil.process_iter():
            # Read as it is: what watches over a job has written its title over the beginning.
            with suppress(OSError):
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes():
                    found.append(process)
        return [process for process in found if process.pid not in others]

    def on_node(self, node):
        """The processes of the jobs on a node, and those that watch over them."""
        tasks = [p for p in self.processes() if p.environ().get("SLURMD_NODENAME") == node]
        watchers = {p.parent() for p in tasks if "slurmstepd" in p.parent().name()}
        return [*watchers, *tasks]

    def down(self):
        """End everything, whatever state it is in."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for process in reversed(self._daemons.values()):
            process.terminate()
        for process in self._daemons.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, *command, key=None):
        name = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
        with (self.folder / f"{key or command[0]}.out").open("ab") as output:
            self._daemons[key or command[0]] = subprocess.Popen(
                [name, *command[1:]], env=self.environment, stdout=output, stderr=output
            )


def _free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@contextmanager
def cluster():
    """A cluster in a new folder, taken down however the block ends; SIGTERM included."""
    install()
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="lwdna-slurm-", dir="/tmp"))
    folder.chmod(0o755)
    made = Cluster(folder)
    try:
        made.up()
        yield made
    finally:
        made.down()
        signal.signal(signal.SIGTERM, former)
        shutil.rmtree(folder, ignore_errors=True)


def main():
    """Run the command line's command beside a cluster."""
    reason = missing()
    if reason:
        sys.exit(f"No SLURM: {reason}.")
    with cluster() as made:
        sys.exit(subprocess.run(sys.argv[1:], env=made.environment, check=False).returncode)


if __name__ == "__main__":
    main()

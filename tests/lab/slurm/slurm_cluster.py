"""A real Slurm of a few nodes on one machine, for trials. Linux, root, Debian's slurmctld, slurmd, slurm-client, munge.

    python slurm_cluster.py --nodes 3 --cpus 1 -- sinfo -N      # runs a command on the login node, then removes all

Each node is a set of namespaces: its own address, host name, processes, /tmp/ray and shared memory. They talk over a
bridge inside the login node's namespace, so this machine's own network is not touched. The file system is shared, as
on a cluster. Nothing outlives this process: a node is one init process, and when it dies the kernel ends the rest.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TOOLS = ("unshare", "nsenter", "setpriv", "ip", "mount", "munged", "slurmctld", "slurmd", "sinfo", "sbatch")
ADDRESS = "10.99.0.{}"  # within the namespaces alone
LOGIN = "login"
CONFIG = """
ClusterName=trial
SlurmctldHost={login}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its old credentials have expired, by default two minutes.
AuthInfo=socket={state}/munge.socket,cred_expire=5
StateSaveLocation={state}/slurmctld
SlurmdSpoolDir={state}/%n/spool
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/%n/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/%n/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# A node is down after so many seconds without a word, and used again once it is back.
SlurmdTimeout=6
MessageTimeout=3
ReturnToService=2
KillWait=2
# The nodes share one machine: believe what stands here, not what slurmd finds.
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs={cpus} RealMemory=4000 State=UNKNOWN
{nodes}
PartitionName=trial Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
INIT = "mount -t proc proc /proc; while :; do sleep 3600 & wait; done"  # bash as init reaps what is left to it


class Failure(Exception):
    """What went wrong with the cluster, in one line."""


class Machine:
    """One node: namespaces that live as long as their init process."""

    def __init__(self, name: str, address: str, state: Path):
        self.name, self.address, self.state = name, address, state
        namespaces = ["--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]
        # setpriv: the kernel ends the node when this process ends, however it ends
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "bash", "-c", INIT]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.init = int(_until(lambda: children.read_text().split(), f"{name} has no init process")[0])
        self.environment = os.environ | {"SLURM_CONF": str(state / "slurm.conf")}
        (state / name / "spool").mkdir(parents=True, exist_ok=True)
        Path("/tmp/ray").mkdir(exist_ok=True)
        for words in (
            ["hostname", name],
            ["mount", "--bind", str(state / "hosts"), "/etc/hosts"],
            ["mount", "-t", "tmpfs", "tmpfs", "/tmp/ray"],
            ["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"],
            ["ip", "link", "set", "lo", "up"],
        ):
            self.run(words)

    def enter(self, words: Sequence[str]) -> list[str]:
        """The command that runs ``words`` on this node."""
        return ["nsenter", f"--target={self.init}", "--net", "--uts", "--ipc", "--mount", "--pid", "--", *words]

    def run(self, words: Sequence[str], check: bool = True, **options: object) -> str:
        """What a command on this node prints; Failure if it fails."""
        options = {"env": self.environment, "text": True, "stdin": subprocess.DEVNULL} | options
        done = subprocess.run(self.enter(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        if check and done.returncode:
            raise Failure(f"{self.name}: {' '.join(words)}: exit code {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def kill(self) -> None:
        """End the node at once, as a power failure does."""
        self.process.kill()
        self.process.wait()
        _until(lambda: not Path(f"/proc/{self.init}").exists(), f"{self.name} does not die")


class Cluster:
    """A login node with the controller, and ``count`` nodes of ``cpus`` processors: up within the context."""

    def __init__(self, count: int = 3, cpus: int = 1):
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing or os.geteuid() != 0:
            raise Failure(f"cannot start Slurm here: {', '.join(missing) + ' not found' if missing else 'not root'}")
        self.cpus, self.names = cpus, [f"node{i}" for i in range(1, count + 1)]
        self.addresses = {name: ADDRESS.format(i) for i, name in enumerate([LOGIN, *self.names], start=1)}
        self.machines: dict[str, Machine] = {}
        self.state = Path(tempfile.mkdtemp(prefix="slurm-"))  # shared by all nodes

    def __enter__(self) -> "Cluster":
        try:
            self._write()
            login = self._boot(LOGIN)
            for words in (
                ["ip", "link", "add", "bridge", "type", "bridge"],
                ["ip", "address", "add", f"{login.address}/24", "dev", "bridge"],
                ["ip", "link", "set", "bridge", "up"],
                ["munged", "--force", f"--socket={self.state}/munge.socket", f"--key-file={self.state}/munge.key"]
                + [f"--{kind}-file={self.state}/munged.{kind}" for kind in ("pid", "log", "seed")],
                ["slurmctld", "-c", "-f", str(self.state / "slurm.conf")],
            ):
                login.run(words)
            for name in self.names:
                self.boot(name)
            self.wait_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines.values():
            machine.kill()
        shutil.rmtree(self.state, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path("/tmp/ray").rmdir()  # only where it is empty, thus ours

    def boot(self, name: str) -> None:
        """Start a node, or start it again after `kill`, and its slurmd."""
        node, login = self._boot(name), self.machines[LOGIN]
        pair = ["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(node.init)]
        subprocess.run(["nsenter", f"--target={login.init}", "--net", *pair], check=True)
        login.run(["ip", "link", "set", name, "master", "bridge", "up"])
        node.run(["ip", "address", "add", f"{node.address}/24", "dev", "eth0"])
        node.run(["ip", "link", "set", "eth0", "up"])
        node.run(["slurmd", "-N", name, "-f", str(self.state / "slurm.conf")])

    def kill(self, name: str) -> None:
        """End a node and every process on it at once."""
        self.machines.pop(name).kill()

    def run(self, *words: str, **options: object) -> str:
        """What a command on the login node prints; Failure if it fails."""
        return self.machines[LOGIN].run(words, **options)

    def wait_idle(self, seconds: float = 60) -> None:
        """Wait until every node is idle."""
        try:
            _until(lambda: set(self.states().values()) == {"idle"}, "not idle", seconds)
        except Failure:
            raise Failure(f"after {seconds:.0f} s the nodes are not idle: {self.states()}") from None

    def states(self) -> dict[str, str]:
        """The state of each node, as sinfo has it."""
        return dict(line.split() for line in self.run("sinfo", "-N", "-h", "-o", "%N %T", check=False).splitlines())

    def _boot(self, name: str) -> Machine:
        self.machines[name] = Machine(name, self.addresses[name], self.state)
        return self.machines[name]

    def _write(self) -> None:
        hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.addresses.items())]
        (self.state / "hosts").write_text("\n".join(hosts) + "\n")
        nodes = "\n".join(f"NodeName={name} NodeAddr={self.addresses[name]}" for name in self.names)
        text = CONFIG.format(login=LOGIN, address=ADDRESS.format(1), state=self.state, cpus=self.cpus, nodes=nodes)
        (self.state / "slurm.conf").write_text(text)
        key = self.state / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)


def _until(find: object, complaint: str, seconds: float = 30) -> object:
    """What ``find`` returns once that is true; Failure after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if found := find():
                return found
        time.sleep(0.1)
    raise Failure(complaint)


def main() -> int:
    """Start the cluster, run a command on its login node, and take everything down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3, help="how many; without it: 3")
    parser.add_argument("--cpus", type=int, default=1, help="processors of each; without it: 1")
    parser.add_argument("command", nargs="+", help="what to run on the login node")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is taken down
    try:
        with Cluster(arguments.nodes, arguments.cpus) as cluster:
            login = cluster.machines[LOGIN]
            return subprocess.run(login.enter(arguments.command), env=login.environment).returncode
    except Failure as failure:
        print(f"slurm: {failure}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

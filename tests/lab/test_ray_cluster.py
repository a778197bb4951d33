"""A real Ray cluster of three nodes on this machine: a study has the bytes of a serial one, whatever is killed.

The suite tries it with a study of few runs; `make chaos` with one that has runs of every kind, and takes minutes, too.
"""

import json
import os
import random
import subprocess
import threading
import time

import psutil
import pytest
import ray

import chaos
from command_line import COMMAND, efcn, efcn_here
from efcnlab.config import studies
from efcnlab.run import ray_cluster
from efcnlab.run.ray_cluster import Cluster
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

SMALL = studies.load(
    "digits",
    **{"epochs": 24, "relax_epochs": 12, "relax_times": (0, 24), "path_times": (24,), "path_points": 3},
    **{"path_methods": ("linear", "string"), "string": {"steps": 20}, "plane": None, "curvature": None},
)


@pytest.fixture(scope="module", params=["small", pytest.param("large", marks=pytest.mark.long)])
def study(request):
    return SMALL if request.param == "small" else chaos.small_study(60)


@pytest.fixture(scope="module")
def serial(study, tmp_path_factory):
    root = tmp_path_factory.mktemp("serial")
    chaos.serially(study, root)
    return chaos.contents(study, root)


def keys(study) -> set[str]:
    return set(map(key_of, studies.runs(study)))


@pytest.fixture(scope="module")
def nodes():
    """A head that computes nothing and two nodes of one core each; whatever is left of them is killed at the end."""
    from ray.cluster_utils import Cluster as Nodes

    # A node that dies is noticed within seconds.
    health = {"initial_delay_ms": 1000, "period_ms": 1000, "failure_threshold": 3}
    system = {f"health_check_{name}": value for name, value in health.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": system})
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
        ray.shutdown()
        made.shutdown()


def computing(root, runs, least: float = 0.0) -> list[int]:
    """The processes that compute one of the runs with these keys right now, of which ``least`` is done."""
    found = (Store(root).progress(key) for key in runs)
    return [p.process for p in found if p and psutil.pid_exists(p.process) and least <= p.part < 0.9]


def killer(study, root, count: int, done: threading.Event, killed: list[int]) -> threading.Thread:
    """A thread that kills, at random times, ``count`` of the processes that compute a run of the study."""
    chance = random.Random(1)

    def kill() -> None:
        while len(killed) < count and not done.is_set():
            time.sleep(chance.uniform(0, 0.25))
            if pids := computing(root, keys(study), 0.05):
                psutil.Process(victim := chance.choice(pids)).kill()
                killed.append(victim)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def computed(study, root, address: str):
    store = Store(root, checkpoint_interval=0)
    return ray_cluster.run_study_on_ray(study, store, Cluster(address=address), progress=False)


def test_a_study_on_a_cluster_has_the_bytes_of_a_serial_one_though_processes_are_killed(study, nodes, serial, tmp_path):
    done, killed = threading.Event(), []
    thread = killer(study, tmp_path, 4, done, killed)
    results = computed(study, tmp_path, nodes.address)
    done.set()
    thread.join()
    assert len(killed) >= 2
    assert chaos.contents(study, tmp_path) == serial
    assert results.efcn(0, 0).info["attempts"] >= 1
    assert sum(results.store.get(key).info["attempts"] > 1 for key in keys(study)) >= 1  # went on from a killed one
    assert {path.name for path in tmp_path.iterdir()} - keys(study) <= {
        f"{key}.{end}" for key in keys(study) for end in ("lock", "progress")
    }


def test_the_driver_killed_and_called_again(study, nodes, serial, tmp_path):
    file = tmp_path / "study.json"
    file.write_text(study.model_dump_json())
    root = tmp_path / "runs"
    command = ["run", str(file), "--root", str(root), "--engine", "ray", "--address", nodes.address]
    driver = subprocess.Popen([*COMMAND, *command], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(root.glob("*/manifest.json")):
        assert time.monotonic() < deadline
        assert driver.poll() is None, driver.stderr.read()
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    done = efcn(*command)
    assert done.returncode == 0, done.stderr
    assert chaos.contents(study, root) == serial
    assert f"all {len(keys(study))} runs are in" in done.stdout


def test_a_run_whose_process_always_dies_is_named_with_its_log(nodes, tmp_path):
    done = threading.Event()

    def kill() -> None:
        while not done.is_set():
            for pid in computing(tmp_path, [key_of(SMALL.cnn(0))]):
                psutil.Process(pid).kill()
            time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with pytest.raises(UserError, match=r"^cnn seed=0: its process died 4 times .*; log: .*\.log$") as told:
        computed(SMALL, tmp_path, nodes.address)
    done.set()
    thread.join()
    assert "\n" not in str(told.value)


def test_what_a_run_says_or_fails_with_arrives_with_its_log(tmp_path):
    """The function that Ray runs, called here: a damaged parent is told of, a wrong device is an error."""
    how = {"store": {"root": str(tmp_path), "checkpoint_interval": 0}, "device": "cpu", "data_root": None}
    how |= {"engine": {"update": "fused"}, "threads": 1}
    cnn, efcn_run = SMALL.cnn(0), SMALL.relaxed("efcn", 0, 0)
    assert ray_cluster._ensure("Training", cnn.model_dump_json(), how) == (None, [])
    named = cnn.model_copy(update={"variant": "channels=8", "seed": 1})  # a label's part that no JSON holds
    assert ray_cluster._ensure("Training", named.model_dump_json(), how | {"variant": named.variant}) == (None, [])
    manifest = json.loads((tmp_path / key_of(named) / "manifest.json").read_text("utf-8"))
    assert manifest["label"] == "cnn seed=1 channels=8"
    weights = tmp_path / key_of(cnn) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[::-1])
    failure, _ = ray_cluster._ensure("Training", efcn_run.model_dump_json(), how)
    assert failure.startswith("the weights of cnn seed=0 are not in")
    log = ray_cluster.run_log_file(tmp_path, key_of(efcn_run)).read_text()
    assert "cnn seed=0 in" in log
    assert "is damaged" in log
    assert failure in log
    assert ray_cluster._ensure("Training", cnn.model_dump_json(), how) == (None, [])  # set aside, computed again
    failure, _ = ray_cluster._ensure("Training", efcn_run.model_dump_json(), how)
    assert failure is None
    assert not ray_cluster.run_log_file(tmp_path, key_of(efcn_run)).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--address", "127.0.0.1:1"], "--address is for a cluster: add --engine ray"),
        (["--gpus-per-run", "0.5"], "--gpus-per-run is for a cluster: add --engine ray"),
        (["--engine", "ray", "--together", "4"], "with ray, take --gpus-per-run 0.25"),
        (["--engine", "ray", "--device", "cuda:1"], "unknown device on a cluster 'cuda:1': choose one of cpu, cuda"),
        (["--engine", "ray", "--threads", "0"], "cluster: threads 0 is not allowed"),
        (["--engine", "ray", "--gpus-per-run", "-1"], "cluster: gpus -1.0 is not allowed"),
        (["--engine", "ray", "--address", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9: "),
        (["--engine", "ray", "--address", "head"], "address 'head' is not allowed: give HOST:PORT, or auto"),
    ],
)
def test_mistakes_get_one_line(arguments, told, tmp_path):
    done = efcn_here("run", "digits", *arguments, EFCN_ROOT=str(tmp_path / "runs"))
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("efcn: ")
    assert told in line
    assert not (tmp_path / "runs").exists()


class SlowRay:
    """A Ray whose first attempts to start take too long, as it says it then, or all of them."""

    def __init__(self, slow: int, error: type[Exception] = Exception):
        self.slow, self.error, self.asked, self.ended = slow, error, [], 0

    def init(self, **options: object) -> None:
        self.asked.append(options)
        if len(self.asked) <= self.slow:
            raise self.error("The current node timed out during startup.\nMore lines of it")

    def shutdown(self) -> None:
        self.ended += 1


def test_a_slow_start_is_waited_for_and_told_in_a_line(capfd, monkeypatch):
    monkeypatch.setattr(ray_cluster, "available_cores", lambda: 3)
    slow = SlowRay(2)
    ray_cluster._connect(slow, None)
    assert [options["num_cpus"] for options in slow.asked] == [3, 3, 3]
    assert slow.ended == 2
    told = "Ray is slow to start on this machine, another attempt follows: The current node timed out during startup."
    assert capfd.readouterr().err.splitlines() == [told, told]


@pytest.mark.parametrize(("error", "attempts"), [(Exception, ray_cluster.STARTS), (ConnectionError, 1), (OSError, 1)])
def test_a_start_that_fails_in_the_end_is_one_line(error, attempts):
    slow = SlowRay(99, error)
    with pytest.raises(
        UserError, match=r"^no Ray cluster at head:1: The current node timed out during startup\."
    ) as told:
        ray_cluster._connect(slow, "head:1")
    assert len(slow.asked) == slow.ended == attempts
    assert slow.asked[0]["address"] == "head:1"
    assert "num_cpus" not in slow.asked[0]
    assert "\n" not in str(told.value)


def test_more_than_any_node_has_is_refused(nodes, tmp_path):
    with pytest.raises(UserError, match=r"no node of the cluster can take a run of 2 threads and 0 GPUs: it has 2 CPU"):
        ray_cluster.run_study_on_ray(SMALL, Store(tmp_path), Cluster(address=nodes.address, threads=2), progress=False)
    with pytest.raises(UserError, match=r"1 threads and 0.5 GPUs: it has 2 CPU, 0 GPU"):
        ray_cluster.run_study_on_ray(
            SMALL, Store(tmp_path), Cluster(address=nodes.address, gpus=0.5), device="cuda", progress=False
        )
    assert os.listdir(tmp_path) == []


def test_a_node_killed_and_the_study_is_completed_on_the_other(study, nodes, serial, tmp_path):
    def kill() -> None:
        while not computing(tmp_path, keys(study)):
            time.sleep(0.05)
        time.sleep(0.5)
        node = nodes.list_all_nodes()[1]
        for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True):
            process.kill()
        nodes.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    computed(study, tmp_path, nodes.address)
    thread.join()
    nodes.add_node(num_cpus=1)  # for the next study
    assert chaos.contents(study, tmp_path) == serial

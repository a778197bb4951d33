"""One study, asked for by several processes at once: each run is computed once, and nobody waits without need."""

import time
import warnings

import chaos
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store.leases import lease_on
from efcnlab.store.run_store import Store, key_of
from small_studies import tiny
from toy_runs import PROCESSES, names

COUNT = 4


def ask(root, name: str) -> None:
    """Ask for the whole study, and leave a file for each run that this process computes."""
    real = study_runner.compute_run

    def compute(run, *arguments):
        (root / f"{name} computed {key_of(run)}").touch()
        return real(run, *arguments)

    study_runner.compute_run = compute
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = study_runner.run_study(tiny(seeds=(0, 1)), Store(root / "runs"), threads=1, progress=False)
    assert results.path("string", 2, 1).history["test_loss"]
    (root / f"{name} is done").touch()


def test_many_processes_share_a_study_and_compute_each_run_once(tmp_path):
    runs = studies.runs(tiny(seeds=(0, 1)))
    asking = [PROCESSES.Process(target=ask, args=(tmp_path, f"process-{n}")) for n in range(COUNT)]
    for process in asking:
        process.start()
    for process in asking:
        process.join(timeout=120)
    assert len(list(tmp_path.glob("* is done"))) == COUNT
    computed = [path.name.split() for path in tmp_path.glob("* computed *")]
    assert sorted(key for *_, key in computed) == sorted(key_of(run) for run in runs)
    assert len({name for name, *_ in computed}) >= 2  # shared: a second CNN does not wait for the first
    assert names(tmp_path / "runs") == {key_of(run) for run in runs}


def test_a_run_that_another_process_computes_is_left_to_it_and_the_others_go_on(tmp_path):
    """The first CNN is held by somebody: all that does not need it is computed meanwhile."""
    study, store = tiny(seeds=(0, 1)), Store(tmp_path / "runs")
    store.root.mkdir()
    chaos.serially(study, tmp_path / "serial")
    process = PROCESSES.Process(target=chaos.compute, args=(study, store.root))
    with lease_on(store.root, key_of(study.cnn(0))):
        process.start()
        needs_it = {run for run in studies.runs(study) if run == study.cnn(0) or study.cnn(0) in run.parents}
        others = [run for run in studies.runs(study) if not needs_it & {run, *run.parents}]
        deadline = time.monotonic() + 60
        while not all(store.state(key_of(run)).name == "done" for run in others):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert process.is_alive()
        assert not any(store.state(key_of(run)).name == "done" for run in needs_it)
    process.join(timeout=60)
    assert chaos.contents(study, store.root) == chaos.contents(study, tmp_path / "serial")

"""Studies recorded on a lent machine: images carried in pieces, workers cut off and called again, records back here."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
import safetensors.torch
import torch

from efcnlab.config import studies
from efcnlab.config.study_rates import with_learning_rates
from efcnlab.data import datasets
from efcnlab.environment import REPOSITORY
from efcnlab.run import run_networks, study_runner, training_run
from efcnlab.store import export, recorded_study
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError
from efcnlib.training.engine import Engine
from small_studies import tiny

sys.path.insert(0, str(REPOSITORY / "benchmarks"))

from rental import call, packs, pieces, prepare, worker
from rental.agenda import Agenda, engine_for
from rental.work_folder import WorkFolder

MINE = {
    "like": "digits",
    "network": {"channels": 2},
    "data": {"train": 400, "test": 100},
    "rates": {"rates": [0.05, 0.02], "steps": 4},
    "controls": ["control", "tuned", "lowered", "elcn"],
    "fcn_control": True,
    "epochs": 24,
    "fcn_epochs": 6,
    "relax_epochs": 6,
    "relax_times": [0, 2],
    "first": [2],
    "path_times": [2],
    "path_methods": ["linear", "string"],
    "path_points": 3,
    "string": {"points": 3, "steps": 3, "batch": 100},
    "plane": None,
    "curvature": None,
    "shuffle": False,
    "measurements": 3,
    "seeds": [0, 1],
}


def record(*arguments, **variables):
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "record.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | variables, timeout=300)


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("EFCN_RESULTS", str(tmp_path / "no-results"))
    base = WorkFolder(tmp_path / "base")
    base.root.mkdir()
    base.go_on(300)
    base.write("kernel", "torch")
    return base


def test_studies_are_recorded_in_calls_that_are_cut_off(tmp_path):
    mine, waiting, back = tmp_path / "mine.json", tmp_path / "waiting.json", tmp_path / "back"
    mine.write_text(json.dumps(MINE))
    waiting.write_text('{"like": "quick"}')
    nothing = {"EFCN_RESULTS": str(tmp_path / "no-results"), "EFCN_CACHE": str(tmp_path / "cache")}
    common = ("--device", "cpu", "--threads", 1, "--base", tmp_path / "base")
    started = time.monotonic()
    first = record("run", back, mine, waiting, *common, "--workers", 1, "--seconds", 30, **nothing)
    assert first.returncode in (1, -signal.SIGALRM), first.stderr  # the latter where others leave no time to pack
    assert time.monotonic() - started < 45
    assert "waiting waits for cifar10" in first.stdout
    second = record("run", back, mine, *common, "--workers", 2, "--seconds", 250, **nothing)
    assert second.returncode == 0, second.stderr
    assert "FAILED" not in (back / "log.txt").read_text()

    (folder,) = packs.unpack(back, tmp_path / "results")
    assert recorded_study.verify_study(folder) == []
    index = recorded_study.read_index(folder)
    assert index.missing == []
    assert index.command == "efcn run mine.json --device cpu"
    assert str(tmp_path) not in (folder / recorded_study.INDEX).read_text()

    wanted = study_runner.run_study(
        studies.load(str(mine)), Store(tmp_path / "runs"), engine=Engine(delay=8), threads=1, progress=False
    )
    assert recorded_study.indexed_study(index) == wanted.study
    for key, run in recorded_study.indexed_runs(index).items():
        there, here = (place / key / "record.json" for place in (folder, wanted.store.root))
        assert there.read_bytes() == here.read_bytes(), run.label
    weights = [wanted.study.cnn(0).label, wanted.study.cnn(1).label]
    assert sorted(index.runs[file.parent.name].label for file in folder.rglob("weights*")) == weights
    log = (back / "log.txt").read_text().splitlines()
    assert len(log) == len(index.runs)  # each computed once
    assert any("efcn tw=2 seed=0" in line and "together" in line and "test_accuracy" in line for line in log)
    assert any("learning rate of efcn seed=0" in line and line.endswith("chosen") for line in log)


def test_the_three_studies_are_variants_that_share_no_run_with_the_presets():
    for name, study in call.chosen_studies([]).items():
        preset = studies.PRESETS[name.removesuffix("-100")]
        assert study == studies.PRESETS[name] != preset
        assert study.relax_epochs == 100
        assert study.epochs == study.relax_times[-1] + 100
        one, other = (with_learning_rates(study, *study.rates.rates[2:4]) for study in (study, preset))
        keys = {key_of(run) for run in studies.runs(one)}
        shared = {run.label for run in studies.runs(other) if key_of(run) in keys}
        assert shared <= {"fcn seed=0", "fcn seed=1", "fcn seed=2"} | {run.label for run in fcns(other)}
        assert engine_for(study, None) == (None if "adam" in study.name else Engine(delay=8))


def fcns(study):
    return [study.control_fcn(seed) for seed in study.seeds]


def test_first_seeds_come_first_and_an_efcn_has_its_controls_beside_it(base):
    fields = {"seeds": (0, 1), "controls": (*KINDS[1:], "elcn"), "path_times": ()}
    one, two = (tiny(name=name, batch=batch, **fields) for name, batch in (("a", 50), ("b", 25)))
    agenda = Agenda([one, two], base)
    assert [(study.name, [run.label for run in group]) for study, group in agenda.groups()][:4] == [
        ("a", ["cnn seed=0"]),
        ("a", ["fcn seed=0"]),
        ("b", ["cnn seed=0"]),
        ("b", ["fcn seed=0"]),
    ]
    done(base, one.cnn(0))
    labels = [[run.label for run in group] for _, group in agenda.groups()]
    assert labels[:4] == [["fcn seed=0"], *([f"{kind} tw={tw} seed=0" for kind in KINDS] for tw in (0, 2, 4))]
    assert labels[4:6] == [["cnn seed=0"], ["fcn seed=0"]]  # of the other study
    assert labels[6:8] == [[f"elcn tw={tw} seed=0" for tw in (0, 2, 4)], ["cnn seed=1"]]
    base.mark(key_of(one.relaxed("lowered", 2, 0)), "together")
    base.mark(key_of(one.fcn(0)), "alone")
    labels = [[run.label for run in group] for _, group in agenda.groups()]
    assert labels.count(["fcn seed=0"]) == 1
    assert ["efcn tw=2 seed=0", "control tw=2 seed=0"] in labels
    assert ["lowered tw=2 seed=0"] in labels


KINDS = ("efcn", "control", "lowered")


def done(base, run):
    """A run that is done, as far as an agenda looks; its weights can be had."""
    names = (f"{epoch}/w" for epoch in range(run.epochs + 1))
    base.store.ensure(run, lambda attempt: Result({"epoch": [0]}, weights={name: torch.zeros(1) for name in names}))


def test_runs_that_fail_together_are_tried_alone_and_then_no_more(base, monkeypatch):
    study = tiny(relax_times=(2,), path_times=(), standard_fcn=False, controls=("control",))
    study_runner.run_study(study.model_copy(update={"relax_times": (0,)}), base.store, progress=False)  # the CNN
    real, chosen = run_networks.initial_network, [study]
    monkeypatch.setattr(worker, "compute_side_by_side", lambda *_: 1 / 0)
    assert worker.main(base, 0, chosen, "cpu", threads=1) == worker.FAILED
    assert "ZeroDivisionError" in base.log.read_text()
    monkeypatch.setattr(
        training_run, "initial_network", lambda run, *_: 1 / 0 if run.kind == "control" else real(run, *_)
    )
    assert worker.main(base, 0, chosen, "cpu", threads=1) == worker.FAILED
    monkeypatch.setattr(training_run, "initial_network", real)
    assert Agenda(chosen, base).is_done()
    assert Store(base.root / "runs").get(key_of(study.relaxed("efcn", 2, 0)))
    assert Store(base.root / "runs").get(key_of(study.relaxed("control", 2, 0))) is None


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """What a call sets in this process ends with its test."""
    monkeypatch.setenv("EFCN_OFFLINE", "")


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A tiny CIFAR-10 in a cache, and a cache where it is not yet."""
    generator = np.random.default_rng(0)
    parts = {"train_x": (130, 3, 32, 32), "train_y": (130,), "test_x": (21, 3, 32, 32), "test_y": (21,)}
    parts = {name: generator.integers(0, 10 if "y" in name else 256, shape) for name, shape in parts.items()}
    tensors = {name: torch.from_numpy(value.astype(np.uint8 if "x" in name else int)) for name, value in parts.items()}
    digest = hashlib.sha256(b"".join(tensors[name].numpy().tobytes() for name in parts)).hexdigest()
    monkeypatch.setitem(datasets.SIZES, "cifar10", (130, 21, (3, 32, 32)))
    monkeypatch.setitem(datasets.DIGESTS, "cifar10", digest)
    monkeypatch.setattr(pieces, "SHEET", 40)
    monkeypatch.setenv("EFCN_OFFLINE", "1")
    monkeypatch.setenv("EFCN_CACHE", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    safetensors.torch.save_file(tensors, datasets.cache_file("cifar10"))
    return tensors


def test_images_arrive_in_pieces_and_are_verified(tmp_path, carried, monkeypatch):
    made = pieces.write(["cifar10"], tmp_path / "carried", room=250_000)
    assert [piece.name for piece in made] == ["0", "1"]
    assert all(sum(file.stat().st_size for file in piece.iterdir()) <= 250_000 for piece in made)
    monkeypatch.setenv("EFCN_CACHE", str(tmp_path / "there"))
    assert pieces.take(made[0], tmp_path / "base") == []
    assert not datasets.cache_file("cifar10").exists()
    assert pieces.take(made[1], tmp_path / "base") == ["cifar10"]
    assert all(torch.equal(getattr(datasets.load("cifar10"), name), value) for name, value in carried.items())
    assert list((tmp_path / "base").iterdir()) == []
    datasets.cache_file("cifar10").unlink()
    labels = made[0] / "cifar10.labels.npy"
    np.save(labels, 9 - np.load(labels))
    pieces.take(made[0], tmp_path / "base")
    with pytest.raises(UserError, match="cifar10 cannot be had"):
        pieces.take(made[1], tmp_path / "base")
    assert not datasets.cache_file("cifar10").exists()


def test_what_is_carried_fits_and_each_call_is_told(tmp_path, carried, monkeypatch):
    def wheels(folder):
        folder.mkdir()
        (folder / "a-1-py3-none-any.whl").write_bytes(b"w" * 50_000)

    monkeypatch.setattr(prepare, "REPOSITORY", tmp_path)
    monkeypatch.setattr(prepare, "fetch_wheels", wheels)
    monkeypatch.setattr(prepare, "CARRIED", prepare.SPARE + 400_000)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("here/\n")
    (tmp_path / "tracked").write_bytes(b"t" * 90_000)
    lines = prepare.pack(tmp_path / "carried", ["cifar10"])
    assert prepare.tree() == 90_000 + len("here/\n")  # what was made is ignored
    commands = [line.strip() for line in lines if line.startswith("    ")][:-1]
    assert len(commands) == 3
    assert "--seconds 0 --carried carried/0" in commands[0]
    assert "--seconds 560 --carried carried/1" in commands[1]
    assert "--seconds SECONDS" in commands[2]
    assert max(map(len, commands)) < 1000
    assert str(tmp_path) not in "".join(lines)
    with pytest.raises(UserError, match="not in the repository"):
        prepare.pack(tmp_path.parent, ["cifar10"])


def test_packs_stay_small_and_are_whole_at_any_time(tmp_path, base, monkeypatch):
    study = tiny(path_times=(), controls=("control",))
    few, all_of = (
        study.model_copy(update={"relax_times": (0,)}),
        study_runner.run_study(study, Store(tmp_path / "runs")),
    )
    taken = [key_of(run) for run in studies.runs(few)]
    for key in taken:
        (base.store.root / key).parent.mkdir(exist_ok=True)
        (all_of.store.root / key).rename(base.store.root / key)
    sizes = export.export_study(study, base.store, tmp_path / "sizes", "", partial=True)
    monkeypatch.setattr(packs, "MOST", max(packs._bytes(sizes, [key]) for key in taken))
    out = packs.StudyArchives(base, {"mine.json": study}, tmp_path / "out", "cpu")
    out.refresh(now=True)
    before = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert len(before) > 2
    assert [folder.name for folder in packs.unpack(tmp_path / "out", tmp_path / "results")] == ["digits"]
    assert len(recorded_study.read_index(tmp_path / "results" / "digits").runs) == len(taken)
    for run in studies.runs(study):
        if key_of(run) not in taken:
            (all_of.store.root / key_of(run)).rename(base.store.root / key_of(run))
    out.refresh()  # too early
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == before
    out.refresh(now=True)
    assert packs.unpack(tmp_path / "out", tmp_path / "results") == [tmp_path / "results" / "digits"]
    index = recorded_study.read_index(tmp_path / "results" / "digits")
    assert (len(index.runs), index.missing) == (len(studies.runs(study)), [])
    damaged = tmp_path / "out" / "digits.0.tar"
    with tarfile.open(damaged, "w") as tar:
        tar.add(tmp_path / "results" / "digits" / recorded_study.INDEX, arcname="digits/study.json")
    with pytest.raises(UserError, match="digits is not unpacked"):
        packs.unpack(tmp_path / "out", tmp_path / "results")
    assert recorded_study.verify_study(tmp_path / "results" / "digits") == []  # what was there stays


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run", "OUT", "digit"), "unknown study 'digit'"),
        (("run", "OUT", "digits", "--device", "tpu"), "device 'tpu' is not here"),
        (("run", "OUT", "digits", "--device", "cpu", "--carried", "OUT/3"), "piece OUT/3 is not there"),
        (("unpack", "OUT"), "OUT holds no NAME.0.tar"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, monkeypatch, capsys, arguments, line):
    import record as command

    monkeypatch.chdir(tmp_path)
    arguments = [*arguments, *(["--base", "base"] if arguments[0] == "run" else [])]
    assert command.main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert line in said[0]

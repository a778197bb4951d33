"""Recorded studies: whole, verified, and enough for every figure, from a read-only place too."""

import json
import pickle
import shutil

import pytest
import torch

from command_line import efcn_here
from efcnlab.config import studies
from efcnlab.run import recompute, study_runner
from efcnlab.store import export, recorded_study
from efcnlab.store.cnn_checkpoints import cnn_weights
from efcnlab.store.run_folder import MANIFEST, RECORD
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError
from shared_runs import copied
from small_studies import tiny
from toy_runs import Bomb, forge, names

COUNT = len(studies.runs(tiny()))
PARTS = {"record.json", "arrays.safetensors", "manifest.json"}


@pytest.fixture(scope="module")
def done(shared, tmp_path_factory):
    """A finished study's store."""
    return copied(tiny(), shared, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def recorded(done, tmp_path):
    return export.export_study(tiny(), done, tmp_path / "results", "efcn run digits")


def test_an_export_holds_records_and_weights_of_cnns_alone_and_says_how_it_was_made(done, recorded):
    assert recorded.name == "digits"
    keys = {key_of(run) for run in studies.runs(tiny())}
    assert names(recorded) == keys | {"study.json"}
    for run in studies.runs(tiny()):
        key, of_cnn = key_of(run), run.kind == "cnn"
        assert names(recorded / key) == PARTS | ({"weights.safetensors"} if of_cnn else set())
        for name in PARTS - ({"manifest.json"} if of_cnn else set()):  # which lists the weights of fewer epochs
            assert (recorded / key / name).read_bytes() == (done.root / key / name).read_bytes()
    index = json.loads((recorded / "study.json").read_text())
    assert index["study"] == tiny().model_dump(mode="json")
    assert index["command"] == "efcn run digits"
    assert index["devices"] == ["cpu"]
    assert index["environment"]["torch"]
    assert index["seconds"] > 0
    assert set(index["runs"]) == keys
    assert str(recorded.parent) not in (recorded / "study.json").read_text()  # no path of this machine
    assert recorded_study.verify_study(recorded) == []


def test_large_pictures_are_kept_of_the_first_seed_alone_and_numbers_of_all(tmp_path, monkeypatch):
    swept = {"sweep_time": 0, "sweep_channels": (3, 6)}
    study, store = tiny(seeds=(0, 1), path_times=(), **swept), Store(tmp_path / "runs")
    study_runner.run_study(study, store, threads=1, progress=False)
    monkeypatch.setattr(export, "LARGE", 100)
    folder = export.export_study(study, store, tmp_path / "results", "efcn run digits")
    assert recorded_study.verify_study(folder) == []
    kept = {run: Store(folder).get(key_of(run)) for run in studies.runs(study)}
    for run, record in kept.items():
        assert record.history == store.get(key_of(run)).history
        dense = run.kind in ("efcn", "fcn")
        shown = run.seed == 0 and run.network == study.network
        is_last = shown and (run.kind, run.tw) == ("efcn", study.relax_times[-1])
        pictures = {"filters", "heat"} if dense and shown else set()
        assert set(record.arrays) == {"test_correct"} | pictures | ({"block"} if is_last else set())
        assert record.info.get("left_out", []) == sorted(
            {"filters", "heat", "block"} - set(record.arrays) if dense else []
        )
    assert recompute.compare_run(study.fcn(1), Store(folder), store).description == "the same bytes"
    monkeypatch.setattr(export, "LARGE", 10**9)
    whole = export.export_study(study, store, tmp_path / "whole", "efcn run digits")
    assert Store(whole).get(key_of(study.fcn(1))).arrays.keys() == {"test_correct", "filters", "heat", "block"}


def test_an_export_again_replaces_the_first_as_a_whole(done, recorded):
    (recorded / "scribble").write_text("x")
    assert recorded_study.verify_study(recorded) == ["scribble is not listed in study.json"]
    export.export_study(tiny(), done, recorded.parent, "efcn run digits")
    assert recorded_study.verify_study(recorded) == []
    assert names(recorded.parent) == {"digits"}


def test_a_study_that_is_not_done_is_not_exported_by_accident(done, tmp_path):
    more = tiny(seeds=(0, 1))
    told = rf"^{COUNT} of {2 * COUNT} runs of digits are not there, cnn seed=1 among them: .*--partial$"
    with pytest.raises(UserError, match=told):
        export.export_study(more, done, tmp_path / "results", "efcn run digits")
    assert not (tmp_path / "results").exists()
    folder = export.export_study(more, done, tmp_path / "results", "efcn run digits", partial=True)
    index = recorded_study.read_index(folder)
    assert len(index.runs) == len(index.missing) == COUNT
    assert recorded_study.verify_study(folder) == []
    with pytest.raises(UserError, match=rf"^{COUNT} of {COUNT} runs .* efcn run digits$"):
        export.export_study(tiny(), Store(tmp_path / "none"), tmp_path / "results", "x", partial=True)


def test_recorded_weights_are_those_of_the_relax_times_and_the_end_and_runs_start_from_them(recorded, done, tmp_path):
    cnn = tiny().cnn(0)
    store = Store(tmp_path / "mine", [recorded])
    assert store.get(key_of(cnn)).info["weights_of"] == [0, 2, 4]
    for epoch in (0, 2, 4):
        mine, theirs = cnn_weights(store, cnn, epoch), cnn_weights(done, cnn, epoch)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert store.has_weights(key_of(cnn), (0, 4))
    assert not store.has_weights(key_of(cnn), (0, 3))
    assert not store.has_weights(key_of(cnn))
    with pytest.raises(UserError, match="the weights of cnn seed=0 are not in"):
        cnn_weights(store, cnn, 3)
    more = tiny(controls=("control", "lowered"))
    study_runner.run_study(more, store, threads=1, progress=False)
    assert names(store.root) == {key_of(more.relaxed("lowered", tw, 0)) for tw in (0, 2, 4)}  # no CNN again
    copied = Store(tmp_path / "copied")
    recorded_study.import_study(recorded, copied)
    assert copied.has_weights(key_of(cnn), (2,))
    again = export.export_study(more, Store(store.root, [recorded]), tmp_path / "again", "efcn run digits")
    assert (again / key_of(cnn) / "weights.safetensors").read_bytes() == (
        recorded / key_of(cnn) / "weights.safetensors"
    ).read_bytes()


def test_weights_of_a_cnn_that_diverged_are_recorded_as_far_as_they_are_numbers(done, tmp_path):
    cnn, store = tiny().cnn(0), Store(tmp_path / "runs")
    weights = {f"{epoch}/w": torch.full((2,), 1.0 if epoch < 4 else torch.nan) for epoch in range(5)}
    store.ensure(
        cnn, lambda attempt: Result({"train_loss": [2.3, float("nan")]}, weights=weights, info={"seconds": 1.0})
    )
    folder = export.export_study(tiny(), store, tmp_path / "results", "efcn run digits", partial=True)
    assert Store(folder).get(key_of(cnn)).info["weights_of"] == [0, 2]
    assert recorded_study.verify_study(folder) == []


def test_weights_that_are_many_bytes_are_not_recorded(done, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "WEIGHTS_MOST", 100)
    folder = export.export_study(tiny(), done, tmp_path / "results", "efcn run digits")
    assert recorded_study.verify_study(folder) == []
    assert not list(folder.rglob("weights.safetensors"))


def test_a_small_tmpdir_is_told_before_a_run_is_trained_again(recorded, monkeypatch):
    monkeypatch.setattr(recompute.disk_estimate, "peak_disk", lambda runs: 10**18)
    with pytest.raises(UserError, match=r"^training again needs .* choose another folder with TMPDIR$"):
        recompute.recompute_runs(recorded, 1)


def test_a_run_is_trained_again_from_recorded_weights(recorded, monkeypatch):
    trained, compute_all = [], study_runner.run_in_this_process
    monkeypatch.setattr(
        study_runner, "run_in_this_process", lambda todo, *more: trained.extend(todo) or compute_all(todo, *more)
    )
    wanted = key_of(tiny().relaxed("efcn", 2, 0))
    monkeypatch.setattr(recompute.random.Random, "sample", lambda *_: [wanted])
    (again,) = recompute.recompute_runs(recorded, 1)
    assert (again.description, [run.label for run in trained]) == ("the same bytes", ["efcn tw=2 seed=0"])


def test_a_recorded_study_serves_every_run_and_its_weights_are_made_again_only_if_needed(recorded, done, tmp_path):
    store = Store(tmp_path / "mine", [recorded])
    results = study_runner.run_study(tiny(), store, threads=1, progress=False)
    assert not store.root.exists()  # nothing was computed
    assert {state.name for state in study_runner.run_states(tiny(), store).values()} == {"recorded"}
    assert results.efcn(2, 0).history == done.get(key_of(tiny().relaxed("efcn", 2, 0))).history
    more = tiny(relax_times=(0, 2, 3, 4))
    study_runner.run_study(more, store, threads=1, progress=False)
    assert names(store.root) == {
        key_of(run) for run in (more.cnn(0), more.relaxed("efcn", 3, 0), more.relaxed("control", 3, 0))
    }
    cnn = key_of(more.cnn(0))
    assert (store.root / cnn / RECORD).read_bytes() == (recorded / cnn / RECORD).read_bytes()


def test_import_copies_what_is_missing_and_leaves_damage_out(recorded, done, tmp_path):
    store = Store(tmp_path / "mine")
    damaged = key_of(tiny().fcn(0))
    (recorded / damaged / "arrays.safetensors").write_bytes(b"")
    assert recorded_study.import_study(recorded, store) == recorded_study.ImportCounts(
        new=COUNT - 1, already_present=0, damaged=1
    )
    assert recorded_study.import_study(recorded, store) == recorded_study.ImportCounts(
        new=0, already_present=COUNT - 1, damaged=1
    )
    assert names(store.root) == {key_of(run) for run in studies.runs(tiny())} - {damaged}
    assert store.get(key_of(tiny().cnn(0))).history == done.get(key_of(tiny().cnn(0))).history


def emptied(recorded, path):
    path.write_bytes(b"")


def gone(recorded, path):
    path.unlink()


def pickled(recorded, path):
    path.write_bytes(pickle.dumps(Bomb(recorded.parent / "exploded")))


@pytest.mark.parametrize("how", [emptied, gone, pickled])
@pytest.mark.parametrize("name", sorted(PARTS))
def test_verify_names_the_run_and_the_file(recorded, how, name):
    key = key_of(tiny().cnn(0))
    how(recorded, recorded / key / name)
    (problem,) = recorded_study.verify_study(recorded)
    assert problem.startswith(f"cnn seed=0 ({key[:12]}): {name}")
    assert not (recorded.parent / "exploded").exists()


def test_verify_sees_what_was_taken_out_added_or_exchanged(recorded):
    cnn, fcn = key_of(tiny().cnn(0)), key_of(tiny().fcn(0))
    index = json.loads((recorded / "study.json").read_text())
    forge(recorded / "study.json", runs={key: run for key, run in index["runs"].items() if key != cnn})
    problems = recorded_study.verify_study(recorded)
    assert f"cnn seed=0 ({cnn[:12]}) belongs to the study, but is not recorded" in problems
    assert f"{cnn}/{MANIFEST} is not listed in study.json" in problems
    forge(recorded / "study.json", runs=index["runs"])
    shutil.rmtree(recorded / cnn)
    shutil.copytree(recorded / fcn, recorded / cnn)
    assert all(problem.startswith("cnn seed=0") for problem in recorded_study.verify_study(recorded))
    assert recorded_study.verify_study(recorded)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\x80\x04N.", b"{" * 100_000, None])
def test_a_folder_that_is_no_recorded_study_is_told_in_a_line(recorded, content):
    (recorded / "study.json").unlink() if content is None else (recorded / "study.json").write_bytes(content)
    with pytest.raises(UserError, match="is no recorded study: ") as told:
        recorded_study.read_index(recorded)
    assert "\n" not in str(told.value)


def test_runs_trained_again_have_the_same_bytes(recorded):
    compared = recompute.recompute_runs(recorded, 2, seed=3)
    assert [(one.same, one.description) for one in compared] == [(True, "the same bytes")] * 2
    labels = {run.label for run in studies.runs(tiny())}
    assert {one.label for one in compared} <= labels
    assert [one.label for one in compared] == [one.label for one in recompute.recompute_runs(recorded, 2, seed=3)]


def altered(recorded, done, tmp_path, **info):
    """The study's CNN with another history, as an honest record of something else; and its store."""
    key = key_of(tiny().cnn(0))
    record = json.loads((recorded / key / RECORD).read_text())
    record["history"]["test_accuracy"][-1] = 0.111
    other = tmp_path / "other"
    shutil.copytree(recorded / key, other / key)
    (other / key / RECORD).write_text(json.dumps(record))
    listed = json.loads((other / key / MANIFEST).read_text())
    digest = export.files.digest_of(other / key / RECORD).model_dump()
    environment = listed["info"]["environment"] | info
    forge(
        other / key / MANIFEST,
        files=listed["files"] | {RECORD: digest},
        info=listed["info"] | {"environment": environment},
    )
    return recompute.compare_run(tiny().cnn(0), Store(other), done)


def test_a_run_that_does_not_come_out_again_is_told_with_numbers(recorded, done, tmp_path):
    one = altered(recorded, done, tmp_path)
    assert (one.same, one.close) == (False, False)
    assert "for 0.1110, standard error" in one.description
    assert one.description.endswith("in the same environment")
    two = altered(recorded, done, tmp_path / "again", threads=7)
    assert two.description.endswith("with another threads")


def test_the_commands(done, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(tiny(name="mine").model_dump_json())
    results = tmp_path / "results"
    out = efcn_here("export", file, "--root", done.root, "--out", results)
    assert out.returncode == 0, out.stderr
    assert f"{COUNT} runs recorded" in out.stdout
    assert efcn_here("verify", results / "mine").returncode == 0
    again = efcn_here("verify", results / "mine", "--recompute", "1", "--seed", "1")
    assert again.returncode == 0, again.stderr
    assert " same " in again.stdout
    out = efcn_here("import", results / "mine", "--root", tmp_path / "new")
    assert f"{COUNT} runs imported, 0 were there, 0 are damaged" in out.stdout
    status = efcn_here("status", file, EFCN_ROOT=str(tmp_path / "none"), EFCN_RESULTS=str(results))
    assert f"{COUNT} of {COUNT} runs done" in status.stdout
    assert " recorded " in status.stdout
    next((results / "mine").glob("*/record.json")).write_text("{}")
    broken = efcn_here("verify", results / "mine")
    assert broken.returncode == 2
    assert "does not have the digest" in broken.stderr
    assert broken.stderr.splitlines()[-1] == "efcn: 1 mistakes in recorded studies, listed above"
    for arguments in (["verify", tmp_path], ["import", tmp_path], ["verify", "--recompute", "-1"]):
        wrong = efcn_here(*arguments)
        assert wrong.returncode == 2

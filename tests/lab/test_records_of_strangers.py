"""Recorded studies of strangers: what is shown of them is a line of text, and nothing leads out of their folder."""

import json
import os
import shutil

import pytest

from command_line import efcn_here
from efcnlab.config import studies
from efcnlab.store import export, recorded_study
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError
from small_studies import tiny
from toy_runs import forge, sha

CNN = tiny().cnn(0)
KEY = key_of(CNN)
ESCAPE = "\x1b[2Jnothing wrong"
INFO = {
    "environment": {"cpu": "AMD EPYC", "cuda": [], "commit": "0" * 40, "torch": "2.0", "threads": 2},
    "device": "cpu",
    "seconds": 1.0,
}


@pytest.fixture
def recorded(tmp_path):
    """A recorded study of one run, made up."""
    store = Store(tmp_path / "runs")
    store.ensure(CNN, lambda attempt: Result({"epoch": [0], "test_accuracy": [0.5]}, info=INFO))
    return export.export_study(tiny(), store, tmp_path / "results", "efcn run digits", partial=True)


def reseal(folder, **changes):
    """Change a run's manifest, and the index, as a stranger would who knows how: all digests and seals are right."""
    manifest = folder / KEY / "manifest.json"
    forge(manifest, **changes)
    index = json.loads((folder / "study.json").read_text("utf-8"))
    data = manifest.read_bytes()
    index["runs"][KEY]["files"]["manifest.json"] = {"bytes": len(data), "sha256": sha(data)}
    forge(folder / "study.json", runs=index["runs"])


def info(folder, **changes):
    return json.loads((folder / KEY / "manifest.json").read_text("utf-8"))["info"] | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"label": ESCAPE},
        {"label": "x" * 2000},
        {"info": {"environment": "Linux"}},
        {"info": {"environment": {"cpu": ESCAPE}}},
        {"info": {"environment": {"cpu": {"deep": ["x"]}}}},
        {"info": {"environment": {"cpu": "x" * 2000}}},
        {"info": {"environment": {"a\nb": "x"}}},
        {"info": {"device": "<b>cpu</b>"}},
        {"info": {"device": "cuda:x"}},
        {"info": {"date": "<script>"}},
        {"info": {"seconds": "soon"}},
        {"info": {"seconds": -1}},
        {"info": {"weights_of": [[0]]}},
    ],
    ids=str,
)
def test_a_manifest_that_holds_what_none_may_hold_is_damaged_however_well_it_is_sealed(changes, recorded, tmp_path):
    if "info" in changes:
        changes = {"info": info(recorded, **changes["info"])}
    reseal(recorded, **changes)
    (told,) = recorded_study.verify_study(recorded)
    assert told.startswith(f"cnn seed=0 ({KEY[:12]}): manifest.json cannot be understood: ")
    assert told.isprintable()
    assert recorded_study.import_study(recorded, Store(tmp_path / "mine")).damaged == 1
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"command": ESCAPE},
        {"date": ESCAPE},
        {"date": "2026-11-28T17:44:06<script>"},
        {"environment": {"cpu": ESCAPE}},
        {"devices": ["cpu\n"]},
        {"missing": ["a\u202eb"]},
        {"seconds": -1},
        {"runs": {"../../up": {"label": "x", "files": {}}}},
        {"runs": {"/etc": {"label": "x", "files": {}}}},
        {"runs": {KEY: {"label": ESCAPE, "files": {}}}},
        {"runs": {KEY: {"label": "x", "files": {"../record.json": {"bytes": 1, "sha256": "0"}}}}},
    ],
    ids=str,
)
def test_an_index_that_holds_what_none_may_hold_is_refused(changes, recorded):
    forge(recorded / "study.json", **changes)
    with pytest.raises(UserError, match=r"is no recorded study: study.json cannot be understood: '\w+") as told:
        recorded_study.read_index(recorded)
    assert str(told.value).isprintable()


def test_verify_says_that_a_seal_is_no_signature_and_shows_no_control_characters(recorded):
    (recorded / ESCAPE).touch()
    done = efcn_here("verify", recorded)
    assert "a seal shows what was changed after it, but is no signature" in done.stdout
    assert r"\x1b[2Jnothing wrong is not listed in study.json" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


@pytest.mark.parametrize("what", ["link", "pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["record.json", "manifest.json", "arrays.safetensors"])
def test_what_is_no_file_of_a_recorded_run_is_reported_and_not_read(name, what, recorded, tmp_path):
    path = recorded / KEY / name
    path.rename(tmp_path / name)
    makes = {
        "link": lambda: path.symlink_to(tmp_path / name),
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
    }
    makes[what]()
    assert recorded_study.verify_study(recorded) == [f"cnn seed=0 ({KEY[:12]}): {name} is not a regular file"]
    assert recorded_study.import_study(recorded, Store(tmp_path / "mine")).damaged == 1


def test_links_in_a_recorded_study_are_reported_and_not_followed(recorded, tmp_path):
    (recorded / "more").symlink_to(tmp_path)
    assert recorded_study.verify_study(recorded) == ["more is not listed in study.json"]
    (recorded / "more").unlink()
    shutil.move(recorded / KEY, tmp_path / KEY)
    (recorded / KEY).symlink_to(tmp_path / KEY)
    told = recorded_study.verify_study(recorded)
    assert f"cnn seed=0 ({KEY[:12]}): its folder is a link" in told
    assert recorded_study.import_study(recorded, Store(tmp_path / "mine")).damaged == 1


def test_a_store_reads_a_strangers_run_only_where_it_is_one(recorded, tmp_path):
    store = Store(tmp_path / "mine", [recorded])
    assert store.state(KEY).name == "recorded"
    reseal(recorded, info=info(recorded, environment="Linux"))
    assert store.state(KEY).name == "damaged"
    assert [run.label for run in studies.runs(tiny()) if store.state(key_of(run)).name == "recorded"] == []

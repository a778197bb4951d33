"""The folder of recorded studies with something in it that is none: it is named and left out, whoever reads."""

import json
import os
import shutil

import pytest

from efcnbook.pages import build_book
from efcnbook.statistics import evidence
from efcnlab import cli
from efcnlab.config import studies
from efcnlab.run import study_runner
from efcnlab.store import files, recorded_study
from efcnlab.store.export import export_study
from efcnlab.store.run_store import Result, Store
from efcnlib.errors import UserError

STUDY = studies.load("digits", relax_times=(0,), path_times=(), curvature=None)
INFO = {"device": "cpu", "seconds": 1.0, "environment": {"cpu": "AMD EPYC", "cuda": [], "commit": None}}


def unknown_field(folder):
    index = json.loads((folder / "study.json").read_text())
    del index["seal"]
    index["study"]["colour"] = "blue"
    (folder / "study.json").write_text(json.dumps(index | {"seal": files.sha256(index)}))


def damaged(folder):
    (folder / "study.json").write_text((folder / "study.json").read_text()[:300])


def without_index(folder):
    (folder / "study.json").unlink()


def pipe(folder):
    (folder / "study.json").unlink()
    os.mkfifo(folder / "study.json")


def plain_file(folder):
    shutil.rmtree(folder)
    folder.write_text("no study")


def dangling_link(folder):
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


def unreadable(folder):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder.chmod(0)


BAD = (unknown_field, damaged, without_index, pipe, plain_file, dangling_link, unreadable)


@pytest.fixture(params=BAD, ids=lambda spoil: spoil.__name__)
def bad(request, tmp_path, monkeypatch):
    """A folder of results with a study, and beside it what looks like one but is not."""
    store, results = Store(tmp_path / "computed"), tmp_path / "results"
    history = {"epoch": [0, 1], "train_loss": [2.0, 1.0], "test_accuracy": [0.1, 0.9]}
    for run in studies.runs(STUDY):
        store.ensure(run, lambda attempt: Result(history, info=INFO))
    good = export_study(STUDY, store, results, "efcn run digits")
    folder = results / "bad"
    shutil.copytree(good, folder)
    request.param(folder)
    monkeypatch.setenv("EFCN_RESULTS", str(results))
    monkeypatch.setenv("EFCN_ROOT", str(tmp_path / "runs"))
    yield folder
    if folder.is_dir():
        folder.chmod(0o755)


def test_status_names_it_in_a_line_and_leaves_it_out(bad, tmp_path, capsys):
    (tmp_path / "digits.json").write_text(STUDY.model_dump_json())
    assert cli.main(["status", str(tmp_path / "digits.json"), "quick"]) == 0
    said = capsys.readouterr()
    (line,) = [line for line in said.err.splitlines() if str(bad) in line]
    assert line.startswith(f"warning: {bad} is left out: ")
    assert "4 of 4 runs done" in said.out


def test_claims_and_book_leave_it_out(bad, monkeypatch):
    monkeypatch.setitem(studies.PRESETS, "digits", STUDY)
    with pytest.warns(UserWarning, match=f"{bad} is left out: "):
        assert build_book.complete(recorded_study.readable_studies()) == ["digits"]
    assert [one.study.name for one in evidence.several("")] == ["digits"]


def test_notebooks_leave_it_out(bad):
    few = {"relax_times": (0,), "path_times": (), "curvature": None}
    with pytest.warns(UserWarning, match=f"{bad} is left out: "):
        results = study_runner.load_results("digits", 0, **few)
    assert results.efcn(0, 0).history["test_accuracy"] == [0.1, 0.9]


def test_verify_counts_it_as_wrong_and_goes_on(bad, capsys):
    assert cli.main(["verify"]) == 2
    said = capsys.readouterr()
    assert any(str(bad) in line for line in said.err.splitlines())
    assert said.err.splitlines()[-1] == "efcn: 1 mistakes in recorded studies, listed above"
    assert f"{bad.parent / 'digits'}: 4 runs, nothing wrong" in said.out


def test_import_takes_the_others(bad, capsys):
    assert cli.main(["import"]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if str(bad) in line]
    assert said.out.splitlines() == [
        f"{bad.parent / 'digits'}: 4 runs imported, 0 were there, 0 are damaged and left out"
    ]


def test_export_replaces_it(bad, tmp_path):
    study = STUDY.model_copy(update={"name": "bad"})
    store = Store(tmp_path / "computed")
    if bad.is_dir():
        bad.chmod(0o755)
    assert export_study(study, store, bad.parent, "efcn run bad") == bad
    assert recorded_study.verify_study(bad) == []


def test_what_was_recorded_with_it_is_not_read(bad):
    with pytest.warns(UserWarning, match=f"{bad} is left out: "):
        assert Store("none", recorded_study.readable_studies()).fallbacks == (bad.parent / "digits",)


def test_timings_and_what_is_being_written_are_no_studies(tmp_path, monkeypatch, recwarn):
    for name in ("performance", "survival", ".export-1"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("EFCN_RESULTS", str(tmp_path))
    assert recorded_study.readable_studies() == {}
    assert not recwarn.list
    with pytest.raises(UserError, match=r"it has no study\.json"):
        recorded_study.read_index(tmp_path / "survival")

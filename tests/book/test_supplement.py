"""The supplement's figures beside ours: the numbers in their tables, recomputed, and the pages, of a partial study."""

import json
import re

import pytest

from efcnbook.findings import supplement
from efcnbook.pages import execution
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlab.run import study_runner
from efcnlab.run.study_runner import RunContext, compute_run
from efcnlab.store.export import export_study
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from run_here import run_here
from small_studies import tiny

STUDY = tiny(relax_times=(0, 2, 4), path_times=(2, 4), path_methods=("linear", "output"), plane=None, curvature=None)
PAGES = ("figure_3", "figure_4", "figure_5", "figure_6")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """All of the study but what belongs to tw = 4, and its standard FCN."""
    store = Store(tmp_path_factory.mktemp("runs"))
    for run in studies.runs(STUDY):
        if run.kind != "fcn" and getattr(run, "tw", None) != 4 and "tw=4" not in run.label:
            store.ensure(run, lambda attempt, run=run: compute_run(run, RunContext(store), attempt))
    return store


@pytest.fixture(scope="module")
def file(store):
    file = store.root / "mine.json"
    fields = json.loads(STUDY.model_dump_json()) | {"long": True}
    file.write_text(json.dumps(fields), "utf-8")
    return file


@pytest.fixture(scope="module")
def one(store, file):
    (one,), absent = supplement.recorded(str(file), str(store.root))
    assert absent == []
    return one


def test_what_is_there_is_gathered_and_named_incomplete(one):
    assert (one.times, one.has("fcn"), sorted(set(one.paths["method"]))) == ([0, 2], False, ["linear", "output"])
    said = supplement.described([one])
    assert "seed 0." in said
    assert "Seed 0 is incomplete" in said
    assert supplement.Facts(one)["fcn"] == supplement.Facts(one)["over_fcn"] == "not recorded yet"


@pytest.mark.parametrize("tw", [0, 2])
def test_differences_are_those_of_the_records(one, store, tw):
    results = study_runner.StudyResults(STUDY, store)
    efcn, control = results.efcn(tw, 0).history["test_accuracy"], results.control(tw, 0).history["test_accuracy"]
    cnn = results.cnn(0).history["test_accuracy"]
    expected = {
        "over_control": efcn[-1] - control[-1],
        "improved": efcn[-1] - efcn[0],
        "over_cnn": efcn[-1] - max(cnn),
    }
    for name, value in expected.items():
        found = dict(re.findall(r"([+−][\d.]+) points \(one seed\) at \$t_w\$ = (\d+)", supplement.Facts(one)[name]))
        by_time = {int(time): float(number.replace("−", "-")) for number, time in found.items()}
        if len(by_time) == 2:  # two equal numbers would be one key
            assert by_time[tw] == pytest.approx(100 * value, abs=0.051)
        assert f"{100 * value:+.1f}".replace("-", "−") in supplement.Facts(one)[name]


def test_barriers_and_gains_are_those_of_the_records(one, store):
    path = study_runner.StudyResults(STUDY, store).path("linear", 2, 0).history
    barrier = max(path["train_loss"][1:-1]) - max(path["train_loss"][0], path["train_loss"][-1])
    assert supplement.Facts(one)["barriers"] == f"linear: {barrier:+.2f} nats ($t_w$ = 2)".replace("-", "−")
    inner = range(1, len(path["alpha"]) - 1)
    best = max(inner, key=lambda i: path["held_accuracy"][i])
    gain = path["report_accuracy"][best] - max(path["report_accuracy"][0], path["report_accuracy"][-1])
    assert supplement.Facts(one)["gains"] == f"linear: {100 * gain:+.1f} points ($t_w$ = 2)".replace("-", "−")


def test_filters_are_those_of_the_supplement_where_they_are_there_and_others_by_rank(one, store):
    grid, dead, rows, columns = supplement.filters(one, (0, 13, 115), (0, 1, 78), str(store.root))
    assert rows == ["$t_w$ = 0", "$t_w$ = 2"]
    assert columns == ["just after embedding", "after 1 epochs", "after 2 epochs"]
    assert {picture.shape for row in grid for picture in row} == {dead.shape}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_a_partial_study_and_trains_nothing(page, store, file, tmp_path):
    before = sorted(path.name for path in store.root.iterdir())
    out = tmp_path / f"{page}.ipynb"
    run_here(page, out, {"only": str(file), "root": str(store.root)})
    assert sorted(path.name for path in store.root.iterdir()) == before
    text = out.read_text("utf-8")
    assert f"Figure {page[-1]}" in text
    assert "Seed 0 is incomplete" in text
    assert "The caption says" in text


def test_without_a_record_every_study_is_named_as_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("EFCN_RESULTS", str(tmp_path))
    shown, absent = supplement.recorded("", str(tmp_path / "runs"))
    assert shown == []
    assert absent == [studies.PRESETS[name].title for name in supplement.PAPER_SIZE]
    assert supplement.diverged_at_published_rate(str(tmp_path / "runs")) == []
    with pytest.raises(UserError, match="vanilla-cifar10-sgd"):
        supplement.recorded("vanilla-cifar10-sgd", str(tmp_path / "runs"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_without_a_record_says_so(page, tmp_path, monkeypatch):
    monkeypatch.setenv("EFCN_RESULTS", str(tmp_path))
    monkeypatch.setenv("EFCN_ROOT", str(tmp_path / "runs"))
    run_here(page, tmp_path / f"{page}.ipynb", {})
    assert "of the paper's size is recorded yet" in (tmp_path / f"{page}.ipynb").read_text("utf-8").replace(
        "&#x27;", "'"
    )


def test_a_cnn_alone_is_shown_and_its_divergence_told(tmp_path, monkeypatch):
    published = studies.PRESETS[supplement.PUBLISHED]
    losses = [2.3, 1.0, float("nan")]
    results = tmp_path / "results"
    for name, loss in ((supplement.PUBLISHED, losses), (supplement.PAPER_SIZE[0], [2.3, 1.0, 0.5])):
        study, store = studies.PRESETS[name], Store(tmp_path / name)
        history = {"epoch": [0, 1, 2], "train_loss": loss, "test_accuracy": [0.1, 0.4, 0.3]}
        info = {"device": "cpu", "seconds": 1.0, "environment": {"cpu": "AMD EPYC", "cuda": [], "commit": None}}
        store.ensure(study.cnn(0), lambda attempt, history=history, info=info: study_runner.Result(history, info=info))
        export_study(study, store, results, f"efcn run {name}", partial=True)
    monkeypatch.setenv("EFCN_RESULTS", str(results))
    (one,), absent = supplement.recorded("", str(tmp_path / "runs"))
    assert (one.study.name, one.times, len(absent)) == ("vanilla-cifar10-sgd", [], 2)
    assert supplement.recorded("", str(tmp_path / "runs"), efcns=True)[0] == []
    assert supplement.findings(one)[-1] == "No eFCN is recorded yet."
    (said,) = supplement.diverged_at_published_rate(str(tmp_path / "runs"))
    assert "became NaN in epoch 2." in said
    assert supplement.rate_searches(one, str(tmp_path / "runs")) == []
    assert key_of(published.cnn(0)) != key_of(studies.PRESETS["vanilla-cifar10-sgd"].cnn(0))


@pytest.mark.parametrize("page", PAGES)
def test_a_book_gives_these_pages_no_studies_of_its_own(page):
    assert set(execution.parameters_of(REPOSITORY / "notebooks" / f"{page}.ipynb")) == {"only", "root"}

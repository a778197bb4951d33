"""Studies that vary the network's width or the number of training images at one relax time, and what they show."""

import json
from math import isnan, nan

import pytest

from command_line import efcn_here
from efcnbook.statistics import sweeps
from efcnbook.statistics.intervals import interval
from efcnlab.config import studies
from efcnlab.run import compute_estimate, schedule, status, study_runner
from efcnlab.store import export, recorded_study
from efcnlab.store.run_store import Result, Store, key_of
from efcnlib.errors import UserError
from pictured import columns, saved
from run_here import run_here
from small_studies import tiny
from toy_runs import names

SWEEP = {
    "relax_times": (0, 2),
    "path_times": (),
    "sweep_time": 2,
    "sweep_channels": (2, 3, 5),
    "sweep_train": (80, 200),
}
NEW = ("channels=2", "channels=5", "train=80")  # 3 channels and 200 images are the study's own


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return study_runner.run_study(tiny(**SWEEP), Store(tmp_path_factory.mktemp("runs")), progress=False)


def test_runs_of_a_sweep_come_once_and_after_all_others():
    swept, plain = tiny(**SWEEP, seeds=(0, 1)), tiny(relax_times=(0, 2), path_times=(), seeds=(0, 1))
    first = studies.runs(plain)
    runs = studies.runs(swept)
    assert runs[: len(first)] == first
    labels = [run.label for run in runs[len(first) :]]
    kinds = ("cnn", "control tw=2", "efcn tw=2")
    assert labels == [f"{kind} seed={seed} {new}" for seed in (0, 1) for new in NEW for kind in kinds]
    assert len(set(map(key_of, runs))) == len(runs)


def test_a_variant_differs_in_one_size_and_its_keys_are_those_of_a_study_of_that_size():
    study = tiny(**SWEEP)
    for variant, change in (
        (study.variant(channels=5), {"network": {"channels": 5}}),
        (study.variant(train=80), {"data": {"train": 80, "test": 100}}),
        (study.variant(channels=3), {}),
        (study.variant(train=200), {}),
    ):
        plain = tiny(relax_times=(0, 2), path_times=(), **change)
        for ours, theirs in (
            (variant.cnn(0), plain.cnn(0)),
            (variant.relaxed("efcn", 2, 0), plain.relaxed("efcn", 2, 0)),
            (variant.relaxed("control", 2, 0), plain.relaxed("control", 2, 0)),
        ):
            assert ours.model_dump() == theirs.model_dump()
            assert key_of(ours) == key_of(theirs)
            assert (ours == theirs) == (not change)  # only the label tells them apart
    whole = tiny(**SWEEP | {"data": {"train": None, "test": 100}, "sweep_train": (80, 1437)})
    assert whole.variant(train=1437).cnn(0) == whole.cnn(0)  # all images, by whatever name


def test_settings_hold_for_variants_too():
    changes = {"augment": True, "carry": True, "optimiser": {"name": "adam", "lr": 0.01}, "shuffle": False}
    run = tiny(**SWEEP, **changes).variant(train=80).relaxed("efcn", 2, 0)
    assert (run.augment, run.carry, run.shuffle) == (True, True, False)
    assert (run.optimiser.name, run.parent.variant) == ("adam", "train=80")


def test_results_are_had_by_size(done):
    for sizes, name in (((2, 3, 5), "channels"), ((80, 200), "train")):
        for size in sizes:
            found = done.variant(**{name: size})
            for record in (found.cnn(0), found.control(2, 0), found.efcn(2, 0)):
                part = record.config["network" if name == "channels" else "data"]
                assert part[name] == size
    assert done.variant(channels=3).efcn(2, 0).history == done.efcn(2, 0).history
    assert done.variant(channels=5).efcn(2, 0).history != done.efcn(2, 0).history
    with pytest.raises(
        UserError, match=r"^unknown channel count in the sweep of study digits 4: choose one of 2, 3, 5$"
    ):
        done.variant(channels=4)
    with pytest.raises(UserError, match=r"^unknown number of training images .* 81: choose one of 80, 200$"):
        done.variant(train=81)
    with pytest.raises(UserError, match="relax time of study digits 0: choose one of 2"):
        done.variant(channels=5).efcn(0, 0)


def test_status_plan_and_manifests_tell_variants_apart(done, tmp_path):
    study, store = done.study, done.store
    rows = [line[2:34].strip() for line in status.status_lines(study, store, each=True)[1:]]
    assert len(set(rows)) == len(rows)
    assert [row for row in rows if row.endswith(NEW)] == rows[-9:]
    todo = schedule.missing_runs(studies.runs(study), Store(tmp_path))
    assert sorted(map(key_of, todo)) == sorted(map(key_of, studies.runs(study)))
    assert all(todo.index(parent) < todo.index(run) for run in todo for parent in run.parents)
    assert sum(run.label.startswith("cnn") for run in schedule.ready_runs(todo)) == 4
    sizes = [compute_estimate.compute_cost(study.variant(channels=n).relaxed("efcn", 2, 0)) for n in (2, 3, 5)]
    assert sizes == sorted(set(sizes))
    for run in studies.runs(study):
        assert json.loads((store.root / key_of(run) / "manifest.json").read_text())["label"] == run.label


def test_a_swept_study_is_exported_verified_and_read(done, tmp_path):
    folder = export.export_study(done.study, done.store, tmp_path, "efcn run mine.json")
    assert recorded_study.verify_study(folder) == []
    labels = {run["label"] for run in json.loads((folder / "study.json").read_text())["runs"].values()}
    assert {f"efcn tw=2 seed=0 {new}" for new in NEW} <= labels
    elsewhere = study_runner.run_study(done.study, Store(tmp_path / "none", [folder]), progress=False)
    assert elsewhere.variant(train=80).efcn(2, 0).history == done.variant(train=80).efcn(2, 0).history


def test_a_swept_study_from_a_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"like": "digits", "sweep_time": 5, "sweep_channels": [3, 12]}))
    more = len(studies.runs(studies.load("digits"))) + 6
    assert f"mine: 0 of {more} runs done" in efcn_here("status", file, "--root", tmp_path / "none").stdout
    shown = json.loads(efcn_here("show", file).stdout)
    assert (shown["sweep_channels"], "_variant" in shown, "variant" in shown) == ([3, 12], False, False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sweep_train": (30, 80)}, "study: batch 50 is larger than the 30 training images"),
        ({"sweep_time": 1}, "study: sweep time 1 is no relax time of the study: choose among 0, 2"),
        (
            {"sweep_time": None},
            "study: a sweep takes a sweep_time, and sweep_channels or sweep_train: give both or neith",
        ),
        ({"sweep_train": (), "sweep_channels": ()}, "study: a sweep takes a sweep_time, and sweep_channels or"),
        ({"sweep_train": (80, 1438)}, "study: sweep_train 1438 is not allowed: there are 1437 images"),
        ({"sweep_channels": (5, 2)}, r"study: sweep_channels \(5, 2\) is not allowed: give different whole numbers"),
        (
            {"sweep_channels": (0, 2)},
            r"study: sweep_channels.0 0 is not allowed: input should be greater than or equal",
        ),
        (
            {"sweep_channels": (2, 5000)},
            "study: network.channels 5000 is not allowed: input should be less than or equal",
        ),
    ],
)
def test_what_cannot_be_swept_gets_one_line(change, message):
    with pytest.raises(UserError, match=f"^{message}") as error:
        tiny(**SWEEP | change)
    assert "\n" not in str(error.value)


def test_paths_do_not_stand_in_the_way_of_few_images():
    """A variant has no paths, whose batches may be larger than its images."""
    study = tiny(sweep_time=2, sweep_train=(60,))
    assert study.string.batch > 60
    assert study.variant(train=60).path_times == ()
    with pytest.raises(UserError, match="batch 100 is larger than the 60 training images"):
        tiny(data={"train": 60})


# What it shows


def test_the_table_has_the_best_of_the_cnn_and_the_last_of_the_others(done):
    table = sweeps.of_results([done])
    assert list(zip(table["varied"], table["size"], strict=True)) == [
        *(("channels", size) for size in (2, 3, 5)),
        *(("train", size) for size in (80, 200)),
    ]
    for row in table.itertuples():
        of = done.variant(**{row.varied: row.size})
        accuracy = {kind: of.relaxed(kind, 2, 0).history["test_accuracy"] for kind in ("control", "efcn")}
        assert (row.tw, row.seed, row.cnn) == (2, 0, max(of.cnn(0).history["test_accuracy"]))
        assert (row.control, row.efcn) == (accuracy["control"][-1], accuracy["efcn"][-1])
        assert row.lead == row.efcn - row.control


def test_a_seed_without_a_sweep_has_no_rows(done):
    plain = study_runner.StudyResults(tiny(relax_times=(0, 2), path_times=()), done.store)
    assert sweeps.of_results([plain]).empty
    assert len(sweeps.of_results([plain, done])) == 5


def test_the_times_chosen_by_accuracy_are_those_of_a_preset():
    assert all(studies.PRESETS[name].sweep_time == tw for name, tw in sweeps.CHOSEN)


def led(store, study, leads, root):
    """A store in which the eFCN has these leads over its control, by the number of channels one for each seed."""
    made = Store(root)
    for run in studies.runs(study):
        record = store.get(key_of(run))
        history = dict(record.history)
        if run.kind in ("efcn", "control") and run.tw == study.sweep_time:
            lead = leads[run.network.channels][run.seed] if run.kind == "efcn" else 0
            history["test_accuracy"] = [*history["test_accuracy"][:-1], 0.5 + lead]
            history["train_loss"] = [*history["train_loss"][:-1], nan if isnan(lead) else 1.0]
        result = Result(history, record.arrays, {}, {**record.info, "seconds": 1.0})
        made.ensure(run, lambda _, result=result: result)
    return made


def shown(study, root, folder, **given):
    """The figures and the words of the page for ``study``, whose runs are in ``root``."""
    path = folder / "mine.json"
    path.write_text(study.model_dump_json(), "utf-8")
    outputs = run_here("sizes", folder / "out.ipynb", {"study": str(path), "root": str(root)} | given)
    data = [o.data for o in outputs if "data" in o]
    return [of["text/html"] for of in data if "text/html" in of], [of.get("text/markdown", "") for of in data]


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A study of three seeds that varies the channels alone, and its store."""
    study = tiny(**SWEEP | {"sweep_train": (), "standard_fcn": False, "seeds": (0, 1, 2)})
    return study, study_runner.run_study(study, Store(tmp_path_factory.mktemp("three")), progress=False).store


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        ((0.08, 0.09, 0.1), (0.01, 0.0, 0.01), "**The lead shrinks with the number of channels**: "),
        ((0.01, 0.0, 0.01), (0.08, 0.09, 0.1), "**The lead grows with the number of channels**: "),
        ((0.0, 0.1, 0.2), (0.01, 0.0, 0.01), "**That the lead depends on the number of channels is open**: "),
    ],
)
def test_whether_the_lead_goes_with_size_is_judged_within_seeds(least, most, said, three, tmp_path):
    study, store = three
    made = led(store, study, {2: least, 3: (0, 0, 0), 5: most}, tmp_path / "runs")
    (figure, images), words = shown(study, made.root, tmp_path, more_seeds="1, 2")
    text = "the eFCN's last accuracy minus its control's is {} with 2, and {} channels."
    ends = (interval(leads).text(100, 1, "points") for leads in (least, most))
    assert words[0] == said + text.replace("{} channels", "{} with 5 channels").format(*ends)
    assert "with Student’s 95 % intervals" in figure
    assert "This study varies no training images." in images


def test_what_diverged_is_left_out_and_said_to_be(three, tmp_path):
    study, store = three
    made = led(store, study, {2: (0.1, nan, 0.1), 3: (0, 0, 0), 5: (0.1, 0.1, 0)}, tmp_path / "runs")
    (figure, _), words = shown(study, made.root, tmp_path, more_seeds="1, 2")
    assert "- Left out are seeds that diverged, with 2." in words
    assert "with 2," not in words[0]  # which compares sizes that every seed has
    header, *rows = columns(saved(figure)["CSV"])
    assert [row[:4] for row in rows if row[header.index("lead")] == ""] == [["channels", "2", "2", "1"]]


def test_the_page_shows_both_sweeps_and_computes_nothing(done, tmp_path):
    before = names(done.store.root)
    (channels, images), words = shown(done.study, done.store.root, tmp_path)
    assert names(done.store.root) == before
    assert '<figure id="figure-10"' in channels
    assert '<figure id="figure-10b"' in images
    assert "(one seed)" in words[0]
    assert "one seed" in channels
    assert words[1].endswith(" with 200 training images.")
    for page, name in ((channels, "channels"), (images, "train")):
        header, *rows = columns(saved(page)["CSV"])
        assert header == sweeps.COLUMNS
        told = sweeps.of_results([done])
        assert [float(row[-1]) for row in rows] == told.loc[told["varied"] == name, "lead"].tolist()


def test_the_time_that_was_chosen_by_accuracy_is_said_to_be(done, tmp_path, monkeypatch):
    said = "was chosen for the test accuracy that eFCNs of the first two seeds had"
    assert said not in "".join(shown(done.study, done.store.root, tmp_path)[1])
    monkeypatch.setattr(sweeps, "CHOSEN", {(done.study.name, 2)})
    assert f"$t_w$ = 2 {said}" in "".join(shown(done.study, done.store.root, tmp_path)[1])


def test_the_page_says_what_is_not_varied(done, tmp_path):
    none = tiny(relax_times=(0, 2), path_times=())
    figures, words = shown(none, done.store.root, tmp_path)
    assert "This study varies no channels." in figures[0]
    assert "This study varies no training images." in figures[1]
    assert "points" not in "".join(words)


def test_only_studies_with_a_sweep_are_drawn_small(done, tmp_path):
    plain = tiny(relax_times=(0, 2), path_times=()).model_copy(update={"name": "plain"})
    (tmp_path / "plain.json").write_text(plain.model_dump_json(), "utf-8")
    others = f"{tmp_path / 'plain.json'}, {tmp_path / 'mine.json'}"
    (*_, small), _ = shown(done.study, done.store.root, tmp_path, others=others)
    assert 'href="digits/sizes.html"' in small
    assert small.count("<figure") == 1

"""Studies that vary the network's width or the number of training images at one relax time, and what they show."""

import json

import numpy as np
import pandas as pd
import pytest

from command_line import efcn_here
from drawn_curves import assert_labelled, legend
from efcnbook.figures import training_curves
from efcnbook.findings import sweep_findings
from efcnlab.config import studies
from efcnlab.run import compute_estimate, schedule, status, study_runner
from efcnlab.store import export, recorded_study
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError
from measured import seeds
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


def histories(*accuracies):
    """Histories of one size, each given as its accuracies."""
    return [{"test_accuracy": list(each)} for each in accuracies]


CNN = {2: histories((0.5, 0.62, 0.6), (0.5, 0.66, 0.6)), 8: histories((0.6, 0.7), (0.6, 0.74))}
CONTROL = {2: histories((0.9, 0.6), (0.9, 0.62)), 8: histories((0.9, 0.73), (0.9, 0.71))}
EFCN = {2: histories((0.95, 0.68), (0.1, 0.72)), 8: histories((0.1, 0.72), (0.1, 0.73))}


def swept(cnn, control, efcn):
    """The table of these histories by size."""
    by_size = {size: {"cnn": cnn[size], "control": {5: control[size]}, "efcn": {5: efcn[size]}} for size in cnn}
    return pd.concat([seeds(**kinds).assign(size=size) for size, kinds in by_size.items()], ignore_index=True)


SWEPT = swept(CNN, CONTROL, EFCN)


def test_the_figure_draws_best_and_last_with_means_and_ranges():
    figure = training_curves.sweep(SWEPT, "channels")
    assert_labelled(figure)
    assert legend(figure) == ["CNN, best", "control, last", "eFCN, last"]
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["2", "8"]
    expected = (([64, 72], [2, 2]), ([61, 72], [1, 1]), ([70, 72.5], [2, 0.5]))
    for container, (mean, half) in zip(ax.containers, expected, strict=True):
        line, _, (bars,) = container
        np.testing.assert_allclose(line.get_ydata(), mean)
        np.testing.assert_allclose(line.get_xdata(), [2, 8], rtol=0.03)
        np.testing.assert_allclose([np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()], half)


def test_sentences_follow_from_the_numbers():
    beats, exceeds, size, ranges = sweep_findings.sweep(SWEPT, 1000, "channels")
    assert beats.endswith(
        "above with 2 (70.0 % and 61.0 %) channels; within two standard errors with 8 (72.5 % and 72.0 %) channels."
    )
    assert "above with 2 (70.0 % and 64.0 %) channels; within two standard errors with 8 (72.5 % and 72.0 %)" in exceeds
    error = 100 * np.sqrt((0.7 * 0.3 + 0.61 * 0.39) / 1000)
    assert f"largest with 2 channels, +9.0 ± {error:.1f} percentage points, and smallest with 8, +0.5 ± 2.0" in size
    assert size.endswith(": more than two standard errors apart.")
    assert ranges == (
        "Over 2 seeds the lead goes from +8.0 to +10.0 with 2; −1.0 to +2.0 with 8 channels, in percentage points."
    )
    few = sweep_findings.sweep(SWEPT, 50, "channels")
    assert few[0].endswith("within two standard errors with 2 (70.0 % and 61.0 %), 8 (72.5 % and 72.0 %) channels.")
    assert few[2].endswith(": within two standard errors apart.")
    turned = sweep_findings.sweep(swept(CNN, EFCN, CONTROL), 1000, "channels")
    assert "below with 2 (61.0 % and 70.0 %) channels" in turned[0]


def test_one_seed_is_said_to_be_one_and_thousands_are_legible():
    one = SWEPT[SWEPT["seed"] == 0].assign(size=5000 * SWEPT["size"])
    *lines, last = sweep_findings.sweep(one, 1000, "training images")
    assert "one seed" in last
    assert "above with 10,000 (68.0 % and 60.0 %) training images" in lines[0]
    labels = training_curves.sweep(one, "training images").axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["10,000", "40,000"]


def test_what_a_sweep_leaves_out_is_computed_from_the_study():
    (plain,) = sweep_findings.limits(tiny(**SWEEP))
    assert plain == (
        "Sweeps train the plain control only, the CNN resumed: a lead here is none over an eLCN or a lowered rate."
    )
    (more,) = sweep_findings.limits(tiny(**SWEEP, controls=("control", "lowered", "elcn")))
    assert more.startswith(plain)
    assert more.endswith("Figure 3c has those of the study's own size, at each $t_w$.")


@pytest.mark.parametrize("name", [name for name, study in studies.PRESETS.items() if study.sweep_time is not None])
def test_how_the_swept_time_was_chosen_is_said_where_it_was_by_accuracy(name):
    study, words = studies.PRESETS[name], "was chosen because the study's own eFCNs of its first two seeds"
    assert any(words in line for line in sweep_findings.limits(study)) == (name == "vanilla-cifar10-narrow")
    other = study.model_copy(update={"sweep_time": study.relax_times[1]})
    assert not any(words in line for line in sweep_findings.limits(other))


def test_a_real_sweep_is_drawn_and_told(done):
    runs = sweep_findings.variants([done], "channels", done.study.sweep_channels)
    assert_labelled(training_curves.sweep(runs, "channels"))
    assert len(sweep_findings.sweep(runs, 100, "channels")) == 4


def shown(study, root, folder):
    """The figures and the words of the page for ``study``, whose runs are in ``root``."""
    path = folder / "mine.json"
    path.write_text(study.model_dump_json(), "utf-8")
    given = {"study": str(path), "root": str(root)}
    data = [o.data for o in run_here("sizes", folder / "out.ipynb", given) if "data" in o]
    return [of["text/html"] for of in data if "text/html" in of], [of.get("text/markdown", "") for of in data]


def test_the_page_shows_and_tells_both_sweeps_and_computes_nothing(done, tmp_path):
    before = names(done.store.root)
    (channels, images), (limits, *words) = shown(done.study, done.store.root, tmp_path)
    assert names(done.store.root) == before
    assert '<figure id="figure-10"' in channels
    assert '<figure id="figure-10b"' in images
    assert limits.startswith("- Sweeps train the plain control only")
    assert "Does the eFCN beat its control?" in words[1]
    assert "5 (" in words[1]
    assert "200 training images" in words[3]
    for page, name, sizes in ((channels, "channels", (2, 3, 5)), (images, "train", (80, 200))):
        header, *rows = columns(saved(page)["CSV"])
        assert header == ["size", "kind", "tw", "seed", "epoch", "test_accuracy"]
        for size in sizes:
            of = done.variant(**{name: size})
            for kind, record in (("cnn", of.cnn(0)), ("control", of.control(2, 0)), ("efcn", of.efcn(2, 0))):
                told = [float(row[-1]) for row in rows if row[:2] == [str(size), kind]]
                assert told == record.history["test_accuracy"]


def test_the_page_says_what_is_not_varied(done, tmp_path):
    one = done.study.model_copy(update={"sweep_train": ()})
    (_, images), _ = shown(one, done.store.root, tmp_path)
    assert "varies no training images" in images
    none = tiny(relax_times=(0, 2), path_times=())
    figures, words = shown(none, done.store.root, tmp_path)
    assert figures == []
    assert words[0].startswith("- Study digits varies no size: give it a `sweep_time`")

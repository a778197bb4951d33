"""Path runs as a user gets them: every method between any ends, measured alike, interrupted without a trace."""

import shutil
from dataclasses import asdict

import pytest
import torch

from efcnlab.config.path_methods import METHODS
from efcnlab.config.runs import Evaluation
from efcnlab.config.studies import Dataset, PathRun
from efcnlab.config.studies import runs as runs_of
from efcnlab.data import datasets
from efcnlab.run import compute_estimate, disk_estimate, execute, path_run, run_networks, study_runner
from efcnlab.run.run_context import RunContext
from efcnlab.store.run_store import Store, key_of
from efcnlib import metrics
from efcnlib.data.images import Split, channel_statistics, to_device
from efcnlib.errors import UserError
from efcnlib.landscape import StoppingCriterion
from efcnlib.resumable import finish
from small_paths import POINTS, tiny
from surfaces import interrupted, same
from toy_runs import parts_when_interrupted


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return study_runner.run_study(tiny(), Store(tmp_path_factory.mktemp("runs")), progress=False)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_measured_alike_between_the_same_networks(results, method):
    cnn, efcn = results.cnn(0).history, results.efcn(2, 0).history
    path = results.path(method, 2, 0).history
    assert len(path["alpha"]) == POINTS
    for split in ("train", "held", "test", "report"):
        for measure in ("loss", "accuracy"):
            values = path[f"{split}_{measure}"]
            assert len(values) == POINTS
            if split in ("train", "test"):
                assert values[0] == pytest.approx(cnn[f"{split}_{measure}"][-1], rel=1e-5)
                assert values[-1] == pytest.approx(efcn[f"{split}_{measure}"][-1], rel=1e-5)
    assert path["report_loss"] == path["test_loss"]  # held-out images are training images that are not in use
    if method == "output":
        assert "probability_report_accuracy" in path
        return
    assert path["delta"][0] == 0
    assert path["delta"][-1] == pytest.approx(efcn["delta"][-1], rel=1e-5)
    assert path["sharing"][-1] == pytest.approx(efcn["sharing"][-1], rel=1e-4)
    assert path["length"] >= path["straight"] * (1 - 1e-9)
    assert path["distance"][-1] == pytest.approx(path["straight"])


@pytest.mark.parametrize("method", ["string", "output", "linear"])
def test_a_study_says_on_which_images_and_in_which_precision_paths_are_measured(results, method):
    before = results.path(method, 2, 0).history
    run, place = results.study.path(method, 2, 0), RunContext(results.store)
    assert run.evaluation == Evaluation()
    changed = run.model_copy(update={"evaluation": Evaluation(stride=3)})
    found = finish(execute.computation(changed, place))
    history, arrays = found.history, found.arrays
    for name in ("held_loss", "test_loss", "test_accuracy"):
        assert history[name] == before[name]
    train, _ = place.splits(run.end.data)
    net = run_networks.final_dense_network(run.end, results.store)
    assert history["train_loss"] != before["train_loss"]
    loss, accuracy = metrics.evaluate(net, Split(train.x[::3], train.y[::3])).tolist()
    assert (history["train_loss"][-1], history["train_accuracy"][-1]) == pytest.approx((loss, accuracy), rel=1e-5)
    assert same(dict(arrays), dict(results.path(method, 2, 0).arrays))  # the plane is over few images anyway
    assert compute_estimate.compute_cost(changed) < compute_estimate.compute_cost(run)
    study = tiny(evaluation={"own_precision": True, "stride": 3}, precision="bf16")
    assert study.path(method, 2, 0).evaluation == study.evaluation
    own = run.model_copy(update={"evaluation": Evaluation(own_precision=True)})
    rounded = own.model_copy(update={"end": run.end.model_copy(update={"precision": "bf16"})})
    assert own.evaluation.precision_for(own.end) == run.evaluation.precision_for(run.end) == "float32"
    assert rounded.evaluation.precision_for(rounded.end) == "bf16"


@pytest.mark.parametrize("method", ["string", "band"])
def test_a_path_that_is_to_rest_says_whether_it_does(results, method):
    run, place = results.study.path(method, 2, 0), RunContext(results.store)
    how = run.relaxation.model_copy(
        update={"rest": StoppingCriterion(window=10, tolerance=0.5), "steps": 400, "lr": 0.05}
    )
    until = run.model_copy(update={method: how})
    history = finish(execute.computation(until, place)).history
    assert history[f"{method}_stopped"]
    assert 30 <= len(history[f"{method}_loss"]) < 400 * getattr(how, "cycles", 1)
    result, cuts = interrupted(lambda state: execute.computation(until, place, state), 0, most=12)
    assert cuts >= 1
    assert same(result.history, history)
    assert disk_estimate.estimate_disk(until).while_running > disk_estimate.estimate_disk(run).while_running


def test_relaxed_paths_tell_how_they_fell(results):
    assert len(results.path("string", 2, 0).history["string_elastic"]) == 6
    band = results.path("band", 2, 0).history
    assert len(band["band_length"]) == 9
    assert len(results.path("bezier", 2, 0).history["bezier_loss"]) == 6


def test_planes_hold_the_loss_and_the_path(results):
    for method in ("linear", "string", "band", "bezier", "polygon"):
        arrays = results.path(method, 0, 0).arrays
        assert arrays["plane_loss"].shape == (4, 4)
        assert arrays["plane_path"].shape == (POINTS, 2)
        corners = arrays["plane_corners"]
        ends = arrays["plane_path"][[0, -1]]
        torch.testing.assert_close(ends, corners[:2], rtol=1e-5, atol=1e-5)
        if method != "linear":  # whose third corner is its own middle
            torch.testing.assert_close(arrays["plane_path"][POINTS // 2], corners[2], rtol=1e-5, atol=1e-5)
    assert "plane_curvilinear" in results.path("linear", 0, 0).arrays
    assert not results.path("curvilinear", 0, 0).arrays


def test_a_path_that_stays_straight_has_no_plane(results):
    study = tiny(path_methods=("string",), path_times=(2,), string={"stiffness": 1e12, "points": 3, "steps": 1})
    record = study_runner.run_study(study, results.store, progress=False).path("string", 2, 0)
    assert not record.arrays
    assert record.history["length"] == pytest.approx(record.history["straight"], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_path_run_has_the_same_bits(results, method):
    run, place = results.study.path(method, 2, 0), RunContext(results.store)
    whole = finish(execute.computation(run, place))
    record = results.path(method, 2, 0)
    assert same(whole.history, record.history)
    assert same(dict(sorted(whole.arrays.items())), dict(sorted(record.arrays.items())))
    for seed in range(2):
        result, cuts = interrupted(lambda state: execute.computation(run, place, state), seed, most=2)
        assert cuts >= 1
        assert same(asdict(result), asdict(whole))


@pytest.mark.parametrize("method", ["band", "bezier", "output"])
def test_a_path_run_goes_on_from_its_checkpoints_to_the_same_bytes(results, method, tmp_path):
    shutil.copytree(results.store.root, tmp_path / "runs")
    store, run = Store(tmp_path / "runs", checkpoint_interval=0), results.study.path(method, 0, 0)
    folder = store.root / key_of(run)
    before = (folder / "record.json").read_bytes(), (folder / "arrays.safetensors").read_bytes()
    shutil.rmtree(folder)
    seen = parts_when_interrupted(store, run, at=(2, 5, 9))
    assert seen == sorted(set(seen))  # nothing was done twice
    assert ((folder / "record.json").read_bytes(), (folder / "arrays.safetensors").read_bytes()) == before
    assert store.get(key_of(run)).info["attempts"] > 1


ENDS = [
    ("efcn 0", "efcn", "from efcn tw=0 seed=0 to efcn tw=2 seed=0"),
    ("efcn", "efcn seed 1", "from efcn tw=2 seed=0 to efcn tw=2 seed=1"),
    ("cnn", "efcn seed 1", "from cnn seed=0 to efcn tw=2 seed=1"),
    ("cnn", "fcn", "from cnn seed=0 to fcn seed=0"),
]


@pytest.mark.parametrize(("start", "end", "label"), ENDS)
def test_ends_are_chosen_by_parameter(results, start, end, label):
    few = {"path_times": (2,), "path_methods": ("linear", "output"), "path_points": 3}
    study = tiny(path_start=start, path_end=end, **few)
    run = study.path("linear", 2, 0)
    assert run.label == f"linear path {label}"
    done = study_runner.run_study(study, results.store, progress=False).path("linear", 2, 0)
    for k, training in ((0, run.start), (-1, run.end)):
        record = results.store.get(key_of(training)).history
        assert done.history["train_loss"][k] == pytest.approx(record["train_loss"][-1], rel=1e-5)
        if training.kind != "cnn":
            assert done.history["delta"][k] == pytest.approx(record["delta"][-1], rel=1e-5)
    assert ("plane_loss" in done.arrays) == (run.end.kind == "efcn")


def test_without_planes_no_third_network_is_asked_for():
    assert tiny().path("linear", 2, 0).third == tiny().fcn(0)
    assert tiny(plane=None).path("linear", 2, 0).third is None
    assert tiny(path_start="efcn 0").path("linear", 2, 0).third == tiny().cnn(0)


def test_the_same_path_is_one_run_whatever_the_relax_time():
    study = tiny(path_start="cnn", path_end="fcn", path_methods=("linear",))
    assert sum(run.kind == "path" for run in runs_of(study)) == 1


def test_where_all_training_images_are_in_use_one_half_of_the_test_images_chooses():
    pictures = datasets.load("digits")
    study = tiny(data={"train": None, "test": 101})
    train, test = to_device(pictures, test=101)
    found = path_run.path_splits(study.data, train, test, "cpu")
    assert [len(split) for split in found.values()] == [1437, 50, 51]
    assert torch.equal(torch.cat([found["held"].x, found["report"].x]), test.x)
    rows = {"held_loss": [1.0, 3.0], "report_loss": [2.0, 5.0]}
    whole = path_run.with_test_results(
        rows, {"held": Split(test.x[:25], test.y[:25]), "report": Split(test.x[:75], test.y[:75])}
    )
    assert whole["test_loss"] == [1.75, 4.5]


def test_held_out_images_follow_those_in_use_and_are_normalised_like_them():
    pictures, data = datasets.load("digits"), Dataset(name="digits", train=100)
    few, test = to_device(pictures, train=100)
    held = path_run.path_splits(data, few, test, "cpu")["held"]
    mean, deviation = (value.view(-1, 1, 1) for value in channel_statistics(pictures.train_x[:100]))
    torch.testing.assert_close(held.x.double(), (pictures.train_x[100:460].double() - mean) / deviation)
    assert torch.equal(held.y, pictures.train_y[100:460])
    assert few.x.dtype == held.x.dtype


def test_weights_that_were_cleaned_away_are_named_with_what_to_do(results, tmp_path):
    shutil.copytree(results.store.root, tmp_path / "runs")
    store, run = Store(tmp_path / "runs"), results.study.path("linear", 2, 0)
    (store.root / key_of(run.end) / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"the weights of efcn tw=2 seed=0 are not in .*compute"):
        execute.computation(run, RunContext(store))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path_points": 2}, "path_points 2 is not allowed"),
        ({"string": {"points": 2}}, "string.points 2 is not allowed"),
        ({"string": {"stiffness": -1}}, "string.stiffness -1 is not allowed"),
        ({"string": {"springs": "steel"}}, "'steel'"),
        ({"band": {"points": 2}}, "band.points 2 is not allowed"),
        ({"band": {"threshold": 0}}, "band.threshold 0 is not allowed"),
        ({"chain": {"bends": 0}}, "chain.bends 0 is not allowed"),
        ({"chain": {"batch": 151}}, "batch 151 is larger than the 150 training images"),
        ({"path_methods": ("spline",)}, "'spline' is not allowed"),
        ({"path_end": "resnet"}, "a path's end 'resnet' is not known: give cnn, fcn, efcn"),
        ({"path_start": "efcn"}, "paths from efcn to efcn lead nowhere: give two different ends"),
        ({"path_start": "cnn 3"}, "a path's end 'cnn 3' is not known"),
        ({"path_times": (1,)}, "path time 1 is no relax time of the study: choose among 0, 2"),
    ],
)
def test_bad_input_gets_one_line(change, message):
    with pytest.raises(UserError) as error:
        tiny(**change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_ends_that_are_no_two_points_of_one_space_are_told():
    study = tiny()
    wider = tiny(network={"channels": 3}).relaxed("efcn", 2, 0)
    with pytest.raises(ValueError, match="have different architectures or images"):
        PathRun(method="linear", start=study.cnn(0), end=wider, points=3)
    with pytest.raises(UserError, match="pathrun: both ends are efcn tw=2 seed=0: choose two, or another relax time"):
        tiny(path_start="efcn 2").path("linear", 2, 0)
    with pytest.raises(UserError, match="unknown relax time of study digits 9: choose one of 0, 2"):
        tiny(path_end="efcn 9").path("linear", 2, 0)
    with pytest.raises(UserError, match="unknown method of study digits 'band': choose one of linear"):
        tiny(path_methods=("linear",)).path("band", 2, 0)

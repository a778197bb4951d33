"""Paths from the CNN to its controls: planned, computed as CNNs, measured as the eFCN's, shown as far as recorded."""

import pytest
import torch

from efcnlab.config.studies import PRESETS, Study, load, runs
from efcnlab.config.study_subsets import study_of_recorded_runs
from efcnlab.environment import REPOSITORY
from efcnlab.run import compute_estimate, disk_estimate, execute, path_run, run_networks, study_results, study_runner
from efcnlab.run.coverage import shown_seeds
from efcnlab.run.run_context import RunContext
from efcnlab.store.chosen_rates import load_with_chosen_rates
from efcnlab.store.recorded_study import read_index
from efcnlab.store.run_store import Store, key_of
from efcnlib import embedding
from efcnlib.data.images import Split
from efcnlib.errors import UserError
from efcnlib.landscape import curve_lengths, linear_path
from efcnlib.resumable import finish
from small_paths import tiny
from surfaces import interrupted, same

CONTROLS = ("control", "tuned", "lowered", "elcn")
FIELDS = {
    "controls": CONTROLS,
    "control_times": {"elcn": (2,)},
    "tuned_rate": 0.05,
    "path_controls": ("elcn", "control", "lowered"),
    "path_methods": ("linear", "string", "output"),
    "path_points": 5,
    "plane": None,
}
BESIDE = [("linear", 0, "control"), ("output", 0, "control"), ("linear", 0, "lowered"), ("output", 0, "lowered")]
BESIDE += [(method, 2, kind) for kind in ("control", "lowered", "elcn") for method in ("linear", "output")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return study_runner.run_study(tiny(**FIELDS), Store(tmp_path_factory.mktemp("runs")), progress=False)


def flat(network):
    return torch.cat([weights.detach().double().flatten() for weights in network.parameters()])


def test_they_follow_the_efcns_of_their_time():
    study = tiny(**FIELDS)
    assert study.path_controls == ("control", "lowered", "elcn")
    assert list(study.control_paths) == BESIDE
    assert [run.label for run in runs(study) if run.kind == "path"] == [
        *(f"{method} path tw=0 seed=0" for method in ("linear", "string", "output")),
        *(f"{method} path from cnn seed=0 to {kind} tw={tw} seed=0" for method, tw, kind in BESIDE[:4]),
        *(f"{method} path tw=2 seed=0" for method in ("linear", "string", "output")),
        *(f"{method} path from cnn seed=0 to {kind} tw={tw} seed=0" for method, tw, kind in BESIDE[4:]),
    ]
    later = tiny(**FIELDS, path_control_times=(2,))
    assert list(later.control_paths) == BESIDE[4:]
    assert not tiny().control_paths
    with_plane = tiny(**FIELDS | {"plane": {"size": 4, "images": 50}})
    assert all(with_plane.path(method, tw, 0, kind).plane is None for method, tw, kind in BESIDE)
    assert not tiny(**FIELDS, sweep_time=2, sweep_channels=(3,)).variant(channels=3).path_controls


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path_controls": ("lowered",)}, "the study trains no control lowered: choose among control"),
        ({"path_controls": ("fcn",)}, "'fcn' is not allowed: input should be 'control', 'tuned', 'lowered' or 'elcn'"),
        ({"path_control_times": (1,)}, "control path time 1 is no relax time of the study: choose among 0, 2"),
        ({"path_start": "control 2 seed"}, "'control 2 seed' is not known: give cnn, fcn, efcn, control, tuned"),
        ({"path_end": "fcn 2"}, "a path's end 'fcn 2' is not known"),
    ],
)
def test_wrong_fields_get_one_line(change, message):
    with pytest.raises(UserError) as error:
        tiny(**change)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_paths_that_are_not_planned_are_told():
    study = tiny(**FIELDS)
    with pytest.raises(UserError, match="unknown kind of path of study digits 'tuned': choose one of efcn, control"):
        study.path("linear", 2, 0, "tuned")
    with pytest.raises(UserError, match="unknown method of study digits 'string': choose one of linear, output"):
        study.path("string", 2, 0, "control")
    with pytest.raises(UserError, match="unknown relax time of study digits 0: choose one of 2"):
        study.path("linear", 0, 0, "elcn")
    with pytest.raises(UserError, match="unknown path end of study digits 'elcn': choose one of cnn, fcn, efcn, cont"):
        tiny(path_end="elcn").path("linear", 2, 0)


@pytest.mark.parametrize("method", ["linear", "output"])
@pytest.mark.parametrize("kind", ["control", "lowered", "elcn"])
def test_their_ends_are_the_cnn_and_the_control(results, kind, method):
    path, run = results.path(method, 2, 0, kind).history, results.study.path(method, 2, 0, kind)
    assert run.is_of_cnns == (kind != "elcn")
    for split in ("train", "test"):
        for k, end in ((0, results.cnn(0)), (-1, results.relaxed(kind, 2, 0))):
            assert path[f"{split}_loss"][k] == pytest.approx(end.history[f"{split}_loss"][-1], rel=1e-5)
            assert path[f"{split}_accuracy"][k] == pytest.approx(end.history[f"{split}_accuracy"][-1], abs=1e-6)
    assert len(path["held_accuracy"]) == len(path["report_accuracy"]) == 5
    if method == "output":
        return
    ends = [run_networks.final_dense_network(end, results.store) for end in (run.start, run.end)]
    apart = (flat(ends[1]) - flat(ends[0])).norm().item()
    assert path["length"] == pytest.approx(apart, rel=1e-5)
    assert path["distance"] == pytest.approx([apart * alpha for alpha in path["alpha"]], rel=1e-5)
    assert path["delta"] == [0.0] * 5
    assert (path["sharing"][-1] > 1e-4) == (kind == "elcn")
    if kind != "elcn":
        assert path["sharing"] == [0.0] * 5


@pytest.mark.parametrize("method", ["linear", "output"])
def test_as_cnns_they_are_measured_as_the_embedded_networks_would_be(results, method):
    run = results.study.path(method, 2, 0, "control")
    embedded = run.model_copy(update={"end": run.end.model_copy(update={"kind": "efcn"})})
    assert not embedded.is_of_cnns
    cnns = [run_networks.final_network(end, results.store).double() for end in (run.start, run.end)]
    splits = [Split(split.x.double(), split.y) for split in RunContext(results.store).splits(run.end.data)]
    found = []
    for one, nets in ((run, cnns), (embedded, [embedding.embed(net, run.end.data.shape) for net in cnns])):
        images = {"train": splits[0], "held": splits[1], "report": splits[1]}
        start, end = (net.state_dict() for net in nets)
        found.append(finish(path_run.compute_path(one, path_run.PathInputs(nets[0], start, end, None, images, 0))))
    histories = [dict(result.history) for result in found]
    if method == "linear":
        assert histories[0].pop("sharing") == pytest.approx(histories[1].pop("sharing"), abs=1e-7)  # a root of rounding
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[1].items():
        assert histories[0][name] == pytest.approx(values, rel=1e-12, abs=1e-15)
    assert not torch.equal(flat(cnns[0]), flat(cnns[1]))  # neither end was written over


@pytest.mark.parametrize("kind", ["control", "elcn"])
def test_an_interrupted_one_has_the_same_bits(results, kind):
    run, place = results.study.path("linear", 2, 0, kind), RunContext(results.store)
    result, cuts = interrupted(lambda state: execute.computation(run, place, state), 0, most=2)
    assert cuts >= 1
    assert same(result.history, results.path("linear", 2, 0, kind).history)


ENDS = [("tuned", "efcn"), ("elcn", "efcn"), ("lowered 0", "control"), ("fcn", "elcn"), ("elcn", "cnn")]


@pytest.mark.parametrize(("start", "end"), ENDS)
def test_every_kind_is_an_end(results, start, end):
    few = {"path_times": (2,), "path_methods": ("linear", "string"), "path_start": start, "path_end": end}
    study = tiny(**FIELDS | few, string={"points": 3, "steps": 1, "batch": 40})
    done = study_runner.run_study(study, results.store, progress=False)
    for method in few["path_methods"]:
        run = study.path(method, 2, 0)
        ends = [run_networks.final_dense_network(one, results.store) for one in (run.start, run.end)]
        history = done.path(method, 2, 0).history
        ways = [dict(net.named_parameters()) for net in ends]
        ways = [{name: weights.detach() for name, weights in way.items()} for way in ways]
        assert history["straight"] == pytest.approx(curve_lengths(linear_path(*ways, 3))["straight"], rel=1e-6)
        for k, training in ((0, run.start), (-1, run.end)):
            record = results.store.get(key_of(training)).history
            assert history["train_loss"][k] == pytest.approx(record["train_loss"][-1], rel=1e-5)


def test_two_elcns_may_have_a_path_between_them(results):
    place = RunContext(results.store)
    one, other = (results.study.path("linear", 2, 0, kind) for kind in ("elcn", "control"))
    run = one.model_copy(update={"start": one.end, "end": one.end.model_copy(update={"tw": 2})})
    history = finish(execute.computation(run, place)).history  # no dead weight of an eLCN ever moved
    assert history["length"] == 0
    assert history["sharing"][0] == pytest.approx(results.path("linear", 2, 0, "elcn").history["sharing"][-1])
    assert other.is_of_cnns


def test_of_a_study_in_progress_they_are_shown_as_far_as_they_go(results):
    study = results.study
    every = {run.label for run in runs(study)}
    late = {label for label in every if "from cnn" in label and "tw=2" in label}

    def shown(lacking):
        left = study_of_recorded_runs(study, 0, lambda run: run.label in every - lacking)
        return left.path_times, left.path_controls, left.control_paths

    assert shown(set()) == ((0, 2), study.path_controls, study.control_paths)
    assert shown(late) == ((0, 2), ("control", "lowered"), tuple(BESIDE[:4]))
    assert shown({label for label in every if "from cnn" in label}) == ((0, 2), (), ())
    assert shown({"output path from cnn seed=0 to lowered tw=0 seed=0"})[2] == tuple(BESIDE[4:])
    assert shown({"linear path tw=2 seed=0"}) == ((0,), ("control", "lowered"), tuple(BESIDE[:4]))
    without = {"elcn tw=2 seed=0", *(label for label in late if "elcn" in label)}
    assert shown(without)[1:] == (("control", "lowered"), tuple(BESIDE[:-2]))
    assert shown({"elcn tw=2 seed=0"}) == shown(without)  # without its end a path is not shown
    before = study.model_copy(update={"path_controls": ()})
    part = study_results.available_results(study, 0, results.store)
    assert part.study.control_paths == study.control_paths
    assert not part.missing
    assert study_results.available_results(before, 0, results.store).study.paths == study.paths


def test_what_was_recorded_before_there_were_any_is_shown_as_it_was(tmp_path):
    folder = REPOSITORY / "results" / "vanilla-cifar10-sgd"
    index = read_index(folder)
    now = load_with_chosen_rates(folder.name, Store(tmp_path, [folder]))
    assert now.path_controls == ("control", "lowered", "elcn")
    before = Study.model_validate({name: value for name, value in index.study.items() if "path_control" not in name})
    seeds = shown_seeds(before, index.runs)
    assert seeds
    assert shown_seeds(now, index.runs) == seeds
    assert {key_of(run) for run in runs(before)} & index.runs.keys() <= {key_of(run) for run in runs(now)}


def test_narrow_studies_stay_as_they_are():
    planned = {name for name, study in PRESETS.items() if study.path_controls}
    assert planned == {name for name in PRESETS if "narrow" not in name} - {"quick", "digits"}


def test_what_they_take_is_estimated_as_for_cnns():
    study = load("vanilla-cifar10-narrow", path_controls=("control", "elcn"))
    own, control, elcn = (study.path("linear", 11, 0, kind) for kind in ("efcn", "control", "elcn"))
    assert compute_estimate.representative_training(control).kind == "control"
    assert compute_estimate.compute_cost(control) < compute_estimate.compute_cost(own)
    assert compute_estimate.compute_cost(elcn) == compute_estimate.compute_cost(own)
    averages = [compute_estimate.compute_cost(study.path("output", 11, 0, kind)) for kind in ("control", "efcn")]
    assert averages[0] < averages[1] / 2
    assert disk_estimate.estimate_disk(control) == disk_estimate.estimate_disk(own)
    string = study.path("string", 11, 0)
    to_control = string.model_copy(update={"end": control.end})
    sizes = [disk_estimate.estimate_disk(run).while_running for run in (to_control, string)]
    assert sizes[0] == sizes[1] > 10**8

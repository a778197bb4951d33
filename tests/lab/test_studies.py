"""Studies are data: what decides a result is in a run's configuration, and a wrong value gets one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from efcnlab.config import studies
from efcnlab.config.studies import PRESETS, load
from efcnlab.store.run_store import key_of
from efcnlib.errors import UserError


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_studies_with_unique_runs(name):
    study = load(name)
    assert study == PRESETS[name]
    runs = studies.runs(study)
    keys = [key_of(run) for run in runs]
    assert len(set(keys)) == len(keys)
    seen = set()
    for run, key in zip(runs, keys, strict=True):  # parents before children
        assert all(key_of(parent) in seen for parent in run.parents)
        seen.add(key)


def test_every_relax_time_has_its_control_and_the_ends_are_there():
    study = load("quick")
    runs = studies.runs(study)
    for kind in ("efcn", "control"):
        assert [run.tw for run in runs if run.kind == kind] == list(study.relax_times)
    assert study.relax_times[0] == 0
    assert study.relax_times[-1] == study.epochs
    efcn, control = study.relaxed("efcn", 0, 0), study.relaxed("control", 0, 0)
    assert efcn.model_copy(update={"kind": "control"}) == control


@pytest.mark.parametrize("name", PRESETS)
def test_the_cnn_is_measured_wherever_an_efcn_leaves_it(name):
    study = load(name)
    assert set(study.relax_times) <= set(study.cnn(study.seeds[0]).measured_epochs)


def test_a_run_changes_with_what_decides_it_and_with_nothing_else():
    study = load("digits")
    base = key_of(study.relaxed("efcn", 5, 0))
    more_times = load("digits", relax_times=(0, 1, 2, 5, 20), seeds=(0, 1), name="mine", title="other", path_points=33)
    assert key_of(more_times.relaxed("efcn", 5, 0)) == base
    for change in (
        {"epochs": 21},
        {"batch": 51},
        {"shuffle": False},
        {"data": {"train": 1000}},
        {"network": {"channels": 7}},
        {"optimiser": {"lr": 0.2}},
        {"relax_optimiser": {"lr": 0.2}},
    ):
        assert key_of(load("digits", **change).relaxed("efcn", 5, 0)) != base
    assert key_of(load("digits", relax_optimiser={"lr": 0.2}).cnn(0)) == key_of(study.cnn(0))


@given(seed=st.integers(0, 2**31 - 1))
def test_seeds_make_runs_of_their_own(seed):
    study = load("digits", seeds=(seed,))
    assert study.cnn(seed).seed == seed
    assert (key_of(study.cnn(seed)) == key_of(load("digits").cnn(0))) == (seed == 0)


def test_numbers_in_text_become_numbers():
    assert load("digits", batch="25").batch == 25
    assert load("digits", optimiser={"lr": "1e-2"}).optimiser.lr == 0.01


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 3}, ["'epoch'", "epochs"]),
        ({"wibble": 3}, ["'wibble'", "relax_times"]),
        ({"epochs": -1}, ["epochs", "-1", "greater than or equal to 1"]),
        ({"epochs": 10**9}, ["epochs", "1000000000"]),
        ({"batch": 0}, ["batch", "0"]),
        ({"batch": "many"}, ["batch", "'many'"]),
        ({"relax_times": (0, 21)}, ["relax time 21", "0 to 20"]),
        ({"relax_times": (5, 2)}, ["relax_times", "ascending"]),
        ({"relax_times": (-1, 2)}, ["relax_times", "at least 0"]),
        ({"path_times": (3,)}, ["path time 3", "0, 2, 5, 20"]),
        ({"seeds": (-1,)}, ["seeds", "at least 0"]),
        ({"path_points": 2}, ["path_points", "2", "3"]),
        ({"network": {"architecture": "vgg"}}, ["vgg", "vanilla"]),
        ({"network": {"channels": 0}}, ["channels", "0"]),
        ({"optimiser": {"lr": float("nan")}}, ["lr", "nan"]),
        ({"optimiser": {"name": "sdg"}}, ["sdg", "adam"]),
        ({"data": {"name": "mnist"}}, ["mnist", "cifar10"]),
        ({"string": {"stiffness": -1}}, ["stiffness", "-1"]),
    ],
)
def test_a_wrong_field_gets_one_line(changes, words):
    with pytest.raises(UserError) as error:
        load("digits", **changes)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_unknown_names_are_answered_with_the_known_ones():
    study = load("digits")
    for call, words in (
        (lambda: load("quik"), ["'quik'", "quick", "alexnet-cifar100-sgd"]),
        (lambda: study.relaxed("efcn", 3, 0), ["3", "0, 2, 5, 20"]),
        (lambda: study.path("linear", 1, 0), ["1", "0, 2, 5, 20"]),
        (lambda: study.cnn(4), ["seed", "4", "0"]),
    ):
        with pytest.raises(UserError) as error:
            call()
        assert all(word in str(error.value) for word in words)


def test_a_study_is_frozen():
    with pytest.raises(ValidationError):
        load("digits").batch = 3

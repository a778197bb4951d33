"""Studies of networks with batch normalisation, any activation and residual blocks: written down, and computed."""

import copy
import json
from dataclasses import astuple

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from efcnlab.config import studies
from efcnlab.config.network import WORDS, Network, check_fits
from efcnlab.run import compute_estimate, disk_estimate, execute, run_networks, study_runner
from efcnlab.run.run_context import RunContext
from efcnlab.store.cnn_checkpoints import cnn_optimiser_state, cnn_weights
from efcnlab.store.run_store import Store, key_of
from efcnlib import embedding, metrics, networks
from efcnlib.errors import UserError
from efcnlib.networks import architectures
from efcnlib.resumable import finish
from efcnlib.training.engine import Engine
from efcnlib.training.trainer import Trainer
from refused import assert_layers_refused
from surfaces import same

LAST = {"linear": "classes"}


def conv(channels, kernel=3):
    return {"conv": channels, "kernel": kernel, "padding": kernel // 2}


LAYERS = [
    *(conv(3), "batchnorm", "gelu", {"pool": 3, "stride": 2}),
    {"residual": [conv(4), "batchnorm", "tanh", conv(4), "batchnorm"], "shortcut": [conv(4, 1)]},
    *("relu", {"residual": ["silu", conv(4)]}, {"linear": 8}, "batchnorm", "relu", LAST),
]
FIELDS = {
    "network": {"layers": LAYERS},
    **{"epochs": 3, "relax_epochs": 1, "relax_times": (2,), "path_times": (2,), "path_points": 3, "batch": 50},
    **{"controls": ("control", "elcn"), "path_controls": ("control",), "path_methods": ("linear",), "plane": None},
    **{"data": {"train": 200, "test": 100}, "measurements": "all", "curvature": {"images": 50, "steps": 2, "count": 1}},
    **{"optimiser": {"name": "adam", "lr": 0.01}, "carry": True},
}


# Written down

words, sizes = st.sampled_from(WORDS), st.sampled_from([1, 3])
simple = words | st.builds(conv, st.just(2), sizes) | st.sampled_from([{"dropout": 0.2}, {"pool": 3, "stride": 1}])


def blocks(inner):
    """Residual blocks of 2 channels; some of them do not fit."""
    chains = st.lists(inner, min_size=1, max_size=3)
    shortcuts = st.just({}) | st.builds(lambda chain: {"shortcut": chain}, st.lists(inner, max_size=2))
    return st.builds(lambda chain, shortcut: {"residual": chain} | shortcut, chains, shortcuts)


tables = st.builds(
    lambda images, vectors: [conv(2), *images, *vectors, LAST],
    st.lists(simple | blocks(simple | blocks(simple)), min_size=1, max_size=4),
    st.lists(words | st.just({"linear": 3}), max_size=3),
)


def refusal(network, shape):
    """What there is to say against a network for images of a shape; nothing if it fits."""
    try:
        return check_fits(network.specs(5), shape)
    except ValueError as error:
        return str(error)


@given(tables, st.integers(0, 2**31))
def test_any_table_gives_an_exact_efcn_or_one_line(table, seed):
    shape = (1, 7, 8)
    network = Network.model_validate({"layers": table})
    assert Network.model_validate_json(network.model_dump_json()) == network
    assert Network.model_validate(json.loads(network.model_dump_json())).specs(5) == network.specs(5)
    line = refusal(network, shape)
    event("refused" if line else "embedded")
    if line:
        assert "its layers give" in line or "kernel" in line
        assert len(line.splitlines()) == 1
        return
    generator = torch.Generator().manual_seed(seed)
    cnn = networks.initialise(networks.cnn(network.specs(5), shape), generator).double().eval()
    x = torch.randn(3, *shape, dtype=torch.float64, generator=generator)
    expected = cnn(x)
    found = embedding.embed(cnn, shape, check=False)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * max(1.0, float(expected.detach().abs().max())))


def test_one_network_has_one_key_however_it_is_written():
    block = {"residual": [{"conv": 3, "kernel": 3, "padding": 1}]}
    long = {"shortcut": [], "residual": [{"padding": [1, 1], "kernel": [3, 3], "stride": 1, "conv": "3"}]}
    keys = [key_of(studies.load("digits", network={"layers": [conv(3), one, LAST]}).cnn(0)) for one in (block, long)]
    assert keys[0] == keys[1]
    assert Network(layers=[conv(3), long, LAST]).layers[1].model_dump(mode="json") == {
        "residual": [{"conv": 3, "kernel": 3, "stride": 1, "padding": 1}],
        "shortcut": [],
    }


def test_every_word_is_the_layer_of_its_name():
    specs = Network(layers=[conv(1), *WORDS, {"residual": ["relu"], "shortcut": ["tanh"]}, LAST]).specs(2)
    assert specs[1] == architectures.ReLU()
    assert [spec.name for spec in specs[2 : len(WORDS)]] == list(WORDS[1:-1])
    assert specs[len(WORDS)] == architectures.BatchNorm()
    assert specs[-3] == architectures.Residual((architectures.ReLU(),), (architectures.Activation("tanh"),))


def test_captions_name_all_widths():
    assert Network(layers=LAYERS).description == "own layers, convolutions of 3, 4, 4, 4, 4 channels"


def nested(levels):
    return {"residual": [conv(4)] if levels == 1 else [nested(levels - 1)]}


WRONG = [
    ([conv(4), "swish", LAST], ["layers.1 'swish'", *WORDS, "conv, pool, dropout, linear or residual"]),
    ([conv(4), "ReLU", LAST], ["layers.1 'ReLU'", "relu"]),
    ([conv(4), "threshold", LAST], ["layers.1 'threshold'", "relu"]),
    ([conv(4), {"batchnorm": 4}, LAST], ["layers.1 {'batchnorm': 4}", '"batchnorm"', '{"residual": [...]}']),
    ([conv(4), {"shortcut": []}, LAST], ["layers.1 {'shortcut': []}", '{"residual": [...]}']),
    ([conv(4), {"residual": []}, LAST], ["layers.1.residual.residual []", "at least 1"]),
    ([conv(4), {"residual": "relu"}, LAST], ["layers.1.residual.residual 'relu'", "tuple"]),
    ([conv(4), {"residual": ["relu"] * 101}, LAST], ["layers.1.residual.residual", "at most 100"]),
    ([conv(4), {"residual": ["relu"], "skip": []}, LAST], ["layers.1.residual", "'skip'", "it has residual, shortcut"]),
    ([conv(4), {"residual": ["swish"]}, LAST], ["layers.1.residual.residual.0 'swish'", "relu"]),
    ([conv(4), {"residual": [conv(0)]}, LAST], ["layers.1.residual.residual.0.conv.conv 0", "1"]),
    ([conv(4), {"residual": ["relu"], "shortcut": [3]}, LAST], ["layers.1.residual.shortcut.0 3", '"relu"']),
    ([conv(4), {"residual": ["relu", {"linear": 4}]}, LAST], ["residual.residual", "its layer 1 is linear"]),
    ([conv(4), {"residual": ["relu"], "shortcut": [LAST]}, LAST], ["residual.shortcut", "its layer 0 is linear"]),
    (
        [conv(4), {"linear": 4}, {"residual": ["relu"]}, LAST],
        ["layer 2 is a residual behind layer 1", "no images left"],
    ),
    ([{"residual": ["relu"]}, LAST], ["no convolution"]),
    ([conv(4), nested(4), LAST], ["layer 1", "more than 3 deep"]),
    ([conv(4), nested(100), LAST], ["layer 1", "more than 3 deep"]),
    # what does not fit the 8x8 images of digits
    ([conv(4), {"residual": [conv(5)]}, LAST], ["layer 1 (Residual)", "give [5, 8, 8], its shortcut [4, 8, 8]"]),
    ([conv(4), {"residual": [{"conv": 4, "kernel": 9}]}, LAST], ["layer 1.body.0 (Conv2d)", "kernel 9", "8 pixels"]),
    ([{"residual": [conv(4096), conv(4096), conv(1)]}, LAST], ["eFCN", "10,000,000,000", "fewer channels"]),
]


@pytest.mark.parametrize(("table", "words"), WRONG)
def test_a_wrong_table_gets_one_line(table, words):
    assert_layers_refused(table, words)


def test_blocks_may_lie_in_each_other():
    assert len(Network(layers=[conv(4), nested(3), LAST]).specs(2)) == 4


def test_a_batch_of_one_image_cannot_be_normalised_behind_a_linear_layer():
    with pytest.raises(UserError, match=r"layer 9 \(BatchNorm1d\) has one number of each channel"):
        studies.load("digits", **FIELDS | {"data": {"train": 201, "test": 100}})
    images_only = {"network": {"layers": [conv(4), "batchnorm", LAST]}, "data": {"train": 201, "test": 100}}
    assert studies.load("digits", **FIELDS | images_only)


# Computed


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    study, store = studies.load("digits", **FIELDS), Store(tmp_path_factory.mktemp("runs"))
    study_runner.run_study(study, store, threads=1, progress=False)
    return study, store


def test_all_runs_of_the_study_are_there_and_as_small_as_expected(done):
    study, store = done
    labels = [run.label for run in studies.runs(study)]
    assert labels == [
        *("cnn seed=0", "fcn seed=0", "efcn tw=2 seed=0", "control tw=2 seed=0", "elcn tw=2 seed=0"),
        *("linear path tw=2 seed=0", "linear path from cnn seed=0 to control tw=2 seed=0"),
        *("curvature of fcn seed=0", "curvature of efcn tw=2 seed=0"),
    ]
    for run in studies.runs(study):
        used = sum(file.stat().st_size for file in (store.root / key_of(run)).rglob("*") if file.is_file())
        assert used <= disk_estimate.estimate_disk(run).final


def test_what_leaves_the_cnn_begins_exactly_as_the_cnn_was(done):
    study, store = done
    cnn = store.get(key_of(study.cnn(0))).history
    for kind in ("efcn", "control", "elcn"):
        history = store.get(key_of(study.relaxed(kind, 2, 0))).history
        for name in ("train_accuracy", "test_accuracy"):
            assert history[name][0] == cnn[name][2]
        for name in ("train_loss", "test_loss"):
            assert history[name][0] == pytest.approx(cnn[name][2], rel=1e-6)
            assert history[name][1] != pytest.approx(cnn[name][2], rel=1e-3)
    efcn = store.get(key_of(study.relaxed("efcn", 2, 0))).history
    assert efcn["delta"][0] == 0 < efcn["delta"][1]
    assert len(efcn["delta_by_layer"][0]) == 5


def test_checkpoints_hold_the_statistics_of_their_epoch(done):
    study, store = done
    run = study.cnn(0)
    kept = [cnn_weights(store, run, epoch) for epoch in range(4)]
    assert all(weights.keys() == run.uninitialised_cnn().state_dict().keys() for weights in kept)
    assert [int(weights["4.body.1.num_batches_tracked"]) for weights in kept] == [0, 4, 8, 12]
    assert not kept[0]["9.running_mean"].any()
    assert len({weights["9.running_var"].sum().item() for weights in kept}) == 4


def test_paths_end_where_their_ends_are(done):
    study, store = done
    for kind in ("efcn", "control"):
        path = store.get(key_of(study.path("linear", 2, 0, kind))).history
        for run, at in ((study.cnn(0), 0), (study.relaxed(kind, 2, 0), -1)):
            end = store.get(key_of(run)).history
            assert path["test_accuracy"][at] == end["test_accuracy"][-1]
            assert path["train_loss"][at] == pytest.approx(end["train_loss"][-1], rel=1e-6)
        assert (max(path["delta"]) > 0) == (kind == "efcn")


def test_a_path_between_cnns_is_that_of_their_embedded_networks(done):
    study, store = done
    run = study.path("linear", 2, 0, "control")
    assert run.is_of_cnns
    start, end = (run_networks.final_dense_network(of, store) for of in (run.start, run.end))
    middle = {name: torch.lerp(value, end.get_parameter(name), 0.5) for name, value in start.named_parameters()}
    train, test = RunContext(store).splits(study.data)
    history = store.get(key_of(run)).history
    assert float(metrics.evaluate(start, train, middle)[0]) == pytest.approx(history["train_loss"][1], rel=1e-5)
    assert float(metrics.evaluate(start, test, middle)[0]) == pytest.approx(history["test_loss"][1], rel=1e-5)


def test_a_standard_fcn_begins_without_normalisation(done):
    study, store = done
    fcn = run_networks.initial_network(study.fcn(0), store)
    frozen = [layer for layer in fcn.modules() if isinstance(layer, networks.FrozenBatchNorm)]
    assert len(frozen) == 4
    assert all(bool((layer.scale == 1).all()) and not layer.shift.any() for layer in frozen)
    layers = [layer for _, layer in networks.convolutions(fcn)]
    assert len(layers) == 5
    assert all(layer.live for layer in layers)
    padded = run_networks.standard_fcn(study.cnn(0).uninitialised_cnn(), study.data.shape, 0, live=False)
    live = run_networks.standard_fcn(study.cnn(0).uninitialised_cnn(), study.data.shape, 0, live=True)
    deltas = [
        [astuple(metrics.deviation(layer)) for _, layer in networks.convolutions(each)] for each in (padded, live)
    ]
    torch.testing.assert_close(torch.tensor(deltas[0]), torch.tensor(deltas[1]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["efcn", "elcn", "control"])
def test_an_optimiser_goes_on_but_for_frozen_normalisation(done, kind):
    study, store = done
    run = study.relaxed(kind, 2, 0)
    gathered = cnn_optimiser_state(store, study.cnn(0), 2)
    trainer = Trainer(run_networks.initial_network(run, store), run.optimiser, batch=run.batch)
    trainer.load_optimiser_state(gathered)
    state, names = trainer.state(), list(trainer.other_parameters)
    for name in ("9.scale", "9.shift", "4.body.1.scale") if kind != "control" else ():
        assert not [key for key in state if key.startswith(f"rest/{names.index(name)}/") and state[key].any()]
    for name in ("8.bias", "11.bias") if kind != "control" else ("9.weight", "4.body.1.bias", "4.shortcut.0.bias"):
        assert torch.equal(state[f"rest/{names.index(name)}/exp_avg"], gathered[f"{name}/exp_avg"])
        assert gathered[f"{name}/exp_avg"].any()


def test_a_cnn_that_is_cut_off_goes_on_to_the_same_statistics(done):
    study, store = done
    run, context = study.cnn(0), RunContext(store)
    work = execute.computation(run, context)
    state = copy.deepcopy([next(work), next(work)][1].state())
    result = finish(execute.computation(run, context, state))
    assert result.history == store.get(key_of(run)).history
    assert same(dict(result.weights), dict(store.weights(key_of(run))))


def test_each_point_of_such_a_path_costs_a_pass(done):
    study, _ = done
    chain = studies.load("digits", **FIELDS | {"network": {"layers": [conv(3), "gelu", LAST]}})
    images = [compute_estimate.estimate_compute(each.path("linear", 2, 0)).evaluated_images for each in (study, chain)]
    assert images[0] == (2 + 3) * (200 + study.data.held_out_images + 100)
    assert images[1] < images[0]
    needed = execute.device_memory_needed(study.relaxed("efcn", 2, 0), Engine())
    assert needed > sum(
        weights.numel() * 4 for weights in study.relaxed("efcn", 2, 0).uninitialised_network().parameters()
    )

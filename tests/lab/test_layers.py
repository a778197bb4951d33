"""Networks written down in a study file: the same keys as before, the same network as by name, or one line."""

import json

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from efcnlab.config import studies
from efcnlab.config.dataset import Dataset
from efcnlab.config.network import Network, check_fits
from efcnlab.environment import REPOSITORY
from efcnlab.run import run_networks
from efcnlab.store.run_store import key_of
from efcnlib import embedding, networks
from efcnlib.errors import UserError
from efcnlib.networks import architectures
from refused import assert_layers_refused

CLASSES = 5
CONV, LAST = {"conv": 4, "kernel": 3}, {"linear": "classes"}
SMALL = [{"conv": 6, "kernel": 3, "padding": 1}, "relu", {"pool": 3, "stride": 2}] * 2 + [LAST]

KEYS = {  # of runs that were recorded before there were networks and images of one's own
    "quick": (
        "9bca493e33eb118e74060ce2cfc9fdc2cc4c6926366b4267e971c6c2b8b61502",
        "89279a62211da48f84afc831445432ff03fe064c8463589a09f55266cdf4deda",
    ),
    "digits": (
        "fbdded988de570397ca65deca224f4ef849c63d54415428949b658d57df48666",
        "ba6b124b36e407838e06776074d5bbe74f53b86e8714d31765a39751451664e2",
    ),
    "vanilla-cifar10-narrow-rate": (
        "6a3a9ee0317274226a76365ce40dfcbeaf7e9ff2e6a0360db4766e75b86fcaa0",
        "f03276071222d3f52b9974d757c29554bb4bbcd172263aae14cbc6af8fb52195",
    ),
    "alexnet-cifar100-narrow": (
        "e8815c5a0836cbedbd103cd7fac9b3d4de5bb172a02e66d70b2886d4d8f63a6a",
        "b864b2960c152eabd0a5740e7dcf64229fa0a7f9597f86411f81e42f45d8ff35",
    ),
}

PATHS = {  # of recorded paths, from before strings could be relaxed until they rest
    ("vanilla-cifar10-narrow", "string"): "12659909a20c6625eca5d59035af833a990a1036fca3d4c4c3e8ea3bb7b80df7",
    ("vanilla-cifar10-narrow-rate", "string"): "5eecf9aaf8fc67a217eae91f417a75bc78f8e2c051fe2b8f16f42df4127d111d",
    ("vanilla-cifar10-narrow-rate", "linear"): "e929d9935bcf401a9393eb2e249c4b63add97e10d19286091774ea6976dcb36a",
    ("vanilla-cifar10-narrow-adam", "output"): "c6eb978f385033dcfd94084ed04071074e5b9bd3e40221a2c344a4e3570eb63a",
}


@pytest.mark.parametrize("name", KEYS)
def test_runs_of_known_networks_and_images_keep_their_keys(name):
    study = studies.load(name)
    assert (key_of(study.cnn(0)), key_of(study.relaxed("efcn", study.relax_times[1], 0))) == KEYS[name]
    written = json.loads(study.cnn(0).model_dump_json())
    assert set(written["network"]) == {"architecture", "channels"}
    assert set(written["data"]) == {"name", "train", "test"}


def test_the_recorded_cnn_of_the_papers_size_keeps_its_key():
    cnn = studies.load("vanilla-cifar10-sgd-published").cnn(0)
    assert key_of(cnn) == "4d4f7c277a9197b478551a78afaa4a156d84bde4a6dd2753f07cc3b3c22e2b67"
    assert json.loads(cnn.model_dump_json())["evaluation"] == {"own_precision": True, "stride": 5}


@pytest.mark.parametrize(("name", "method"), PATHS)
def test_recorded_paths_keep_their_keys(name, method):
    study = studies.load(name)
    run, key = study.path(method, 0, 0), PATHS[name, method]
    assert key_of(run) == key
    assert (REPOSITORY / "results" / name / key / "record.json").exists()
    until = studies.load(name, string={"rest": {"window": 50}}).path(method, 0, 0)
    assert (key_of(until) == key) == (method != "string")
    measured = studies.load(name, evaluation={"stride": 5}).path(method, 0, 0)
    assert json.loads(measured.model_dump_json())["evaluation"] == {"own_precision": False, "stride": 5}
    assert not {"evaluation", "rest"} & {
        *json.loads(run.model_dump_json()),
        *(run.string.model_dump() if run.string else ()),
    }


def test_an_architecture_written_down_is_the_same_network():
    own, named = Network(layers=SMALL), Network(architecture="small", channels=6)
    assert own.specs(10) == named.specs(10)
    states = [
        run_networks.initial_network(studies.load("digits", network=network).cnn(0), store=None).state_dict()
        for network in ({"layers": SMALL}, {"architecture": "small", "channels": 6})
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_one_network_has_one_key_however_it_is_written():
    texts = [
        '[{"conv": 4, "kernel": 3}, {"pool": 2}, {"linear": 7}, "relu", {"linear": "classes"}]',
        '[{"kernel": [3, 3], "stride": 1, "padding": [0, 0], "conv": "4"},'
        ' {"kind": "max", "pool": [2, 2], "stride": 2}, {"linear": 7}, "relu", {"linear": "classes"}]',
    ]
    keys = [key_of(studies.load("digits", network={"layers": json.loads(text)}).cnn(0)) for text in texts]
    assert keys[0] == keys[1]
    other = json.loads(texts[0].replace('"pool": 2', '"pool": 2, "stride": 1'))
    assert key_of(studies.load("digits", network={"layers": other}).cnn(0)) != keys[0]


sizes = st.integers(1, 4)
pairs = sizes | st.tuples(sizes, sizes).map(list)
paddings = st.integers(0, 3) | st.tuples(st.integers(0, 3), st.integers(0, 3)).map(list)
convs = st.builds(
    lambda channels, kernel, stride, padding: {
        "conv": channels,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
    },
    *(st.integers(1, 5), pairs, pairs, paddings),
)
pools = st.builds(
    lambda size, stride, kind: {"pool": size} | stride | kind,
    *(pairs, st.just({}) | st.builds(lambda s: {"stride": s}, pairs)),
    st.sampled_from([{}, {"kind": "max"}, {"kind": "avg"}]),
)
others = st.sampled_from(["relu", "gelu", "hardtanh", "batchnorm", {"dropout": 0.4}])
linears = st.integers(1, 9).map(lambda features: {"linear": features})
tables = st.builds(
    lambda images, vectors: [*images, *vectors, LAST],
    *(st.lists(convs | pools | others, min_size=1, max_size=6), st.lists(linears | others, max_size=3)),
)


def tried(make):
    """What ``make`` makes, or what it has to say."""
    try:
        return make(), None
    except (UserError, ValueError) as error:
        return None, str(error)


@given(tables, st.tuples(st.integers(1, 3), st.integers(3, 12), st.integers(3, 12)), st.integers(0, 2**31))
def test_any_table_gives_an_exact_efcn_or_one_line(table, shape, seed):
    network, line = tried(lambda: Network.model_validate({"layers": table}))
    if line is None:
        _, line = tried(lambda: check_fits(network.specs(CLASSES), shape))
    event("refused" if line else "embedded")
    if line:
        assert "layer " in line or not any("conv" in layer for layer in table if isinstance(layer, dict)), line
        return
    assert Network.model_validate_json(network.model_dump_json()) == network
    generator = torch.Generator().manual_seed(seed)
    cnn = networks.initialise(networks.cnn(network.specs(CLASSES), shape), generator).double().eval()
    efcn = embedding.embed(cnn, shape)
    x = torch.randn(3, *shape, dtype=torch.float64, generator=generator)
    expected, found = cnn(x), efcn(x)
    assert found.shape == (3, CLASSES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * max(1.0, float(expected.detach().abs().max())))


@given(
    tables, st.integers(0, 7), st.sampled_from(["swish", "flatten", {"conv2d": 3}, {"lstm": 4}, {}, None, 3, ["relu"]])
)
def test_an_unknown_layer_is_never_dropped(table, place, layer):
    place = min(place, len(table) - 1)
    with pytest.raises(UserError) as told:
        studies.load("digits", network={"layers": [*table[:place], layer, *table[place:]]})
    assert f"network.layers.{place} " in str(told.value)
    assert len(str(told.value).splitlines()) == 1
    assert all(word in str(told.value) for word in ("relu", "conv", "pool", "dropout", "linear"))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], ["layers []", "at least 1"]),
        (["relu", LAST], ["no convolution", '{"conv": 8, "kernel": 3}']),
        ([CONV], ["layer 0 is the last", '{"linear": "classes"}']),
        ([CONV, {"linear": 10}], ["layer 1 is the last", '{"linear": "classes"}']),
        ([CONV, LAST, "relu", LAST], ["layer 1", "comes last", "layer 2"]),
        ([CONV, {"linear": 3}, CONV, LAST], ["layer 2 is a conv", "layer 1", "no images left"]),
        ([CONV, {"linear": 3}, {"pool": 2}, LAST], ["layer 2 is a pool", "no images left"]),
        ([{"conv": 4, "kernal": 3}, LAST], ["layers.0", "'kernal'", "conv, kernel, stride, padding"]),
        ([{"conv": 4}, LAST], ["layers.0.conv.kernel", "required"]),
        ([{"conv": 0, "kernel": 3}, LAST], ["layers.0.conv.conv 0", "1"]),
        ([CONV, {"conv": 4, "kernel": [3, 0]}, LAST], ["layers.1.conv.kernel.1 0", "1"]),
        ([{"conv": 4, "kernel": 300}, LAST], ["layers.0.conv.kernel.0 300", "256"]),
        ([CONV, {"pool": 2, "kind": "median"}, LAST], ["layers.1.pool.kind 'median'", "'max' or 'avg'"]),
        ([CONV, {"dropout": 1}, LAST], ["layers.1.dropout.dropout 1", "less than 1"]),
        ([CONV, {"linear": "all"}, LAST], ["layers.1.classes.linear 'all'", "'classes'"]),
        ([CONV, {"linear": 2.5}, LAST], ["layers.1.linear.linear 2.5", "integer"]),
        ([CONV] * 100 + [LAST], ["layers", "at most 100"]),
        # what does not fit the 8x8 images of digits
        ([CONV, {"pool": 3}, "relu", {"conv": 2, "kernel": 3}, LAST], ["layer 3 (Conv2d)", "kernel 3", "2 pixels"]),
        ([{"conv": 4, "kernel": [2, 9]}, LAST], ["layer 0 (Conv2d)", "kernel 9", "8 pixels"]),
        ([{"conv": 4096, "kernel": 9, "padding": 200}] * 3 + [LAST], ["eFCN", "10,000,000,000", "fewer channels"]),
    ],
)
def test_a_wrong_table_gets_one_line(table, words):
    assert_layers_refused(table, words)


def test_layers_and_names_exclude_each_other():
    for change in ({"layers": SMALL, "architecture": "small"}, {"layers": SMALL, "channels": 4}):
        with pytest.raises(UserError, match="layers of its own: take out"):
            studies.load("digits", network=change)
    with pytest.raises(UserError, match="one of vanilla, alexnet, small, or layers"):
        studies.load("digits", network={"architecture": None})
    own = {"layers": SMALL, "architecture": None, "channels": None}
    assert studies.load("digits", network=own).network == Network(layers=SMALL)


def test_a_study_that_changes_one_with_layers(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"like": "digits", "network": {"layers": SMALL}}), "utf-8")
    study = studies.load(str(file))
    assert (study.network, study.title) == (Network(layers=SMALL), "mine")  # the preset's title would lie
    assert studies.load(str(file), network={"architecture": "small"}).network.channels == 64
    with pytest.raises(UserError, match="take out channels 3"):
        studies.load(str(file), network={"channels": 3})


def test_captions_name_the_widths():
    assert Network(architecture="vanilla", channels=8).description == "8 channels"
    assert Network(layers=SMALL).description == "own layers, convolutions of 6, 6 channels"


def test_python_takes_the_same_layers():
    network = Network(layers=[CONV, "relu", {"pool": 2}, {"dropout": 0.5}, {"linear": 3}, LAST])
    specs = (
        *(architectures.Conv(4, 3), architectures.ReLU(), architectures.Pool(2, 2), architectures.Dropout(0.5)),
        *(architectures.Flatten(), architectures.Linear(3), architectures.Linear(7)),
    )
    assert network.specs(7) == specs
    with pytest.raises(ValueError, match="layer 0"):
        check_fits(specs, (1, 2, 2))


@given(st.integers(20, 40), st.integers(20, 80), st.booleans())
def test_every_study_says_at_once_what_does_not_fit(short, long, is_flat):
    holds = {"train": 1000, "test": 10, "shape": [3, *((short, long) if is_flat else (long, short))], "classes": 3}
    changes = {"network": {"architecture": "vanilla"}, "data": {"sha256": "0" * 64, "holds": holds}}
    study, line = tried(lambda: studies.load("quick", **changes))
    event("refused" if line else "fits")
    if line:
        assert "does not fit the images: layer " in line
    else:
        assert study.cnn(0).uninitialised_cnn()
        assert study.data == Dataset(**changes["data"])

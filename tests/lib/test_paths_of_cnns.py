"""Paths between CNNs, or eLCNs, measured without matrices: as those between their embedded networks."""

import pytest
import torch

from efcnlib import embedding, landscape, metrics, networks
from efcnlib.data.images import Split
from efcnlib.networks import architectures
from efcnlib.resumable import finish
from surfaces import SHAPE, digits, interrupted, same


def ends(shared=True):
    """Two networks, of dropout too: CNNs, or eLCNs of which one shares no weights."""
    table = (*architectures.small(10, channels=2)[:-1], architectures.Dropout(0.5), architectures.Linear(10))
    made = [networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    made = [net.double() for net in made]
    if not shared:
        made = [embedding.embed_local(net, SHAPE) for net in made]
        made[1][0].weight.data += 0.1 * torch.randn(made[1][0].weight.shape, generator=torch.Generator().manual_seed(2))
    return made


def states(nets):
    return [{name: value.detach() for name, value in net.named_parameters()} for net in nets]


@pytest.fixture(scope="module")
def pictures():
    train, test = digits(train=1100)  # more than one batch
    return {"train": train, "test": test}


@pytest.mark.parametrize("shared", [True, False])
def test_measures_are_those_of_the_embedded_networks(shared, pictures):
    nets = ends(shared)
    found, wanted = {}, {}
    for rows, both in ((found, nets), (wanted, [embedding.embed(net, SHAPE) for net in nets])):
        rows |= finish(landscape.evaluate_curve(both[0], landscape.linear_path(*states(both), 5), pictures))
        averaged = finish(landscape.evaluate_averaged_outputs(both[0], *states(both), 5, pictures))
        rows |= {f"averaged {name}": values for name, values in averaged.items()}
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-12, abs=0)
    assert found["train_loss"][2] != pytest.approx(found["averaged train_loss"][2], rel=1e-6)


def test_in_bf16_measures_are_those_of_each_points_network():
    train, test = digits(train=600)
    few = {name: Split(split.x.float(), split.y) for name, split in {"train": train, "test": test}.items()}
    nets = [net.float() for net in ends()]
    curve = landscape.linear_path(*states(nets), 5)
    found = finish(landscape.evaluate_curve(nets[0], curve, few, precision="bf16"))
    exact = finish(landscape.evaluate_curve(nets[0], curve, few))
    for i in range(5):
        loss, accuracy = metrics.evaluate(nets[0], few["train"], curve.at(i), "bf16").tolist()
        assert found["train_loss"][i] == pytest.approx(loss, rel=1e-12)
        assert found["train_accuracy"][i] == pytest.approx(accuracy, abs=1e-12)
        assert found["train_loss"][i] == pytest.approx(exact["train_loss"][i], rel=2e-2)
    assert found["train_loss"] != exact["train_loss"]


def test_an_interrupted_measurement_has_the_same_bits(pictures):
    nets = ends()
    curve = landscape.linear_path(*states(nets), 5)
    whole = finish(landscape.evaluate_curve(nets[0], curve, pictures))
    result, cuts = interrupted(lambda state: landscape.evaluate_curve(nets[0], curve, pictures, state), 0, most=2)
    assert cuts >= 1
    assert same(result, whole)

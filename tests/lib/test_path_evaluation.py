"""What is measured along curves, against each point's network on its own; lengths, delta and planes by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from efcnlab.run.run_networks import standard_fcn
from efcnlib import embedding, landscape, metrics, networks
from efcnlib.errors import UserError
from efcnlib.networks import architectures
from efcnlib.resumable import finish
from surfaces import SHAPE, digits, interrupted, network, same, trained, weights


@pytest.fixture(scope="module")
def pictures():
    train, test = digits(train=1100)  # more than one batch
    return {"train": train, "test": test}


def random_path(n, dtype=torch.float64):
    path = landscape.linear_points(weights(0, dtype), weights(1, dtype), n)
    generator = torch.Generator().manual_seed(9)
    for points in path.values():
        points[1:-1] += 0.05 * torch.randn(points[1:-1].shape, generator=generator, dtype=dtype)
    return path


CURVES = {
    "linear": lambda: landscape.linear_path(weights(0), weights(1), 7),
    "curvilinear": lambda: landscape.curvilinear_path(weights(0), weights(1), 7),
    "string": lambda: landscape.curve_through(random_path(4), 7),
    "bezier": lambda: landscape.curve_through(random_path(3), 7, "bezier"),
    "polygon": lambda: landscape.curve_through(random_path(5), 9, "polygon"),
}


@pytest.mark.parametrize("name", CURVES)
def test_measures_along_a_curve_are_those_of_its_points(name, pictures):
    curve = CURVES[name]()
    rows = finish(landscape.evaluate_curve(network(0), curve, pictures))
    for i in range(len(curve)):
        for split, images in pictures.items():
            loss, accuracy = metrics.evaluate(network(0), images, curve.at(i)).tolist()
            assert rows[f"{split}_loss"][i] == pytest.approx(loss, rel=1e-11)
            assert rows[f"{split}_accuracy"][i] == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize("name", ["curvilinear", "string"])
def test_in_bf16_measures_are_those_of_bf16_networks_up_to_rounding(name, pictures):
    path = {k: v.float() for k, v in random_path(4).items()}
    ends = weights(0, torch.float32), weights(1, torch.float32)
    curve = landscape.curve_through(path, 7) if name == "string" else landscape.curvilinear_path(*ends, 7)
    few = {split: type(images)(images.x.float(), images.y) for split, images in pictures.items()}
    net = network(0, torch.float32)
    rows = finish(landscape.evaluate_curve(net, curve, few, precision="bf16"))
    exact = finish(landscape.evaluate_curve(net, curve, few))
    assert rows["train_loss"] != exact["train_loss"]
    for i in range(len(curve)):
        loss, _ = metrics.evaluate(net, few["train"], curve.at(i), "bf16").tolist()
        assert rows["train_loss"][i] == pytest.approx(loss, rel=5e-3)
        assert rows["train_loss"][i] == pytest.approx(exact["train_loss"][i], rel=2e-2)
        assert rows["train_accuracy"][i] == pytest.approx(exact["train_accuracy"][i], abs=0.03)
    out = finish(landscape.evaluate_averaged_outputs(net, *ends, 3, few, precision="bf16"))
    for i, end in ((0, ends[0]), (2, ends[1])):
        assert out["train_loss"][i] == pytest.approx(
            metrics.evaluate(net, few["train"], end, "bf16")[0].item(), rel=1e-6
        )


@pytest.mark.parametrize("name", CURVES)
def test_the_ends_of_a_curve_are_the_networks_bit_for_bit(name):
    curve = CURVES[name]()
    assert same(curve.at(0), weights(0))
    assert same(curve.at(len(curve) - 1), weights(1))


@pytest.mark.parametrize("live", [True, False])
def test_padded_layouts_and_other_layers_are_measured_too(live, pictures):
    table = (architectures.Pool(2, 1, "avg"), *architectures.small(10, channels=2))
    cnns = [
        networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(seed)).double() for seed in (0, 1)
    ]
    nets = [embedding.embed(cnn, SHAPE, live) for cnn in cnns]
    start, end = ({name: value.detach() for name, value in net.named_parameters()} for net in nets)
    rows = finish(landscape.evaluate_curve(nets[0], landscape.linear_path(start, end, 3), pictures))
    for i, net in ((0, nets[0]), (2, nets[1])):
        loss, accuracy = metrics.evaluate(net, pictures["train"]).tolist()
        assert rows["train_loss"][i] == pytest.approx(loss, rel=1e-11)
        assert rows["train_accuracy"][i] == pytest.approx(accuracy, abs=1e-12)


def test_curvilinear_keeps_the_norms_of_equal_norms_and_mixes_others():
    start, end = weights(0), weights(1)
    end = {name: value * start[name].norm() / value.norm() for name, value in end.items()}
    curve = landscape.curvilinear_path(start, end, 9)
    for i in range(9):
        for name, value in curve.at(i).items():
            assert value.norm().item() == pytest.approx(start[name].norm().item(), rel=1e-12)
            line = torch.lerp(start[name], end[name], i / 8)
            assert F.cosine_similarity(value.flatten(), line.flatten(), dim=0).item() == pytest.approx(1, abs=1e-12)
    doubled = landscape.curvilinear_path(start, {name: 2 * value for name, value in end.items()}, 5)
    name = "0.weight"
    assert doubled.at(2)[name].norm().item() == pytest.approx(1.5 * start[name].norm().item(), rel=1e-12)


@pytest.mark.parametrize("name", CURVES)
def test_lengths_are_sums_of_distances(name):
    curve = CURVES[name]()
    flat = torch.stack([torch.cat([value.flatten() for value in curve.at(i).values()]) for i in range(len(curve))])
    found = landscape.curve_lengths(curve)
    assert found["length"] == pytest.approx(flat.diff(dim=0).norm(dim=1).sum().item(), rel=1e-11)
    assert found["straight"] == pytest.approx((flat[-1] - flat[0]).norm().item(), rel=1e-11)
    assert found["distance"] == pytest.approx((flat - flat[0]).norm(dim=1).tolist(), rel=1e-11, abs=1e-12)
    if name == "linear":
        assert found["length"] == pytest.approx(found["straight"], rel=1e-12)
    else:
        assert found["length"] > found["straight"]


def layers_at(net, curve, i, states, alpha):
    """The network at a point, its dead weights mixed as on the linear path."""
    net.load_state_dict(states[0] | curve.at(i))
    for _, layer in networks.convolutions(net):
        yield metrics.deviation(layer)


@pytest.mark.parametrize("name", CURVES)
def test_delta_and_sharing_are_those_of_each_points_network(name):
    # Padded, so that nothing is dead: the plain definition.
    net = network(0, live=False)
    start, end = ({n: v.detach() for n, v in network(seed, live=False).named_parameters()} for seed in (0, 1))
    generator = torch.Generator().manual_seed(3)
    end = {n: v + 0.05 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in end.items()}
    path = landscape.linear_points(start, end, 4)
    for points in path.values():
        points[1:-1] += 0.05 * torch.randn(points[1:-1].shape, generator=generator, dtype=points.dtype)
    curve = {
        "linear": lambda: landscape.linear_path(start, end, 7),
        "curvilinear": lambda: landscape.curvilinear_path(start, end, 7),
        "string": lambda: landscape.curve_through(path, 7),
        "bezier": lambda: landscape.curve_through(path, 7, "bezier"),
        "polygon": lambda: landscape.curve_through(path, 7, "polygon"),
    }[name]()
    alpha = landscape.alphas(7)
    found = landscape.curve_deviation(net, curve, [net.state_dict()] * 2, alpha)
    for i in range(7):
        net.load_state_dict(net.state_dict() | curve.at(i))
        parts = [metrics.deviation(layer) for _, layer in networks.convolutions(net)]
        assert found["delta"][i] == pytest.approx(metrics.delta(parts).item(), rel=1e-11, abs=1e-14)
        assert found["sharing"][i] == pytest.approx(metrics.sharing(parts).item(), rel=1e-11, abs=1e-7)
    assert found["delta"][0] == 0 < found["delta"][-1]


@pytest.mark.parametrize("other", ["efcn", "fcn"])
def test_in_live_layouts_dead_weights_mix_as_the_linear_path_does(other):
    """The same path in both layouts has the same delta and distance to sharing."""
    table = architectures.small(10, channels=2)
    cnns = [networks.initialise(networks.cnn(table, SHAPE), torch.Generator().manual_seed(s)).double() for s in (0, 1)]
    ends = {}
    for live in (True, False):
        end = embedding.embed(cnns[1], SHAPE, live) if other == "efcn" else standard_fcn(cnns[1], SHAPE, 5, live)
        ends[live] = (embedding.embed(cnns[0], SHAPE, live), end)
    noise = torch.Generator().manual_seed(2)
    for (_, live), (_, padded) in zip(*(networks.convolutions(ends[key][1]) for key in (True, False)), strict=True):
        step = 0.03 * torch.randn(live.weight.shape, generator=noise, dtype=torch.float64)
        live.weight.data += step
        padded.geometry.crop(padded.weight.data).add_(step.view(live.geometry.shape6(True)))
    found = {}
    for live, pair in ends.items():
        start, end = ({n: v.detach() for n, v in net.named_parameters()} for net in pair)
        states = [net.state_dict() for net in pair]
        curve = landscape.linear_path(start, end, 5)
        found[live] = landscape.curve_deviation(pair[0], curve, states, landscape.alphas(5))
    for name in ("delta", "sharing"):
        assert found[True][name] == pytest.approx(found[False][name], rel=1e-10, abs=1e-7)
    assert found[True]["delta"][-1] > 0.1


def test_two_random_ends_are_refused():
    fcns = [standard_fcn(networks.cnn(architectures.small(10, 2), SHAPE), SHAPE, seed, live=True) for seed in (0, 1)]
    start, end = ({n: v.detach() for n, v in net.named_parameters()} for net in fcns)
    curve = landscape.linear_path(start, end, 3)
    with pytest.raises(UserError, match="layer 0: both ends have dead weights at random"):
        landscape.curve_deviation(fcns[0], curve, [net.state_dict() for net in fcns], landscape.alphas(3))


def test_output_space_averages_logits_and_probabilities(pictures):
    train, test = pictures["train"], pictures["test"]
    start, end = weights(0), weights(1)
    rows = finish(landscape.evaluate_averaged_outputs(network(0), start, end, 3, pictures))
    a, b = (functional_call(network(0), given, test.x).detach() for given in (start, end))
    assert rows["test_loss"][1] == pytest.approx(F.cross_entropy((a + b) / 2, test.y).item(), rel=1e-10)
    probabilities = (a.softmax(1) + b.softmax(1)) / 2
    assert rows["probability_test_loss"][1] == pytest.approx(F.nll_loss(probabilities.log(), test.y).item(), rel=1e-10)
    ends_only = finish(landscape.evaluate_curve(network(0), landscape.linear_path(start, end, 3), pictures))
    for key in ("train_loss", "test_accuracy"):
        assert rows[key][0] == pytest.approx(ends_only[key][0], rel=1e-10)
        assert rows[key][2] == pytest.approx(ends_only[key][2], rel=1e-10)
    assert len(train) == 1100


@pytest.mark.parametrize("what", ["along", "output_space"])
def test_an_interrupted_evaluation_has_the_same_bits(what):
    train, test = digits(torch.float32, train=1437, test=360)
    pictures = {"train": train, "held": test, "test": test}
    net, (start, end) = network(0, torch.float32), (trained(0), trained(1))
    if what == "along":
        work = lambda state: landscape.evaluate_curve(net, landscape.linear_path(start, end, 5), pictures, state)  # noqa: E731
    else:
        work = lambda state: landscape.evaluate_averaged_outputs(net, start, end, 5, pictures, state)  # noqa: E731
    whole = finish(work(None))
    for seed in range(4):
        result, cuts = interrupted(work, seed)
        assert cuts >= 1
        assert same(result, whole)


# Planes


def plane():
    third = {name: value + 0.1 for name, value in weights(2).items()}
    return landscape.Plane.through(weights(0), weights(1), third), third


def flat(point):
    return torch.cat([value.flatten() for value in point.values()])


def test_a_plane_keeps_the_distances_of_its_corners():
    made, third = plane()
    points = [flat(point) for point in (weights(0), weights(1), third)]
    for i in range(3):
        for j in range(3):
            expected = (points[i] - points[j]).norm().item()
            assert (made.corners[i] - made.corners[j]).norm().item() == pytest.approx(expected, rel=1e-11, abs=1e-12)
    assert torch.equal(made.corners[0], torch.zeros(2, dtype=torch.float64))
    assert made.corners[1, 1] == 0
    assert made.corners[2, 1] > 0


@given(x=st.floats(-3, 3), y=st.floats(-3, 3))
def test_coordinates_on_a_plane_are_euclidean(x, y):
    made, _ = plane()
    mix = made.mix(torch.tensor([[x, y]], dtype=torch.float64))
    assert mix.sum().item() == pytest.approx(1, abs=1e-12)
    (found,) = made.project(landscape.Curve(made.controls, mix)).tolist()
    assert found == pytest.approx([x, y], abs=1e-9)
    point = flat(landscape.Curve(made.controls, mix).at(0))
    assert (point - flat(weights(0))).norm().item() == pytest.approx((x * x + y * y) ** 0.5, abs=1e-9)


def test_a_grid_spans_the_three_and_its_rows_are_in_order():
    made, _ = plane()
    curve, x, y = made.grid(5)
    assert len(curve) == 25
    over = made.project(curve).view(5, 5, 2)
    torch.testing.assert_close(over[..., 0], x.expand(5, 5), rtol=0, atol=1e-9)
    torch.testing.assert_close(over[..., 1], y[:, None].expand(5, 5), rtol=0, atol=1e-9)
    for k, axis in ((0, x), (1, y)):
        assert axis[0] < made.corners[:, k].min() < made.corners[:, k].max() < axis[-1]


@pytest.mark.parametrize("name", ["curvilinear", "string"])
def test_a_path_is_drawn_at_the_feet_of_its_points(name):
    made, third = plane()
    curve = CURVES[name]()
    origin, sides = flat(weights(0)), [flat(weights(1)) - flat(weights(0)), flat(third) - flat(weights(0))]
    basis = torch.linalg.qr(torch.stack(sides, dim=1)).Q
    basis = basis * torch.stack([(basis[:, k] @ sides[k]).sign() for k in range(2)])
    for i, place in enumerate(made.project(curve)):
        torch.testing.assert_close(place, (flat(curve.at(i)) - origin) @ basis, rtol=0, atol=1e-9)


def test_three_networks_on_a_line_span_no_plane():
    middle = landscape.linear_path(weights(0), weights(1), 3).at(1)
    with pytest.raises(UserError, match="on a line"):
        landscape.Plane.through(weights(0), weights(1), middle)

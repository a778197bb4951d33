"""Gradient and Hessian of the loss against dense float64 ones, over random geometries; restricted, resumed, refused."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from efcnlab.run import curvature
from efcnlab.run.curvature import measure_curvature
from efcnlib import embedding, memory, networks, projection
from efcnlib.data.images import Split
from efcnlib.errors import UserError
from efcnlib.geometry import Axis
from efcnlib.landscape.hessian import PARTS, HessianOperator, part_masks
from efcnlib.landscape.lanczos import lanczos
from efcnlib.resumable import finish
from reference import local_mask, random
from surfaces import digits, interrupted, network, same, weights

SMOOTH = (nn.Tanh, nn.Softplus, nn.GELU)
CLASSES, MOST = 3, 160  # weights of a dense matrix


@st.composite
def axes(draw) -> Axis:
    """An axis so small that a dense Hessian can be had."""
    kernel, stride, padding = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))
    return Axis(draw(st.integers(max(1, kernel - 2 * padding), 3)), kernel, stride, padding)


@st.composite
def cnns(draw, activations=(nn.ReLU, nn.Tanh)) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """A float64 CNN of one or two convolutions, and its input shape."""
    rows, cols, groups = draw(axes()), draw(axes()), draw(st.sampled_from([1, 1, 2]))
    c_in, c_out, bias = groups * draw(st.integers(1, 3 - groups)), groups, draw(st.booleans())
    assume(c_in * c_out * rows.padded * cols.padded * rows.out * cols.out <= MOST)
    shape = (c_in, rows.size, cols.size)
    numbers = [(getattr(rows, name), getattr(cols, name)) for name in ("kernel", "stride", "padding")]
    layers = [nn.Conv2d(c_in, c_out, *numbers, groups=groups, bias=bias), draw(st.sampled_from(activations))()]
    if min(rows.out, cols.out) >= 2 and draw(st.booleans()):
        layers.append(draw(st.sampled_from((nn.MaxPool2d, nn.AvgPool2d)))(2, 2))
    if rows.out * cols.out <= 6 and draw(st.booleans()):
        layers += [nn.Conv2d(c_out, 1, 1), draw(st.sampled_from(activations))()]
    if draw(st.booleans()):
        layers.append(nn.Dropout(0.5))
    features = networks.trace(nn.Sequential(*layers), shape)[-1].shape
    layers += [nn.Flatten(), nn.Linear(math.prod(features), CLASSES)]
    cnn = nn.Sequential(*layers).double()
    for i, parameter in enumerate(cnn.parameters()):
        parameter.data = random(*parameter.shape, seed=draw(st.integers(0, 2**20)) + i) / 2
    return cnn, shape


def moved(cnn, shape, live, seed=0) -> nn.Sequential:
    """Its eFCN, moved out of the CNN subspace by the same random weights in both layouts."""
    padded = embedding.embed(cnn, shape, live=False)
    for i, (_, layer) in enumerate(networks.convolutions(padded)):
        mask = torch.zeros_like(layer.weight)
        layer.geometry.crop(mask).fill_(1)
        layer.weight.data += 0.3 * mask * random(*layer.weight.shape, seed=seed + i)
    if live:
        for name, layer in networks.convolutions(padded):
            setattr(padded, name, projection.to_live(layer))
    return padded


def pictures(shape, n=7, seed=0) -> Split:
    return Split(random(n, *shape, seed=seed), torch.arange(n) % CLASSES)


def dense(network, split) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient [n] and Hessian [n, n], by PyTorch's forward over reverse differentiation of one flat vector."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    sizes = [p.numel() for p in parameters]
    network.eval()

    def loss(flat):
        pieces = [part.view_as(p) for part, p in zip(flat.split(sizes), parameters, strict=True)]
        return F.cross_entropy(functional_call(network, dict(zip(names, pieces, strict=True)), split.x), split.y)

    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    gradient = torch.func.grad(loss)(flat)
    return gradient, torch.autograd.functional.hessian(loss, flat)


def expected_masks(network) -> dict[str, torch.Tensor]:
    """By the convolution's answer to unit vectors, layer by layer."""
    layers, result = dict(network.named_children()), {part: [] for part in PARTS}
    for name, parameter in network.named_parameters():
        layer = layers[name.split(".")[0]]
        local = torch.zeros(parameter.shape, dtype=torch.bool)
        off = local
        if isinstance(layer, networks.DenseConv) and name.endswith("weight"):
            local = local_mask(layer.geometry, layer.live)
            off = ~local
        for part, mask in zip(PARTS, (local, off, ~(local | off)), strict=True):
            result[part].append(mask.flatten())
    return {part: torch.cat(pieces) for part, pieces in result.items()}


@settings(max_examples=25)
@given(drawn=cnns(), live=st.booleans(), batch=st.integers(1, 8), seed=st.integers(0, 2**20))
def test_gradient_and_products_are_those_of_the_dense_hessian(drawn, live, batch, seed):
    network, split = moved(*drawn, live, seed), pictures(drawn[1], seed=seed)
    gradient, hessian = dense(network, split)
    slope = HessianOperator(network.train(), split, batch)
    assert network.training
    torch.testing.assert_close(slope.gradient, gradient, rtol=0, atol=1e-12 * (1 + gradient.abs().max().item()))
    scale = 1 + hessian.abs().max().item()
    for k in range(2):
        vector = random(len(gradient), seed=seed + k)
        torch.testing.assert_close(slope.product(vector), hessian @ vector, rtol=0, atol=1e-10 * scale)
    assert slope.loss == pytest.approx(F.cross_entropy(network.eval()(split.x), split.y).item(), rel=1e-12)
    assert slope.accuracy == pytest.approx((network(split.x).argmax(1) == split.y).double().mean().item())


@settings(max_examples=25)
@given(drawn=cnns(), live=st.booleans())
def test_every_weight_is_local_off_local_or_rest(drawn, live):
    network = moved(*drawn, live)
    found, expected = part_masks(network), expected_masks(network)
    assert list(found) == list(PARTS)
    for part in PARTS:
        assert torch.equal(found[part], expected[part])
    assert torch.equal(sum(mask.int() for mask in found.values()), torch.ones(len(found["rest"]), dtype=torch.int))


def history_of(network, split, steps, count=3, seed=0):
    return {name: values[0] for name, values in finish(work([network], split, steps, count, seed)).items()}


def work(nets, split, steps=8, count=3, seed=0, state=None):
    moments = {i: (lambda network=network: network) for i, network in enumerate(nets)}
    return measure_curvature(moments, split, steps=steps, count=count, seed=seed, state=state)


@settings(max_examples=20)
@given(drawn=cnns(), live=st.booleans(), seed=st.integers(0, 2**20))
def test_eigenvalues_and_splits_are_those_of_the_dense_hessian(drawn, live, seed):
    network, split = moved(*drawn, live, seed), pictures(drawn[1], seed=seed)
    gradient, hessian = dense(network, split)
    parts, n = expected_masks(network), len(gradient)
    row = history_of(network, split, steps=n, seed=seed)
    values, vectors = torch.linalg.eigh(hessian)
    close = 1e-8 * (1 + values.abs().max().item())
    assert row["eigenvalues"] == pytest.approx(values.flip(0)[:3].tolist(), abs=close)
    assert row["lowest"] == pytest.approx(values[0].item(), abs=close)
    if values[-1] - values[-2] > 1e-3:  # else the vector is not the only one
        for part, mask in parts.items():
            assert row[f"top_{part}"] == pytest.approx((vectors[mask, -1] ** 2).sum().item(), abs=1e-7)
    assert sum(row[f"top_{part}"] for part in PARTS) == pytest.approx(1)
    for part in ("local", "off_local"):
        mask = parts[part]
        if not mask.any():
            assert row[f"{part}_eigenvalues"] is row[f"{part}_lowest"] is None
            continue
        restricted = torch.linalg.eigvalsh(hessian[mask][:, mask])
        assert row[f"{part}_eigenvalues"] == pytest.approx(restricted.flip(0)[:3].tolist(), abs=close)
        assert row[f"{part}_lowest"] == pytest.approx(restricted[0].item(), abs=close)
        assert row[f"{part}_eigenvalues"][0] <= row["eigenvalues"][0] + close
        assert row[f"{part}_lowest"] >= row["lowest"] - close
    assert row["gradient_norm"] == pytest.approx(torch.linalg.vector_norm(gradient).item(), rel=1e-12)
    for part, mask in parts.items():
        assert row[f"weights_{part}"] == mask.sum()
        assert row[f"gradient_{part}"] == pytest.approx(torch.linalg.vector_norm(gradient[mask]).item(), rel=1e-10)
    off = gradient * parts["off_local"]
    for name, along in (("along_gradient", gradient), ("along_off_local", off)):
        if along.any():
            assert row[name] == pytest.approx((along @ hessian @ along / (along @ along)).item(), abs=close)
        else:
            assert math.isnan(row[name])


@settings(max_examples=15)
@given(drawn=cnns(), seed=st.integers(0, 2**20))
def test_live_and_padded_layouts_agree(drawn, seed):
    split, rows = pictures(drawn[1], seed=seed), []
    for live in (True, False):
        network = moved(*drawn, live, seed)
        rows.append(history_of(network, split, steps=sum(p.numel() for p in network.parameters()), count=1))
    live, padded = rows
    scale = 1 + abs(padded["eigenvalues"][0])
    for name in ("loss", "accuracy", "gradient_norm", *(f"gradient_{part}" for part in PARTS)):
        assert live[name] == pytest.approx(padded[name], rel=1e-10, abs=1e-14)
    for part in ("", "local_", "off_local_"):
        one, other = live[f"{part}eigenvalues"], padded[f"{part}eigenvalues"]
        # Dead weights add nothing but zeros to the spectrum.
        assert max(one[0] if one else 0, 0) == pytest.approx(max(other[0] if other else 0, 0), abs=1e-8 * scale)
        one, other = live[f"{part}lowest"] or 0, padded[f"{part}lowest"] or 0
        assert min(one, 0) == pytest.approx(min(other, 0), abs=1e-8 * scale)


@settings(max_examples=15)
@given(drawn=cnns(activations=SMOOTH), seed=st.integers(0, 2**20))
def test_products_are_the_gradients_change_along_a_vector(drawn, seed):
    network, split = moved(*drawn, True, seed), pictures(drawn[1], seed=seed)
    slope = HessianOperator(network, split)
    vector = random(len(slope.gradient), seed=seed)
    product, ends, tiny = slope.product(vector), [], 1e-5
    for sign in (1, -1):
        shifted = moved(*drawn, True, seed)
        for part, parameter in zip(vector.split(slope.sizes), shifted.parameters(), strict=True):
            parameter.data += sign * tiny * part.view_as(parameter)
        ends.append(HessianOperator(shifted, split).gradient)
    difference = (ends[0] - ends[1]) / (2 * tiny)
    torch.testing.assert_close(product, difference, rtol=0, atol=1e-6 * (1 + product.abs().max().item()))


@pytest.fixture(scope="module")
def trained():
    """A float64 eFCN on digits, and images of theirs."""
    net = network()
    net.load_state_dict(weights(), strict=False)
    return net, digits()[0]


@pytest.mark.parametrize("part", [None, "local", "off_local"])
def test_float32_products_give_float64_eigenvalues_within_their_residuals(trained, part):
    exact, split = trained
    rough = copy.deepcopy(exact).float()
    few = Split(split.x.float(), split.y)
    slopes = {torch.float64: HessianOperator(exact, split), torch.float32: HessianOperator(rough, few)}
    found = {}
    for dtype, slope in slopes.items():
        mask = part_masks(exact)[part] if part else torch.ones_like(part_masks(exact)["rest"])
        draw = torch.randn(len(mask), generator=torch.Generator().manual_seed(0)).to(dtype) * mask
        found[dtype] = lanczos(lambda v, s=slope, m=mask: s.product(v) * m, lambda d=draw: d.clone(), 40)
    exact, rough = found[torch.float64].values, found[torch.float32].values
    largest = exact.abs().max().item()
    assert rough[:5].tolist() == pytest.approx(exact[:5].tolist(), abs=2e-6 * largest)
    assert rough[-1].item() == pytest.approx(exact[-1].item(), abs=1e-3 * largest)
    image = slopes[torch.float64].product(found[torch.float32].top_vector.double())
    mask = part_masks(trained[0])[part] if part else 1
    residual = torch.linalg.vector_norm(image * mask - rough[0] * found[torch.float32].top_vector)
    assert residual <= 1.5 * found[torch.float32].residuals[0]


def test_an_interrupted_measurement_has_the_same_bits(trained):
    network, split = trained
    nets = [network, moved_copy(network)]
    whole = finish(work(nets, split))
    assert whole["epoch"] == [0, 1]
    assert whole["eigenvalues"][0] != whole["eigenvalues"][1]
    for seed in range(3):
        result, cuts = interrupted(lambda state: work(nets, split, state=state), seed, most=3)
        assert cuts >= 2
        assert same(result, whole)


def moved_copy(network):
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        parameter.data *= 1.1
    return other


def test_more_steps_come_closer_and_seeds_only_choose_where_to_begin(trained):
    network, split = trained
    rows = {steps: history_of(network, split, steps) for steps in (6, 12, 60)}
    tops = [row["eigenvalues"][0] for row in rows.values()]
    assert tops[0] <= tops[1] <= tops[2] + 1e-12
    other = history_of(network, split, 60, seed=5)
    assert other["eigenvalues"] == pytest.approx(rows[60]["eigenvalues"], rel=1e-9)
    assert other["eigenvalues"] != rows[60]["eigenvalues"]


def test_a_network_that_diverged_has_no_curvature_and_ends_nothing(trained):
    broken = copy.deepcopy(trained[0])
    next(broken.parameters()).data[0, 0] = math.nan
    row = history_of(broken, trained[1], 5)
    for name in ("loss", "gradient_norm", "along_gradient", "lowest", "top_local", "off_local_lowest"):
        assert math.isnan(row[name])
    assert len(row["eigenvalues"]) == 3
    assert all(map(math.isnan, row["eigenvalues"]))


def test_what_does_not_fit_is_one_line_before_anything_is_computed(trained, monkeypatch):
    network, split = trained
    need = curvature.required_bytes(network, len(split), 25)
    count = sum(p.numel() for p in network.parameters())
    assert need > 8 * 25 * count
    monkeypatch.setattr(memory, "free_bytes", lambda device: need - 1)
    monkeypatch.setattr(curvature, "HessianOperator", lambda *_: pytest.fail("computed"))
    with pytest.raises(
        UserError,
        match=r"^curvature with 25 steps over 300 images, beside the weights, needs .* GB on cpu, .* fewer steps",
    ):
        next(work([network], split, steps=25))
    with pytest.raises(UserError, match="steps 0 is not allowed"):
        next(work([network], split, steps=0))

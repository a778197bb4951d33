"""A CNN's optimiser carried over: shares by a slow loop, the next move, and what sums up to the CNN's again."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import reference
from efcnlab.data import datasets
from efcnlib import embedding
from efcnlib.data.images import to_device
from efcnlib.networks import DenseConv, LocalConv, convolutions
from efcnlib.training import optimiser_state
from efcnlib.training.engine import Engine
from efcnlib.training.fused_updates import FusedLinear
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser, strip_prefix
from efcnlib.training.trainer import Trainer
from small_networks import OPTIMISERS, SHAPE, a_cnn, a_split, small_cnn

GATHERING = [name for name, optimiser in OPTIMISERS.items() if optimiser.moment_names]


def copies(g):
    """Of each filter entry (o, i, a, b), the copies that data reaches, (y, x, flat index into the padded matrix)."""
    (h, w), p, q = g.live_out, g.rows.padding, g.cols.padding
    cog, cig = g.c_out // g.groups, g.c_in // g.groups
    result = {}
    for (a, b), found in reference.entries(g, live=False).items():
        for (group, o, i, y, x), index in found:
            u, v = y * g.rows.stride + a * g.rows.dilation - p, x * g.cols.stride + b * g.cols.dilation - q
            if y < h and x < w and 0 <= u < g.rows.size and 0 <= v < g.cols.size:
                result.setdefault((group * cog + o, i % cig, a, b), []).append((y, x, index))
    return result


def by_hand(moment, g, power):
    """The padded matrix, and local weights [c_out, c_in / groups, kh, kw, h, w], entry by entry."""
    padded, local = moment.new_zeros(g.shape(False)), moment.new_zeros(*g.filter_shape, *g.out)
    for (o, i, a, b), found in copies(g).items():
        for y, x, index in found:
            share = moment[o, i, a, b] / len(found) ** power
            padded.view(-1)[index] = local[o, i, a, b, y, x] = share
    return padded, local


@settings(max_examples=150)
@given(reference.geometries(), st.sampled_from(sorted(optimiser_state.POWERS)))
def test_shares_are_those_of_a_loop_and_add_up(g, name):
    moment, power = reference.random(*g.filter_shape), optimiser_state.POWERS[name]
    padded, local = by_hand(moment, g, power)
    moments = {name: moment, "step": torch.tensor(7.0)}
    for live, expected in ((False, padded), (True, g.crop(padded).reshape(g.shape(True)))):
        got = optimiser_state.embed_moments(DenseConv(g, live), "weight", moments)
        assert got["step"] == 7
        torch.testing.assert_close(got[name], expected, rtol=1e-12, atol=0)
        if power == 1:
            reached = torch.zeros(g.filter_shape)
            for entry in copies(g):
                reached[entry] = 1
            torch.testing.assert_close(reference.orbit_sums(got[name], g, live), moment * reached, rtol=1e-12, atol=0)
    got = optimiser_state.embed_moments(LocalConv(g), "weight", moments)[name]
    torch.testing.assert_close(got, local.unflatten(0, (g.groups, -1)), rtol=1e-12, atol=0)


@given(reference.geometries(), st.sampled_from(sorted(optimiser_state.POWERS)))
def test_biases_are_shared_over_the_outputs_that_are_read(g, name):
    moment, (h, w) = reference.random(g.c_out), g.live_out
    share = (moment / (h * w) ** optimiser_state.POWERS[name])[:, None, None]
    live, padded = (
        optimiser_state.embed_moments(DenseConv(g, live), "bias", {name: moment})[name] for live in (True, False)
    )
    torch.testing.assert_close(live.view(g.c_out, h, w), share.expand(-1, h, w), rtol=1e-12, atol=0)
    local = optimiser_state.embed_moments(LocalConv(g), "bias", {name: moment})[name]
    assert torch.equal(local.flatten(), padded)
    torch.testing.assert_close(local[:, :h, :w], share.expand(-1, h, w), rtol=1e-12, atol=0)
    assert local.count_nonzero() == g.c_out * h * w


@settings(max_examples=60)
@given(reference.geometries(), st.integers(1, 40), st.integers(0, 2**20))
def test_where_gradients_agree_the_next_move_is_the_cnns(g, steps, seed):
    """Adam moves every copy as the filter entry; momentum moves all copies together as far as that."""
    assume(copies(g))
    kernel, gradient = reference.random(2, *g.filter_shape, seed=seed)
    gradient = gradient + 0.5 * gradient.sign()  # none near zero, where Adam's epsilon would show
    reached = torch.zeros(g.filter_shape, dtype=torch.float64)
    for entry in copies(g):
        reached[entry] = 1
    for optimiser in (Optimiser(name="adam", lr=0.01), Optimiser(lr=0.1, momentum=0.9)):
        cnn = torch.nn.Parameter(kernel.clone())
        state = optimiser.build([cnn])
        for _ in range(steps):
            cnn.grad = gradient * reached
            state.step()
        gathered = {name: value.clone() for name, value in state.state[cnn].items()}
        before = cnn.detach().clone()
        state.step()
        move = cnn.detach() - before

        layer = DenseConv(g, live=True, dtype=torch.float64)
        embedding.write_filter(layer, before, torch.zeros(g.c_out, dtype=torch.float64))
        start = layer.weight.detach().clone()
        scratch = torch.empty(start.numel(), dtype=torch.float64)
        matrix = FusedLinear(layer.weight, None, optimiser, torch.float64, scratch)
        matrix.load_moments(optimiser_state.embed_moments(layer, "weight", gathered))
        shares = g.crop(by_hand(gradient, g, 1)[0]).reshape(start.shape)
        matrix.update(shares.T, torch.eye(start.shape[1], dtype=torch.float64))  # the gradient is the shares
        moved = layer.weight.detach() - start
        if optimiser.name == "adam":
            expected = g.crop(by_hand(move, g, 0)[0]).reshape(start.shape)
            torch.testing.assert_close(moved, expected, rtol=1e-5, atol=0)  # epsilon 1e-8 weighs N times as much
        else:
            total = reference.orbit_sums(moved, g, True)
            torch.testing.assert_close(total, move * reached, rtol=0, atol=1e-12)


def test_adam_moves_off_local_weights_further_at_first_than_a_fresh_one():
    split, lr = a_split(16), 1e-4
    state, _ = a_training(cnn := a_cnn(), a_split(16 * 200, seed=2), Optimiser(name="adam", lr=lr), 10)  # 2,000 steps
    moves = []
    for gathered in ({}, gathered_by(cnn, state)):
        network = embedding.embed(cnn, SHAPE)
        trainer = Trainer(network, Optimiser(name="adam", lr=lr), batch=16)
        trainer.load_optimiser_state(gathered)
        trainer.epoch(split, torch.arange(16))
        off_local = ~network[0].geometry.local_mask(live=True)
        moved = network[0].weight.detach().view(network[0].geometry.shape6(True))
        moves.append(moved[off_local.expand_as(moved)])
    assert moves[0].abs().max() == pytest.approx(lr, rel=1e-3)
    step_2001 = (0.1 / (1 - 0.9**2001)) / (0.001 / (1 - 0.999**2001)) ** 0.5
    assert moves[1].abs().max() == pytest.approx(step_2001 * lr, rel=1e-3)
    assert step_2001 == pytest.approx(3.16 * (1 - 0.999**2001) ** 0.5, rel=1e-3)


def a_training(network, split, optimiser, epochs, **options):
    """The last state of a training in the published order, copied, and its losses by epoch."""
    losses, batch = [], options.pop("batch", 16)
    passes = train(network, split, optimiser, epochs=epochs, batch=batch, shuffle=False, seed=3, **options)
    for passed in passes:
        losses.append(passed.loss_sum.item())
    state = passed.state().items()
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in state}, losses


def gathered_by(network, state):
    """What a CNN's optimiser has gathered, "PARAMETER/NAME"."""
    names = [name for name, _ in network.named_parameters()]
    return {
        f"{names[int(key.split('/')[0])]}/{key.split('/')[1]}": v for key, v in strip_prefix("rest/", state).items()
    }


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("name", GATHERING)
def test_a_control_that_carries_goes_on_as_if_nothing_had_happened(name, precision):
    split = to_device(datasets.load("digits"), train=230, test=1)[0]
    options = {"optimiser": OPTIMISERS[name], "precision": precision, "batch": 50}
    whole, losses = a_training(small_cnn(), split, epochs=4, **options)
    half, _ = a_training(cnn := small_cnn(), split, epochs=2, **options)
    control = small_cnn(seed=9)
    control.load_state_dict(strip_prefix("network/", half))
    carried, after = a_training(control, split, epochs=2, optimiser_state=gathered_by(cnn, half), **options)
    assert after[1:] == losses[3:]
    assert all(torch.equal(whole[key], value) for key, value in carried.items())
    fresh = small_cnn(seed=9)
    fresh.load_state_dict(strip_prefix("network/", half))
    assert a_training(fresh, split, epochs=2, **options)[1][1:] != losses[3:]


@pytest.mark.parametrize("update", ["fused", "autograd"])
@pytest.mark.parametrize("name", GATHERING)
def test_what_an_efcn_starts_with_adds_up_to_the_cnns(name, update):
    optimiser, split, cnn = OPTIMISERS[name], a_split(64), a_cnn()
    state, _ = a_training(cnn, split, optimiser, 3)
    gathered = gathered_by(cnn, state)
    network = embedding.embed(cnn, SHAPE, live=not optimiser.weight_decay)
    trainer = Trainer(network, optimiser, engine=Engine(update=update), batch=16)
    trainer.load_optimiser_state(gathered)
    parameters = list(trainer.other_parameters)
    first = "momentum_buffer" if optimiser.momentum else "exp_avg"
    for layer_name, layer in convolutions(network):
        if update == "fused":
            kept = trainer.fused_layers[layer_name].state()
            moment = kept["0/velocity" if optimiser.momentum else "0/0/exp_avg"]
        else:
            moment = trainer.state()[f"rest/{parameters.index(f'{layer_name}.weight')}/{first}"]
        sums = reference.orbit_sums(moment, layer.geometry, layer.live)
        reached = torch.zeros(layer.geometry.filter_shape)
        for entry in copies(layer.geometry):
            reached[entry] = 1
        assert reached.any()
        torch.testing.assert_close(sums, gathered[f"{layer_name}.weight/{first}"] * reached, rtol=1e-12, atol=1e-18)
        bias = trainer.state()[f"rest/{parameters.index(f'{layer_name}.bias')}/{first}"]
        total = bias.view(layer.geometry.c_out, -1).sum(1)
        torch.testing.assert_close(total, gathered[f"{layer_name}.bias/{first}"], rtol=1e-12, atol=1e-18)
    if optimiser.name == "adam":
        steps = {float(value) for key, value in trainer.state().items() if key.endswith("step")}
        assert steps == {12.0}


def test_slices_of_a_matrix_get_their_rows():
    """On a CPU a matrix with bf16 products is updated some rows at a time, each with moments of its own."""
    optimiser = Optimiser(name="adam", lr=0.01)
    split = to_device(datasets.load("digits"), train=100, test=1)[0]
    state, _ = a_training(cnn := small_cnn(channels=6), split, optimiser, 1, batch=50)
    gathered, network = gathered_by(cnn, state), embedding.embed(cnn, (1, 8, 8))
    trainer = Trainer(network, optimiser, "bf16", batch=50)
    trainer.load_optimiser_state(gathered)
    (name, layer), kept = convolutions(network)[0], trainer.fused_layers["0"].state()
    assert len(trainer.fused_layers[name].rows) == 2
    expected = optimiser_state.embed_moments(layer, "weight", strip_prefix("0.weight/", gathered))
    for moment in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(torch.cat([kept[f"{i}/0/{moment}"] for i in range(2)]), expected[moment])
    assert {float(kept[f"{i}/0/step"]) for i in range(2)} == {2.0}


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(GATHERING),
    kind=st.sampled_from(["efcn", "elcn", "control"]),
    precision=st.sampled_from(["float32", "bf16"]),
    cut=st.integers(0, 2),
)
def test_a_carried_training_that_was_cut_off_has_the_same_bits(name, kind, precision, cut):
    split = to_device(datasets.load("digits"), train=100, test=1)[0]
    optimiser = OPTIMISERS[name]
    options = {"optimiser": optimiser, "precision": precision, "batch": 40}
    state, _ = a_training(cnn := small_cnn(), split, epochs=1, **options)
    options["optimiser_state"] = gathered_by(cnn, state)

    def network():
        if kind == "efcn":
            return embedding.embed(cnn, (1, 8, 8), live=not optimiser.weight_decay)
        if kind == "elcn":
            return embedding.embed_local(cnn, (1, 8, 8))
        control = small_cnn()
        control.load_state_dict(strip_prefix("network/", state))
        return control

    whole, _ = a_training(network(), split, epochs=3, **options)
    before, _ = a_training(network(), split, epochs=cut, **options)
    after, _ = a_training(network(), split, epochs=3, resume_from=(cut, before), **options)
    assert whole.keys() == after.keys()
    assert all(torch.equal(whole[key], after[key]) for key in whole)

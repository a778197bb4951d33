"""Crops and flips against a slow loop; the same images for every network of a pair; bits after a cut."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from efcnlab.config.studies import load, runs
from efcnlab.data import datasets
from efcnlab.run import study_runner
from efcnlab.store.run_store import Store, key_of
from efcnlib import embedding, networks
from efcnlib.data import augmentation
from efcnlib.data.augmentation import MARGIN, crop_and_flip, random_crop_and_flip
from efcnlib.data.images import Split, to_device
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.loop import train
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer, captured_epoch
from small_networks import OPTIMISERS, SHAPE, a_cnn, a_split, trained


def by_hand(x, top, left, mirrored):
    """One image after the other, padded, sliced, flipped."""
    result = []
    for image, down, right, flip in zip(x, top.tolist(), left.tolist(), mirrored.tolist(), strict=True):
        padded = F.pad(image, (MARGIN,) * 4)
        window = padded[:, down : down + x.shape[2], right : right + x.shape[3]]
        result.append(window.flip(2) if flip else window)
    return torch.stack(result)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 12), st.integers(1, 12)),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    seed=st.integers(0, 2**20),
)
def test_moved_images_are_those_of_a_loop(shape, layout, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=layout)
    top, left = torch.randint(0, 2 * MARGIN + 1, (2, len(x)), generator=generator)
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    before = x.clone()
    assert torch.equal(crop_and_flip(x, top, left, mirrored), by_hand(x, top, left, mirrored))
    assert torch.equal(x, before)


def test_every_place_and_both_directions_are_drawn_equally_often(monkeypatch):
    drawn = []
    monkeypatch.setattr(augmentation, "crop_and_flip", lambda x, *numbers: drawn.append(numbers))
    x = torch.ones(81_000, 1, 1, 1)
    random_crop_and_flip(x, torch.Generator().manual_seed(0))
    (top, left, mirrored), counts = drawn[0], torch.zeros(2, 9, 9)
    counts.index_put_((mirrored.long(), top, left), torch.ones(len(x)), accumulate=True)
    assert len(counts.flatten()) == 162
    assert (counts - 500).abs().max() < 5 * 500**0.5  # binomial, 162 cells
    assert (counts - 500).abs().max() > 1


def test_a_step_sees_moved_images_and_the_images_themselves_stay():
    split, seen = a_split(32), []
    before = split.x.clone()
    network = a_cnn()
    network[0].register_forward_pre_hook(lambda layer, x: seen.append(x[0].clone()))
    trainer = Trainer(network, OPTIMISERS["sgd"], batch=16, seed=5, augment=True)
    for _ in range(2):
        trainer.epoch(split, torch.arange(32))
    generator = torch.Generator().manual_seed(6)
    expected = [random_crop_and_flip(x, generator) for _ in range(2) for x in split.x.split(16)]
    assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))
    assert not torch.equal(seen[0], seen[2])  # anew each epoch
    assert torch.equal(split.x, before)


def test_all_of_a_pair_see_the_same_images_whatever_their_dropout_draws():
    """In the live layout a dropout right behind a convolution draws less than the CNN's."""
    table = (
        *(architectures.Conv(3, 3, padding=1), architectures.Dropout(0.5), architectures.Pool(3, 2)),
        *(architectures.Flatten(), architectures.Linear(5)),
    )
    shape = (2, 8, 8)
    cnn = networks.initialise(networks.cnn(table, shape), torch.Generator().manual_seed(0)).double()
    states = []
    for network in (cnn, embedding.embed(cnn, shape), embedding.embed_local(cnn, shape)):
        trainer = Trainer(network, OPTIMISERS["sgd"], batch=16, seed=3, augment=True)
        trainer.epoch(a_split(48, shape=shape), torch.arange(48))
        states.append(trainer.state())
    assert all(torch.equal(state["views"], states[0]["views"]) for state in states)
    assert not torch.equal(states[0]["views"], torch.Generator().manual_seed(4).get_state())


@pytest.mark.parametrize("delay", [1, 2])
def test_what_a_graph_replays_is_the_augmented_epoch(delay):
    split, order = a_split(64), torch.randperm(64, generator=torch.Generator().manual_seed(2))
    pair = [embedding.embed(a_cnn(dropout=0.3), SHAPE) for _ in range(2)]
    eager, other = (
        Trainer(n, OPTIMISERS["sgd"], engine=Engine(delay=delay), batch=8, augment=True, seed=1) for n in pair
    )
    eager.epoch(split, order)
    replayed = captured_epoch(other, split, 64)
    replayed.order.copy_(order)
    for _ in range(replayed.replays):
        replayed._steps()
    assert all(torch.equal(a, b) for a, b in zip(pair[0].parameters(), pair[1].parameters(), strict=True))
    plain = embedding.embed(a_cnn(), SHAPE)
    trained(plain, OPTIMISERS["sgd"], split, 8, 1)
    assert not torch.equal(plain[0].weight, pair[0][0].weight)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_graph_on_a_gpu_draws_what_eager_steps_draw():
    states = []
    for graph in (False, True):
        network, split = embedding.embed(a_cnn(), SHAPE).cuda(), a_split(96)
        split = Split(split.x.cuda(), split.y.cuda())
        trainer = Trainer(network, OPTIMISERS["sgd"], engine=Engine(graph=graph), batch=8, augment=True)
        for _ in range(3):
            trainer.epoch(split, torch.arange(96))
        states.append(nn.utils.parameters_to_vector(network.parameters()))
    torch.testing.assert_close(*states, rtol=0, atol=1e-9)


def test_a_training_that_was_cut_off_goes_on_with_the_same_images():
    split = to_device(datasets.load("digits"), train=100, test=10)[0]
    cnn = networks.initialise(networks.cnn(architectures.small(10, 3), (1, 8, 8)), torch.Generator().manual_seed(0))

    def run(after=None, epochs=4):
        network = embedding.embed(cnn, (1, 8, 8))
        *_, last = train(
            *(network, split, Optimiser()),
            **{"epochs": epochs, "batch": 30, "shuffle": False, "seed": 3, "augment": True, "resume_from": after},
        )
        return {name: value.clone() for name, value in last.state().items()}

    whole, half = run(), run(epochs=2)
    assert all(torch.equal(whole[name], value) for name, value in run((2, half)).items())
    wrong = run((2, half | {"views": torch.Generator().manual_seed(9).get_state()}))
    assert not torch.equal(whole["network/0.weight"], wrong["network/0.weight"])


def test_a_study_with_augmentation_is_another_one_and_runs(tmp_path):
    changes = {
        **{"epochs": 2, "relax_epochs": 1, "relax_times": (1,), "path_times": (), "controls": ("control", "elcn")},
        **{"network": {"channels": 2}, "data": {"train": 100, "test": 50}, "measurements": 2},
    }
    study, plain = load("digits", augment=True, **changes), load("digits", **changes)
    assert not set(map(key_of, runs(study))) & set(map(key_of, runs(plain)))
    assert (study.options_description, plain.options_description) == ("with random crops and flips", "")
    assert study.cnn(0).augment
    done, without = (study_runner.run_study(s, Store(tmp_path), threads=1, progress=False) for s in (study, plain))
    assert done.cnn(0).history["train_loss"][0] == without.cnn(0).history["train_loss"][0]  # measured on whole images
    assert done.cnn(0).history["train_loss"][-1] != without.cnn(0).history["train_loss"][-1]
    assert all("augment" in done.store.get(key_of(run)).config for run in runs(study))

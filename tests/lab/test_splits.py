"""Images as they are trained on: normalised, on the device, in batches."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from efcnlab.data import datasets
from efcnlib.data.images import Images, channel_statistics, epoch_order, to_device
from efcnlib.errors import UserError


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)), seed=st.integers(0, 99)
)
def test_moments_are_those_of_numpy(shape, seed):
    x = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    mean, deviation = channel_statistics(x)
    pixels = x.numpy().astype(np.float64)
    assert np.allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-13, atol=0)
    assert np.allclose(deviation, pixels.std((0, 2, 3)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("train", "test"), [(None, None), (230, 120), (1437, 360), (1, 1)])
def test_both_splits_are_normalised_with_the_training_images_in_use(train, test):
    loaded = datasets.load("digits")
    used = loaded.train_x[:train].double()
    mean, deviation = used.mean(), used.std(correction=0)
    train_split, test_split = to_device(loaded, dtype=torch.float64, train=train, test=test)
    for split, x, y in (
        (train_split, loaded.train_x[:train], loaded.train_y[:train]),
        (test_split, loaded.test_x[:test], loaded.test_y[:test]),
    ):
        assert len(split) == len(y) == len(split.x)
        torch.testing.assert_close(split.x, (x.double() - mean) / deviation, rtol=0, atol=1e-12)
        assert torch.equal(split.y, y)
    assert loaded.train_x.dtype == torch.uint8  # the images stay as they are


def test_floating_point_images_stay_as_they_are():
    x, y = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    loaded = Images("mine", x.clone(), y, x.clone(), y)
    for _ in range(2):
        train, test = to_device(loaded, train=4)
        assert torch.equal(loaded.train_x, x)
        assert torch.equal(loaded.test_x, x)
        assert torch.equal(train.x, test.x[:4])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 1438}, "number of training images of digits 1438 is not allowed: there are 1437"),
        ({"test": 361}, "number of test images of digits 361 is not allowed: there are 360"),
        ({"train": 0}, "number of training images of digits 0 is not allowed: give an integer of at least 1"),
        ({"test": -5}, "number of test images of digits -5 is not allowed"),
        ({"train": 10.0}, r"number of training images of digits 10\.0 is not allowed"),
    ],
)
def test_impossible_numbers_of_images(counts, message):
    with pytest.raises(UserError, match=message):
        to_device(datasets.load("digits"), **counts)


# Batches


@given(n=st.integers(1, 200), batch=st.integers(1, 200), seed=st.one_of(st.none(), st.integers(0, 99)))
def test_batches_are_one_pass(n, batch, seed):
    batch = min(batch, n)

    def order():
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return list(epoch_order(n, batch, generator).split(batch))

    batches = order()
    assert [len(index) for index in batches[:-1]] == [batch] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= batch
    flat = torch.cat(batches)
    assert flat.dtype == torch.int64
    assert sorted(flat.tolist()) == list(range(n))
    assert torch.equal(torch.cat(order()), flat)
    if seed is None:
        assert flat.tolist() == list(range(n))


def test_shuffling_differs_between_epochs_and_seeds():
    generator = torch.Generator().manual_seed(0)
    orders = [epoch_order(50, 8, g) for g in (generator, generator)]
    orders.append(epoch_order(50, 8, torch.Generator().manual_seed(1)))
    assert len({tuple(order.tolist()) for order in orders}) == 3


@pytest.mark.parametrize("batch", [0, -1, 11, 2.0, True])
def test_impossible_batch_is_told_before_the_first(batch):
    with pytest.raises(UserError, match=f"batch {batch} is not allowed"):
        epoch_order(10, batch, None)

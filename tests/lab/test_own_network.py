"""The experiment of a study on a module of one's own."""

import copy

import pytest
import torch
from torch import nn

from efcnlab.data import datasets
from efcnlab.run.own_network import relax
from efcnlib import Optimiser, to_device, train
from efcnlib.errors import UserError

HOW = {"optimiser": Optimiser(lr=0.1), "epochs": 2, "relax_times": [0, 2], "relax_epochs": 1, "batch": 100}


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 5, padding=2)
        self.norm, self.linear = nn.BatchNorm2d(4), nn.Linear(4 * 64, 10)

    def forward(self, x):
        return self.linear(self.norm(torch.cat([self.fine(x), self.coarse(x)], 1)).relu().flatten(1))


def test_each_relax_time_has_an_efcn_that_starts_as_its_cnn_and_a_control():
    torch.manual_seed(0)
    network, images = Branches(), datasets.load("digits")
    alone = copy.deepcopy(network)
    rows = list(relax(network, images, **HOW))
    assert [(row["kind"], row["tw"], row["epoch"]) for row in rows] == [
        *(("cnn", None, epoch) for epoch in (0, 1, 2)),
        *((kind, tw, epoch) for tw in (0, 2) for kind in ("efcn", "control") for epoch in (0, 1)),
    ]
    start = {row["tw"]: row for row in rows if row["kind"] == "efcn" and row["epoch"] == 0}
    for tw, row in start.items():
        assert row["delta"] == 0
        assert row["test_loss"] == pytest.approx(rows[tw]["test_loss"], rel=1e-5)
    assert all(row["delta"] > 0 for row in rows if row["kind"] == "efcn" and row["epoch"] == 1)
    splits = to_device(images)
    for _ in train(alone, splits[0], HOW["optimiser"], epochs=2, batch=100, shuffle=True, seed=0):
        pass
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in network.state_dict().items())


def test_what_is_wrong_is_said_before_anything_is_trained():
    network, images = Branches(), datasets.load("digits")
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(UserError, match="relax time 3 is not allowed: give epochs of the CNN, from 0 to 2"):
        next(relax(network, images, **(HOW | {"relax_times": [0, 3]})))
    network.fine.register_forward_hook(lambda *_: None)
    with pytest.raises(UserError, match=r"layer fine \(Conv2d\) has a hook"):
        next(relax(network, images, **HOW))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

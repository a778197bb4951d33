"""Pairs of networks of any structure for the tests of paths, plain and embedded, and their images."""

import torch
import torch.nn.functional as F
from torch import nn

import modules
import published
import reference
from efcnlib import Split, embed, landscape
from efcnlib.resumable import finish

SHAPE = (1, 6, 6)
CLASSES = 3


class Branched(nn.Module):
    """Two convolutions side by side, one of them beside its input, a shared activation, a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.act = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1), nn.Tanh()
        self.scale, self.head = nn.Parameter(torch.tensor(0.8)), nn.Linear(108, CLASSES)

    def forward(self, x):
        x = torch.cat([self.act(self.left(x)), x + self.scale * self.act(self.right(x))], 1)
        return self.head(F.dropout(x, 0.5, self.training).flatten(1))


def act_twice():
    act = nn.Tanh()
    layers = nn.Flatten(), nn.Linear(36, 20), act, nn.Linear(20, 20), act, nn.Linear(20, CLASSES)
    return nn.Sequential(*layers)


def linear_twice():
    linear = nn.Linear(36, 36)
    return nn.Sequential(nn.Flatten(), linear, nn.Tanh(), linear, nn.Tanh(), nn.Linear(36, CLASSES))


def nested():
    inner = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2)))
    return nn.Sequential(inner, nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, CLASSES)))


def normed():
    return nn.Sequential(
        *(nn.Conv2d(1, 2, 3), modules.random_norm(nn.BatchNorm2d(2)), nn.ReLU(), nn.GroupNorm(2, 2)),
        *(nn.ConvTranspose2d(2, 2, 2, 2), nn.PReLU(), nn.Flatten(), nn.Linear(128, CLASSES)),
    )


def signal():
    """The images' rows as channels."""
    return nn.Sequential(
        nn.Flatten(1, 2), nn.Conv1d(6, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(18, CLASSES)
    )


def first_not_matrix():
    return nn.Sequential(nn.PReLU(), nn.Conv2d(1, 2, 3), nn.Softplus(), nn.Flatten(), nn.Linear(32, CLASSES))


PLAIN = {"an activation twice": act_twice, "a matrix twice": linear_twice, "convolutions": Branched}
EMBEDDED = {
    "nested": nested,
    "branched": Branched,
    "normed": normed,
    "a parameter before the first matrix": first_not_matrix,
}
EMBEDDED |= {name: published.NETWORKS[name][0] for name in ("ResNet-9", "ConvNeXt")}


def start(make, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double().eval()


def shape_of(name):
    return published.NETWORKS[name][1] if name in published.NETWORKS else SHAPE


def moved(network, seed):
    for number, parameter in enumerate(network.parameters()):
        if parameter.requires_grad:
            parameter.data = parameter.data + 0.1 * reference.random(*parameter.shape, seed=100 * seed + number)
    return network


def embedded(name, live=True):
    """Two embedded networks that have left the CNNs, and their images' shape."""
    shape = shape_of(name)
    return [moved(embed(start(EMBEDDED[name], seed), shape, live), seed) for seed in (0, 1)], shape


def ends(name):
    """Two networks of a kind, and their images' shape."""
    if name in PLAIN:
        return [start(PLAIN[name], seed) for seed in (0, 1)], SHAPE
    return embedded(name)


def split(shape, count=20, classes=CLASSES):
    return Split(reference.random(count, *shape, seed=3), torch.arange(count) % classes)


def states(networks):
    return [dict(network.named_parameters()) for network in networks]


class Tabled(nn.Module):
    """With a buffer of numbers."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(36, CLASSES)
        self.register_buffer("table", torch.ones(36))

    def forward(self, x):
        return self.head(self.table * x.flatten(1))


def ways_along(network, weights, images):
    """Every function that takes a network and a curve."""
    yield lambda: finish(landscape.evaluate_curve(network, landscape.linear_path(*weights, 3), {"test": images}))
    yield lambda: finish(landscape.evaluate_averaged_outputs(network, *weights, 3, {"test": images}))

    def gradients():
        objective = landscape.MinibatchLoss(network, images, batch=8, seed=0)
        objective.next_batch()
        points = {name: value.detach() for name, value in landscape.linear_points(*weights, 3).items()}
        objective.losses(points)
        objective.gradients(points, lambda name, gradient: None)

    yield gradients

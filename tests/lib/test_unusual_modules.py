"""Unusual modules and networks: each is computed and trained as PyTorch would, or refused in a line."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from efcnlib import Engine, Optimiser, Split, Trainer, embed, evaluate, landscape, project, train
from efcnlib.errors import UserError
from efcnlib.resumable import finish
from refused import Own

SHAPE = (2, 6, 6)
FUSED, AUTOGRAD = Engine(), Engine(update="autograd")


def split(n=6):
    generator = torch.Generator().manual_seed(1)
    return Split(torch.randn(n, *SHAPE, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def net(*extra):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 2, 3), *extra, nn.Flatten(), nn.Linear(32, 3)).double()


def trained(network, engine=None, **settings):
    """The weights after two epochs."""
    how = {"epochs": 2, "batch": 3, "shuffle": False, "seed": 0} | settings
    for _ in train(network, split(), how.pop("optimiser", Optimiser(lr=0.1)), engine=engine, **how):
        pass
    return {name: value.clone() for name, value in network.state_dict().items() if isinstance(value, torch.Tensor)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.allclose(a[key], b[key], rtol=0, atol=1e-12) for key in a)


class Checkpointed(nn.Module):
    def __init__(self, reentrant, *extra):
        super().__init__()
        self.reentrant, self.first = reentrant, nn.Conv2d(2, 2, 1)
        self.second = nn.Sequential(nn.Conv2d(2, 2, 3), *extra)
        self.last = nn.Linear(32, 3)

    def forward(self, x):
        return self.last(checkpoint(self.second, self.first(x), use_reentrant=self.reentrant).flatten(1))


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_computed_again_in_the_backward_pass(reentrant):
    efcn = embed(Checkpointed(reentrant).double(), SHAPE)
    with pytest.raises(UserError, match=r"layer second\.0 is called twice in a step.*'autograd'"):
        trained(efcn)
    moved = trained(embed(Checkpointed(reentrant).double(), SHAPE), AUTOGRAD)
    assert all(value.isfinite().all() for value in moved.values())
    with pytest.raises(UserError, match=r"dropout is drawn again .* train without checkpointing"):
        trained(embed(Checkpointed(reentrant, nn.Dropout()).double(), SHAPE), AUTOGRAD)


def test_gradients_on_a_path_of_a_checkpointed_network():
    a, b = (embed(Checkpointed(False).double(), SHAPE) for _ in range(2))
    points = landscape.linear_points(dict(a.named_parameters()), dict(b.named_parameters()), 3)
    loss, found = landscape.MinibatchLoss(a, split(), 6, seed=0), {}
    loss.next_batch()
    loss.gradients(points, lambda name, gradient: found.update({name: gradient.value}))
    images = split()
    F.cross_entropy(b(images.x[loss.index]), images.y[loss.index]).backward()
    for name, parameter in b.named_parameters():
        assert torch.allclose(found[name][-1], parameter.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first", [nn.SELU(inplace=True), nn.ELU(inplace=True)])
def test_a_network_that_changes_its_images_leaves_those_of_others(first):
    network = nn.Sequential(first, *net())
    efcn, images = embed(network, SHAPE), split()
    before = images.x.clone()
    curve = landscape.linear_path(dict(efcn.named_parameters()), dict(efcn.named_parameters()), 3)
    losses = [evaluate(efcn, images)[0].item()] * 3
    for _ in range(2):
        assert finish(landscape.evaluate_curve(efcn, curve, {"test": images}))["test_loss"] == pytest.approx(losses)
    assert torch.equal(images.x, before)
    assert evaluate(efcn, images)[0] == evaluate(network, images)[0]


def test_tied_matrices_are_trained_as_pytorch_trains_them():
    def tied():
        network = net(nn.Flatten(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 32)).double()
        network[4].weight = network[2].weight
        return embed(network, SHAPE)

    assert same(trained(tied(), FUSED), trained(tied(), AUTOGRAD))
    efcn = tied()
    curve = landscape.linear_path(dict(efcn.named_parameters()), dict(efcn.named_parameters()), 3)
    losses = finish(landscape.evaluate_curve(efcn, curve, {"test": split()}))["test_loss"]
    assert losses == pytest.approx([evaluate(efcn, split())[0].item()] * 3)


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


def test_weights_that_are_computed_are_trained_all_the_same():
    ends = []
    for engine in (FUSED, AUTOGRAD):
        efcn = embed(net(), SHAPE)
        parametrize.register_parametrization(efcn[0], "weight", Halved())
        ends.append(trained(efcn, engine))
    assert same(*ends)
    frozen = embed(net(), SHAPE)
    frozen[0].weight.register_hook(torch.zeros_like)
    start = frozen[0].weight.detach().clone()
    assert torch.equal(trained(frozen)["0.weight"], start)


def test_a_weight_that_is_read_elsewhere_too():
    ends = []
    for engine in (FUSED, AUTOGRAD):
        torch.manual_seed(0)
        network = Own(lambda net, x: net.conv(x).flatten(1)[:, :3] + net.conv.bias.mean()).double()
        ends.append(trained(embed(network, SHAPE), engine))
    assert same(*ends)
    network = embed(
        Own(lambda net, x: net.conv(x).flatten(1)[:, :3] * net.conv.weight.mean()).double(), SHAPE, check=False
    )
    with pytest.raises(UserError, match=r"layer conv: its weight is read elsewhere too"):
        trained(network)


def test_hooks_on_a_matrix_are_called_on_a_path():
    efcn = embed(net(), SHAPE)
    efcn[0].register_forward_hook(lambda module, args, output: 2 * output)
    curve = landscape.linear_path(dict(efcn.named_parameters()), dict(efcn.named_parameters()), 3)
    losses = finish(landscape.evaluate_curve(efcn, curve, {"test": split()}))["test_loss"]
    assert losses == pytest.approx([evaluate(efcn, split())[0].item()] * 3)


@pytest.mark.parametrize(
    "extra",
    [
        (nn.FractionalMaxPool2d(1, output_size=4),),
        (nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 8, dropout=0.3, batch_first=True)),
    ],
    ids=["pooling", "attention"],
)
def test_layers_of_pytorch_that_draw_are_seeded(extra):
    assert same(*(trained(embed(net(*extra), SHAPE)) for _ in range(2)))


class KeptInEvaluation(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = net(nn.Dropout(0.9), nn.BatchNorm2d(2).double())

    def forward(self, x):
        return self.layers(x)

    def train(self, mode=True):  # and returns nothing, as many do
        super().train(mode)
        self.layers[1].eval()


def test_a_mode_that_a_network_keeps():
    network = KeptInEvaluation()
    nn.init.uniform_(network.layers[2].running_var, 0.5, 2)
    efcn = embed(network, SHAPE)
    kept = embed(KeptInEvaluation(), SHAPE)
    kept.load_state_dict(efcn.state_dict())
    kept.layers[1] = nn.Identity()
    assert same(trained(efcn), trained(kept))


@pytest.mark.parametrize(("weight", "bias"), [(True, False), (False, True)])
def test_half_a_normalisation_is_trained(weight, bias):
    network = net(nn.BatchNorm2d(2).double())
    network[1].weight.requires_grad_(weight)
    network[1].bias.requires_grad_(bias)
    norm = embed(network, SHAPE)[1]
    assert (norm.scale.requires_grad, norm.shift.requires_grad) == (weight, bias)


def test_a_normalisation_without_shift():
    network, x = net(nn.BatchNorm2d(2).double()).eval(), split().x
    network[1].bias = None
    network[1].running_mean.fill_(0.3)
    efcn = embed(network, SHAPE)
    assert torch.allclose(efcn(x), network(x), rtol=0, atol=1e-12)
    network.load_state_dict(project(efcn))


def test_a_linear_layer_on_rows():
    def rows():
        torch.manual_seed(0)
        layers = nn.Conv2d(2, 2, 3), nn.Flatten(2), nn.Linear(16, 5), nn.Tanh(), nn.Flatten(), nn.Linear(10, 3)
        return embed(nn.Sequential(*layers).double(), SHAPE)

    assert same(trained(rows(), FUSED), trained(rows(), AUTOGRAD))
    with pytest.raises(UserError, match="delay 2 keeps a row for each image: 6 came"):
        trained(rows(), Engine(delay=2))
    efcn, found = rows(), {}
    loss = landscape.MinibatchLoss(efcn, split(), 6, seed=0)
    loss.next_batch()
    points = {name: value.detach()[None] for name, value in efcn.named_parameters()}
    loss.gradients(points, lambda name, gradient: found.update({name: gradient.value}))
    images = split()
    F.cross_entropy(efcn(images.x[loss.index]), images.y[loss.index]).backward()
    assert all(torch.allclose(found[n][0], p.grad, rtol=0, atol=1e-12) for n, p in efcn.named_parameters())


def test_layers_that_are_called_by_keyword():
    def named(net, x):
        return net.drop(input=net.conv(input=x)).flatten(1)[:, :3]

    for engine in (FUSED, AUTOGRAD):
        moved = trained(embed(Own(named, drop=nn.Dropout(0.1)).double(), SHAPE), engine)
        assert all(value.isfinite().all() for value in moved.values())


def test_normalisation_in_float32_between_bfloat16():
    network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).bfloat16().eval()
    network[1].float()
    x = split().x.bfloat16()
    assert torch.allclose(embed(network, SHAPE)(x).float(), network(x).float(), rtol=0.05, atol=0.02)


class Noted(nn.Linear):
    _version = 3

    def get_extra_state(self):
        return {"note": "mine"}

    def set_extra_state(self, state):
        assert state == {"note": "mine"}

    def _load_from_state_dict(self, state, prefix, metadata, *args):
        assert metadata["version"] == 3
        super()._load_from_state_dict(state, prefix, metadata, *args)


def test_what_a_state_holds_beside_tensors_goes_back_too():
    network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten(), Noted(32, 3)).double()
    efcn = embed(network, SHAPE)
    network.load_state_dict(project(efcn))
    trained(efcn)


class Positive(nn.Module):
    def forward(self, x):
        return x > 0


def test_modules_that_answer_with_truths():
    network, x = net(Positive(), Own(lambda net, x: x.double())), split().x
    del network[2].conv
    assert torch.equal(embed(network, SHAPE)(x), network(x))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Flatten()), r"the network \(Sequential\) has no parameter to train"),
        (nn.Sequential(nn.Linear(3, 3)).requires_grad_(False), r"has no parameter to train"),
    ],
)
def test_what_cannot_be_trained(network, message):
    with pytest.raises(UserError, match=message):
        Trainer(network, Optimiser(lr=0.1))


def test_two_outputs_in_training():
    network = Own(lambda net, x: (net.conv(x), 1) if net.training else net.conv(x).flatten(1)).double()
    with pytest.raises(UserError, match="returns a tuple in training"):
        trained(embed(network, SHAPE).train())


def test_momentum_of_a_layer_that_a_step_skips():
    network = Own(lambda net, x: net.conv(x).flatten(1)[:, :3], spare=nn.Linear(2, 2)).double()
    for optimiser in (Optimiser(lr=0.1), Optimiser(name="adam", lr=0.01)):
        trained(embed(network, SHAPE), optimiser=optimiser)
    with pytest.raises(UserError, match=r"spare.weight takes no part in a step"):
        trained(embed(network, SHAPE), optimiser=Optimiser(lr=0.1, momentum=0.9))


def test_functions_that_hold_modules():
    network = net()
    layer = network[2]
    network.extra = lambda x: layer(x)
    with pytest.raises(UserError, match=r"the network \(Sequential\) keeps a function that holds modules"):
        embed(network, SHAPE)


def test_a_misspelt_weight_is_told():
    with pytest.raises(UserError, match=r"the network has no weights called 0\.wieght"):
        evaluate(net(), split(), {"0.wieght": torch.zeros(2, 2, 3, 3)})

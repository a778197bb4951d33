r"""A CNN rewritten exactly as a fully-connected network, and projected back.

The eFCN's matrices hold the filters w on their orbits, :math:`W[o, y, x, i, sy + a, sx + b] = w[o, i, a, b]` on padded
inputs for stride s, and zero elsewhere.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from efcnlib.errors import UserError
from efcnlib.geometry import ConvGeometry
from efcnlib.networks import DenseConv, LocalConv, convolutions, dense, local
from efcnlib.networks.tracing import image_shape, named_layers, pair, trace_layer


def embed(network: nn.Sequential, input_shape: Sequence[int], live: bool = True) -> nn.Sequential:
    """The eFCN that computes exactly what ``network``, a CNN or an eLCN, computes in evaluation mode.

    :param network: A Sequential, possibly nested, of Conv2d (any kernel, stride, zero padding, dilation, groups), batch
        normalisation behind a Conv2d or Linear (folded in with its running statistics), max and average pooling,
        pointwise activations, dropout, flatten and Linear; of any floating-point type, on any device. `LocalConv` may
        stand where Conv2d does: each place's own filter goes into its output's row.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :param live: Keep only the weights that can ever move; else the padded matrices of the paper.
    :returns: The same layers with a `DenseConv` for each convolution; it shares no memory with ``network``.
    :raises UserError: It names the first layer that cannot be embedded.

    >>> import torch
    >>> from efcnlib import embed
    >>> cnn, x = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, padding=1)).double(), torch.rand(4, 3, 8, 8).double()
    >>> torch.allclose(cnn(x), embed(cnn, (3, 8, 8))(x), rtol=0, atol=1e-12)
    True
    """
    network, training = fold_batch_norm(network, input_shape), network.training
    result = dense(network, input_shape, live)
    result.load_state_dict(_unchanged(network), strict=False)
    for (name, layer), conv in zip(convolutions(result), _convs(network), strict=True):
        if isinstance(conv, LocalConv):
            setattr(result, name, _unshared(conv, layer.geometry, live))
        else:
            write_filter(layer, conv.weight.detach(), None if conv.bias is None else conv.bias.detach())
    return result.train(training)


def embed_local(network: nn.Sequential, input_shape: Sequence[int]) -> nn.Sequential:
    """The eLCN that computes exactly what ``network`` computes: its receptive fields, weights no longer shared.

    :param network: As for `embed`.
    :param input_shape: (channels, height, width) of one image, in pixels.
    :returns: The same layers with a `LocalConv` for each Conv2d; it shares no memory with ``network``.
    :raises UserError: It names the first layer that cannot be embedded.

    >>> import torch
    >>> from efcnlib import embed_local
    >>> cnn, x = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).double(), torch.rand(4, 1, 8, 8).double()
    >>> torch.allclose(cnn(x), embed_local(cnn, (1, 8, 8))(x), rtol=0, atol=1e-12)
    True
    """
    network, training = fold_batch_norm(network, input_shape), network.training
    result = local(network, input_shape)
    result.load_state_dict(_unchanged(network), strict=False)
    layers = [layer for layer in result if isinstance(layer, LocalConv)]
    with torch.no_grad():
        for layer, conv in zip(layers, _convs(network), strict=True):
            if isinstance(conv, LocalConv):
                layer.load_state_dict(conv.state_dict())
                continue
            layer.weight.copy_(conv.weight.unflatten(0, (layer.geometry.groups, -1))[..., None, None])
            if conv.bias is not None:
                layer.bias.copy_(conv.bias[:, None, None])
    return result.train(training)


@torch.no_grad()
def write_filter(layer: DenseConv, weight: Tensor, bias: Tensor | None) -> None:
    """Write a convolution's ``weight`` [c_out, c_in / groups, kh, kw] and ``bias`` [c_out] into a dense layer."""
    g = layer.geometry
    layer.weight.zero_()
    grouped = weight.unflatten(0, (g.groups, -1))
    for (a, b), orbit in g.orbits(layer.weight.data, layer.live):
        orbit.copy_(grouped[..., a, b, None, None].expand_as(orbit))
    layer.dead_mean.copy_(weight)
    layer.dead_spread.zero_()
    layer.dead_off.zero_()
    if bias is not None:
        rows = layer.bias.view(g.c_out, -1)
        rows.copy_(bias[:, None].expand_as(rows))
        layer.dead_bias.copy_(bias.double() * (g.out[0] * g.out[1] - rows.shape[1]))


@torch.no_grad()
def _unshared(conv: LocalConv, g: ConvGeometry, live: bool) -> DenseConv:
    """A dense layer with the weights that an eLCN's has at each place."""
    result = DenseConv(g, False, conv.bias is not None, conv.weight.dtype, conv.weight.device)
    result.weight.zero_()
    for (a, b), orbit in g.orbits(result.weight.data, live=False):
        orbit.copy_(conv.weight[..., a, b, :, :])
    if conv.bias is not None:
        result.bias.copy_(conv.bias.flatten())
    return to_live(result) if live else result


@torch.no_grad()
def to_live(layer: DenseConv) -> DenseConv:
    """The live part of a padded layer, with what its dead weights add to norms and means."""
    g = layer.geometry
    result = DenseConv(g, live=True, bias=layer.bias is not None, dtype=layer.weight.dtype).to(layer.weight.device)
    result.weight.copy_(g.crop(layer.weight).reshape(result.weight.shape))
    # What is left of a copy when its live part is zeroed is the dead part: no difference of large sums.
    dead = layer.weight.detach().clone()
    g.crop(dead).zero_()
    result.dead_off.copy_(off_local_squares(g, dead, live=False))
    counts = dead_counts(result)
    mask = torch.ones_like(dead[: g.out[0] * g.out[1], : g.rows.padded * g.cols.padded])  # of one channel pair
    one = replace(g, c_in=1, c_out=1, groups=1)
    one.crop(mask).zero_()
    orbits = zip(g.orbits(dead, live=False), one.orbits(mask, live=False), strict=True)
    for ((a, b), orbit), (_, is_dead) in orbits:
        if counts[a, b]:
            mean = _sum(orbit) / counts[a, b]
            spread = _sum(((orbit - mean[..., None, None]) * is_dead).square())
            result.dead_mean[..., a, b] = mean.flatten(0, 1)
            result.dead_spread[..., a, b] = spread.flatten(0, 1)
    if layer.bias is not None:
        h, w = g.live_out
        biases = layer.bias.double().view(g.c_out, *g.out)
        result.bias.copy_(biases[:, :h, :w].reshape(-1))
        result.dead_bias.copy_(biases.sum((1, 2)) - biases[:, :h, :w].sum((1, 2)))
    return result


@torch.no_grad()
def project(network: nn.Sequential) -> dict[str, Tensor]:
    r"""State of the CNN nearest to a dense network: filter entries are means over orbits, biases over channels.

    An orbit's mean is the nearest number to all its entries :math:`w_j`: it minimises :math:`\sum_j (w_j - m)^2`.

    :param network: An eFCN or standard FCN, with a `DenseConv` for each convolution.
    :returns: A state dict for the CNN: weights [c_out, c_in / groups, kh, kw] and biases [c_out] in the network's own
        type.

    >>> import torch
    >>> from efcnlib import embed, project
    >>> cnn = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).double()
    >>> torch.allclose(project(embed(cnn, (1, 8, 8)))["0.weight"], cnn[0].weight, rtol=0, atol=1e-12)
    True
    """
    state = _unchanged(network)
    for name, layer in convolutions(network):
        g = layer.geometry
        state[f"{name}.weight"] = orbit_means(layer).to(layer.weight.dtype)
        if layer.bias is not None:
            total = layer.bias.double().view(g.c_out, -1).sum(1) + layer.dead_bias
            state[f"{name}.bias"] = (total / (g.out[0] * g.out[1])).to(layer.bias.dtype)
    return state


@torch.no_grad()
def block(layer: DenseConv, output_channel: int = 0, input_channel: int = 0) -> Tensor:
    """One channel pair's part of an eFCN's padded matrix.

    Dead local entries stand at the filter that was embedded, dead off-local ones at zero. A live standard FCN's dead
    weights, which differ from each other, are not kept: only their mean is shown.

    :param layer: Of an eFCN, in either layout.
    :param output_channel: From 0 on.
    :param input_channel: From 0 on.
    :returns: A copy, [h_out, w_out, h_padded, w_padded].
    :raises UserError: For a convolution with groups.

    >>> import torch
    >>> from efcnlib.embedding import block, embed
    >>> block(embed(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 3, padding=1)), (1, 4, 4))[0]).shape
    torch.Size([4, 4, 6, 6])
    """
    g = layer.geometry
    if g.groups > 1:
        raise UserError(f"groups {g.groups}: only blocks of convolutions with groups 1 are shown")
    if not layer.live:
        return layer.weight.view(g.shape6(False))[output_channel, :, :, input_channel].clone()
    one = replace(g, c_in=1, c_out=1, groups=1)
    result = torch.zeros(one.shape(False), dtype=layer.weight.dtype, device=layer.weight.device)
    for (a, b), orbit in one.orbits(result, live=False):
        orbit.fill_(layer.dead_mean[output_channel, input_channel, a, b].item())
    live = layer.weight.view(g.shape6(True))[output_channel, :, :, input_channel]
    one.crop(result).copy_(live[None, :, :, None])
    return result.view(*g.out, g.rows.padded, g.cols.padded)


def fold_batch_norm(network: nn.Sequential, input_shape: Sequence[int]) -> nn.Sequential:
    """The same function as ``network`` in evaluation mode: flat, without batch normalisation and adaptive pooling."""
    result, shape = nn.Sequential(), image_shape(input_shape)
    for name, layer in _flatten(network):
        before = result[-1] if len(result) else None
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            result[-1] = _fuse(name, before, layer, shape[0])
            continue
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            layer = _as_avg_pool(name, layer, shape)
        shape = trace_layer(name, layer, shape).shape
        result.append(copy.deepcopy(layer).eval())
    return result.eval().requires_grad_()  # PyTorch's fusing freezes a bias that the layer did not have before


def _flatten(network: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(network, nn.Sequential) or type(network).forward is not nn.Sequential.forward:
        raise UserError(f"a {type(network).__name__} has no known order of layers: give a torch.nn.Sequential")
    for name, layer in named_layers(network):
        if isinstance(layer, nn.Sequential):
            yield from _flatten(layer, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", layer


def _fuse(name: str, before: nn.Module | None, norm: nn.Module, features: int) -> nn.Module:
    if norm.running_mean is None:
        raise UserError(f"layer {name} ({type(norm).__name__}) has no running statistics to fold in")
    if norm.num_features != features:
        raise UserError(
            f"layer {name} ({type(norm).__name__}): it takes {norm.num_features} channels, its input has {features}"
        )
    norm = copy.deepcopy(norm).eval()
    if isinstance(before, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        return fuse_conv_bn_eval(before, norm)
    if isinstance(before, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
        return fuse_linear_bn_eval(before, norm)
    where = f"behind a {type(before).__name__}" if before is not None else "at the start"
    raise UserError(
        f"layer {name} ({type(norm).__name__}) stands {where}: it is embedded only right behind a Conv2d or Linear"
    )


def _as_avg_pool(name: str, pool: nn.AdaptiveAvgPool2d, shape: tuple[int, ...]) -> nn.AvgPool2d:
    if len(shape) != 3:
        raise UserError(f"layer {name} (AdaptiveAvgPool2d): it takes images, its input has shape {list(shape)}")
    target = [size if out is None else out for out, size in zip(pair(pool.output_size), shape[1:], strict=True)]
    if any(out < 1 or size % out for out, size in zip(target, shape[1:], strict=True)):
        raise UserError(
            f"layer {name} (AdaptiveAvgPool2d): its output {target} must divide its input {list(shape[1:])} evenly"
        )
    return nn.AvgPool2d(tuple(size // out for out, size in zip(target, shape[1:], strict=True)))


def _convs(network: nn.Sequential) -> list[nn.Conv2d | LocalConv]:
    return [layer for layer in network if isinstance(layer, nn.Conv2d | LocalConv)]


def _unchanged(network: nn.Sequential) -> dict[str, Tensor]:
    """State of the linear layers, which are the same in all counterparts."""
    linear = [(name, layer) for name, layer in network.named_children() if isinstance(layer, nn.Linear)]
    values = {f"{name}.{key}": getattr(layer, key) for name, layer in linear for key in ("weight", "bias")}
    return {key: value.detach() for key, value in values.items() if value is not None}


def _sum(orbit: Tensor) -> Tensor:
    return orbit.sum((-2, -1), dtype=torch.float64)  # [groups, c_out / groups, c_in / groups]


def orbit_means(layer: DenseConv) -> Tensor:
    """Mean over each orbit of the padded matrix, float64 [c_out, c_in / groups, kh, kw]."""
    g = layer.geometry
    total = layer.dead_mean * dead_counts(layer)
    for (a, b), orbit in g.orbits(layer.weight.detach(), layer.live):
        total[..., a, b] += _sum(orbit).flatten(0, 1)
    return total / (g.out[0] * g.out[1])


def dead_counts(layer: DenseConv) -> Tensor:
    """How many entries of each orbit the layout leaves out, float64 [kh, kw]."""
    g, weight = layer.geometry, layer.weight.detach()
    kept = [view.shape[-2] * view.shape[-1] for _, view in g.orbits(weight, layer.live)]
    kept = torch.tensor(kept, dtype=torch.float64, device=weight.device)
    return g.out[0] * g.out[1] - kept.view(g.rows.kernel, g.cols.kernel)


def off_local_squares(g: ConvGeometry, weight: Tensor, live: bool) -> Tensor:
    """Sum of the squares of a matrix's off-local weights, float64; a channel at a time to keep the copy small."""
    six = weight.view(g.shape6(live))
    mask = g.local_mask(live, six.device).expand(g.c_out, -1, -1, -1, -1, -1)
    return sum(w.masked_fill(m, 0).square().sum(dtype=torch.float64) for w, m in zip(six, mask, strict=True))

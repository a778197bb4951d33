"""A convolution's place in a dense network, and batch normalisation as the affine map it is in evaluation."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib.geometry import ConvGeometry


class DenseConv(nn.Module):
    """A convolution's place in a dense network: a full matrix from all its inputs to all its outputs.

    ``weight`` is [outputs, inputs] and ``bias`` [outputs] or None, uninitialised. It maps [n, c_in, h, w] to
    [n, c_out, rows, columns], cut to the live outputs in the live layout; a 1-D convolution's [n, c_in, w] to
    [n, c_out, columns]. A transposed convolution's ``weight`` is [inputs, outputs], as PyTorch has its filters.

    Without weight decay the dead weights never change. In the live layout all that is kept of them is, for each orbit,
    their mean and squared distance to it (``dead_mean``, ``dead_spread``: [c_out, c_in / groups, kh, kw]), the sum of
    the squares of the off-local ones (``dead_off``), and that of the biases of each channel's unread outputs
    (``dead_bias``); all float64.

    :param geometry: The convolution's.
    :param live: The live layout, the only one of a transposed convolution; else the padded one.
    :param bias: Whether there are biases.
    :param dtype: Of weights and biases; None: PyTorch's default.
    :param device: Where they are; None: PyTorch's default.

    >>> from efcnlib.networks import architectures, cnn, dense
    >>> cnn = cnn(architectures.vanilla(10), (3, 32, 32))
    >>> dense(cnn, (3, 32, 32), live=False)[0], dense(cnn, (3, 32, 32))[0]
    (DenseConv(3888 -> 18496, padded), DenseConv(3072 -> 18496, live))
    """

    def __init__(
        self,
        geometry: ConvGeometry,
        live: bool,
        bias: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ):
        super().__init__()
        self.geometry, self.live = geometry, live or geometry.transposed
        shape = geometry.shape(self.live)
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device=device))
        self.output_shape = geometry.output_shape(self.live)
        outputs = shape[1] if geometry.transposed else shape[0]
        self.bias = nn.Parameter(torch.empty(outputs, dtype=dtype, device=device)) if bias else None
        for name, size in (
            ("dead_mean", geometry.filter_shape),
            ("dead_spread", geometry.filter_shape),
            ("dead_off", ()),
            ("dead_bias", self.output_shape[:1]),
        ):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64, device=device))

    def forward(self, input: Tensor, output_size: object = None) -> Tensor:
        """Images [n, c_in, h, w] or [n, c_in, w] -> a batch of ``output_shape``; UserError for another shape.

        Arguments are called as PyTorch's convolutions call them; the size has been decided when this layer was made.
        """
        weight = self.weight.t() if self.geometry.transposed else self.weight
        return F.linear(self.flatten_input(input), weight, self.bias).unflatten(1, self.output_shape)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "DenseConv":
        """To another device or type: what is kept of dead weights stays float64."""
        kept = dict(self.named_buffers())
        super()._apply(fn, recurse)
        for name, value in kept.items():
            if not value.is_meta:
                setattr(self, name, value.to(self.weight.device))
        return self

    def flatten_input(self, x: Tensor) -> Tensor:
        """The images as the matrix reads them: [n, inputs]."""
        x = self.geometry.read(x)
        if not self.live:
            rows, cols = self.geometry.rows, self.geometry.cols
            x = F.pad(x, (cols.padding, cols.after, rows.padding, rows.after))
        return x.flatten(1)

    def extra_repr(self) -> str:
        """What print() shows."""
        outputs, inputs = self.weight.t().shape if self.geometry.transposed else self.weight.shape
        return f"{inputs} -> {outputs}, {'live' if self.live else 'padded'}"


class FrozenBatchNorm(nn.Module):
    r"""Batch normalisation in evaluation mode, whatever its mode: :math:`y = a x + b` for each channel.

    With the running mean m and variance v, ``scale`` is :math:`a = \gamma / \sqrt{v + \epsilon}` and ``shift``
    :math:`b = \beta - a m`, both [channels]. They are trained as far as the layer's own were. The statistics serve
    the way back alone, ``efcnlib.project``.

    :param norm: With running statistics.

    >>> import torch
    >>> from efcnlib.networks import FrozenBatchNorm
    >>> norm, x = torch.nn.BatchNorm2d(3).double().eval(), torch.rand(2, 3, 4, 4).double()
    >>> torch.allclose(FrozenBatchNorm(norm)(x), norm(x), rtol=0, atol=1e-12)
    True
    """

    @torch.no_grad()
    def __init__(self, norm: nn.modules.batchnorm._BatchNorm):
        super().__init__()
        self.eps, self.parts = norm.eps, [part for part in ("weight", "bias") if getattr(norm, part) is not None]
        mean, scale = norm.running_mean.double(), (norm.running_var.double() + norm.eps).rsqrt()
        shift = -mean * scale
        if norm.weight is not None:
            scale, shift = scale * norm.weight, shift * norm.weight
        if norm.bias is not None:
            shift = shift + norm.bias
        for name, value, part in (("scale", scale, norm.weight), ("shift", shift, norm.bias)):
            dtype = norm.running_mean.dtype if part is None else part.dtype
            trained = part is not None and part.requires_grad
            setattr(self, name, nn.Parameter(value.to(dtype), requires_grad=trained))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            value = getattr(norm, name)
            self.register_buffer(name, None if value is None else value.clone())

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, ...] -> the same."""
        shape = (-1, *(1,) * (x.ndim - 2))
        return (x * self.scale.view(shape) + self.shift.view(shape)).to(x.dtype)

    @torch.no_grad()
    def unfrozen(self) -> dict[str, Tensor]:
        """State of the batch normalisation that computes the same in evaluation mode."""
        state = {name: value for name, value in self.named_buffers(recurse=False)}
        mean, deviation = self.running_mean.double(), (self.running_var.double() + self.eps).sqrt()
        values = {"weight": self.scale * deviation, "bias": self.shift + mean * self.scale}
        return state | {name: values[name].to(self.scale) for name in values if name in self.parts}

"""Updates of dense layers that store no gradient.

A dense layer's gradient is a product, G = dY^T X over a batch, with dY [n, outputs] and X [n, inputs]. So the update
can be that product itself: plain SGD is W <- W - lr dY^T X, one ``addmm_``; momentum accumulates into its velocity the
same way. Adam, which needs G squared, gets it in a scratch buffer of one layer, reused by all.
All follow ``torch.optim``, with weight decay added to the gradient.
"""

import torch
from torch import Tensor, nn

from efcnlib.errors import UserError
from efcnlib.training.optimisers import Optimiser, optimiser_tensors, restore_optimiser, strip_prefix

ROWS_AT_ONCE = 256  # of a matrix updated at a time where products have to be converted: they stay in a CPU's cache


class FusedUpdate:
    r"""The update of a matrix ``weight`` [outputs, inputs], in place, from the factors of its gradient.

    For SGD with momentum :math:`\mu` and weight decay :math:`\lambda`: :math:`V \leftarrow \mu V + G + \lambda W`,
    :math:`W \leftarrow W - \eta V` with :math:`G = dY^T X` and the learning rate :math:`\eta`.
    """

    def __init__(self, weight: Tensor, optimiser: Optimiser, scratch: Tensor | None = None):
        self.weight, self.optimiser = weight, optimiser
        self.velocity = torch.zeros_like(weight) if optimiser.momentum else None
        if optimiser.name == "adam":
            self.gradient = scratch[: weight.numel()].view_as(weight)
            self.adam = optimiser.build([weight])

    def state(self) -> dict[str, Tensor]:
        """The optimiser's state: it decides, with the weights, how the training goes on."""
        if self.optimiser.name == "adam":
            return optimiser_tensors(self.adam)
        return {} if self.velocity is None else {"velocity": self.velocity}

    def restore(self, moments: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        if self.optimiser.name == "adam":
            restore_optimiser(self.adam, moments)
        elif self.velocity is not None:
            self.velocity.copy_(moments["velocity"])

    def load_moments(self, moments: dict[str, Tensor]) -> None:
        """Go on from moments of these rows by PyTorch's names, those of another optimiser of the kind."""
        if self.optimiser.name == "adam":
            restore_optimiser(self.adam, {f"0/{name}": value for name, value in moments.items()})
        elif self.velocity is not None:
            self.velocity.copy_(moments["momentum_buffer"])

    def update(self, dy: Tensor, x: Tensor) -> None:
        """One step with the gradient dy^T x; dy [n, outputs], x [n, inputs]."""
        lr, decay = self.optimiser.lr, self.optimiser.weight_decay
        if self.optimiser.name == "adam":
            accumulate_product(self.gradient, dy, x, beta=0, alpha=1)
            self.weight.grad = self.gradient
            self.adam.step()
            self.weight.grad = None
        elif self.velocity is not None:
            accumulate_product(self.velocity, dy, x, beta=self.optimiser.momentum, alpha=1)
            if decay:
                self.velocity.add_(self.weight, alpha=decay)
            self.weight.sub_(self.velocity, alpha=lr)
        else:
            accumulate_product(self.weight, dy, x, beta=1 - lr * decay, alpha=-lr)


def accumulate_product(target: Tensor, dy: Tensor, x: Tensor, *, beta: float, alpha: float) -> None:
    """In place, target <- beta target + alpha dy^T x, summed in the type of ``target`` whatever that of dy and x."""
    if dy.dtype == target.dtype:
        target.addmm_(dy.t(), x, beta=beta, alpha=alpha)
    elif target.is_cuda:
        torch.addmm(target, dy.t(), x, out_dtype=target.dtype, beta=beta, alpha=alpha, out=target)
    else:  # PyTorch has no product of bf16 into float32 on a CPU: its result, rounded to bf16, is added
        product = torch.mm(dy.t(), x).to(target.dtype)  # converted first: adding mixed types is many times slower
        if beta == 0:
            torch.mul(product, alpha, out=target)
        else:
            (target if beta == 1 else target.mul_(beta)).add_(product, alpha=alpha)


class FusedLinear:
    """One fully-connected layer in training, y = x W^T + b, updated in place as its gradient arrives.

    ``dtype`` is the type in which products are computed. If that is not the masters', a copy of W in that type,
    ``bf16_weight``, serves the products forward and back.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, optimiser: Optimiser, dtype: torch.dtype, scratch: Tensor | None
    ):
        self.weight, self.bias = weight.detach(), bias
        self.bf16_weight = None if dtype == weight.dtype else self.weight.to(dtype)
        converted = self.bf16_weight is not None and not weight.is_cuda
        step = ROWS_AT_ONCE if converted else len(weight)
        parts = [slice(first, first + step) for first in range(0, len(weight), step)]
        self.rows = [(part, FusedUpdate(self.weight[part], optimiser, scratch)) for part in parts]

    @property
    def compute_weight(self) -> Tensor:
        """The matrix that products are computed with."""
        return self.weight if self.bf16_weight is None else self.bf16_weight

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs] -> [n, outputs]."""
        bias = None if self.bias is None else self.bias.detach().to(x.dtype)
        return nn.functional.linear(x, self.compute_weight, bias)

    def input_gradient(self, dy: Tensor) -> Tensor:
        """The gradient of the layer's input, [n, outputs] -> [n, inputs]; to be asked for before `update`."""
        return dy @ self.compute_weight

    def update(self, dy: Tensor, x: Tensor) -> None:
        """One step of W; the bias gets its gradient, and its step elsewhere."""
        self.bias_gradient(dy)
        self.apply(dy, x)

    def apply(self, dy: Tensor, x: Tensor) -> None:
        """One step of W and its bf16 copy, some rows at a time."""
        for part, rows in self.rows:
            rows.update(dy[:, part], x)
            if self.bf16_weight is not None:
                self.bf16_weight[part].copy_(self.weight[part])

    def bias_gradient(self, dy: Tensor) -> None:
        """Leave the bias's gradient where its optimiser looks for it."""
        if self.bias is not None:
            gradient = dy.sum(0).to(self.bias.dtype)  # bf16 is summed in float32, then rounded
            self.bias.grad = gradient if self.bias.grad is None else self.bias.grad + gradient  # of another use of it

    def flush(self) -> None:
        """Make the weights what they should be by now."""

    def state(self) -> dict[str, Tensor]:
        """The optimiser's state beside the weights, once flushed."""
        return {f"{i}/{name}": value for i, (_, rows) in enumerate(self.rows) for name, value in rows.state().items()}

    def restore(self, moments: dict[str, Tensor]) -> None:
        """Go on from what `state` gave, with the weights that are in place by now."""
        for i, (_, rows) in enumerate(self.rows):
            rows.restore(strip_prefix(f"{i}/", moments))
        if self.bf16_weight is not None:
            self.bf16_weight.copy_(self.weight)

    def load_moments(self, moments: dict[str, Tensor]) -> None:
        """Go on from moments [outputs, inputs] by PyTorch's names; the number of steps is a scalar."""
        for part, rows in self.rows:
            rows.load_moments({name: value[part] if value.ndim else value for name, value in moments.items()})


class DelayedLinear(FusedLinear):
    """Plain SGD whose steps reach W only every ``delay`` batches, in one wide product: less traffic, same numbers.

    With the factors X_i, dY_i of the p batches since then kept (p <= delay), the weights that should be are
    W - lr sum_i dY_i^T X_i, so that

        y = x W^T - lr sum_i (x X_i^T) dY_i          dx = dy W - lr sum_i (dy dY_i^T) X_i

    are exact: products of n x n matrices instead of a pass over W. ``n`` is the largest batch in images.

    >>> import torch
    >>> from efcnlib.training.fused_updates import DelayedLinear
    >>> from efcnlib.training.optimisers import Optimiser
    >>> matrix = DelayedLinear(torch.eye(2), None, Optimiser(lr=0.5), torch.float32, delay=2, n=1)
    >>> x, dy = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    >>> matrix.update(dy, x)
    >>> matrix.weight, matrix.forward(x)  # not written yet, but there: (1 - 5/2, 2)
    (tensor([[1., 0.],
            [0., 1.]]), tensor([[-1.5000,  2.0000]]))
    >>> matrix.flush()
    >>> matrix.weight, matrix.forward(x)
    (tensor([[ 0.5000, -1.0000],
            [ 0.0000,  1.0000]]), tensor([[-1.5000,  2.0000]]))
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, optimiser: Optimiser, dtype: torch.dtype, delay: int, n: int
    ):
        super().__init__(weight, bias, optimiser, dtype, None)
        self.lr, self.delay = optimiser.lr, delay
        self.used = self.batches = 0  # rows and batches that are kept
        outputs, inputs = weight.shape
        self.xs = weight.new_empty(delay * n, inputs, dtype=dtype)
        self.dys = weight.new_empty(delay * n, outputs, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs] -> [n, outputs]."""
        y = super().forward(x)
        if self.used:
            y.addmm_(x @ self.xs[: self.used].t(), self.dys[: self.used], alpha=-self.lr)
        return y

    def input_gradient(self, dy: Tensor) -> Tensor:
        """[n, outputs] -> [n, inputs]."""
        dx = super().input_gradient(dy)
        if self.used:
            dx.addmm_(dy @ self.dys[: self.used].t(), self.xs[: self.used], alpha=-self.lr)
        return dx

    def update(self, dy: Tensor, x: Tensor) -> None:
        """Keep the factors; write the matrix when enough have come together."""
        self.bias_gradient(dy)
        if len(x) * self.delay > len(self.xs):
            raise UserError(f"delay {self.delay} keeps a row for each image: {len(x)} came, take delay 1")
        now = slice(self.used, self.used + len(x))
        self.xs[now], self.dys[now] = x, dy
        self.used, self.batches = now.stop, self.batches + 1
        if self.batches == self.delay:
            self.flush()

    def flush(self) -> None:
        """Write what is kept into the matrix."""
        if self.used:
            self.apply(self.dys[: self.used], self.xs[: self.used])
            self.used = self.batches = 0

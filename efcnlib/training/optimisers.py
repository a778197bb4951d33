"""How weights are updated: the optimisers' settings, and fused updates that store no gradient.

A dense layer's gradient is a product, G = dY^T X over a batch, with dY [n, outputs] and X [n, inputs]. So the update
can be that product itself: plain SGD is W <- W - lr dY^T X, one ``addmm_``; momentum accumulates into its velocity the
same way. Adam, which needs G squared, gets it in a scratch buffer of one layer, reused by all.

All follow PyTorch's definitions (``torch.optim``), with weight decay added to the gradient.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from efcnlib.settings import Bounds, Settings

ROWS = 256  # of a matrix updated at a time where products have to be converted: they stay in a CPU's cache


@dataclass(frozen=True)
class Optimiser(Settings):
    """How weights are updated, with PyTorch's definitions; started fresh, unless a study carries it over.

    >>> from efcnlib.training.optimisers import Optimiser
    >>> Optimiser(lr=0.05), Optimiser(lr=0.05).plain, Optimiser(momentum=0.9).plain
    (Optimiser(name='sgd', lr=0.05, momentum=0.0, weight_decay=0.0), True, False)
    """

    name: Literal["sgd", "adam"] = "sgd"
    lr: Annotated[float, Bounds(gt=0, le=100)] = 0.1
    momentum: Annotated[float, Bounds(ge=0, lt=1)] = 0.0  # SGD only
    weight_decay: Annotated[float, Bounds(ge=0, le=1)] = 0.0  # added to the gradient, per weight

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == "adam" and self.momentum:
            raise ValueError(f"momentum {self.momentum} is for sgd: adam allows only 0")

    @property
    def plain(self) -> bool:
        """Whether this is W <- W - lr G and nothing else."""
        return self.name == "sgd" and not self.momentum and not self.weight_decay

    @property
    def words(self) -> str:
        """Name for people: "adam", "sgd with momentum"."""
        return f"{self.name} with momentum" if self.momentum else self.name

    @property
    def gathers(self) -> tuple[str, ...]:
        """The moments that steps gather for each weight, by PyTorch's names."""
        if self.name == "adam":
            return "exp_avg", "exp_avg_sq"
        return ("momentum_buffer",) if self.momentum else ()

    def start(self, parameters: list[Tensor], fused: bool = True) -> torch.optim.Optimizer:
        """A fresh PyTorch optimiser; ``fused``: each parameter in one pass, and fit for a CUDA graph."""
        if self.name == "adam":
            graphs = {"capturable": True} if fused and parameters[0].is_cuda else {}
            return torch.optim.Adam(parameters, self.lr, weight_decay=self.weight_decay, fused=fused, **graphs)
        return torch.optim.SGD(parameters, self.lr, self.momentum, weight_decay=self.weight_decay, fused=fused)


def moments_of(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What a PyTorch optimiser has gathered so far, as "PARAMETER/NAME", parameters by their number.

    >>> import torch
    >>> from efcnlib.training.optimisers import Optimiser, moments_of
    >>> w = torch.zeros(2, requires_grad=True)
    >>> sgd = Optimiser(lr=0.1, momentum=0.5).start([w], fused=False)
    >>> for _ in range(2):
    ...     w.grad = torch.tensor([1.0, 2.0])
    ...     sgd.step()
    >>> moments_of(sgd)
    {'0/momentum_buffer': tensor([1.5000, 3.0000])}
    """
    parameters = enumerate(p for group in optimiser.param_groups for p in group["params"])
    states = ((i, name, value) for i, p in parameters for name, value in optimiser.state.get(p, {}).items())
    return {f"{i}/{name}": value for i, name, value in states if isinstance(value, Tensor)}


def restore_moments(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Make a fresh optimiser what the one was that gave `moments_of`, in each parameter's own memory layout.

    >>> import torch
    >>> from efcnlib.training.optimisers import Optimiser, moments_of, restore_moments
    >>> sgd = Optimiser(momentum=0.5).start([torch.zeros(2, requires_grad=True)])
    >>> restore_moments(sgd, {"0/momentum_buffer": torch.tensor([1.5, 3.0])})
    >>> moments_of(sgd)
    {'0/momentum_buffer': tensor([1.5000, 3.0000])}
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for key, value in moments.items():
        number, name = key.split("/")
        p = parameters[int(number)]
        like = (
            torch.empty_like(p) if value.shape == p.shape and value.ndim else torch.empty_like(value, device=p.device)
        )
        optimiser.state[p][name] = like.detach().copy_(value)


class Rows:
    r"""The update of a matrix ``weight`` [outputs, inputs], in place, from the factors of its gradient.

    For SGD with momentum :math:`\mu` and weight decay :math:`\lambda`: :math:`V \leftarrow \mu V + G + \lambda W`,
    :math:`W \leftarrow W - \eta V` with :math:`G = dY^T X` and the learning rate :math:`\eta`.

    >>> import torch
    >>> from efcnlib.training.optimisers import Optimiser, Rows
    >>> rows = Rows(torch.zeros(1, 2), Optimiser(lr=0.1, momentum=0.5))
    >>> for _ in range(2):
    ...     rows.update(dy=torch.tensor([[1.0]]), x=torch.tensor([[1.0, 2.0]]))
    >>> rows.weight, rows.velocity
    (tensor([[-0.2500, -0.5000]]), tensor([[1.5000, 3.0000]]))
    """

    def __init__(self, weight: Tensor, optimiser: Optimiser, scratch: Tensor | None = None):
        self.weight, self.optimiser = weight, optimiser
        self.velocity = torch.zeros_like(weight) if optimiser.momentum else None
        if optimiser.name == "adam":
            self.gradient = scratch[: weight.numel()].view_as(weight)
            self.adam = optimiser.start([weight])

    def moments(self) -> dict[str, Tensor]:
        """What steps have gathered: it decides, with the weights, how the training goes on."""
        if self.optimiser.name == "adam":
            return moments_of(self.adam)
        return {} if self.velocity is None else {"velocity": self.velocity}

    def restore(self, moments: dict[str, Tensor]) -> None:
        """Go on from what `moments` gave."""
        if self.optimiser.name == "adam":
            restore_moments(self.adam, moments)
        elif self.velocity is not None:
            self.velocity.copy_(moments["velocity"])

    def carry(self, moments: dict[str, Tensor]) -> None:
        """Go on from moments of these rows by PyTorch's names, those of another optimiser of the kind."""
        if self.optimiser.name == "adam":
            restore_moments(self.adam, {f"0/{name}": value for name, value in moments.items()})
        elif self.velocity is not None:
            self.velocity.copy_(moments["momentum_buffer"])

    def update(self, dy: Tensor, x: Tensor) -> None:
        """One step with the gradient dy^T x; dy [n, outputs], x [n, inputs]."""
        lr, decay = self.optimiser.lr, self.optimiser.weight_decay
        if self.optimiser.name == "adam":
            accumulate(self.gradient, dy, x, beta=0, alpha=1)
            self.weight.grad = self.gradient
            self.adam.step()
            self.weight.grad = None
        elif self.velocity is not None:
            accumulate(self.velocity, dy, x, beta=self.optimiser.momentum, alpha=1)
            if decay:
                self.velocity.add_(self.weight, alpha=decay)
            self.weight.sub_(self.velocity, alpha=lr)
        else:
            accumulate(self.weight, dy, x, beta=1 - lr * decay, alpha=-lr)


def accumulate(target: Tensor, dy: Tensor, x: Tensor, *, beta: float, alpha: float) -> None:
    """In place, target <- beta target + alpha dy^T x, summed in ``target``'s type whatever that of the operands.

    >>> import torch
    >>> from efcnlib.training.optimisers import accumulate
    >>> target = torch.ones(1, 2)
    >>> accumulate(target, torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]]), beta=1, alpha=-0.5)
    >>> target
    tensor([[-0.5000,  0.0000]])
    """
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


class Matrix:
    """One fully-connected layer in training, y = x W^T + b, updated in place as its gradient arrives.

    ``operands`` is the type in which products are computed. If that is not the masters', a copy of W in that type, the
    shadow, serves the products forward and back.

    >>> import torch
    >>> from efcnlib.training.optimisers import Matrix, Optimiser
    >>> matrix = Matrix(torch.eye(2), None, Optimiser(lr=0.5), torch.float32, None)
    >>> x, dy = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    >>> matrix.forward(x), matrix.back(dy)
    (tensor([[1., 2.]]), tensor([[1., 0.]]))
    >>> matrix.update(dy, x)
    >>> matrix.weight
    tensor([[ 0.5000, -1.0000],
            [ 0.0000,  1.0000]])
    """

    def __init__(self, weight: Tensor, bias: nn.Parameter | None, optimiser: Optimiser, operands: torch.dtype, scratch):
        self.weight, self.bias = weight.detach(), bias
        self.shadow = None if operands == weight.dtype else self.weight.to(operands)
        converted = self.shadow is not None and not weight.is_cuda
        step = ROWS if converted else len(weight)
        self.rows = [(part, Rows(self.weight[part], optimiser, scratch)) for part in _slices(len(weight), step)]

    @property
    def factor(self) -> Tensor:
        """The matrix that products are computed with."""
        return self.weight if self.shadow is None else self.shadow

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs] -> [n, outputs]."""
        bias = None if self.bias is None else self.bias.detach().to(x.dtype)
        return nn.functional.linear(x, self.factor, bias)

    def back(self, dy: Tensor) -> Tensor:
        """The gradient of the layer's input, [n, outputs] -> [n, inputs]; to be asked for before `update`."""
        return dy @ self.factor

    def update(self, dy: Tensor, x: Tensor) -> None:
        """One step of W; the bias gets its gradient, and its step elsewhere."""
        self.bias_gradient(dy)
        self.write(dy, x)

    def write(self, dy: Tensor, x: Tensor) -> None:
        """One step of W and its shadow, some rows at a time."""
        for part, rows in self.rows:
            rows.update(dy[:, part], x)
            if self.shadow is not None:
                self.shadow[part].copy_(self.weight[part])

    def bias_gradient(self, dy: Tensor) -> None:
        """Leave the bias's gradient where its optimiser looks for it."""
        if self.bias is not None:
            self.bias.grad = dy.sum(0).to(self.bias.dtype)  # bf16 is summed in float32, then rounded

    def settle(self) -> None:
        """Make the weights what they should be by now."""

    def moments(self) -> dict[str, Tensor]:
        """What steps have gathered beside the weights, settled before."""
        return {f"{i}/{name}": value for i, (_, rows) in enumerate(self.rows) for name, value in rows.moments().items()}

    def restore(self, moments: dict[str, Tensor]) -> None:
        """Go on from what `moments` gave, with the weights that are in place by now."""
        for i, (_, rows) in enumerate(self.rows):
            rows.restore(below(f"{i}/", moments))
        if self.shadow is not None:
            self.shadow.copy_(self.weight)

    def carry(self, moments: dict[str, Tensor]) -> None:
        """Go on from moments [outputs, inputs] by PyTorch's names; the number of steps is a scalar."""
        for part, rows in self.rows:
            rows.carry({name: value[part] if value.ndim else value for name, value in moments.items()})


class Delayed(Matrix):
    """Plain SGD whose steps reach W only every ``delay`` batches, in one wide product: less traffic, same numbers.

    With the factors X_i, dY_i of the p batches since then kept (p <= delay), the weights that should be are
    W - lr sum_i dY_i^T X_i, so that

        y = x W^T - lr sum_i (x X_i^T) dY_i          dx = dy W - lr sum_i (dy dY_i^T) X_i

    are exact: products of n x n matrices instead of a pass over W. ``n`` is the largest batch in images.

    >>> import torch
    >>> from efcnlib.training.optimisers import Delayed, Optimiser
    >>> matrix = Delayed(torch.eye(2), None, Optimiser(lr=0.5), torch.float32, delay=2, n=1)
    >>> x, dy = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    >>> matrix.update(dy, x)
    >>> matrix.weight, matrix.forward(x)  # not written yet, but there: (1 - 5/2, 2)
    (tensor([[1., 0.],
            [0., 1.]]), tensor([[-1.5000,  2.0000]]))
    >>> matrix.settle()
    >>> matrix.weight, matrix.forward(x)
    (tensor([[ 0.5000, -1.0000],
            [ 0.0000,  1.0000]]), tensor([[-1.5000,  2.0000]]))
    """

    def __init__(self, weight, bias, optimiser: Optimiser, operands: torch.dtype, delay: int, n: int):
        super().__init__(weight, bias, optimiser, operands, None)
        self.lr, self.delay = optimiser.lr, delay
        self.used = self.batches = 0  # rows and batches that are kept
        outputs, inputs = weight.shape
        self.xs = weight.new_empty(delay * n, inputs, dtype=operands)
        self.dys = weight.new_empty(delay * n, outputs, dtype=operands)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs] -> [n, outputs]."""
        y = super().forward(x)
        if self.used:
            y.addmm_(x @ self.xs[: self.used].t(), self.dys[: self.used], alpha=-self.lr)
        return y

    def back(self, dy: Tensor) -> Tensor:
        """[n, outputs] -> [n, inputs]."""
        dx = super().back(dy)
        if self.used:
            dx.addmm_(dy @ self.dys[: self.used].t(), self.xs[: self.used], alpha=-self.lr)
        return dx

    def update(self, dy: Tensor, x: Tensor) -> None:
        """Keep the factors; write the matrix when enough have come together."""
        self.bias_gradient(dy)
        now = slice(self.used, self.used + len(x))
        self.xs[now], self.dys[now] = x, dy
        self.used, self.batches = now.stop, self.batches + 1
        if self.batches == self.delay:
            self.settle()

    def settle(self) -> None:
        """Write what is kept into the matrix."""
        if self.used:
            self.write(self.dys[: self.used], self.xs[: self.used])
            self.used = self.batches = 0


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names start with ``prefix``, under the rest of their names.

    >>> from efcnlib.training.optimisers import below
    >>> below("matrix/", {"matrix/0": 1, "matrix/1": 2, "rest/0": 3})
    {'0': 1, '1': 2}
    """
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]

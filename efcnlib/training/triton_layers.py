"""Dense layers in training whose update is a Triton kernel: `Engine(kernel="triton")`, which is not the default."""

import torch
from torch import Tensor, nn

from efcnlib.kernels.fused_adam import wgrad_adam
from efcnlib.kernels.fused_sgd import join, split, wgrad_sgd
from efcnlib.training.fused_updates import FusedLinear
from efcnlib.training.optimisers import Optimiser


class SplitSgd(FusedLinear):
    """Plain SGD on a master kept in two halves, of which the upper one serves the products: 4 bytes a weight in all.

    The network's own weights are written when they are asked for, by `flush`.
    """

    def __init__(self, weight: Tensor, bias: nn.Parameter | None, optimiser: Optimiser):
        self.weight, self.bias, self.lr = weight.detach(), bias, optimiser.lr
        self.bf16_weight, self.low = split(self.weight)

    def update(self, dy: Tensor, x: Tensor) -> None:
        """One step of the master; dy [n, outputs], x [n, inputs], bfloat16."""
        self.bias_gradient(dy)
        wgrad_sgd(self.bf16_weight, self.low, dy.contiguous(), x.contiguous(), self.lr)

    def flush(self) -> None:
        """Write the master into the network."""
        self.weight.copy_(join(self.bf16_weight, self.low))

    def state(self) -> dict[str, Tensor]:
        """Nothing: the weights say it all."""
        return {}

    def restore(self, moments: dict[str, Tensor]) -> None:
        """Split the weights that are in place by now."""
        for half, value in zip((self.bf16_weight, self.low), split(self.weight), strict=True):
            half.copy_(value)


class FusedAdam(FusedLinear):
    """Adam whose gradient is never stored; master and moments are float32, a bf16 copy serves the products."""

    def __init__(self, weight: Tensor, bias: nn.Parameter | None, optimiser: Optimiser):
        self.weight, self.bias, self.lr = weight.detach(), bias, optimiser.lr
        self.bf16_weight = self.weight.bfloat16()
        self.mean, self.square = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        self.steps = torch.zeros(1, dtype=torch.int32, device=weight.device)

    def update(self, dy: Tensor, x: Tensor) -> None:
        """One step; dy [n, outputs], x [n, inputs], bfloat16."""
        self.bias_gradient(dy)
        self.steps += 1
        factors = dy.contiguous(), x.contiguous()
        wgrad_adam(self.weight, self.mean, self.square, *factors, self.steps, lr=self.lr, shadow=self.bf16_weight)

    def state(self) -> dict[str, Tensor]:
        """Both moments and the number of steps."""
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def restore(self, moments: dict[str, Tensor]) -> None:
        """Go on from what `state` gave, with the weights that are in place by now."""
        for name, value in self.state().items():
            value.copy_(moments[name])
        self.bf16_weight.copy_(self.weight)

    def load_moments(self, moments: dict[str, Tensor]) -> None:
        """Go on from moments by PyTorch's names."""
        self.mean.copy_(moments["exp_avg"])
        self.square.copy_(moments["exp_avg_sq"])
        self.steps.fill_(int(moments["step"]))

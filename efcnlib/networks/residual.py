"""A residual block."""

from torch import Tensor, nn


class Residual(nn.Module):
    """The sum of what two chains of layers, ``body`` and ``shortcut``, give; an empty one gives its input."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """A batch -> one of the shape that both chains give it."""
        return self.body(x) + self.shortcut(x)

"""The least time a training step can take on a machine: its own bytes at the copy bandwidth, its operations at the rate
of large matrix products, whichever is longer, product by product and update by update.

For a matrix of o outputs and i inputs, a batch of n and operands of e bytes (4, or 2 in bf16), masters of 4 bytes:

- forward, and back (not for the first layer): 2 n o i operations each; o i e bytes of weights, n (o + i) e of factors.
- gradient: 2 n o i operations, n (o + i) e bytes read, and 4 o i written, unless the update is fused with it.
- update: SGD reads gradient and weights and writes weights, 12 o i bytes; momentum 8 o i more; Adam 28 o i.
- fused: the gradient's operations and the update's bytes at once, without the gradient's 8 o i: SGD 8 o i,
  and 2 o i more where a bf16 shadow of the weights is written.
- delayed by s: the fused update's bytes once in s steps; for the p batches kept, (s - 1) / 2 on average, two products
  with n x n matrices forward and two back, 2 n p n (o + i) operations and p n (o + i) e bytes each way.

Activations between the layers, biases and the loss are left out: a floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MASTER = 4  # bytes of a float32 weight


@dataclass(frozen=True)
class Operation:
    """One product or update of a step: bytes moved, operations done (a multiplication and an addition are two)."""

    name: str
    bytes: float
    operations: float


@dataclass(frozen=True)
class StepMethod:
    """How a step is computed, as far as its bytes and operations depend on it."""

    precision: str = "float32"
    fused: bool = False  # the update without a gradient in memory
    rule: str = "sgd"
    momentum: bool = False
    delay: int = 1


def step_operations(layers: Sequence[tuple[int, int]], batch: int, way: StepMethod) -> list[Operation]:
    """Every product and update of a step; ``layers`` are (outputs, inputs), the first one reads the images."""
    size = 2 if way.precision == "bf16" else MASTER
    result = []
    for k, (outputs, inputs) in enumerate(layers):
        weights, factors = outputs * inputs, batch * (outputs + inputs) * size
        product = 2 * batch * weights
        result.append(Operation(f"forward {k}", weights * size + factors, product))
        if k:
            result.append(Operation(f"back {k}", weights * size + factors, product))
        moved = weights * _moved(way, size)
        if way.fused:
            result.append(Operation(f"fused update {k}", moved / way.delay + factors, product))
        else:
            result.append(Operation(f"gradient {k}", weights * MASTER + factors, product))
            result.append(Operation(f"update {k}", moved, 0))
        kept = (way.delay - 1) / 2
        if kept:
            ways = 2 if k else 1
            result.append(
                Operation(f"delay {k}", ways * kept * factors, ways * 2 * kept * batch**2 * (outputs + inputs))
            )
    return result


def _moved(way: StepMethod, size: int) -> int:
    """Bytes an update moves for each weight."""
    states = {"adam": 2, "sgd": 1 if way.momentum else 0}[way.rule]
    gradient = 0 if way.fused else MASTER
    shadow = size if size != MASTER else 0
    return gradient + 2 * MASTER * (1 + states) + shadow


def least_step_seconds(layers: Sequence[tuple[int, int]], batch: int, way: StepMethod, machine: Mapping) -> float:
    """Seconds of a step; ``machine`` holds "copy_bytes_per_s" and "rates", operations per second by precision."""
    rate, bandwidth = machine["rates"][way.precision], machine["copy_bytes_per_s"]
    return sum(max(work.bytes / bandwidth, work.operations / rate) for work in step_operations(layers, batch, way))

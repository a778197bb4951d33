"""How large local and off-local weights of a block are, in sentences computed from the numbers."""

from math import log10

from torch import Tensor

from efcnbook.statistics.wording import percent


def magnitudes(before: Tensor, after: Tensor, local: Tensor, dead: Tensor) -> list[str]:
    """Claims 2 and 3, of a block [outputs, padded inputs] just after the embedding and after training."""
    ours, others = after[local & ~dead].abs().median().item(), after[~local & ~dead].abs().median().item()
    orders = f", {log10(ours / others):.1f} orders of magnitude less" if ours and others else ""
    moved = (after.float() - before.to(after.dtype).float())[dead].abs().max().item() if dead.any() else 0
    return [
        f"After training the median |w| of local weights is {ours:.2g}, that of off-local ones {others:.2g}{orders}.",
        f"{percent(dead.float().mean().item())} of this block is dead. There the largest change is {moved:.2g}"
        " (their gradient is zero, so that without weight decay the training here leaves them out altogether).",
        f"{percent(local.float().mean().item())} of this block is local.",
    ]

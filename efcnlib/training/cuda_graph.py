"""An epoch as the replay of one CUDA graph: a step, captured once, that finds its own batch on the device."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from efcnlib.data.images import Split
from efcnlib.errors import UserError

WARM_UP = 3  # groups of steps before the capture: PyTorch and cuBLAS set themselves up in them


class CapturedEpoch:
    """Steps of a training on one split, captured as a graph of as many steps as its updates are delayed by.

    The warm-up steps are steps of the training: nothing is computed for nothing, and no state has to be put back.

    :param step: Makes one step on a batch (x, y), drawing from ``generators`` alone.
    """

    def __init__(
        self,
        step: Callable[[Tensor, Tensor], Tensor],
        split: Split,
        images: int,
        batch: int,
        steps_per_replay: int,
        generators: Sequence[torch.Generator] = (),
    ):
        self.step, self.steps_per_replay, self.generators = step, steps_per_replay, generators
        if images % (batch * self.steps_per_replay):
            raise UserError(_divides(images, batch, self.steps_per_replay))
        self.split, self.graph = split, None
        self.replays = images // (batch * self.steps_per_replay)
        self.order = torch.empty(images, dtype=torch.int64, device=split.x.device)
        self.position = torch.zeros(1, dtype=torch.int64, device=split.x.device)
        self.offsets = torch.arange(batch, device=split.x.device)

    def run(self, order: Tensor) -> None:
        """Enqueue all steps over ``order``, an int64 tensor of the CPU; returns before they are computed."""
        if order.device.type == "cpu":
            order = order.pin_memory()  # from pageable memory the copy would wait for the device
        self.order.copy_(order, non_blocking=True)
        self.position.zero_()
        done = 0
        if self.graph is None:
            done = min(WARM_UP, self.replays)
            self._warm_up(done)
            if done < self.replays:
                self._capture()
        for _ in range(done, self.replays):
            self.graph.replay()

    def _steps(self) -> None:
        for _ in range(self.steps_per_replay):
            index = self.order.index_select(0, self.offsets + self.position)
            self.step(self.split.x.index_select(0, index), self.split.y.index_select(0, index))
            self.position += len(self.offsets)

    def _warm_up(self, count: int) -> None:
        here = torch.cuda.current_stream(self.order.device)
        aside = torch.cuda.Stream(self.order.device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(count):
                self._steps()
        here.wait_stream(aside)

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            self._steps()
        self.graph = graph


def _divides(images: int, batch: int, group: int) -> str:
    """The line that says which batches would do."""
    fitting = [size for size in range(1, images + 1) if images % (size * group) == 0]
    below = max((size for size in fitting if size < batch), default=None)
    above = min((size for size in fitting if size > batch), default=None)
    near = " or ".join(str(size) for size in (below, above) if size)
    each = "" if group == 1 else f" in groups of {group}"
    advice = f"take batch {near}" if near else "take another number of images"
    return f"batch {batch}{each} does not divide {images} images, which a CUDA graph needs: {advice}, or graph=False"

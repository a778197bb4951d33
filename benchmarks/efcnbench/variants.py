"""The ways of training an eFCN that the benchmark compares, all from the same start on the same batches."""

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from efcnbench import published_loop
from efcnbench.cost_model import StepMethod
from efcnlab.environment import bf16_speedup
from efcnlib import embedding, networks
from efcnlib.data.images import Images, Split, channel_statistics, to_device
from efcnlib.kernels.precision import available_precisions, matmul_precision
from efcnlib.networks import architectures
from efcnlib.training.engine import Engine
from efcnlib.training.optimisers import Optimiser
from efcnlib.training.trainer import Trainer


@dataclass(frozen=True)
class Setup:
    """What all variants share: a network, images, an optimiser, the batch in images, the device."""

    cnn: nn.Sequential
    images: Images
    split: Split
    optimiser: Optimiser
    batch: int
    device: torch.device

    @classmethod
    def of(
        cls,
        architecture: str,
        channels: int,
        pictures: Images,
        count: int,
        optimiser: Optimiser,
        batch: int,
        device: torch.device | str,
    ) -> "Setup":
        """The CNN of an architecture, untrained, seeded; the first ``count`` training images, normalised, resident."""
        layers = architectures.architecture(architecture, pictures.classes, channels)
        cnn = networks.initialise(networks.cnn(layers, pictures.shape), torch.Generator().manual_seed(0))
        split, _ = to_device(pictures, device, train=count, test=1)
        return cls(cnn, pictures, split, optimiser, batch, torch.device(device))

    def trial(self, batches: int, lr: float) -> "Setup":
        """The same matrices on ``batches`` batches of noise at learning rate ``lr``, in a network without kinks.

        Where two pixels of a pooling are nearly equal, or one nearly zero, rounding decides where a gradient goes. In
        a wide network that happens in most steps, and what is right then looks wrong. So tanh and mean poolings of the
        same windows stand in for ReLU and max poolings, and dropout, which draws other masks in every variant, is off.
        """
        cnn = copy.deepcopy(self.cnn)
        for name, layer in cnn.named_children():
            if isinstance(layer, networks.DROPOUT):
                layer.p = 0.0
            elif isinstance(layer, nn.ReLU):
                setattr(cnn, name, nn.Tanh())
            elif isinstance(layer, nn.MaxPool2d):
                setattr(cnn, name, nn.AvgPool2d(layer.kernel_size, layer.stride))
        generator = torch.Generator().manual_seed(1)
        x = torch.randint(0, 256, (batches * self.batch, *self.images.shape), generator=generator, dtype=torch.uint8)
        y = torch.randint(0, self.images.classes, (len(x),), generator=generator)
        pictures = Images("noise", x, y, x[:1], y[:1])
        split, _ = to_device(pictures, self.device)
        optimiser = replace(self.optimiser, lr=lr)
        return replace(self, cnn=cnn, images=pictures, split=split, optimiser=optimiser)

    def efcn(self, live: bool, dtype: torch.dtype = torch.float32) -> nn.Sequential:
        """A fresh eFCN on the device."""
        network = embedding.embed(self.cnn, self.images.shape, live)
        return network.to(dtype).to(self.device)

    def layers(self, live: bool) -> list[tuple[int, int]]:
        """(outputs, inputs) of every matrix of the eFCN, in order."""
        network = networks.dense(self.cnn, self.images.shape, live)
        return [tuple(layer.weight.shape) for layer in network if hasattr(layer, "weight")]


@dataclass(frozen=True)
class Variant:
    """One way: what it is in words, its layout, how its bytes and operations count, and how it is built.

    ``build(setup)`` gives an `EagerTraining` or an `EngineTraining`, ``twin(setup)`` the same with float32 products;
    None: there is none. An epoch of ``has_steps`` is its steps and nothing else.
    """

    what: str
    live: bool
    way: StepMethod
    build: "Callable[[Setup], EagerTraining | EngineTraining]"
    has_steps: bool = True
    compiled: bool = False
    twin: "Callable[[Setup], EagerTraining | EngineTraining] | None" = None


@dataclass
class EagerTraining:
    """Eager training with PyTorch's own optimiser, stored gradients, resident images."""

    setup: Setup
    live: bool = False
    fused: bool = False
    compiled: bool = False
    tf32: bool = False
    network: nn.Sequential = field(init=False)

    def __post_init__(self):
        self.network = self.setup.efcn(self.live)
        # None leaves the choice to PyTorch, as a plain loop does; False would be its slowest way on a GPU.
        self.state = self.setup.optimiser.build(list(self.network.parameters()), fused=self.fused or None)
        self.loss = torch.compile(self._loss, mode="max-autotune") if self.compiled else self._loss

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.network(x), y)

    def epoch(self) -> None:
        """One pass over the images in the published order."""
        split, batch = self.setup.split, self.setup.batch
        with matmul_precision("tf32" if self.tf32 else "float32", self.setup.device):
            for x, y in zip(split.x.split(batch), split.y.split(batch), strict=True):
                self.state.zero_grad()
                self.loss(x, y).backward()
                self.state.step()


class PublishedTraining(EagerTraining):
    """The published loop; an epoch only, its steps alone are B's."""

    def __post_init__(self):
        super().__post_init__()
        x, y = (part[: len(self.setup.split)] for part in (self.setup.images.train_x, self.setup.images.train_y))
        mean, deviation = (moment / 255 for moment in channel_statistics(x))
        self.loader = DataLoader(published_loop.PilImages(x, y, mean, deviation), self.setup.batch)

    def epoch(self) -> None:
        """One epoch with all that the published one does."""
        published_loop.published_epoch(self.network, self.state, self.loader, self.setup.device)


class EngineTraining:
    """The engine."""

    def __init__(self, setup: Setup, precision: str, engine: Engine):
        self.setup, self.network = setup, setup.efcn(live=True)
        self.trainer = Trainer(self.network, setup.optimiser, precision, engine, batch=setup.batch)

    def epoch(self) -> None:
        """One pass over the images in the published order."""
        self.trainer.epoch(self.setup.split, torch.arange(len(self.setup.split)))
        self.trainer.flush()


def variants_on(device: torch.device | str, optimiser: Optimiser) -> dict[str, Variant]:
    """The variants that there are on ``device`` for ``optimiser``, by name, slowest first."""
    is_cuda = torch.device(device).type == "cuda"
    single = "tf32" if "tf32" in available_precisions(device) else "float32"
    best = "bf16" if bf16_speedup(str(device)) > 1 else single

    def way(precision: str, fused: bool = False, delay: int = 1) -> StepMethod:
        # Without a kernel of its own Adam reads its gradient from memory.
        return StepMethod(precision, fused and optimiser.name == "sgd", optimiser.name, bool(optimiser.momentum), delay)

    def loop(what: str, live: bool, **how: bool) -> Variant:
        tf32 = how.get("fused", False) and single == "tf32"
        build = lambda setup: EagerTraining(setup, live=live, tf32=tf32, **how)  # noqa: E731
        compiled = how.get("compiled", False)
        # Compiling a second time would take longer than all the rest.
        twin = None if compiled else lambda setup: EagerTraining(setup, live=live, **how)
        return Variant(what, live, way(single if tf32 else "float32"), build, compiled=compiled, twin=twin)

    def engined(what: str, precision: str, **how: object) -> Variant:
        build = lambda setup: EngineTraining(setup, precision, Engine(**how))  # noqa: E731
        counted = way(precision, fused=True, delay=how.get("delay", 1))
        if how.get("kernel") == "triton" and optimiser.name == "adam":
            counted = StepMethod(precision, True, "adam")
        has_twin = how.get("kernel") != "triton"  # which multiplies in bf16 only
        twin = (lambda setup: EngineTraining(setup, "float32", Engine(**how))) if has_twin else None
        return Variant(what, True, counted, build, twin=twin)

    variants = {
        "A": Variant("the published loop, re-created", False, way("float32"), PublishedTraining, has_steps=False),
        "B": loop("eager, images resident", False),
        "C": loop(f"B with PyTorch's fused optimiser, {single}", False, fused=True),
        "D": loop("C compiled", False, fused=True, compiled=True),
        "E": loop("D on the live weights", True, fused=True, compiled=True),
        "F": engined(f"live, the update is the product itself, {single}, eager", single, graph=False),
        "G32": engined("the engine in float32", "float32"),
        "G": engined(f"the engine in {best}", best),
    }
    if not is_cuda:
        del variants["G32"]  # without a graph it is F
    if is_cuda and optimiser.is_plain_sgd:
        variants |= {f"G{s}": engined(f"G, weights written every {s} steps", best, delay=s) for s in (2, 4, 8)}
    if is_cuda and not optimiser.momentum and not optimiser.weight_decay:
        variants["GT"] = engined("G with the Triton kernel", "bf16", kernel="triton")
    return variants


@contextlib.contextmanager
def quiet_compiler() -> Iterator[None]:
    """Keep torch.compile's tuning reports off the screen."""
    logger = logging.getLogger("torch._inductor")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

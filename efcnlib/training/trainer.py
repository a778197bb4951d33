"""The training engine: one step of any network of ours, and an epoch of them, without the host in the loop.

What is computed is decided by network, optimiser, precision, batch and seed; an `Engine` says how. All its choices are
exact algebra: they change rounding, nothing else.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from efcnlib import memory
from efcnlib.data.augmentation import random_crop_and_flip
from efcnlib.data.images import Split
from efcnlib.errors import UserError, at_least
from efcnlib.kernels.precision import matmul_precision
from efcnlib.networks import DenseConv, chain_layers, convolutions, is_chain, join, parameters_alone
from efcnlib.training.cuda_graph import CapturedEpoch
from efcnlib.training.engine import Engine, check_supported
from efcnlib.training.forward import ForwardPass
from efcnlib.training.fused_updates import DelayedLinear, FusedLinear
from efcnlib.training.memory import required_bytes
from efcnlib.training.optimiser_state import embed_moments
from efcnlib.training.optimisers import Optimiser, optimiser_tensors, restore_optimiser, strip_prefix


class Trainer:
    r"""A network in training, in place, on the device it is on. Its parameters are only up to date after `flush`.

    The loss is the cross-entropy :math:`-\frac{1}{n} \sum_j \ln p_j`, with :math:`p_j` the probability that the network
    gives to the right class of the j-th image of the batch.

    :param network: Any module from images to logits. Where the engine fuses, that of each `DenseConv`, and of each
        Linear that a chain of layers calls once; the rest is left to PyTorch's optimiser.
    :param optimiser: Its settings.
    :param precision: Of matrix products: "float32", "tf32" or "bf16".
    :param engine: How steps are computed; None: the default `Engine`.
    :param batch: The largest one, in images.
    :param seed: Decides the dropout masks and, with ``augment``, crops and flips: alike in all networks.
    :param augment: Crop and flip each step's images.
    :raises UserError: For what cannot be computed so, or does not fit into memory, before anything is computed.

    >>> import torch
    >>> from torch import nn
    >>> from efcnlib import Engine, Optimiser, Trainer, embed
    >>> x, y = torch.rand(8, 1, 6, 6, dtype=torch.float64), torch.arange(8) % 2
    >>> cnn = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 2)).double()
    >>> ends = []
    >>> for engine in (Engine(update="autograd"), Engine(), Engine(delay=4)):
    ...     trainer = Trainer(embed(cnn, (1, 6, 6)), Optimiser(lr=0.1), engine=engine, batch=8)
    ...     for _ in range(6):
    ...         _ = trainer.step(x, y)
    ...     trainer.flush()
    ...     ends.append(trainer.network[0].weight)
    >>> [torch.allclose(end, ends[0], rtol=0, atol=1e-12) for end in ends]
    [True, True, True]
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: Optimiser,
        precision: str = "float32",
        engine: Engine | None = None,
        *,
        batch: int = 250,
        seed: int = 0,
        augment: bool = False,
    ):
        at_least(1, batch=batch)
        self.network, self.optimiser, self.precision, self.batch = network, optimiser, precision, batch
        self.engine, parameters = engine or Engine(), [p for p in network.parameters() if p.requires_grad]
        if not parameters:
            raise UserError(f"the network ({type(network).__name__}) has no parameter to train")
        self.device = parameters[0].device
        self.fused = self.engine.update == "fused" and bool(convolutions(network))
        check_supported(optimiser, precision, self.engine, self.device)
        _check_weight_decay(network, optimiser)
        need = required_bytes(network, optimiser, precision, self.engine, batch)
        advice = "a smaller batch, fewer channels or fewer runs at once"
        memory.check_memory("this training, beside its weights,", need, self.device, advice)
        self.dropout_generator = torch.Generator(self.device).manual_seed(seed)
        # Of its own: how much dropout draws depends on a network's layout, and pairs must see the same images.
        self.augmentation_generator = torch.Generator(self.device).manual_seed(seed + 1) if augment else None
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.compute_dtype = torch.bfloat16 if precision == "bf16" else parameters[0].dtype
        self.fused_layers = _fused_layers(self) if self.fused else {}
        self.forward = ForwardPass(network, self.fused_layers, self.compute_dtype, self.dropout_generator)
        fused = {join(name, "weight") for name in self.fused_layers}
        self.other_parameters = {name: value for name, value in network.named_parameters() if name not in fused}
        self.other_optimiser = optimiser.build(list(self.other_parameters.values())) if self.other_parameters else None
        self.last_capture: CapturedEpoch | None = None

    def step(self, x: Tensor, y: Tensor) -> Tensor:
        """One step on a batch, x [n, channels, height, width], y int64 [n]; its loss in nats, on the device."""
        with matmul_precision(self.precision, self.device):
            if self.augmentation_generator is not None:
                if x.ndim != 4:
                    raise UserError(f"augment crops and flips images [n, c, h, w]: it cannot {list(x.shape)}")
                x = random_crop_and_flip(x, self.augmentation_generator)
            if self.other_optimiser is not None:
                self.other_optimiser.zero_grad(set_to_none=True)
            with self.forward.step():
                loss = F.cross_entropy(self.forward(x), y)
                loss.backward()
            _check_gradients(self)
            if self.other_optimiser is not None:
                self.other_optimiser.step()
            self.loss_sum += loss.detach()
        return loss.detach()

    def epoch(self, split: Split, order: Tensor) -> None:
        """Steps on the images of ``split`` in ``order``, int64 [images] on the CPU; on a GPU none is waited for."""
        self.network.train()
        group = self.batch * self.engine.delay
        fits = self.device.type == "cuda" and len(order) % group == 0
        if fits if self.engine.graph is None else self.engine.graph:
            captured_epoch(self, split, len(order)).run(order)
            return
        for index in order.to(split.x.device).split(self.batch):
            self.step(split.x[index], split.y[index])

    def flush(self) -> None:
        """Write into the network's parameters whatever has not reached them."""
        for matrix in self.fused_layers.values():
            matrix.flush()

    def pop_loss_sum(self) -> Tensor:
        """Sum of the steps' losses since this was last asked for, a float64 scalar on the device."""
        total = self.loss_sum.clone()
        self.loss_sum.zero_()
        return total

    def state(self) -> dict[str, Tensor]:
        """The trainer's own tensors that decide the steps to come, once flushed; the next step changes them."""
        found = self.network.state_dict().items()
        tensors = {f"network/{name}": value.detach() for name, value in found if isinstance(value, Tensor)}
        for name, matrix in self.fused_layers.items():
            tensors |= {f"matrix/{name}/{key}": value for key, value in matrix.state().items()}
        if self.other_optimiser is not None:
            tensors |= {f"rest/{key}": value for key, value in optimiser_tensors(self.other_optimiser).items()}
        if self.augmentation_generator is not None:
            tensors["views"] = self.augmentation_generator.get_state()
        return tensors | {"dropout": self.dropout_generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Become the trainer that gave ``state``, to the bit; to be called before the first step."""
        weights = strip_prefix("network/", state)
        for name, value in self.network.state_dict().items():
            if isinstance(value, Tensor):
                value.copy_(weights[name])
        for name, matrix in self.fused_layers.items():
            matrix.restore(strip_prefix(f"matrix/{name}/", state))
        if self.other_optimiser is not None:
            restore_optimiser(self.other_optimiser, strip_prefix("rest/", state))
        self.dropout_generator.set_state(state["dropout"])
        if self.augmentation_generator is not None:
            self.augmentation_generator.set_state(state["views"])

    def load_optimiser_state(self, cnn_state: dict[str, Tensor]) -> None:
        """Start with the state of a CNN's optimiser of the same kind, "PARAMETER/NAME"; empty: start fresh.

        Names are PyTorch's; see ``embed_moments``. To be called before the first step.
        """
        if not cnn_state:
            return
        on_device = {name: value.to(self.device) for name, value in cnn_state.items()}
        for name, matrix in self.fused_layers.items():
            layer = self.network.get_submodule(name)
            matrix.load_moments(embed_moments(layer, "weight", strip_prefix(f"{name}.weight/", on_device)))
        for number, parameter in enumerate(self.other_parameters):
            name, part = parameter.rsplit(".", 1)
            moments = embed_moments(self.network.get_submodule(name), part, strip_prefix(f"{parameter}/", on_device))
            if moments:  # not of a frozen batch normalisation's map, which the CNN did not have
                restore_optimiser(self.other_optimiser, {f"{number}/{key}": value for key, value in moments.items()})


def captured_epoch(trainer: Trainer, split: Split, images: int) -> CapturedEpoch:
    """The trainer's epoch over so many ``images`` of a split as a CUDA graph: the last one, if it serves."""
    last = trainer.last_capture
    if last is None or last.split is not split or len(last.order) != images:
        generators = list(filter(None, (trainer.dropout_generator, trainer.augmentation_generator)))
        last = CapturedEpoch(trainer.step, split, images, trainer.batch, trainer.engine.delay, generators)
        trainer.last_capture = last
    return last


def _check_gradients(trainer: Trainer) -> None:
    """UserError where a step cannot have been what PyTorch's optimiser would have done."""
    for name in trainer.fused_layers:
        if trainer.network.get_submodule(name).weight.grad is not None:
            raise UserError(f"layer {name}: its weight is read elsewhere too, take update 'autograd'")
    for name, parameter in trainer.other_parameters.items() if trainer.optimiser.momentum else ():
        if parameter.requires_grad and parameter.grad is None:
            raise UserError(f"{name} takes no part in a step, which momentum does not allow: take momentum 0")


def _check_weight_decay(network: nn.Module, optimiser: Optimiser) -> None:
    if optimiser.weight_decay and any(m.live and not m.geometry.transposed for _, m in convolutions(network)):
        raise UserError(
            f"weight_decay {optimiser.weight_decay} moves weights that no data reaches, which a live layout leaves"
            " out: embed with live=False"
        )


def _fused_layers(trainer: Trainer) -> dict[str, FusedLinear]:
    """Every dense layer that is called once and trained, under its name."""
    chain = chain_layers(trainer.network) if is_chain(trainer.network) else []
    alone = parameters_alone(trainer.network)
    layers = {
        name: layer
        for name, layer in trainer.network.named_modules()
        if (type(layer) is DenseConv and not layer.geometry.transposed) or (type(layer) is nn.Linear and layer in chain)
        if "weight" in layer._parameters and alone.issuperset(map(id, layer.parameters()))
        if all(p.requires_grad and not p._backward_hooks for p in layer.parameters())
    }
    optimiser, engine, compute_dtype = trainer.optimiser, trainer.engine, trainer.compute_dtype
    if engine.kernel == "triton":
        from efcnlib.training.triton_layers import FusedAdam, SplitSgd  # not every machine has Triton

        kind = FusedAdam if optimiser.name == "adam" else SplitSgd
        return {name: kind(layer.weight, layer.bias, optimiser) for name, layer in layers.items()}
    if engine.delay > 1:
        rows = trainer.batch
        return {
            n: DelayedLinear(m.weight, m.bias, optimiser, compute_dtype, engine.delay, rows) for n, m in layers.items()
        }
    scratch = None
    if optimiser.name == "adam" and layers:
        any_weight = next(iter(layers.values())).weight
        scratch = any_weight.new_empty(max(layer.weight.numel() for layer in layers.values())).detach()
    return {name: FusedLinear(m.weight, m.bias, optimiser, compute_dtype, scratch) for name, m in layers.items()}

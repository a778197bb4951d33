"""A training run: a network trained and measured, its pictures and weights kept on the way."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from efcnlab.config.runs import CORRECT, History
from efcnlab.config.studies import Training
from efcnlab.run import weight_pictures
from efcnlab.run.measurement import history_row
from efcnlab.run.run_context import RunContext
from efcnlab.run.run_networks import initial_network, random_seed
from efcnlab.store.cnn_checkpoints import MOMENTS, cnn_optimiser_state
from efcnlab.store.run_store import Result
from efcnlib import metrics, networks
from efcnlib.kernels.precision import matmul_precision
from efcnlib.resumable import Pause, Resumable, ResumeState
from efcnlib.training.loop import train
from efcnlib.training.optimisers import strip_prefix


def compute_training(run: Training, context: RunContext, state: ResumeState | None) -> Resumable[Result]:
    train_split, test_split = context.splits(run.data)
    network = initial_network(run, context.store, context.device)
    seen, precision = run.evaluation.images(train_split), run.evaluation.precision_for(run)
    is_dense = bool(networks.convolutions(network))
    saved = state or ResumeState({"history": {}})
    history: dict[str, list[float]] = saved.numbers["history"]
    pictures = {name: list(frames) for name, frames in strip_prefix("pictures/", saved.tensors).items()}
    weights = strip_prefix("weights/", saved.tensors)
    trained = train(
        network,
        train_split,
        run.optimiser,
        epochs=run.epochs,
        batch=run.batch,
        shuffle=run.shuffle,
        seed=random_seed(run),
        precision=run.precision,
        engine=context.engine,
        augment=run.augment,
        optimiser_state=cnn_optimiser_state(context.store, run.parent, run.tw) if run.carry else None,
        resume_from=state and (state.numbers["epoch"], strip_prefix("trainer/", state.tensors)),
    )
    for epoch, losses, trainer in trained:
        if epoch in run.measured_epochs:
            with matmul_precision(run.precision, context.device):
                row = {"epoch": epoch} | history_row(network, seen, test_split, precision, epoch_loss=losses)
            for name, value in row.items():
                history.setdefault(name, []).append(value)
            if is_dense:
                for name, picture in weight_pictures.weight_pictures(network).items():
                    pictures.setdefault(name, []).append(picture.cpu())
        if run.kind == "cnn":  # every epoch, so that every tw is possible: VanillaCNN 0.6 MB each, AlexNet 12 MB
            weights |= {f"{epoch}/{name}": value for name, value in _state(network).items()}
            if run.optimiser.moment_names:  # for those that carry it over
                weights |= {f"{MOMENTS}/{epoch}/{name}": value for name, value in _moments(network, trainer()).items()}
        yield Pause((epoch + 1) / (run.epochs + 1), partial(_paused, epoch, history, trainer, weights, pictures))
    if run.kind != "cnn":
        weights = _state(network)
    with matmul_precision(run.precision, context.device):
        correct = metrics.classified_correctly(network, test_split, precision)
    arrays = {CORRECT: torch.from_numpy(np.packbits(correct.cpu().numpy()))}
    if is_dense:
        block = weight_pictures.block(networks.convolutions(network)[0][1])
        arrays |= {name: torch.stack(frames) for name, frames in pictures.items()}
        arrays["block"] = block.flatten(2).flatten(0, 1).half().cpu()
    return Result(history, arrays, weights)


def _paused(
    epoch: int,
    history: History,
    trainer: Callable[[], dict[str, Tensor]],
    weights: dict[str, Tensor],
    pictures: dict[str, list[Tensor]],
) -> ResumeState:
    """What a training goes on from after ``epoch``."""
    tensors = {f"trainer/{name}": value for name, value in trainer().items()}
    tensors |= {f"weights/{name}": value for name, value in weights.items()}
    tensors |= {f"pictures/{name}": torch.stack(frames) for name, frames in pictures.items()}
    return ResumeState({"epoch": epoch, "history": history}, tensors)


def _state(network: nn.Sequential) -> dict[str, Tensor]:
    """A copy of the network's state where it is: fetching it would wait for a GPU."""
    state = network.state_dict().items()
    return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state}


def _moments(network: nn.Sequential, trainer: dict[str, Tensor]) -> dict[str, Tensor]:
    """A copy of what a CNN's optimiser has gathered, "PARAMETER/NAME", from its training's state."""
    names = [name for name, _ in network.named_parameters()]
    numbered = [(key.split("/"), value) for key, value in strip_prefix("rest/", trainer).items()]
    form = torch.contiguous_format
    return {f"{names[int(i)]}/{name}": value.clone(memory_format=form) for (i, name), value in numbered}

"""The run behind the choice of a learning rate: short trainings from every relax time, at every rate."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.runs import History
from efcnlib import metrics
from efcnlib.data.images import Split, epoch_order
from efcnlib.kernels.precision import matmul_precision
from efcnlib.resumable import Pause, Resumable, ResumeState
from efcnlib.training.engine import Engine
from efcnlib.training.trainer import Trainer

DIVERGENCE_CHECK = 10  # steps after which a training that has diverged is ended


def search_rates(
    run: RateSearch,
    build: Callable[[int], nn.Sequential],
    split: Split,
    engine: Engine,
    seed: int,
    state: ResumeState | None = None,
) -> Resumable[History]:
    """The history of a search, one row a relax time and rate; ``build(tw)`` gives the network that is to be trained.

    ``split`` holds the training images, ``seed`` decides their order, where the CNN's were shuffled. A generator, see
    `efcnlib.resumable`.
    """
    cnn = run.parent
    order = torch.Generator().manual_seed(seed) if cnn.shuffle else None
    first = epoch_order(len(split), cnn.batch, order)[: run.steps * cnn.batch]
    images = Split(split.x[first.to(split.x.device)], split.y[first.to(split.y.device)])
    seen = cnn.evaluation.images(images)

    def loss(network: nn.Module) -> float:
        with matmul_precision(cnn.precision, images.x.device):
            return float(metrics.evaluate(network, seen, precision=cnn.evaluation.precision_for(cnn))[0])

    history = state.numbers["history"] if state else {"rate": [], "tw": [], "before": [], "after": []}
    at = None
    wanted = [(tw, rate) for tw in run.times for rate in run.rates]
    for number, (tw, rate) in enumerate(wanted[len(history["rate"]) :], start=len(history["rate"]) + 1):
        if tw != at:
            network, at = build(tw), tw
            start = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(start)
        known = history["tw"].index(tw) if tw in history["tw"] else None
        before = loss(network) if known is None else history["before"][known]
        _train(network, images, run, rate, engine, seed)
        for name, value in {"rate": rate, "tw": tw, "before": before, "after": loss(network)}.items():
            history[name].append(value)
        yield Pause(number / len(wanted), lambda: ResumeState({"history": history}))
    return history | {"images": len(images)}


def _train(network: nn.Module, images: Split, run: RateSearch, rate: float, engine: Engine, seed: int) -> None:
    """Train in place over ``images`` once, or until the loss is no longer finite."""
    optimiser = replace(run.parent.optimiser, lr=rate)
    trainer = Trainer(network, optimiser, run.parent.precision, engine, batch=run.parent.batch, seed=seed)
    for part in torch.arange(len(images)).split(DIVERGENCE_CHECK * run.parent.batch):
        trainer.epoch(images, part)
        if not torch.isfinite(trainer.pop_loss_sum()):
            break
    trainer.flush()

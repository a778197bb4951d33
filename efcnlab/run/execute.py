"""From a run's configuration to its result: a network trained and measured, a path walked, a loss's curvature."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from efcnlab.config.learning_rates import RateSearch
from efcnlab.config.runs import Evaluation
from efcnlab.config.studies import Curvature, Data, PathRun, Run, Training
from efcnlab.run import path_run, rate_search, study_images
from efcnlab.store.parent_checkpoints import MOMENTS, checkpoint, gathered
from efcnlab.store.run_lock import Attempt
from efcnlab.store.run_store import Result, Store, environment, key_of
from efcnlib import embedding, metrics, networks
from efcnlib.data.images import Split, to_device
from efcnlib.kernels.precision import matmul_precision
from efcnlib.landscape import hessian
from efcnlib.resumable import Pause, Resumable, ResumeState
from efcnlib.training import memory
from efcnlib.training.loop import train
from efcnlib.training.optimisers import strip_prefix
from efcnlib.training.trainer import Engine


@dataclass
class Workplace:
    """Where and how runs are computed: the store their parents are in, the device, the images kept on it, the engine.

    ``data_root`` is where images are read from, see `efcnlib.data.study_images.load`.

    None of it is part of a run's key.

    >>> import tempfile
    >>> from efcnlab.run.execute import Store, Workplace
    >>> from efcnlab.config.studies import load
    >>> train, test = Workplace(Store(tempfile.mkdtemp())).splits(load("digits").data)
    >>> len(train), len(test)
    (1437, 360)
    """

    store: Store
    device: str = "cpu"
    data_root: str | None = None
    engine: Engine = field(default_factory=Engine)
    _splits: dict[Data, tuple[Split, Split]] = field(default_factory=dict)

    def splits(self, data: Data) -> tuple[Split, Split]:
        """Training and test images on the device, loaded once."""
        if data not in self._splits:
            loaded = study_images.load(data, self.data_root)
            self._splits[data] = to_device(loaded, self.device, train=data.train, test=data.test)
        return self._splits[data]

    def stream(self, new: bool = False) -> "torch.cuda.Stream | None":
        """The stream of a GPU that is in use, or a new one; a CPU has none."""
        if torch.device(self.device).type != "cuda":
            return None
        return torch.cuda.Stream(self.device) if new else torch.cuda.current_stream(self.device)


Made = tuple[dict, dict, dict]  # history, arrays, weights
Tick = Callable[[Pause], None]  # sees each pause of a run; it may raise `pauses.Stopped`


def compute(run: Run, place: Workplace, attempt: Attempt, tick: Tick = lambda pause: None) -> Result:
    """The result of a run whose parents are in the store, on from where an earlier attempt left off.

    >>> import tempfile
    >>> from efcnlab.run.execute import Store, Workplace, compute
    >>> from efcnlab.config.studies import load
    >>> run, store = load("digits", epochs=20).cnn(seed=0), Store(tempfile.mkdtemp())
    >>> record = store.ensure(run, lambda attempt: compute(run, Workplace(store), attempt))
    >>> record.history["epoch"], record.history["train_loss"][-1] < record.history["train_loss"][0]
    ([0, 1, 2, 3, 5, 8, 13, 20], True)
    """
    return _result(place, attempt.finish(work(run, place, attempt.state), tick), attempt)


def compute_together(
    attempts: Mapping[Training, Attempt],
    place: Workplace,
    tick: Callable[[Training, float], None] = lambda run, part: None,
) -> Iterator[tuple[Training, Result]]:
    """Several trainings side by side in this process, an epoch of each in turn; yields each when it is done.

    On a GPU each has a stream of its own, so that one's steps fill what the other's leave idle: ``place`` must have the
    images on it already, for no stream to wait for another. The numbers are those of `compute`.

    >>> import tempfile
    >>> from efcnlab.run.execute import Store, Workplace, compute_together
    >>> from efcnlab.config.studies import load
    >>> store = Store(tempfile.mkdtemp())
    >>> study = load("digits", epochs=1, relax_times=(0,), path_times=(), seeds=(0, 1))
    >>> runs = [study.cnn(seed) for seed in study.seeds]
    >>> records = store.ensure_all(runs, lambda attempts: compute_together(attempts, Workplace(store)))
    >>> [record.info["together"] for record in records]
    [2, 2]
    """
    here = place.stream()
    works = {run: (work(run, place, attempt.state), place.stream(new=True)) for run, attempt in attempts.items()}
    while works:
        for run, (going, stream) in list(works.items()):
            if stream is not None:
                stream.wait_stream(here)  # the images were put on the device there
            with torch.cuda.stream(stream) if stream is not None else contextlib.nullcontext():
                try:
                    pause = next(going)
                    attempts[run].pause(pause)
                    tick(run, pause.fraction)
                    continue
                except StopIteration as end:
                    made = end.value
            if stream is not None:
                here.wait_stream(stream)  # from where its weights are fetched
            del works[run]
            result = _result(place, made, attempts[run])
            result.info["together"] = len(attempts)
            yield run, result


def work(run: Run, place: Workplace, state: ResumeState | None = None) -> Resumable[Made]:
    """The computation of a run, from the ``state`` of one of its pauses if there is one."""
    match run:
        case PathRun():
            return _walk(run, place, state)
        case Curvature():
            return _curvature(run, place, state)
        case RateSearch():
            return _search(run, place, state)
    return _train(run, place, state)


def needed(run: Training, place: Workplace) -> int:
    """Bytes of the device's memory that a training needs, its weights included: a lower bound."""
    network = run.untrained()
    if run.kind in ("fcn", "efcn"):
        network = networks.dense(network, run.data.shape, live=run.optimiser.weight_decay == 0)  # pages never touched
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return weights + memory.required_bytes(network, run.optimiser, run.precision, place.engine, run.batch)


def _result(place: Workplace, made: Made, attempt: Attempt) -> Result:
    info = {"environment": environment(), "device": place.device, "engine": asdict(place.engine)}
    info |= {"seconds": round(attempt.seconds, 3), "attempts": attempt.attempts}
    history, arrays, weights = made
    return Result(history, arrays, {name: value.cpu() for name, value in weights.items()}, info)


def _train(run: Training, place: Workplace, state: ResumeState | None) -> Resumable[Made]:
    train_split, test_split = place.splits(run.data)
    network = build(run, place.store, place.device)
    how = run.evaluation or Evaluation()
    seen = train_split if how.stride == 1 else Split(train_split.x[:: how.stride], train_split.y[:: how.stride])
    is_dense = bool(networks.convolutions(network))
    saved = state or ResumeState({"history": {}})
    history: dict[str, list] = saved.numbers["history"]
    pictures = {name: list(frames) for name, frames in strip_prefix("pictures/", saved.tensors).items()}
    weights = strip_prefix("weights/", saved.tensors)
    trained = train(
        network,
        train_split,
        run.optimiser,
        epochs=run.epochs,
        batch=run.batch,
        shuffle=run.shuffle,
        seed=_seed(run),
        precision=run.precision,
        engine=place.engine,
        augment=run.augment,
        optimiser_state=gathered(place.store, run.parent, run.tw) if run.carry else None,
        resume_from=state and (state.numbers["epoch"], strip_prefix("trainer/", state.tensors)),
    )
    for epoch, losses, trainer in trained:
        if epoch in run.measured:
            with matmul_precision(run.precision, place.device):
                precision = run.precision if how.own_precision else "float32"
                row = {"epoch": epoch} | metrics.history_row(network, seen, test_split, precision, epoch_loss=losses)
            for name, value in row.items():
                history.setdefault(name, []).append(value)
            if is_dense:
                for name, picture in metrics.weight_pictures(network).items():
                    pictures.setdefault(name, []).append(picture.cpu())
        if run.kind == "cnn":  # every epoch, so that every tw is possible: VanillaCNN 0.6 MB each, AlexNet 12 MB
            weights |= {f"{epoch}/{name}": value for name, value in _state(network).items()}
            if run.optimiser.moment_names:  # for those that carry it over
                weights |= {f"{MOMENTS}/{epoch}/{name}": value for name, value in _moments(network, trainer()).items()}
        yield Pause((epoch + 1) / (run.epochs + 1), partial(_paused, epoch, history, trainer, weights, pictures))
    if run.kind != "cnn":
        weights = _state(network)
    arrays = {}
    if is_dense:
        block = embedding.block(networks.convolutions(network)[0][1])
        arrays = {name: torch.stack(frames) for name, frames in pictures.items()}
        arrays["block"] = block.flatten(2).flatten(0, 1).half().cpu()
    return history, arrays, weights


def _paused(epoch: int, history: dict, trainer: Callable[[], dict], weights: dict, pictures: dict) -> ResumeState:
    """What a training goes on from after ``epoch``."""
    tensors = {f"trainer/{name}": value for name, value in trainer().items()}
    tensors |= {f"weights/{name}": value for name, value in weights.items()}
    tensors |= {f"pictures/{name}": torch.stack(frames) for name, frames in pictures.items()}
    return ResumeState({"epoch": epoch, "history": history}, tensors)


def build(run: Training, store: Store, device: str = "cpu") -> nn.Sequential:
    """The network of a run before its first step. Random starts are drawn on the CPU, the same for every device.

    >>> import tempfile
    >>> from efcnlab.run.execute import Store, build
    >>> from efcnlab.config.studies import load
    >>> build(load("digits").fcn(seed=0), Store(tempfile.mkdtemp()))[0]
    DenseConv(64 -> 294, live)
    """
    network = run.untrained()
    if run.kind == "cnn":
        return networks.initialise(network, torch.Generator().manual_seed(_seed(run))).to(device)
    if run.kind == "fcn":
        return standard_fcn(network, run.data.shape, _seed(run), run.optimiser.weight_decay == 0, device)
    network.load_state_dict(checkpoint(store, run.parent, run.tw))
    return become(network.to(device), run)


def become(network: nn.Sequential, run: Training) -> nn.Sequential:
    """What a CNN becomes in a run: a dense network, a local one, or itself.

    >>> from efcnlab.run.execute import become
    >>> from efcnlab.config.studies import load
    >>> run = load("digits").relaxed("efcn", tw=5, seed=0)
    >>> become(run.untrained(), run)[0]
    DenseConv(64 -> 294, live)
    """
    if run.kind in ("efcn", "fcn"):
        # With weight decay dead weights shrink, so they must be there; without, they never move.
        return embedding.embed(network, run.data.shape, live=run.optimiser.weight_decay == 0)
    return embedding.embed_local(network, run.data.shape) if run.kind == "elcn" else network


def standard_fcn(
    network: nn.Sequential, shape: tuple[int, ...], seed: int, live: bool, device: str = "cpu"
) -> nn.Sequential:
    """A dense network with PyTorch's random start; drawn on the padded matrices, so that both layouts agree.

    >>> import torch
    >>> from efcnlab.run.execute import metrics, networks, standard_fcn
    >>> from efcnlab.config.studies import load
    >>> cnn = load("digits").cnn(seed=0).untrained()
    >>> parts = [
    ...     [metrics.deviation(layer) for _, layer in networks.convolutions(standard_fcn(cnn, (1, 8, 8), 0, live))]
    ...     for live in (True, False)
    ... ]
    >>> torch.allclose(*map(metrics.delta, parts), rtol=1e-6)  # of all weights, where only live ones are kept too
    True
    """
    fcn = networks.initialise(networks.dense(network, shape, live=False), torch.Generator().manual_seed(seed))
    fcn = fcn.to(device)  # which compacts the matrices sooner than a CPU
    if live:
        for name, layer in networks.convolutions(fcn):
            setattr(fcn, name, embedding.to_live(layer))
    return fcn


def _walk(run: PathRun, place: Workplace, state: ResumeState | None) -> Resumable[Made]:
    train_split, test_split = place.splits(run.end.data)
    splits = path_run.splits(run.end.data, train_split, test_split, place.device, place.data_root)
    ends = {training: dense_end(training, place.store, place.device) for training in run.parents}
    start, end = (ends[training].state_dict() for training in (run.start, run.end))
    third = run.third and {name: value.detach() for name, value in ends[run.third].named_parameters()}
    return path_run.walk(run, path_run.Ground(ends[run.start], start, end, third, splits, _seed(run.end)), state)


def _curvature(run: Curvature, place: Workplace, state: ResumeState | None) -> Resumable[Made]:
    images, of = place.splits(run.of.data)[0], run.of
    moments = {
        0: lambda: build(of, place.store, place.device),
        of.epochs: lambda: dense_end(of, place.store, place.device),
    }
    few, how = Split(images.x[: run.images], images.y[: run.images]), {"steps": run.steps, "count": run.count}
    history = yield from hessian.measure_curvature(moments, few, **how, seed=_seed(of), state=state)
    return history, {}, {}


def _search(run: RateSearch, place: Workplace, state: ResumeState | None) -> Resumable[Made]:
    def build(tw: int) -> nn.Sequential:
        network = run.parent.untrained()
        network.load_state_dict(checkpoint(place.store, run.parent, tw))
        network = network.to(place.device)
        if run.of == "efcn":
            network = embedding.embed(network, run.parent.data.shape, live=run.parent.optimiser.weight_decay == 0)
        return network

    split, _ = place.splits(run.parent.data)
    history = yield from rate_search.search(run, build, split, place.engine, _seed(run.parent), state)
    return history, {}, {}


def dense_end(run: Training, store: Store, device: str = "cpu") -> nn.Sequential:
    """The network at a training's end as a dense one, a CNN embedded.

    >>> import tempfile
    >>> from efcnlab.run.execute import Store, Workplace, compute, dense_end
    >>> from efcnlab.config.studies import load
    >>> store = Store(tempfile.mkdtemp())
    >>> run = load("digits", epochs=1, relax_times=(0,), path_times=()).cnn(seed=0)
    >>> _ = store.ensure(run, lambda attempt: compute(run, Workplace(store), attempt))
    >>> dense_end(run, store)[0]
    DenseConv(64 -> 294, live)
    """
    network, live = run.untrained().to(device), run.optimiser.weight_decay == 0
    if run.kind == "cnn":
        network.load_state_dict(checkpoint(store, run, run.epochs))
        return embedding.embed(network, run.data.shape, live)
    saved = store.weights(key_of(run))
    if run.kind in ("control", "lowered"):
        network.load_state_dict(saved)
        return embedding.embed(network, run.data.shape, live)
    network = networks.dense(network, run.data.shape, live)
    network.load_state_dict(saved)
    return network


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


def _seed(run: Training) -> int:
    """A seed of its own for every random start and order; eFCN, eLCN and control of one tw share theirs, as a pair."""
    role = run.kind if run.tw is None else f"relaxed at {run.tw}"
    return int.from_bytes(hashlib.sha256(f"{role}, seed {run.seed}".encode()).digest()[:7], "big")

"""The command `efcn`: thin commands over the library, which is imported only when a command needs it.

Exit codes: 0, done; 2, a mistake the user can mend, told in one line; 130, interrupted.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from efcnlib.errors import UserError, plain_warnings

ABOUT = """From a trained CNN to the equivalent fully-connected network, and on.

Start with: efcn book. It needs some minutes on two CPU cores."""

app = tyro.extras.SubcommandApp()


def _option(metavar: str | None, text: str) -> object:
    """How an argument is shown in the help; ``text`` says what happens without it, so tyro need not."""
    return arg(metavar=metavar, help=text, help_behavior_hint="")


Study = Annotated[Positional[str], _option("STUDY", "a study: quick, digits, ..., or the name of a .json file")]
Studies = Annotated[Positional[tuple[str, ...]], _option("[STUDY ...]", "studies; without any: quick")]
Named = Annotated[Positional[tuple[str, ...]], _option("[STUDY ...]", "studies; without any: a line each")]
Root = Annotated[str | None, _option("DIR", "folder where runs are kept; else $EFCN_ROOT, else runs/ in the clone")]
DataRoot = Annotated[str | None, _option("DIR", "folder with the images as torchvision lays them out; else $EFCN_DATA")]
Device = Annotated[str, _option("DEVICE", "where to compute: cpu, cuda, cuda:1; without it: cpu")]
RunDevice = Annotated[str | None, _option("DEVICE", "cpu, cuda, cuda:1; else cpu, or with ray the GPUs there are")]
GoOn = Annotated[FlagCreatePairsOff[bool], _option(None, "compute a long study without being asked")]
Seeds = Annotated[tuple[int, ...], _option("N ...", "compute these seeds of the study alone; without it: all")]
Subject = Annotated[Positional[str], _option("SUBJECT", "training, scaling, together, precision, kernels or paths")]
Precision = Annotated[str | None, _option("NAME", "of products: float32, tf32 (GPU) or bf16; else the study's own")]
Delay = Annotated[
    int | None,
    _option("STEPS", "write eFCN weights every 1, 2, 4 or 8 steps, exactly; plain SGD; else 1, or timed if it is long"),
]
Kernel = Annotated[str, _option("NAME", "of the fused update: torch, or triton (GPU, not measured yet); else torch")]
Together = Annotated[int, _option("N", "eFCNs trained side by side, which may pay on a GPU; without it: 1")]
Threads = Annotated[int | None, _option("N", "processor cores for each run; else all, or 1 with ray")]
Where = Annotated[Literal["local", "ray"], _option("NAME", "local, this process, or ray, a cluster; else local")]
Address = Annotated[str | None, _option("HOST:PORT", "of a running Ray cluster, or auto; else one is started here")]
GpusPerRun = Annotated[float | None, _option("X", "GPUs of a run, such as 0.25, on a Ray cluster; else 1")]
Yes = Annotated[FlagCreatePairsOff[bool], _option(None, "remove it; else it is only shown")]
Folders = Annotated[Positional[tuple[str, ...]], _option("[FOLDER ...]", "recorded studies; else those in results/")]
Results = Annotated[str | None, _option("DIR", "folder of recorded studies; else results/ in the clone")]


@app.command
def data(
    name: Annotated[Positional[str], _option("NAME", "cifar10, cifar100, digits, or a .safetensors file of your own")],
    data_root: DataRoot = None,
) -> None:
    """Fetch a set of images, verify it, and show what it holds and where it is kept.

    Of a file of your own, show what makes a study file train on it.
    """
    from efcnlib import images, own

    if name.endswith(".safetensors"):
        print(own.entry(Path(name)))
        return
    loaded = images.load(name, data_root)
    for part, x, y in (("train", loaded.train_x, loaded.train_y), ("test", loaded.test_x, loaded.test_y)):
        means = x.double().mean((0, 2, 3)) / (16 if name == "digits" else 255)
        print(f"{part}: {len(y)} images {tuple(x.shape[1:])}, channel means {' '.join(f'{m:.8f}' for m in means)}")
    print(f"{loaded.classes} classes, verified by SHA-256 {images.DIGESTS[name]}")
    file = images.cache_file(name)
    print(f"kept in {file}" if file.exists() else "not kept: it is read from its source each time")


@app.command
def run(
    study: Study,
    root: Root = None,
    device: RunDevice = None,
    data_root: DataRoot = None,
    yes: GoOn = False,
    seeds: Seeds = (),
    precision: Precision = None,
    delay: Delay = None,
    kernel: Kernel = "torch",
    together: Together = 1,
    threads: Threads = None,
    engine: Where = "local",
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
) -> None:
    """Compute the runs of a study that are not there yet. Interrupt it whenever you like: it goes on where it was.

    How long a long study takes is measured and told first.
    """
    from efcnlib import studies, sweep
    from efcnlib.engine import Engine
    from efcnlib.validation import validated

    if engine == "local" and (address or gpus_per_run is not None):
        raise UserError(f"{'--address' if address else '--gpus-per-run'} is for a cluster: add --engine ray")
    if engine == "ray" and together != 1:
        raise UserError(f"--together {together} is for one process: with ray, take --gpus-per-run {1 / together:g}")
    config, store = _study(study, precision), _store(root)
    steps = validated(Engine, {"kernel": kernel} | ({} if delay is None else {"delay": delay}))
    options = {"data_root": data_root, "yes": yes, "seeds": seeds or None, "engine": steps}
    if engine == "ray":
        from efcnlib import cluster

        asked = {"address": address, "threads": threads, "gpus": gpus_per_run}
        where = validated(cluster.Cluster, {name: value for name, value in asked.items() if value is not None})
        done = cluster.ensure(config, store, where, device=device, **options)
    else:
        done = sweep.ensure(config, store, device=device or "cpu", together=together, threads=threads, **options)
    of = f" of seed {', '.join(map(str, seeds))}" if seeds else ""
    print(f"{config.name}: all {len(studies.runs(done.study, seeds or None))} runs{of} are in {store.root}")


@app.command
def book(studies: Studies = (), device: Device = "cpu", data_root: DataRoot = None) -> None:
    """Compute studies, run the notebooks on them and build the book. What is there already is not done again."""
    from efcnlib.book import build

    build(studies, device=device, data_root=data_root)


@app.command
def bench(
    subject: Subject = "training",
    device: Device = "cpu",
    architecture: Annotated[str, _option("NAME", "vanilla or alexnet; without it: vanilla")] = "vanilla",
    channels: Annotated[
        int | None, _option("N", "of the CNN's first layer; else 64 on a GPU, 16 or 8 on a CPU")
    ] = None,
    optimiser: Annotated[str, _option("NAME", "sgd or adam; without it: sgd")] = "sgd",
    batch: Annotated[int, _option("N", "images in a step; without it: 250")] = 250,
    images: Annotated[int | None, _option("N", "images in an epoch; else 50000 on a GPU, 2500 on a CPU")] = None,
    blocks: Annotated[int, _option("N", "times each variant is timed, at least 5; without it: 7")] = 7,
    variants: Annotated[tuple[str, ...], _option("A B ...", "which ways of training; without it: all")] = (),
    synthetic: Annotated[FlagCreatePairsOff[bool], _option(None, "noise instead of the data set's images")] = False,
    data_root: DataRoot = None,
    out: Annotated[str | None, _option("FILE", "where the result goes; else into results/performance")] = None,
) -> None:
    """Time ways of training against each other, gated by a float64 reference, in one process."""
    from efcnlib import subjects
    from efcnlib.validation import validated

    names = {"architecture": architecture, "channels": channels, "optimiser": optimiser, "batch": batch}
    others = {"images": images, "blocks": blocks, "names": variants, "synthetic": synthetic, "data_root": data_root}
    subjects.run(subject, device, validated(subjects.Options, names | others), out)


@app.command
def status(studies: Named = (), root: Root = None) -> None:
    """Count the runs there are of every study; of named ones list each run's state, progress and size on disk."""
    from efcnlib.studies import PRESETS
    from efcnlib.survey import lines

    store = _store(root)
    for name in studies or PRESETS:
        print("\n".join(lines(_found(name, store), store, each=bool(studies))))


@app.command
def show(study: Study, precision: Precision = None) -> None:
    """Print a study as JSON: a file with it, changed, is a study of your own."""
    print(_study(study, precision).model_dump_json(indent=1))


@app.command
def gc(
    studies: Annotated[Positional[tuple[str, ...]], _option("[STUDY ...]", "studies; without any: all presets")] = (),
    root: Root = None,
    yes: Yes = False,
    damaged: Annotated[FlagCreatePairsOff[bool], _option(None, "also what was damaged and set aside")] = False,
) -> None:
    """Show what nothing needs any more of studies, weights above all, and with --yes remove it. Never a record."""
    from efcnlib import cleaning
    from efcnlib.files import size
    from efcnlib.studies import PRESETS

    store = _store(root)
    found = cleaning.find([_found(name, store) for name in studies or PRESETS], store, damaged)
    for waste in found:
        print(f"  {size(waste.bytes):>10}  {waste.what}")
    total = size(sum(waste.bytes for waste in found))
    if not found:
        print(f"nothing in {store.root} can go")
    elif yes:
        print(f"{size(cleaning.remove(found, store))} of {total} freed in {store.root}")
    else:
        print(f"{total} in {store.root} can go; add --yes to remove it. Weights that a run needs later are made again")


@app.command
def export(
    study: Study,
    root: Root = None,
    out: Results = None,
    precision: Precision = None,
    partial: Annotated[FlagCreatePairsOff[bool], _option(None, "also if some runs are not done")] = False,
) -> None:
    """Write the records of a study, without weights, into results/, sealed; from there every figure can be drawn."""
    from efcnlib import export as exports
    from efcnlib.environment import REPOSITORY
    from efcnlib.files import size

    store = _store(root)
    config = _found(study, store, precision)
    command = f"efcn run {study if study == config.name else 'study.json'}"
    command += f" --precision {precision}" if precision else ""
    folder = exports.export(config, store, Path(out) if out else REPOSITORY / "results", command, partial)
    index = exports.read_index(folder)
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{config.name}: {len(index.runs)} runs recorded in {folder}, {size(total)}")


@app.command(name="import")
def import_(folders: Folders, root: Root = None) -> None:
    """Copy recorded runs into the run store, where it lacks them; each is verified first."""
    from efcnlib import export as exports

    store = _store(root)
    for folder in folders:
        done = exports.import_(Path(folder), store)
        print(f"{folder}: {done.new} runs imported, {done.there} were there, {done.damaged} are damaged and left out")


@app.command
def verify(
    folders: Folders = (),
    recompute: Annotated[int, _option("N", "train N of the runs again and compare; without it: 0")] = 0,
    seed: Annotated[int | None, _option("N", "draws those runs; without it: at random")] = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> None:
    """Check recorded studies against their digests, and runs drawn from them by training them again."""
    from efcnlib import export as exports
    from efcnlib.environment import recorded
    from efcnlib.errors import at_least
    from efcnlib.recompute import recompute as train_again

    at_least(0, recompute=recompute)
    wrong, chosen = 0, [Path(folder) for folder in folders] or recorded()
    if not chosen:
        print("no study is recorded: efcn export records one")
    for folder in chosen:
        index, problems = exports.read_index(folder), exports.verify(folder)
        for problem in problems:
            print(f"{folder}: {problem}", file=sys.stderr)
        wrong += len(problems)
        print(f"{folder}: {len(index.runs)} runs, {len(problems) or 'nothing'} wrong, recorded {index.date}")
        for comparison in train_again(folder, recompute, seed=seed, device=device, data_root=data_root):
            verdict = "same" if comparison.same else "close" if comparison.close else "DIFFERENT"
            print(f"  {comparison.label:<28} {verdict:<10} {comparison.words}")
            wrong += not comparison.same and not comparison.close
    if wrong:
        raise UserError(f"{wrong} mistakes in recorded studies, listed above")


def _study(name: str, precision: str | None = None) -> object:
    from efcnlib import studies

    return studies.load(name, **({} if precision is None else {"precision": precision}))


def _found(name: str, store: object, precision: str | None = None) -> object:
    from efcnlib.derived import resolved

    return resolved(_study(name, precision), store)


def _store(root: str | None) -> object:
    from efcnlib.environment import recorded
    from efcnlib.records import Store

    return Store(root, recorded())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of the process; returns the exit code."""
    try:
        with plain_warnings():
            app.cli(prog="efcn", description=ABOUT, args=arguments)
    except (UserError, OSError) as mistake:  # OSError: a full disk, an unwritable folder; it names the file
        print(f"efcn: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: finished runs are kept, and how far others were", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

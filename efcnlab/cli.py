"""The command `efcn`: thin commands over the library, which is imported only when a command needs it.

Exit codes: 0, done; 2, a mistake the user can mend, told in one line; 130, interrupted; 141, who read the output left.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from efcnlab.arguments import (
    Address,
    Channels,
    ComputeUnasked,
    DataRoot,
    Delay,
    Device,
    Executor,
    GpusPerRun,
    HeldOut,
    ImagesFile,
    ImageSize,
    ImagesSource,
    Kernel,
    LabelColumn,
    ListedStudies,
    Precision,
    RecordedFolders,
    RemoveUnasked,
    ResultsFolder,
    RunDevice,
    Seeds,
    StarterStudy,
    StoreFolder,
    StudyName,
    Threads,
    Together,
    option,
)
from efcnlab.console import plain_warnings, print_anywhere, printable, reader_is_gone

ABOUT = """Embed a trained CNN exactly in a fully-connected network, and keep training it.

Start with: efcn book. It needs some minutes on two CPU cores."""

app = tyro.extras.SubcommandApp()


@app.command
def data(
    images: ImagesSource,
    data_root: DataRoot = None,
    out: ImagesFile = None,
    size: ImageSize = None,
    channels: Channels = None,
    held_out: HeldOut = None,
    label: LabelColumn = None,
    study: StarterStudy = None,
) -> None:
    """Fetch a set of images, verify it, and show what it holds and where it is kept.

    Of your own, make the one file that studies train on, with a picture of the first images beside it, and show what a
    study file says of it.
    """
    from efcnlab.data import datasets
    from efcnlab.run import image_import
    from efcnlib.errors import UserError

    options = {"out": out, "size": size, "channels": channels, "held_out": held_out, "label": label, "study": study}
    given = [name for name, value in options.items() if value is not None]
    if images not in datasets.NAMES:
        image_import.import_images(images, **options)
        return
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} is for images of your own, not for {images}")
    name = images
    loaded = datasets.load(name, data_root)
    for part, x, y in (("train", loaded.train_x, loaded.train_y), ("test", loaded.test_x, loaded.test_y)):
        means = x.double().mean((0, 2, 3)) / (16 if name == "digits" else 255)
        print(f"{part}: {len(y)} images {tuple(x.shape[1:])}, channel means {' '.join(f'{m:.8f}' for m in means)}")
    print(f"{loaded.classes} classes, verified by SHA-256 {datasets.DIGESTS[name]}")
    try:
        file = datasets.cache_file(name)
    except UserError:  # a user without a home folder
        file = None
    print(f"kept in {file}" if file and file.exists() else "not kept: it is read from its source each time")


@app.command
def run(
    study: StudyName,
    root: StoreFolder = None,
    device: RunDevice = None,
    data_root: DataRoot = None,
    yes: ComputeUnasked = False,
    seeds: Seeds = (),
    precision: Precision = None,
    delay: Delay = None,
    kernel: Kernel = "torch",
    together: Together = 1,
    threads: Threads = None,
    engine: Executor = "local",
    address: Address = None,
    gpus_per_run: GpusPerRun = None,
) -> None:
    """Compute the runs of a study that are not there yet. Interrupt it whenever you like: it goes on where it was.

    How long a long study takes is measured and told first.
    """
    from efcnlab.config import studies
    from efcnlab.config.validation import validated
    from efcnlab.run import study_runner
    from efcnlib.errors import UserError
    from efcnlib.training.engine import Engine

    if engine == "local" and (address or gpus_per_run is not None):
        raise UserError(f"{'--address' if address else '--gpus-per-run'} is for a cluster: add --engine ray")
    if engine == "ray" and together != 1:
        raise UserError(f"--together {together} is for one process: with ray, take --gpus-per-run {1 / together:g}")
    config, store = _study(study, precision), _store(root)
    is_given = delay is not None or kernel != "torch"  # else a long study chooses the delay
    steps = validated(Engine, {"kernel": kernel, "delay": 1 if delay is None else delay}) if is_given else None
    options = {"data_root": data_root, "yes": yes, "seeds": seeds or None, "engine": steps}
    if engine == "ray":
        from efcnlab.run import ray_cluster

        asked = {"address": address, "threads": threads, "gpus": gpus_per_run}
        where = validated(ray_cluster.Cluster, {name: value for name, value in asked.items() if value is not None})
        done = ray_cluster.run_study_on_ray(config, store, where, device=device, **options)
    else:
        done = study_runner.run_study(
            config, store, device=device or "cpu", together=together, threads=threads, **options
        )
    of = f" of seed {', '.join(map(str, seeds))}" if seeds else ""
    print(f"{config.name}: all {len(studies.runs(done.study, seeds or None))} runs{of} are in {store.root}")


@app.command
def status(studies: ListedStudies = (), root: StoreFolder = None) -> None:
    """Count the runs there are of every study; of named ones list each run's state, progress and size on disk."""
    from efcnlab.config.studies import PRESETS
    from efcnlab.run.status import status_lines

    store = _store(root)
    for name in studies or PRESETS:
        print("\n".join(status_lines(_found(name, store), store, each=bool(studies))))


@app.command
def show(study: StudyName, precision: Precision = None) -> None:
    """Print a study as JSON: a file with it, changed, is a study of your own."""
    print(json.dumps(_study(study, precision).model_dump(mode="json"), indent=1))  # in ASCII, for every terminal


@app.command
def gc(
    studies: Annotated[Positional[tuple[str, ...]], option("[STUDY ...]", "studies; without any: all presets")] = (),
    root: StoreFolder = None,
    yes: RemoveUnasked = False,
    damaged: Annotated[FlagCreatePairsOff[bool], option(None, "also what was damaged and set aside")] = False,
) -> None:
    """List files of studies that can be deleted, weights above all, and with --yes delete them. Never a record."""
    from efcnlab.config.studies import PRESETS
    from efcnlab.store import garbage
    from efcnlab.store.files import format_bytes

    store = _store(root)
    found = garbage.find_unneeded([_found(name, store) for name in studies or PRESETS], store, damaged)
    for waste in found:
        print(f"  {format_bytes(waste.bytes):>10}  {waste.what}")
    total = format_bytes(sum(waste.bytes for waste in found))
    if not found:
        print(f"nothing in {store.root} can go")
    elif yes:
        print(f"{format_bytes(garbage.remove_unneeded(found, store))} of {total} freed in {store.root}")
    else:
        print(f"{total} in {store.root} can go; add --yes to remove it. Weights that a run needs later are made again")


@app.command
def export(
    study: StudyName,
    root: StoreFolder = None,
    out: ResultsFolder = None,
    precision: Precision = None,
    partial: Annotated[FlagCreatePairsOff[bool], option(None, "also if some runs are not done")] = False,
) -> None:
    """Write the records of a study, without weights, into results/, sealed; from there every figure can be drawn."""
    from efcnlab.environment import REPOSITORY, expanded
    from efcnlab.store import export as exports
    from efcnlab.store import recorded_study
    from efcnlab.store.files import format_bytes

    store = _store(root)
    config = _found(study, store, precision)
    command = f"efcn run {study if study == config.name else 'study.json'}"
    command += f" --precision {precision}" if precision else ""
    folder = exports.export_study(config, store, expanded(out) if out else REPOSITORY / "results", command, partial)
    index = recorded_study.read_index(folder)
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{config.name}: {len(index.runs)} runs recorded in {folder}, {format_bytes(total)}")


@app.command(name="import")
def import_(folders: RecordedFolders, root: StoreFolder = None) -> None:
    """Copy recorded runs into the run store, where it lacks them; each is verified first."""
    from efcnlab.store import recorded_study

    store = _store(root)
    for folder in [Path(folder) for folder in folders] or recorded_study.readable_studies():
        done = recorded_study.import_study(folder, store)
        others = f"{done.already_present} were there, {done.damaged} are damaged and left out"
        print(f"{printable(folder)}: {done.new} runs imported, {others}")


@app.command
def verify(
    folders: RecordedFolders = (),
    recompute: Annotated[int, option("N", "train N of the runs again and compare; without it: 0")] = 0,
    seed: Annotated[int | None, option("N", "draws those runs; without it: at random")] = None,
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> None:
    """Check recorded studies against their digests, and runs drawn from them by training them again."""
    from efcnlab.run.verification import verify_and_tell

    verify_and_tell([Path(folder) for folder in folders], recompute, seed=seed, device=device, data_root=data_root)


def _study(name: str, precision: str | None = None) -> object:
    from efcnlab.config import studies

    return studies.load(name, **({} if precision is None else {"precision": precision}))


def _found(name: str, store: object, precision: str | None = None) -> object:
    from efcnlab.store.chosen_rates import with_chosen_rates

    return with_chosen_rates(_study(name, precision), store)


def _store(root: str | None) -> object:
    from efcnlab.store.recorded_study import readable_studies
    from efcnlab.store.run_store import Store

    return Store(root, readable_studies())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param arguments: Behind ``efcn``; None: those of the process.
    :returns: The exit code.
    """
    print_anywhere()
    try:
        with plain_warnings():
            app.cli(prog="efcn", description=ABOUT, args=arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        reader_is_gone()
        return 141  # as a shell says of what SIGPIPE ended
    except KeyboardInterrupt:
        print("\ninterrupted: finished runs are kept, and how far others were", file=sys.stderr)
        return 130
    except Exception as mistake:
        from efcnlib.errors import UserError  # loads PyTorch, which --help can do without

        if not isinstance(mistake, UserError | OSError):  # a full disk, an unwritable folder: it names the file
            raise
        print(f"efcn: {printable(mistake)}", file=sys.stderr)
        return 2
    return 0


# What stands above this package in the house brings its own command, where it is installed.
for _name, _module in {"book": "efcnbook.command", "bench": "efcnbench.command"}.items():
    try:
        app.command(getattr(importlib.import_module(_module), _name))
    except ModuleNotFoundError as _missing:
        if _missing.name not in (_module, _module.partition(".")[0]):
            raise

if __name__ == "__main__":
    sys.exit(main())

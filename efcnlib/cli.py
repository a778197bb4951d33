"""The command `efcn`: thin commands over the library, which is imported only when a command needs it.

Exit codes: 0, done; 2, a mistake the user can mend, told in one line; 130, interrupted.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from efcnlib.errors import UserError

ABOUT = """From a trained CNN to the equivalent fully-connected network, and on.

Start with: efcn book. It needs some minutes on two CPU cores."""

app = tyro.extras.SubcommandApp()


def _option(metavar: str | None, text: str) -> object:
    """How an argument is shown in the help; ``text`` says what happens without it, so tyro need not."""
    return arg(metavar=metavar, help=text, help_behavior_hint="")


Study = Annotated[Positional[str], _option("STUDY", "name of a study, such as quick or digits")]
Studies = Annotated[Positional[tuple[str, ...]], _option("[STUDY ...]", "names of studies; without any: quick")]
Named = Annotated[Positional[tuple[str, ...]], _option("[STUDY ...]", "names of studies; without any: a line each")]
Root = Annotated[str | None, _option("DIR", "folder where runs are kept; else $EFCN_ROOT, else runs/ in the clone")]
DataRoot = Annotated[str | None, _option("DIR", "folder with the images as torchvision lays them out; else $EFCN_DATA")]
Device = Annotated[str, _option("DEVICE", "where to compute: cpu, cuda, cuda:1; without it: cpu")]
YesReally = Annotated[FlagCreatePairsOff[bool], _option(None, "compute a paper-scale study without a GPU, for days")]
Subject = Annotated[Positional[str], _option("SUBJECT", "training, scaling, together, precision or kernels")]
Precision = Annotated[str | None, _option("NAME", "of products: float32, tf32 (GPU) or bf16; else the study's own")]
Delay = Annotated[int, _option("STEPS", "write eFCN weights every 1, 2, 4 or 8 steps, exactly; plain SGD; else 1")]
Kernel = Annotated[str, _option("NAME", "of the fused update: torch, or triton (GPU, not measured yet); else torch")]
Together = Annotated[int, _option("N", "eFCNs trained side by side, which may pay on a GPU; without it: 1")]


@app.command
def data(
    name: Annotated[Positional[str], _option("NAME", "cifar10, cifar100 or digits")], data_root: DataRoot = None
) -> None:
    """Fetch a set of images, verify it, and show what it holds and where it is kept."""
    from efcnlib import images

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
    device: Device = "cpu",
    data_root: DataRoot = None,
    yes_really: YesReally = False,
    precision: Precision = None,
    delay: Delay = 1,
    kernel: Kernel = "torch",
    together: Together = 1,
) -> None:
    """Compute the runs of a study that are not there yet. Each finished run is kept: interrupt it whenever you like."""
    from efcnlib import studies, sweep
    from efcnlib.engine import Engine
    from efcnlib.records import Store

    changes = {} if precision is None else {"precision": precision}
    config, store = studies.load(study, **changes), Store(root)
    engine = studies.validated(Engine, {"delay": delay, "kernel": kernel})
    sweep.ensure(
        config, store, device=device, data_root=data_root, yes_really=yes_really, engine=engine, together=together
    )
    print(f"{study}: all {len(studies.runs(config))} runs are in {store.root}")


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
    from efcnlib.studies import validated

    names = {"architecture": architecture, "channels": channels, "optimiser": optimiser, "batch": batch}
    others = {"images": images, "blocks": blocks, "names": variants, "synthetic": synthetic, "data_root": data_root}
    subjects.run(subject, device, validated(subjects.Options, names | others), out)


@app.command
def status(studies: Named = (), root: Root = None) -> None:
    """Count the runs there are of every study; of named ones list each run's state and size on disk."""
    from efcnlib import sweep
    from efcnlib.records import Store
    from efcnlib.studies import PRESETS, load

    store = Store(root)
    for name in studies or PRESETS:
        rows = sweep.status(load(name), store)
        done = sum(state == "done" for _, state, _ in rows)
        print(f"{name}: {done} of {len(rows)} runs done, {sum(size for *_, size in rows) / 1e6:.1f} MB in {store.root}")
        for label, state, size in rows if studies else ():
            print(f"  {label:<32} {state:<8} {size / 1e6:9.2f} MB")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of the process; returns the exit code."""
    try:
        app.cli(prog="efcn", description=ABOUT, args=arguments)
    except (UserError, OSError) as mistake:  # OSError: a full disk, an unwritable folder; it names the file
        print(f"efcn: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted: finished runs are kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

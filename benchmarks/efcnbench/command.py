"""The command `efcn bench`."""

from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional

from efcnlab.arguments import DataRoot, Device, option

Subject = Annotated[Positional[str], option("SUBJECT", "training, scaling, together, precision, kernels or paths")]


def bench(
    subject: Subject = "training",
    device: Device = "cpu",
    architecture: Annotated[str, option("NAME", "vanilla or alexnet; without it: vanilla")] = "vanilla",
    channels: Annotated[int | None, option("N", "of the CNN's first layer; else 64 on a GPU, 16 or 8 on a CPU")] = None,
    optimiser: Annotated[str, option("NAME", "sgd or adam; without it: sgd")] = "sgd",
    batch: Annotated[int, option("N", "images in a step; without it: 250")] = 250,
    images: Annotated[int | None, option("N", "images in an epoch; else 50000 on a GPU, 2500 on a CPU")] = None,
    blocks: Annotated[int, option("N", "times each variant is timed, at least 5; without it: 7")] = 7,
    variants: Annotated[tuple[str, ...], option("A B ...", "which ways of training; without it: all")] = (),
    synthetic: Annotated[FlagCreatePairsOff[bool], option(None, "noise instead of the data set's images")] = False,
    data_root: DataRoot = None,
    out: Annotated[str | None, option("FILE", "where the result goes; else into results/performance")] = None,
) -> None:
    """Time ways of training against each other, gated by a float64 reference, in one process."""
    from efcnbench import subjects
    from efcnlab.config.validation import validated

    names = {"architecture": architecture, "channels": channels, "optimiser": optimiser, "batch": batch}
    others = {"images": images, "blocks": blocks, "names": variants, "synthetic": synthetic, "data_root": data_root}
    subjects.run_benchmark(subject, device, validated(subjects.Options, names | others), out)

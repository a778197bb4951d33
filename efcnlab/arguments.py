"""The arguments that the commands of `efcn` share, with their help."""

from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg


def option(metavar: str | None, text: str) -> object:
    """How an argument is shown in the help.

    :param metavar: What stands for its value; None: nothing, for a switch.
    :param text: What it is, and what happens without it.
    """
    return arg(metavar=metavar, help=text, help_behavior_hint="")


StudyName = Annotated[Positional[str], option("STUDY", "a study: quick, digits, ..., or the name of a .json file")]
StudyNames = Annotated[Positional[tuple[str, ...]], option("[STUDY ...]", "studies; without any: quick")]
ListedStudies = Annotated[Positional[tuple[str, ...]], option("[STUDY ...]", "studies; without any: a line each")]
StoreFolder = Annotated[
    str | None, option("DIR", "folder where runs are kept; else $EFCN_ROOT, else runs/ in the clone")
]
DataRoot = Annotated[str | None, option("DIR", "folder with the images as torchvision lays them out; else $EFCN_DATA")]
ImagesSource = Annotated[
    Positional[str],
    option(
        "IMAGES",
        "cifar10, cifar100, digits; or of your own a folder with a folder of pictures for each class (those perhaps in"
        " train/ and test/), or a .npz, .pt, .parquet, .arrow or .safetensors file",
    ),
]
ImagesFile = Annotated[str | None, option("FILE", "the .safetensors file that is made; else named for IMAGES")]
ImageSize = Annotated[str | None, option("N|RxC", "rows and columns to resize images to, 32, 24x32; else as they are")]
Channels = Annotated[int | None, option("N", "1, grey, or 3, colours; else as the images are")]
HeldOut = Annotated[float | None, option("X", "part of each class to test with, if images are not divided; else 0.2")]
LabelColumn = Annotated[str | None, option("NAME", "column of a table that holds the labels; else found by its name")]
StarterStudy = Annotated[str | None, option("FILE", "also write a small study of these images, for two cores")]
Device = Annotated[str, option("DEVICE", "where to compute: cpu, cuda, cuda:1; without it: cpu")]
RunDevice = Annotated[str | None, option("DEVICE", "cpu, cuda, cuda:1; else cpu, or with ray the GPUs there are")]
ComputeUnasked = Annotated[FlagCreatePairsOff[bool], option(None, "compute a long study without being asked")]
Seeds = Annotated[tuple[int, ...], option("N ...", "compute these seeds of the study alone; without it: all")]
Precision = Annotated[str | None, option("NAME", "of products: float32, tf32 (GPU) or bf16; else the study's own")]
Delay = Annotated[
    int | None,
    option("STEPS", "write eFCN weights every 1, 2, 4 or 8 steps, exactly; plain SGD; else 1, or timed if it is long"),
]
Kernel = Annotated[str, option("NAME", "of the fused update: torch, or triton (GPU); else torch")]
Together = Annotated[int, option("N", "eFCNs trained side by side, which may pay on a GPU; without it: 1")]
Threads = Annotated[int | None, option("N", "processor cores for each run; else all, or 1 with ray")]
Executor = Annotated[Literal["local", "ray"], option("NAME", "local, this process, or ray, a cluster; else local")]
Address = Annotated[str | None, option("HOST:PORT", "of a running Ray cluster, or auto; else one is started here")]
GpusPerRun = Annotated[float | None, option("X", "GPUs of a run, such as 0.25, on a Ray cluster; else 1")]
RemoveUnasked = Annotated[FlagCreatePairsOff[bool], option(None, "remove it; else it is only shown")]
RecordedFolders = Annotated[
    Positional[tuple[str, ...]], option("[FOLDER ...]", "recorded studies; else those in results/")
]
ResultsFolder = Annotated[str | None, option("DIR", "folder of recorded studies; else results/ in the clone")]

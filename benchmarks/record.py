"""Studies of the paper's size, recorded on a GPU that is lent for fifteen minutes, and that little can be carried to.

    python benchmarks/record.py pack FOLDER          # here: all that is carried, and a list of the calls to make
    python benchmarks/record.py run OUT [STUDY ...]  # there: compute for --seconds, what is done comes back in OUT
    python benchmarks/record.py unpack FOLDER        # here: what came back, into results/, verified

Without STUDY (a name or a study file) those in benchmarks/rental/: the paper's two networks, 100 epochs after the
embedding. Several processes share the device; each begins a study as soon as its images are there. They outlive the
call by --linger seconds, so that the next one finds them at work, and all that is done stays in the folder --base.
Every 20 seconds OUT gets what is new: NAME.0.tar, ... with the records, and log.txt. Nothing there is half-written,
whenever it ends.
Exit code of run: 0 when all is done, 1 when it is not, 2 for a mistake, told in a line.
"""

import time

BEGAN = time.monotonic()  # PyTorch takes seconds to import, and they count

import argparse  # noqa: E402
import sys  # noqa: E402
import tarfile  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from efcnlab.console import plain_warnings  # noqa: E402
from efcnlib.errors import UserError  # noqa: E402


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with plain_warnings():
            return options.do(options)
    except (UserError, OSError, tarfile.TarError) as mistake:
        print(f"record: {mistake}", file=sys.stderr)
        return 2


def _pack(options: argparse.Namespace) -> int:
    from rental import prepare

    print("\n".join(prepare.pack(options.folder, options.sets)))
    return 0


def _run(options: argparse.Namespace) -> int:
    from rental import call

    return call.run(options, BEGAN)


def _work(options: argparse.Namespace) -> int:
    from rental import call, worker
    from rental.work_folder import WorkFolder

    chosen = list(call.chosen_studies(options.studies).values())
    return worker.main(WorkFolder(options.base), options.number, chosen, options.device, options.threads)


def _unpack(options: argparse.Namespace) -> int:
    from rental import packs

    for folder in packs.unpack(options.folder, options.results):
        print(f"{folder}: verified")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="pack | run | unpack")
    pack = commands.add_parser("pack", help="prepare what is carried")
    pack.add_argument("folder", type=Path, help="a new folder in the repository; git will ignore it")
    pack.add_argument("--sets", nargs="*", default=["cifar10", "cifar100"], help="images that are carried, in order")
    pack.set_defaults(do=_pack)
    run = commands.add_parser("run", help="compute, and pack what is done")
    run.add_argument("out", type=Path, help="folder for what comes back")
    run.add_argument("--seconds", type=float, default=ENOUGH, help="for the call; 0: return once the workers run")
    run.add_argument("--linger", type=float, default=0, help="seconds that the workers go on after the call")
    run.add_argument("--carried", type=Path, nargs="+", default=[], help="folders of images that have arrived")
    run.add_argument("--workers", type=int, default=4, help="processes that share the device")
    run.add_argument("--kernel", choices=("auto", "torch", "triton"), default="auto", help="of Adam; auto: if gated")
    run.add_argument("--tests", action="store_true", help="run the tests of the device beside, in tests.txt")
    run.set_defaults(do=_run)
    work = commands.add_parser("work")
    work.add_argument("--number", type=int, default=0)
    work.set_defaults(do=_work)
    for each in (run, work):
        each.add_argument("studies", nargs="*", help="names, or study files")
        each.add_argument("--base", type=Path, help="folder of what outlives a call; else one in memory")
        each.add_argument("--device", default="cuda")
        each.add_argument("--threads", type=int, default=2, help="processor cores of each process")
    unpack = commands.add_parser("unpack", help="put what came back into results/")
    unpack.add_argument("folder", type=Path)
    unpack.add_argument("--results", type=Path, default=Path(__file__).resolve().parents[1] / "results")
    unpack.set_defaults(do=_unpack)
    return parser


ENOUGH = 560  # seconds of a long call, of the ten minutes that one may take

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A data set in pieces, for a machine that no network reaches and that takes so many bytes at a time.

    python benchmarks/carry.py split cifar10 FOLDER     # FOLDER/cifar10.0, .1, .2: less than 64 MiB each
    python benchmarks/carry.py join cifar10 FOLDER      # into the cache (EFCN_CACHE), once all are there; verified

Carry one piece with each call, and copy it out of the tree over there.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from efcnlib import images
from efcnlib.errors import UserError, choice, plain_warnings

PIECES = 3


def split(name: str, folder: Path) -> None:
    """Cut the cached, verified data set into pieces."""
    images.load(name)
    content = images.cache_file(name).read_bytes()
    size = -(-len(content) // PIECES)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(PIECES):
        (folder / f"{name}.{i}").write_bytes(content[i * size : (i + 1) * size])


def join(name: str, folder: Path) -> None:
    """Put the pieces together where `images.load` looks, and verify them; UserError for a missing piece."""
    pieces = [folder / f"{name}.{i}" for i in range(PIECES)]
    for piece in pieces:
        if not piece.exists():
            raise UserError(f"piece {piece} is not there: carry {', '.join(p.name for p in pieces)}")
    target = images.cache_file(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".joining")
    with partial.open("wb") as stream:
        for piece in pieces:
            with piece.open("rb") as part:
                shutil.copyfileobj(part, stream)
    partial.replace(target)
    loaded = images.load(name)
    print(f"{name}: {len(loaded.train_y)} + {len(loaded.test_y)} images, verified, in {target}")


def main(arguments: list[str]) -> int:
    """Run the command line; returns the exit code."""
    try:
        with plain_warnings():
            if len(arguments) != 3:
                raise UserError(f"{len(arguments)} arguments are not allowed: give split or join, a name and a folder")
            command, name, folder = arguments
            choice("command", command, ("split", "join"))
            choice("data set", name, ("cifar10", "cifar100"))
            (split if command == "split" else join)(name, Path(folder))
    except (UserError, OSError) as mistake:
        print(f"carry: {mistake}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

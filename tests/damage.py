"""Ways of damaging a file of a run store."""

import os
import pickle
import random
import stat
from pathlib import Path


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def corrupt(how: str, root: Path, chance: random.Random) -> str:
    """Damage a file of the store, or two, in the way ``how``; returns which."""
    found = sorted(path for path in root.rglob("*") if path.is_file())
    path = chance.choice(found)
    data = bytearray(path.read_bytes())
    if how == "bit":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
    elif how == "truncation":
        path.write_bytes(data[: chance.randrange(len(data))])
    elif how == "deletion":
        path.unlink()
    elif how == "swap":
        other = chance.choice([file for file in found if file.name == path.name and file != path])
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)
    elif how == "permissions":
        path.chmod(chance.choice([0, stat.S_IWUSR, stat.S_IXUSR]))
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(root.parent / "exploded")))
    return f"{path.parent.name[:8]}/{path.name}"


WAYS = ("bit", "truncation", "swap", "deletion", "permissions", "pickle")

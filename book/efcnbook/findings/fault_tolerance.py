"""What `make chaos` recorded: promises, the tests they stand on, and what came of them, in rows and sentences."""

import json
from collections.abc import Mapping
from pathlib import Path

from efcnbook.statistics.wording import escaped
from efcnlab.environment import REPOSITORY, expanded
from efcnlib.errors import UserError

FOLDER = REPOSITORY / "results" / "survival"


PARTS = ("date", "command", "environment", "kills", "corruptions", "promises")


def recorded(folder: str | Path | None = None) -> list[dict]:
    """The results in ``folder`` (None: those of the clone), newest first.

    UserError for a folder without any, and for a file that is not one of ours.
    """
    folder = expanded(folder or FOLDER)
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text("utf-8"))
            results.append({part: result[part] for part in PARTS})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no record of make chaos ({error!r}): make it anew") from error
    if not results:
        raise UserError(f"no results of make chaos in {folder}: run it, about 40 minutes on two processor cores")
    return sorted(results, key=lambda result: result["date"], reverse=True)


def rows(result: Mapping) -> list[tuple[str, str, str]]:
    """Promise, tests and result of each, in words."""
    return [(one["promise"], ", ".join(f"`{name}`" for name in one["tests"]), _kept(one)) for one in result["promises"]]


def sentences(result: Mapping) -> list[str]:
    """What was killed and damaged, and what became of it."""
    killed, damaged = result["kills"], result["corruptions"]
    different = len(killed["files_different"])
    return [
        f"{killed['kills']} processes were killed by SIGKILL at random times, {killed['kills_while_computing']} of them"
        f" while they computed a run, over {killed['rounds']} studies that two processes at a time computed together."
        f" Of the {killed['files_compared']:,} files of records, arrays and weights that stood there at the end,"
        f" {different or 'none'} differed from those of a study computed in one go.",
        f"A finished study was damaged {damaged['corruptions']:,} times. That was noticed {damaged['noticed']:,} times,"
        f" harmless {damaged['harmless']:,} times (what was read was what had been written), and silently used"
        f" {damaged['silently_used'] or 'not once'}. {damaged['computed_again']} of the damaged studies were computed"
        f" again: {damaged['computed_again_different'] or 'none'} had other bytes than before.",
    ]


def ways(result: Mapping) -> list[tuple[str, int, int, int]]:
    """For each way of damaging: how often it was noticed, harmless, silently used."""
    counted = result["corruptions"]["by_way"]
    names = sorted({name.split(": ")[0] for name in counted})
    return [
        (w, *(counted.get(f"{w}: {state}", 0) for state in ("noticed", "harmless", "silently used"))) for w in names
    ]


def source(result: Mapping) -> str:
    """The command, the machine, the time and the commit."""
    where = result["environment"]
    machine = (
        f"{where['cpu']}, {where['platform']}, Python {where['python']}, PyTorch {where['torch']}, {result['date']},"
        f" commit {str(where['commit'])[:12]}."
    )
    return f"<code>{escaped(result['command'])}</code> on {escaped(machine)}"


def _kept(one: Mapping) -> str:
    if one["failed"] or not one["passed"]:
        return f"BROKEN: {one['failed']} of {one['passed'] + one['failed']} tests failed"
    skipped = f", {one['skipped']} skipped" if one["skipped"] else ""
    again = f", tried again {one['again'][:16]} after a failure" if "again" in one else ""
    return f"{one['passed']} {'test' if one['passed'] == 1 else 'tests'} passed{skipped}{again}"

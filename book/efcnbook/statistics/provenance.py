"""Where runs come from, as manifests have it: devices, machines, commits and dates; for captions and for the claims."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from efcnbook.statistics.tables import in_words
from efcnbook.statistics.wording import escaped
from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.config.study_subsets import single_seed_study
from efcnlab.store.run_store import Record, key_of
from efcnlib.errors import enumerated


@dataclass(frozen=True)
class Origin:
    """Where and when runs were computed: on one device of a machine, with the same software.

    ``runs`` counts them by seed; ``first`` and ``last`` are the times at which a run was finished, in ISO 8601.
    """

    device: str
    environment: Mapping
    runs: Mapping[int, int]
    first: str
    last: str
    seconds: float

    @property
    def machine(self) -> str:
        """The device with the processor's model and instructions, or the GPU's name: "cpu (AMD EPYC, AVX2)"."""
        kind, _, number = self.device.partition(":")
        known = self.environment  # of older runs, not the instructions
        processor = filter(None, (known.get("cpu"), known.get("instructions")))
        names = known.get("cuda", []) if kind == "cuda" else [", ".join(processor)]
        name = dict(enumerate(names)).get(int(number or 0))
        return f"{self.device} ({name})" if name else self.device

    @property
    def commit(self) -> str:
        """Seven digits of the commit, and "-dirty" where files differed from it; "unknown" outside of a clone."""
        digits, *rest = (self.environment.get("commit") or "unknown").split("-")
        return "-".join([digits[:7], *rest])


def of(study: Study, seeds: Sequence[int], get: Callable[[str], Record | None]) -> list[Origin]:
    """Where the runs of ``seeds`` were computed, paths and sizes too, the earliest first; ``get`` has their records."""
    groups: dict[str, dict[str, tuple[int, dict]]] = {}
    for seed in seeds:
        for run in studies.runs(single_seed_study(study, seed)):
            if record := get(key_of(run)):
                parts = {"device": "unknown", "environment": {}} | record.info
                where = json.dumps([parts["device"], parts["environment"]], sort_keys=True)
                groups.setdefault(where, {}).setdefault(record.key, (seed, record.info))
    found = []
    for where, members in groups.items():
        owners, infos = zip(*members.values(), strict=True)
        dates, seconds = [info["date"] for info in infos], sum(info.get("seconds", 0) for info in infos)
        found.append(Origin(*json.loads(where), dict(Counter(owners)), min(dates), max(dates), seconds))
    return sorted(found, key=lambda one: one.first)


def line(found: Sequence[Origin]) -> str:
    """HTML of a line: which machines computed the runs (if several, of which seeds), when, from which commits."""
    if not found:
        return "still to be computed"
    machines: dict[str, set[int]] = {}
    for one in found:
        machines.setdefault(escaped(one.machine), set()).update(one.runs)
    if len(machines) > 1:
        machines = {f"{name} for {in_words(sorted(of))}": of for name, of in machines.items()}
    dates = dict.fromkeys([min(one.first for one in found)[:10], max(one.last for one in found)[:10]])
    commits = list(dict.fromkeys(f"<code>{escaped(one.commit)}</code>" for one in found))
    many = "s" if len(commits) > 1 else ""
    return f"computed on {enumerated(machines)}, {' to '.join(dates)}, commit{many} {enumerated(commits)}"

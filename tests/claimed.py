"""A small study whose claims are tested, and what reads its records by other code than the library's."""

import json

import numpy as np
from scipy import stats

from efcnlab.config import studies
from efcnlab.store.run_store import key_of

STUDY = studies.load(
    "digits",
    seeds=(0, 1),
    relax_times=(0, 5, 20),
    path_times=(0, 20),
    path_methods=("linear", "string", "output"),
    controls=("control", "lowered", "elcn"),
)


CONTROLS = STUDY.controls
INFO = {
    "device": "cpu",
    "environment": {"cpu": "AMD EPYC", "cuda": [], "commit": None},
    "date": "2026-11-26T12:00:00+00:00",
    "seconds": 1,
}


def raw(store, run, name):
    """A quantity's history, read from the file itself."""
    return json.loads((store.root / key_of(run) / "record.json").read_text("utf-8"))["history"][name]


def words(values, scale=100, digits=2, unit="points"):
    """Mean and Student's interval, as the page has them; of seeds that agree to the last image, that they do."""
    mean, error = np.mean(values), stats.sem(values)
    alike = len(values) > 1 and error < 1e-12
    ends = (mean, mean) if alike else stats.t.interval(0.95, len(values) - 1, mean, error)
    mean, low, high = (f"{scale * v:+.{digits}f}".replace("-", "−") for v in (mean, *ends))
    return f"{mean} {unit} ({len(values)} seeds alike)" if alike else f"{mean} [{low}, {high}] {unit}"


def of(found, claim, part=0):
    return [finding for finding in found if finding.claim == claim][part]

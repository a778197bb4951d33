"""A small study whose claims are tested, and what reads its records by other code than the library's."""

import json

import numpy as np
from scipy import stats

from efcnlib import studies, sweep
from efcnlib.records import Store, key_of

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


def computed(folder):
    """The store in ``folder`` with all runs of the study."""
    store = Store(folder)
    sweep.ensure(STUDY, store, progress=False, threads=1)
    return store


def raw(store, run, name):
    """A quantity's history, read from the file itself."""
    return json.loads((store.root / key_of(run) / "record.json").read_text("utf-8"))["history"][name]


def words(values, scale=100, digits=2):
    """Mean and Student's interval, as the page has them."""
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error) if error else [np.mean(values)] * 2
    return "{} [{}, {}]".format(*(f"{scale * v:+.{digits}f}".replace("-", "−") for v in (np.mean(values), low, high)))


def of(found, claim, part=0):
    return [finding for finding in found if finding.claim == claim][part]

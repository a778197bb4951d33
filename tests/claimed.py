"""A small study whose claims are tested; its records read, and the rules applied, by other code than the book's."""

import json
from math import sqrt

import numpy as np
import safetensors.numpy
from scipy import stats

from efcnlab.config import studies
from efcnlab.store.run_store import key_of

STUDY = studies.load(
    "digits",
    seeds=(0, 1),
    relax_times=(0, 5, 20),
    path_times=(0, 20),
    path_methods=("linear", "string", "output"),
    path_controls=("control", "elcn"),
    controls=("control", "lowered", "elcn"),
    fcn_epochs=30,
)
CONTROLS = STUDY.controls
IMAGES = STUDY.data.test_images
INFO = {
    "device": "cpu",
    "environment": {"cpu": "AMD EPYC", "cuda": [], "commit": None},
    "date": "2026-11-26T12:00:00+00:00",
    "seconds": 1,
}


def raw(store, run, name):
    """A quantity's history, read from the file itself."""
    return json.loads((store.root / key_of(run) / "record.json").read_text("utf-8"))["history"][name]


def correct(store, run):
    """Which test images the network of a run classifies correctly, read from the file itself."""
    packed = safetensors.numpy.load_file(store.root / key_of(run) / "arrays.safetensors")["test_correct"]
    return np.unpackbits(packed)[:IMAGES].astype(float)


def independent(*accuracies, images=IMAGES):
    """The standard error of a difference of accuracies, each over the seeds, of networks that err independently."""
    return sqrt(sum(np.mean(a) * (1 - np.mean(a)) for a in accuracies) / images)


def by_rules(values, errors, images, times=STUDY.relax_times):
    """The interval of each effect, ``values`` and ``errors`` by relax time: the page's rules, written down again."""
    early = [tw for tw in values if tw < max(times) / 10]
    groups = {"early mean": early, "late mean": [tw for tw in values if tw not in early]}
    looks = len(values) + sum(len(group) > 1 for group in groups.values())
    found = {}
    for name, group in groups.items():
        table = np.array([values[tw] for tw in group])
        if not len(table):
            continue
        k, n = table.shape
        spread = sqrt(np.mean(np.var(table, axis=1, ddof=1)))
        freedom = k * (n - 1) / (1 + (k - 1) / 4)
        rows = {tw: (values[tw], errors[tw]) for tw in group}
        if k > 1:
            rows[name] = (table.mean(axis=0), max(errors[tw] for tw in group))
        for label, (of, error) in rows.items():
            half = stats.t.isf(0.05 / looks / 2, freedom) * max(spread, error) / sqrt(n)
            half = max(half, 2.5 / images if images else 0) if spread > 1e-9 else np.inf  # seeds that are alike
            found[label] = (np.mean(of), np.mean(of) - half, np.mean(of) + half)
    return found


def verdict_of(intervals, some=False):
    """The verdict that the rules give such effects, on every relax time or on some."""
    sides = {label: int(low > 0) - int(high < 0) for label, (_, low, high) in intervals.items()}
    times = [side for label, side in sides.items() if not isinstance(label, str)]
    if some:
        return "holds" if 1 in sides.values() else "fails" if set(times) == {-1} else "open"
    if len(set(times)) == 1 and times[0]:
        return "holds" if times[0] > 0 else "fails"
    return "mixed" if any(sides.values()) else "open"


def matches(finding, values, errors, images=IMAGES, some=False):
    """Whether a finding has the effects and the verdict that the rules give."""
    wanted = by_rules(values, errors, images)
    found = {label: (one.mean, one.low, one.high) for label, one in finding.effects.intervals.items()}
    assert found.keys() == wanted.keys()
    for label, numbers in wanted.items():
        np.testing.assert_allclose(found[label], numbers, rtol=0, atol=1e-12)
    assert finding.verdict == verdict_of(wanted, some)


def of(found, claim, part=0, kind="efcn"):
    return [finding for finding in found if finding.claim == claim and finding.kind == kind][part]

"""A study's measurements as one tidy table: a row a measurement, so that what is said of seeds is a groupby.

Columns: ``kind`` ("cnn", "fcn", "control_fcn", "efcn", or a control's name), ``tw`` (missing for CNN and FCN),
``seed``, ``epoch``, and what was measured: accuracies and distances as fractions, losses in nats. What is measured for
each layer has a column for each, as in ``delta_layer_1``. A quantity that a kind does not have is NaN.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from efcnlab.config.runs import CONTROLS, CORRECT
from efcnlab.config.study_subsets import KINDS
from efcnlab.run.study_results import History, StudyResults
from efcnlab.store.run_store import Record
from efcnlib.errors import enumerated

KEYS = ["kind", "tw", "seed"]
WENT_ON = "went_on"  # the uninterrupted CNN, a control where the eFCN is trained otherwise
RELAXED = ("efcn", *CONTROLS, WENT_ON)  # kinds that have a relax time


def tidy(histories: Mapping[tuple[str, int | None, int], History]) -> pd.DataFrame:
    """The table of histories by kind, relax time and seed.

    >>> from efcnbook.statistics.tables import tidy
    >>> history = {"epoch": [0, 2], "delta": [0.0, 0.5], "delta_by_layer": [[0.0, 0.0], [0.25, 0.75]]}
    >>> print(tidy({("efcn", 5, 0): history}).to_string(index=False))
    kind  tw  seed  epoch  delta  delta_layer_1  delta_layer_2
    efcn   5     0      0    0.0           0.00           0.00
    efcn   5     0      2    0.5           0.25           0.75
    """
    frames = [_measurements(history, *key) for key, history in histories.items()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*KEYS, "epoch"])


def _measurements(history: History, kind: str, tw: int | None, seed: int) -> pd.DataFrame:
    columns: dict[str, object] = {}
    for name, values in history.items():
        if isinstance(values[0], Sequence):
            stem = f"{name.removesuffix('by_layer')}layer" if name.endswith("_by_layer") else name
            columns |= {f"{stem}_{i + 1}": of for i, of in pd.DataFrame(values).items()}
        else:
            columns[name] = values
    times = pd.array([tw] * len(history["epoch"]), "Int64")
    return pd.DataFrame({"kind": kind, "tw": times, "seed": seed, "epoch": history["epoch"]} | columns)


def trainings(results: Iterable[StudyResults], kinds: Collection[str] = KINDS) -> pd.DataFrame:
    """The table of a study's trainings of some kinds, as far as they are there; ``results`` are of one seed each.

    >>> from efcnlab.run.study_runner import load_results
    >>> from efcnbook.statistics.tables import trainings
    >>> few = {"relax_times": (0,), "path_times": (), "curvature": None, "epochs": 1, "relax_epochs": 1}
    >>> runs = trainings([load_results("digits", 0, "example", **few)])
    >>> runs.groupby("kind")["epoch"].agg(list).to_dict()
    {'cnn': [0, 1], 'control': [0, 1], 'efcn': [0, 1], 'fcn': [0, 1]}
    """
    return tidy({run: record.history for run, record in _records(results, kinds).items()})


def correct_answers(results: Iterable[StudyResults]) -> dict[tuple[str, int | None, int], np.ndarray]:
    """Which test images each trained network classifies correctly, bool [images], by kind, relax time and seed.

    Trainings from before this was recorded are left out.
    """
    results = list(results)
    images = results[0].study.data.test_images if results else 0
    packed = {run: record.arrays.get(CORRECT) for run, record in _records(results, KINDS).items()}
    return {run: np.unpackbits(of.numpy(), count=images).astype(bool) for run, of in packed.items() if of is not None}


def _records(results: Iterable[StudyResults], kinds: Collection[str]) -> dict[tuple[str, int | None, int], Record]:
    found = {}
    for one in results:
        seed, study = one.seed, one.study
        at_random = {"cnn": one.cnn, "fcn": one.fcn, "control_fcn": one.control_fcn}
        there = {"cnn": True, "fcn": study.standard_fcn, "control_fcn": study.fcn_control}
        records = {(kind, None): get(seed) for kind, get in at_random.items() if there[kind] and kind in kinds}
        relaxed = [kind for kind in ("efcn", *study.controls) if kind in kinds]
        records |= {(kind, tw): one.relaxed(kind, tw, seed) for kind in relaxed for tw in one.times(kind)}
        found |= {(*key, seed): record for key, record in records.items()}
    return found


def of_kind(runs: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The measurements of one kind of network."""
    of = runs[runs["kind"] == kind]
    return of.astype({"tw": int}) if kind in RELAXED else of


def _by_run(runs: pd.DataFrame, kind: str) -> pd.api.typing.DataFrameGroupBy:
    return of_kind(runs, kind).groupby(["tw", "seed"] if kind in RELAXED else ["seed"])


def final(runs: pd.DataFrame, kind: str, name: str = "test_accuracy") -> pd.Series:
    """The last value of a quantity, by relax time and seed; by seed where the kind has no relax time.

    >>> from efcnbook.statistics.tables import final, tidy
    >>> final(tidy({("cnn", None, 0): {"epoch": [0, 1], "test_accuracy": [0.75, 0.5]}}), "cnn").to_dict()
    {0: 0.5}
    """
    return _row(runs, kind, name, -1)


def first(runs: pd.DataFrame, kind: str, name: str = "test_accuracy") -> pd.Series:
    """The first value of a quantity: that at the embedding, or at a random start."""
    return _row(runs, kind, name, 0)


def _row(runs: pd.DataFrame, kind: str, name: str, number: int) -> pd.Series:
    keys = ["tw", "seed"] if kind in RELAXED else ["seed"]
    return _by_run(runs, kind).nth(number).set_index(keys)[name].sort_index()


def best(runs: pd.DataFrame, kind: str, name: str = "test_accuracy") -> pd.Series:
    """The best value that a quantity took in each run, which favours what was measured more often.

    >>> from efcnbook.statistics.tables import best, tidy
    >>> best(tidy({("cnn", None, 0): {"epoch": [0, 1], "test_accuracy": [0.75, 0.5]}}), "cnn").to_dict()
    {0: 0.75}
    """
    return _by_run(runs, kind)[name].max()


def minus(one: pd.Series, other: pd.Series) -> pd.Series:
    """Differences within each seed, and at each relax time; where one of both lacks, or diverged, there is none.

    >>> from efcnbook.statistics.tables import final, minus, tidy
    >>> ends = {("efcn", 5, 0): 0.75, ("efcn", 5, 1): 0.5, ("cnn", None, 0): 0.25}
    >>> runs = tidy({run: {"epoch": [9], "test_accuracy": [end]} for run, end in ends.items()})
    >>> minus(final(runs, "efcn"), final(runs, "cnn")).to_dict()
    {(5, 0): 0.5}
    """
    difference = one - other if one.index.nlevels == other.index.nlevels else one.sub(other, level="seed")
    return difference.dropna()


def by_time(values: pd.Series) -> dict[int, list[float]]:
    """One value for each seed, by relax time, as `intervals` takes them.

    >>> from efcnbook.statistics.tables import by_time, final, tidy
    >>> runs = tidy({("efcn", 5, seed): {"epoch": [9], "delta": [seed / 4]} for seed in (1, 2)})
    >>> by_time(final(runs, "efcn", "delta"))
    {5: [0.25, 0.5]}
    """
    return {int(tw): of.tolist() for tw, of in values.groupby("tw")}


def over_seeds(runs: pd.DataFrame, kind: str, name: str = "test_accuracy") -> pd.DataFrame:
    """Mean, minimum and maximum over the seeds of a quantity, at each epoch of each relax time.

    >>> from efcnbook.statistics.tables import over_seeds, tidy
    >>> runs = tidy({("efcn", 5, seed): {"epoch": [9], "delta": [seed / 4]} for seed in (1, 3)})
    >>> over_seeds(runs, "efcn", "delta").loc[5].to_dict("index")
    {9: {'mean': 0.5, 'min': 0.25, 'max': 0.75}}
    """
    keys = ["tw", "epoch"] if kind in RELAXED else ["epoch"]
    return extent(of_kind(runs, kind).groupby(keys)[name])


def at_end(runs: pd.DataFrame, kind: str, name: str = "test_accuracy") -> pd.DataFrame:
    """The same of the last values, at each relax time."""
    return extent(final(runs, kind, name).groupby("tw"))


def extent(groups: pd.api.typing.SeriesGroupBy) -> pd.DataFrame:
    """Mean, minimum and maximum of each group; NaN where one of its values is, so that no seed drops out unseen."""
    found = pd.DataFrame({name: getattr(groups, name)(skipna=False) for name in ("mean", "min", "max")})
    return found.assign(mean=found["mean"].clip(found["min"], found["max"]))  # which rounding may put outside


def mean(values: pd.Series | pd.DataFrame) -> pd.Series | pd.DataFrame:
    """Of one value, or row, for each seed, the mean at each relax time; NaN where one of the seeds has NaN."""
    return values.groupby("tw").mean(skipna=False)


def seeds_of(runs: pd.DataFrame, kind: str = "efcn") -> list[int]:
    """How many seeds there are of a kind, at each relax time."""
    of = of_kind(runs, kind)
    return of.groupby("tw")["seed"].nunique().tolist() if kind in RELAXED else [of["seed"].nunique()]


def times(runs: pd.DataFrame, kind: str = "efcn") -> list[int]:
    """The relax times at which there is a kind of network, ascending."""
    return sorted(of_kind(runs, kind)["tw"].unique().tolist())


def went_on(runs: pd.DataFrame, relax_epochs: int) -> pd.DataFrame:
    """The CNN as a control at each relax time: up to its first measurement after so many epochs more, or its last.

    >>> from efcnbook.statistics.tables import tidy, went_on
    >>> cnn = {"epoch": [0, 1, 6, 9], "test_accuracy": [0.1, 0.2, 0.3, 0.4]}
    >>> runs = tidy({("cnn", None, 0): cnn, ("efcn", 3, 0): {"epoch": [0], "test_accuracy": [0.1]}})
    >>> went_on(runs, relax_epochs=2)["epoch"].tolist()
    [0, 1, 6]
    """
    cnn = of_kind(runs, "cnn")
    until = {tw: reached(cnn["epoch"], tw + relax_epochs) for tw in times(runs)}
    parts = [cnn[cnn["epoch"] <= last].assign(kind=WENT_ON, tw=tw) for tw, last in until.items()]
    return pd.concat(parts, ignore_index=True) if parts else cnn[:0]


def reached(epochs: Iterable[int], after: int) -> int:
    """The first measured epoch that is not before ``after``; the last one, if there is none.

    >>> from efcnbook.statistics.tables import reached
    >>> reached([0, 5, 10], after=7), reached([0, 5, 10], after=11)
    (10, 10)
    """
    return int(min((epoch for epoch in epochs if epoch >= after), default=max(epochs)))


def is_finite(runs: pd.DataFrame, kind: str) -> pd.Series:
    """Whether all train losses of each run are numbers; where a training diverges they no longer are.

    >>> from efcnbook.statistics.tables import is_finite, tidy
    >>> losses = {0: [2.3, 1.0], 1: [2.3, float("nan")]}
    >>> is_finite(tidy({("fcn", None, s): {"epoch": [0, 1], "train_loss": of} for s, of in losses.items()}), "fcn")
    seed
    0     True
    1    False
    Name: train_loss, dtype: bool
    """
    return _by_run(runs, kind)["train_loss"].agg(lambda losses: bool(np.isfinite(losses).all())).astype(bool)


def diverged(runs: pd.DataFrame, kind: str = "efcn") -> list[int]:
    """The relax times at which a kind of network diverged, in one seed at least; of CNN and FCN the seeds.

    >>> from efcnbook.statistics.tables import diverged, tidy
    >>> losses = {0: [1.0], 5: [float("inf")]}
    >>> diverged(tidy({("efcn", tw, 0): {"epoch": [0], "train_loss": of} for tw, of in losses.items()}))
    [5]
    """
    finite = is_finite(runs, kind)
    return sorted(set(finite.index[~finite].get_level_values(0).tolist()))


def stable(runs: pd.DataFrame, kind: str = "efcn") -> pd.DataFrame:
    """Without what diverged of a kind."""
    key = "tw" if kind in RELAXED else "seed"
    return runs[~((runs["kind"] == kind) & runs[key].isin(diverged(runs, kind)))]


def counted(numbers: Iterable[int]) -> str:
    """So many seeds, as in "3 seeds"; "1 to 3 seeds" where that differs from one relax time to the next.

    >>> from efcnbook.statistics.tables import counted
    >>> counted([3, 3]), counted([1, 3])
    ('3 seeds', '1 to 3 seeds')
    """
    counts = list(numbers)
    least, most = min(counts), max(counts)
    return f"{most} seeds" if least == most else f"{least} to {most} seeds"


def spread(drawn: str, numbers: Sequence[int]) -> str:
    """How a caption ends that shows means over so many seeds, and as ``drawn`` how far apart these are.

    >>> from efcnbook.statistics.tables import spread
    >>> spread("Bars", [3, 3]), spread("Bars", [1])
    (' Lines: mean of 3 seeds; bars: minimum to maximum.', '')
    """
    if max(numbers) == 1:
        return ""
    return f" Lines: mean of {counted(numbers)}; {drawn.lower()}: minimum to maximum."


def in_words(seeds: Sequence[int]) -> str:
    """Seeds as in "seed 2" or "seeds 0, 1 and 2".

    >>> from efcnbook.statistics.tables import in_words
    >>> in_words([2]), in_words([0, 1, 2])
    ('seed 2', 'seeds 0, 1 and 2')
    """
    return f"seed{'s' if len(seeds) > 1 else ''} {enumerated(seeds)}"

"""The supplement's Figures 3 to 6 beside those of the studies of the paper's size: what pages on them say in numbers.

Values are means over the seeds that are there, with Student's 95 % interval where these are several; differences are
taken within a seed.
"""

import string
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from efcnbook import notebook
from efcnbook.figures import weight_plots
from efcnbook.notebook import Source
from efcnbook.statistics import evidence, path_profiles, provenance
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import interval, signed
from efcnbook.statistics.tables import best, by_time, final, first, in_words, mean, minus, of_kind, tidy
from efcnbook.statistics.wording import escaped
from efcnlab.config import study_rates
from efcnlab.config.studies import PRESETS, Study
from efcnlab.environment import default_root
from efcnlab.run.study_results import History
from efcnlab.store.chosen_rates import load_with_chosen_rates
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

PUBLISHED = "vanilla-cifar10-sgd-published"
PAPER_SIZE = ("vanilla-cifar10-sgd", "vanilla-cifar10-adam", "alexnet-cifar100-sgd")
NOT_YET = "not recorded yet"
MOMENTS = (0, 13, 115), (0, 11, 78)  # relax times and epochs of the supplement's Figure 5
POINTS = {"scale": 100, "digits": 1, "unit": "points"}


def recorded(names: str = "", root: str | None = None, efcns: bool = False) -> tuple[list[Evidence], list[str]]:
    """The studies that ``names`` lists, or those of the paper's size, as far as they are there; titles of the others.

    A study of whose runs the CNN alone is there is among the former, unless ``efcns`` are asked for. Nothing is
    computed. UserError for a study that is named and has nothing to show.
    """
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if listed:
        return evidence.several(names, root), []
    store, shown, absent = Store(root or default_root(), readable_studies()), [], []
    for name in PAPER_SIZE:
        there = [_gathered(f"{name}{length}", store) for length in ("-100", "")]
        there = [one for one in there if one and (one.times or not efcns)]
        if there:
            shown.append(max(there, key=lambda one: len(one.times)))
        else:
            absent.append(PRESETS[name].title)
    return shown, absent


def _gathered(name: str, store: Store) -> Evidence | None:
    """The evidence of a study as far as it is there, the CNN alone if there is no more; None if nothing is."""
    study = load_with_chosen_rates(name, store)
    try:
        return evidence.gather(study, store)
    except UserError:
        return _cnn_alone(study, store)


def _cnn_alone(study: Study, store: Store) -> Evidence | None:
    """The evidence of a study whose eFCNs are still to be trained; None without a CNN."""
    records = {seed: store.get(key_of(study.cnn(seed))) for seed in study.seeds}
    cnn = {("cnn", None, seed): record.history for seed, record in records.items() if record}
    if not cnn:
        return None
    seeds = tuple(seed for *_, seed in cnn)
    origins = tuple(provenance.of(study, seeds, store.get))
    return Evidence(study, seeds, tidy(cnn), path_profiles.tidy({}), origins)


def rate_searches(one: Evidence, root: str | None = None) -> list[tuple[str, History]]:
    """The recorded runs by which a study's learning rates after the embedding are chosen: whose, and the history."""
    store = Store(root or default_root(), readable_studies())
    whole = one.coverage[0].full_study if one.coverage else one.study
    records = {search: store.get(key_of(search)) for search in study_rates.rate_searches(whole)}
    names = {"efcn": "eFCN", "control": "control"}
    return [(f"{names[one.of]} of seed {one.parent.seed}", record.history) for one, record in records.items() if record]


def diverged_at_published_rate(root: str | None = None) -> list[str]:
    """A sentence on the CNN at the published code's learning rate, if it is recorded and its train loss became NaN."""
    store = Store(root or default_root(), readable_studies())
    study = PRESETS[PUBLISHED]
    record = store.get(key_of(study.cnn(study.seeds[0])))
    cnn = tidy({("cnn", None, 0): record.history}) if record else tidy({})
    lost = cnn[~np.isfinite(cnn["train_loss"])] if record else cnn
    if lost.empty:
        return []
    epoch = lost["epoch"].min()
    return [
        f"At the published code's learning rate, {study.optimiser.lr:g}, the CNN of seed {study.seeds[0]} diverged: its"
        f" training loss became NaN in epoch {epoch}. It is trained at {PRESETS[PAPER_SIZE[0]].optimiser.lr:g} instead."
    ]


def show(
    page: notebook.Page,
    number: str,
    figure: Figure,
    table: pd.DataFrame,
    caption: str,
    alt: str,
    of: Sequence[Evidence],
    absent: list[str],
) -> None:
    """Display a figure of recorded studies; why there is none, where nothing is recorded."""
    if not of:
        plt.close(figure)
        page.without(number, "No study of the paper's size is recorded yet.")
        return
    if absent:
        caption += f" {escaped('; '.join(absent))}: {NOT_YET}."
    page.show(number, figure, table, caption, alt, source(of))


def source(of: Sequence[Evidence]) -> Source:
    """Where the numbers of these studies come from."""
    lines = "; ".join(f"{one.study.name}: {provenance.line(one.origins)}" for one in of)
    facts = {"studies": {one.study.name: one.study.model_dump(mode="json") for one in of}}
    return Source(f"{lines}." if lines else "", facts)


def described(of: Sequence[Evidence]) -> str:
    """How many seeds stand behind a figure, and what they lack, for its caption."""
    parts = [f"{escaped(one.study.title)}: {in_words(one.seeds)}." for one in of]
    parts += [f"{escaped(one.study.title)}: no eFCN is recorded yet." for one in of if not one.times]
    return " ".join([*parts, *(escaped(seed.summary) for one in of for seed in one.incomplete)])


def compare(*rows: tuple[str, str, str]) -> None:
    """Display what a caption says, element by element, beside ours, and why ours differs."""
    notebook.table(["The caption says", "Here", "Why it differs"], rows, words=3)


def each(of: Sequence[Evidence], template: str) -> str:
    """``template`` for each study, with its `Facts`; the study is named where there are several."""
    lines = [string.Formatter().vformat(template, (one,), Facts(one)) for one in of]
    if len(of) > 1:
        lines = [f"{escaped(one.study.title)}: {line}" for one, line in zip(of, lines, strict=True)]
    return "<br>".join(lines) or NOT_YET


def still_missing(absent: Sequence[str]) -> str:
    """Which studies are not there yet, as the reason for a difference."""
    return f"{escaped('; '.join(absent))}: {NOT_YET}" if absent else ""


def findings(one: Evidence) -> list[str]:
    """What Figure 3 says of a study: sentences with one number each."""
    facts, study = Facts(one), one.study
    sentences = [
        f"**{escaped(study.title)}**, {in_words(one.seeds)}: the CNN's best test accuracy in {study.epochs} epochs is"
        f" {100 * best(one.runs, 'cnn').mean():.1f} %.",
    ]
    if not one.times:
        return [*sentences, "No eFCN is recorded yet."]
    sentences += [
        "Final test accuracy of the eFCN minus that of its control, the CNN resumed at $t_w$:"
        f" {facts['over_control']}.",
        f"Minus its own just after the embedding: {facts['improved']}.",
        f"Minus the CNN's best: {facts['over_cnn']}.",
    ]
    if one.has("fcn"):
        sentences.append(f"Minus the standard FCN's best: {facts['over_fcn']}.")
    if one.diverged:
        sentences.append(f"The eFCN of $t_w$ = {_listed(one.diverged)} diverged and is left out.")
    return sentences


def joint_table(of: Sequence[Evidence], kinds: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """The measurements that a figure of several studies draws."""
    tables = [one.runs[one.runs["kind"].isin(kinds)].assign(study=one.study.name) for one in of]
    names = ["study", "kind", "tw", "seed", "epoch", *columns]
    return pd.concat(tables, ignore_index=True).reindex(columns=names) if tables else pd.DataFrame(columns=names)


def filters(one: Evidence, times: Sequence[int], epochs: Sequence[int], root: str | None = None) -> tuple:
    """Figure 5's filters of a study's first seed: weights [relax time][epoch], dead weights, labels of both.

    Where a study lacks one of ``times``, or of ``epochs``, its own first, middle and last are taken.
    """
    store = Store(root or default_root(), readable_studies())
    times, epochs, measured = _shown_moments(one, times, epochs)
    records = {tw: store.get(key_of(one.study.relaxed("efcn", tw, one.seeds[0]))) for tw in times}
    pictures: list[Tensor] = [notebook.picture(record, "filters")[:, 0] for record in records.values()]
    grid = [[picture[measured.index(epoch)] for epoch in epochs] for picture in pictures]
    first = next(step.geometry for step in notebook.layers(one.study) if step.geometry)
    dead = weight_plots.dead_block(first)[0].view(grid[0][0].shape)
    columns = [f"after {epoch} epochs" if epoch else "just after embedding" for epoch in epochs]
    return grid, dead, [f"$t_w$ = {tw}" for tw in times], columns


def _shown_moments(one: Evidence, times: Sequence[int], epochs: Sequence[int]) -> tuple[list[int], ...]:
    """The relax times and epochs that Figure 5 shows of the first seed's eFCNs, and all epochs that were measured."""
    efcn = of_kind(one.runs, "efcn")
    efcn = efcn[efcn["seed"] == one.seeds[0]]
    times = _some(sorted(set(efcn["tw"])), times)
    measured = efcn["epoch"][efcn["tw"] == times[0]].tolist()
    return times, _some(measured, epochs), measured


def _some(there: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """``wanted`` with what is not there replaced by the one that is there of the same rank: first, middle, last."""
    ranks = (there[0], there[len(there) // 2], there[-1])
    return list(dict.fromkeys(one if one in there else own for one, own in zip(wanted, ranks, strict=True)))


class Facts(dict):
    """What tables and sentences say of a study, by the names in `FACTS`; what diverged is left out of the numbers."""

    def __init__(self, one: Evidence):
        super().__init__()
        self.one = one.stable()

    def __missing__(self, name: str) -> str:
        return FACTS[name](self.one) or NOT_YET


def _fcn(one: Evidence) -> str:
    epochs = of_kind(one.runs, "fcn")["epoch"].max()
    return f"{100 * best(one.runs, 'fcn').mean():.1f} % in {epochs} epochs" if one.has("fcn") else ""


def _fcn_delta(one: Evidence) -> str:
    return f"{100 * final(one.runs, 'fcn', 'delta').mean():.1f} %" if one.has("fcn") else ""


def _over(one: Evidence, other: pd.Series) -> str:
    """The final test accuracy of the eFCNs minus another at each relax time, in points, over the seeds of both."""
    differences = by_time(minus(final(one.runs, "efcn"), other))
    return ", ".join(f"{interval(values).text(**POINTS)} at $t_w$ = {tw}" for tw, values in differences.items())


def _final(one: Evidence, name: str) -> str:
    return _by_time(mean(final(one.runs, "efcn", name)).map(lambda value: f"{100 * value:.1f} %"))


def _path_times(one: Evidence) -> str:
    times = one.paths.groupby("method", sort=False)["tw"].unique()
    return "; ".join(f"{method} at {', '.join(map(str, sorted(of)))}" for method, of in times.items())


def _of_paths(one: Evidence, name: str, digits: int, unit: str, factor: float, methods: Sequence[str]) -> str:
    found = path_profiles.profiles(one.paths)
    of = {method: factor * mean(found.loc[method, name]) for method in methods if method in found.index}
    words = {method: values.map(lambda value: f"{signed(value, digits)} {unit}") for method, values in of.items()}
    return "; ".join(f"{method}: {_by_time(values)}" for method, values in words.items())


def _by_time(words: pd.Series) -> str:
    return ", ".join(f"{value} ($t_w$ = {tw})" for tw, value in words.items())


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


FACTS = {
    "title": lambda one: escaped(one.study.title),
    "times": lambda one: _listed(one.times),
    "fcn": _fcn,
    "improved": lambda one: _over(one, first(one.runs, "efcn")),
    "over_fcn": lambda one: _over(one, best(one.runs, "fcn")),
    "over_cnn": lambda one: _over(one, best(one.runs, "cnn")),
    "over_control": lambda one: _over(one, final(one.runs, "control")),
    "deltas": lambda one: _final(one, "delta"),
    "fcn_delta": _fcn_delta,
    "filter_times": lambda one: f"$t_w$ = {_listed(_shown_moments(one, *MOMENTS)[0])}",
    "filter_epochs": lambda one: f"after {_listed(_shown_moments(one, *MOMENTS)[1])} epochs",
    "masked": lambda one: (
        f"local alone {_final(one, 'accuracy_local')}; off-local alone {_final(one, 'accuracy_off_local')}"
    ),
    "path_times": _path_times,
    "path_methods": lambda one: ", ".join(one.paths["method"].unique()),
    "barriers": lambda one: _of_paths(one, "barrier", 2, "nats", 1, ("linear", "string")),
    "gains": lambda one: _of_paths(one, "gain", 1, "points", 100, ("linear", "string")),
    "output_gain": lambda one: _of_paths(one, "gain", 1, "points", 100, ("output",)),
}

"""The supplement's Figures 3 to 6 beside those of the studies of the paper's size: what pages on them say in numbers.

Values are means over the seeds that are there, with Student's 95 % interval where these are several; differences are
taken within a seed.
"""

import string
from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import isfinite

from torch import Tensor

from efcnbook import notebook
from efcnbook.figures import weight_plots
from efcnbook.figures.figure_export import Drawing, Made
from efcnbook.statistics import evidence, path_profiles, provenance, seeds
from efcnbook.statistics.evidence import Evidence, History, Seeds
from efcnbook.statistics.intervals import interval
from efcnlab.config import study_rates
from efcnlab.config.studies import PRESETS, Study
from efcnlab.environment import default_root
from efcnlab.environment import recorded_studies as recorded_folders
from efcnlab.store.chosen_rates import load_with_chosen_rates
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

PUBLISHED = "vanilla-cifar10-sgd-published"
PAPER_SIZE = ("vanilla-cifar10-sgd", "vanilla-cifar10-adam", "alexnet-cifar100-sgd")
NOT_YET = "not recorded yet"
POINTS = {"scale": 100, "digits": 1, "unit": "points"}


def recorded(names: str = "", root: str | None = None, efcns: bool = False) -> tuple[list[Evidence], list[str]]:
    """The studies that ``names`` lists, or those of the paper's size, as far as they are there; titles of the others.

    A study of whose runs the CNN alone is there is among the former, unless ``efcns`` are asked for. Nothing is
    computed. UserError for a study that is named and has nothing to show.
    """
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if listed:
        return evidence.several(names, root), []
    store, shown, absent = Store(root or default_root(), recorded_folders()), [], []
    for name in PAPER_SIZE:
        there = [_gathered(f"{name}{length}", store) for length in ("-100", "")]
        there = [one for one in there if one and (one.efcn or not efcns)]
        if there:
            shown.append(max(there, key=lambda one: len(one.efcn)))
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
    cnn = {seed: record.history for seed, record in records.items() if record}
    if not cnn:
        return None
    made = provenance.of(study, tuple(cnn), store.get)
    return Evidence(study, tuple(cnn), cnn, fcn={}, efcn={}, controls={"control": {}}, paths={}, origins=tuple(made))


def rate_searches(one: Evidence, root: str | None = None) -> list[tuple[str, History]]:
    """The recorded runs by which a study's learning rates after the embedding are chosen: label and history of each."""
    store = Store(root or default_root(), recorded_folders())
    whole = one.coverage[0].full_study if one.coverage else one.study
    records = [(search.label, store.get(key_of(search))) for search in study_rates.rate_searches(whole)]
    return [(label, record.history) for label, record in records if record]


def diverged_at_published_rate(root: str | None = None) -> list[str]:
    """A sentence on the CNN at the published code's learning rate, if it is recorded and its train loss became NaN."""
    store = Store(root or default_root(), recorded_folders())
    study = PRESETS[PUBLISHED]
    record = store.get(key_of(study.cnn(study.seeds[0])))
    if record is None or seeds.is_finite(record.history):
        return []
    losses = zip(record.history["epoch"], record.history["train_loss"], strict=True)
    epoch = next(epoch for epoch, loss in losses if not isfinite(loss))
    return [
        f"At the published code's learning rate, {study.optimiser.lr:g}, the CNN of seed {study.seeds[0]} diverged: its"
        f" training loss became NaN in epoch {epoch}. It is trained at {PRESETS[PAPER_SIZE[0]].optimiser.lr:g} instead."
    ]


def show(
    page: notebook.Page, number: str, figure: Drawing, caption: str, alt: str, of: Sequence[Evidence], absent: list[str]
) -> None:
    """Display a figure of recorded studies; why there is none, where nothing is recorded."""
    if not of:
        page.without(number, "No study of the paper's size is recorded yet.")
        return
    if absent:
        caption += f" {escape('; '.join(absent))}: {NOT_YET}."
    made = "; ".join(f"{one.study.name}: {provenance.line(one.origins)}" for one in of)
    facts = {"studies": {one.study.name: one.study.model_dump(mode="json") for one in of}}
    page.show(number, figure, caption, alt, Made(f"<br><small>{made}.</small>", facts))


def described(of: Sequence[Evidence]) -> str:
    """How many seeds stand behind a figure, and what they lack, for its caption."""
    said = [f"{escape(one.study.title)}: {seeds.in_words(one.seeds)}." for one in of]
    said += [f"{escape(one.study.title)}: no eFCN is recorded yet." for one in of if not one.efcn]
    return " ".join([*said, *(escape(seed.summary) for one in of for seed in one.incomplete)])


def compare(*rows: tuple[str, str, str]) -> None:
    """Display what a caption says, element by element, beside ours, and why ours differs."""
    notebook.table(["The caption says", "Here", "Why it differs"], rows, words=3)


def each(of: Sequence[Evidence], template: str) -> str:
    """``template`` for each study, with its `Facts`; the study is named where there are several."""
    lines = [string.Formatter().vformat(template, (one,), Facts(one)) for one in of]
    if len(of) > 1:
        lines = [f"{one.study.title}: {line}" for one, line in zip(of, lines, strict=True)]
    return "<br>".join(lines) or NOT_YET


def still_missing(absent: Sequence[str]) -> str:
    """Which studies are not there yet, as the reason for a difference."""
    return f"{'; '.join(absent)}: {NOT_YET}" if absent else ""


def findings(one: Evidence) -> list[str]:
    """What Figure 3 says of a study: sentences with one number each."""
    facts, study = Facts(one), one.study
    best = seeds.best(seeds.averaged(list(one.cnn.values())))
    said = [
        f"**{study.title}**, {seeds.in_words(one.seeds)}: the CNN's best test accuracy in {study.epochs} epochs is"
        f" {100 * best:.1f} %.",
    ]
    if not one.efcn:
        return [*said, "No eFCN is recorded yet."]
    said += [
        "Final test accuracy of the eFCN minus that of its control, the CNN resumed at $t_w$:"
        f" {facts['over_control']}.",
        f"Minus its own just after the embedding: {facts['improved']}.",
        f"Minus the CNN's best: {facts['over_cnn']}.",
    ]
    return said + ([f"Minus the standard FCN's best: {facts['over_fcn']}."] if one.fcn else [])


def tell_dynamics(figure: Drawing, of: Sequence[Evidence]) -> None:
    """Keep the numbers that Figure 3 draws."""
    rows = []
    for one in of:
        named = [("CNN", None, one.cnn), ("standard FCN", None, one.fcn)]
        named += [("eFCN", tw, runs) for tw, runs in one.efcn.items()]
        named += [("control", tw, runs) for tw, runs in one.controls["control"].items()]
        for kind, tw, runs in named:
            if runs:
                mean = seeds.averaged(list(runs.values()))
                pairs = zip(mean["epoch"], mean["test_accuracy"], strict=True)
                rows += [(one.study.name, kind, tw, epoch, 100 * accuracy) for epoch, accuracy in pairs]
    figure.tell(("study", "network", "tw", "epoch", "test accuracy (%)"), rows)


def filters(one: Evidence, times: Sequence[int], epochs: Sequence[int], root: str | None = None) -> tuple:
    """Figure 5's filters of a study's first seed: weights [relax time][epoch], dead weights, labels of both.

    Where a study lacks one of ``times``, or of ``epochs``, its own first, middle and last are taken.
    """
    store, seed = Store(root or default_root(), recorded_folders()), one.seeds[0]
    times = _some(sorted(tw for tw, of in one.efcn.items() if seed in of), times)
    records = {tw: store.get(key_of(one.study.relaxed("efcn", tw, seed))) for tw in times}
    measured = records[times[0]].history["epoch"]
    epochs = _some(measured, epochs)
    pictures: list[Tensor] = [notebook.picture(record, "filters")[:, 0] for record in records.values()]
    grid = [[picture[measured.index(epoch)] for epoch in epochs] for picture in pictures]
    first = next(step.geometry for step in notebook.layers(one.study) if step.geometry)
    dead = weight_plots.dead_block(first)[0].view(grid[0][0].shape)
    columns = [f"after {epoch} epochs" if epoch else "just after embedding" for epoch in epochs]
    return grid, dead, [f"$t_w$ = {tw}" for tw in times], columns


def _some(there: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """``wanted`` with what is not there replaced by the one that is there of the same rank: first, middle, last."""
    ranks = (there[0], there[len(there) // 2], there[-1])
    return list(dict.fromkeys(one if one in there else own for one, own in zip(wanted, ranks, strict=True)))


class Facts(dict):
    """What tables and sentences say of a study, by name, computed when it is asked for."""

    def __init__(self, one: Evidence):
        super().__init__()
        self.one = one

    def __missing__(self, name: str) -> str:
        return getattr(self, f"_{name}")()

    def _times(self) -> str:
        return ", ".join(map(str, sorted(self.one.efcn))) or NOT_YET

    def _fcn(self) -> str:
        if not self.one.fcn:
            return NOT_YET
        return f"{100 * _mean(self.one.fcn, seeds.best):.1f} % in {_last(self.one.fcn)} epochs"

    def _improved(self) -> str:
        return self._by_time(lambda tw, seed, efcn: seeds.final(efcn) - efcn["test_accuracy"][0])

    def _over_fcn(self) -> str:
        fcn = self.one.fcn
        return self._by_time(lambda tw, seed, efcn: seeds.final(efcn) - seeds.best(fcn[seed]), fcn) if fcn else NOT_YET

    def _over_cnn(self) -> str:
        return self._by_time(lambda tw, seed, efcn: seeds.final(efcn) - seeds.best(self.one.cnn[seed]))

    def _over_control(self) -> str:
        control = self.one.controls["control"]
        return self._by_time(lambda tw, seed, efcn: seeds.final(efcn) - seeds.final(control[tw][seed]))

    def _deltas(self) -> str:
        return self._each(self.one.efcn, lambda efcn: 100 * efcn["delta"][-1], "{:.1f} %")

    def _fcn_delta(self) -> str:
        return f"{100 * _mean(self.one.fcn, lambda fcn: fcn['delta'][-1]):.1f} %" if self.one.fcn else NOT_YET

    def _filter_times(self) -> str:
        return "$t_w$ = " + ", ".join(map(str, _some(sorted(self.one.efcn), (0, 13, 115))))

    def _filter_epochs(self) -> str:
        measured = next(iter(next(iter(self.one.efcn.values())).values()))["epoch"]
        return f"after {', '.join(map(str, _some(measured, (0, 11, 78))))} epochs"

    def _masked(self) -> str:
        local = self._each(self.one.efcn, lambda efcn: 100 * efcn["accuracy_local"][-1], "{:.1f} %")
        other = self._each(self.one.efcn, lambda efcn: 100 * efcn["accuracy_off_local"][-1], "{:.1f} %")
        return f"local alone {local}; off-local alone {other}"

    def _path_times(self) -> str:
        return "; ".join(f"{method} at {', '.join(map(str, sorted(of)))}" for method, of in self.one.paths.items())

    def _path_methods(self) -> str:
        return ", ".join(self.one.paths)

    def _barriers(self) -> str:
        return self._of_paths(path_profiles.barrier, "{:+.2f} nats", ("linear", "string"))

    def _gains(self) -> str:
        return self._of_paths(lambda path: 100 * path_profiles.best(path).gain, "{:+.1f} points", ("linear", "string"))

    def _output_gain(self) -> str:
        return self._of_paths(lambda path: 100 * path_profiles.best(path).gain, "{:+.1f} points", ("output",))

    def _by_time(self, value: Callable[[int, int, dict], float], among: Iterable[int] | None = None) -> str:
        """A difference at each relax time, in points, over the seeds that have it."""
        said = []
        for tw, of in sorted(self.one.efcn.items()):
            values = [value(tw, seed, efcn) for seed, efcn in of.items() if among is None or seed in among]
            if values:
                said.append(f"{interval(values).text(**POINTS)} at $t_w$ = {tw}")
        return _listed(said) or NOT_YET

    def _each(self, times: dict[int, Seeds], value: Callable[[dict], float], words: str) -> str:
        return _listed(f"{words.format(_mean(of, value))} ($t_w$ = {tw})" for tw, of in sorted(times.items()))

    def _of_paths(self, value: Callable[[dict], float], words: str, methods: Sequence[str]) -> str:
        there = {method: self.one.paths[method] for method in methods if self.one.paths.get(method)}
        return "; ".join(f"{method}: {self._each(of, value, words)}" for method, of in there.items()) or NOT_YET


def _mean(of: Seeds, value: Callable[[dict], float]) -> float:
    return path_profiles.mean([value(history) for history in of.values()])


def _last(of: Seeds) -> int:
    return next(iter(of.values()))["epoch"][-1]


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)

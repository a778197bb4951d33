"""Numbers that others published on the same or a similar question, and ours beside them, for the page of comparisons.

Test accuracies, in per cent. What is ours is computed from records; a number of theirs comes with its source and its
setting, and is only compared with a study of the same architecture and data set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from efcnbook.claims.controls import decimal
from efcnbook.statistics.evidence import Evidence
from efcnbook.statistics.intervals import interval, signed
from efcnbook.statistics.path_profiles import profiles
from efcnbook.statistics.tables import best, final, in_words, mean
from efcnbook.statistics.wording import at
from efcnlab.config.studies import Study
from efcnlib.errors import enumerated

SANFORD, NEYSHABUR, REVIEWER = (
    "{cite:t}`sanford2022`, read off a plot",
    "{cite:t}`neyshabur2020`",
    "a reviewer of the paper",
)


@dataclass(frozen=True)
class Published:
    """A published test accuracy in per cent: of what, trained how, on which data set, by whom."""

    what: str
    accuracy: float
    setting: str
    data: str
    source: str
    architecture: str | None = None  # ours, if it is the same
    kind: str | None = None  # what of ours it is compared with: "cnn", or "elcn" from ``tw``
    tw: int | None = None


_LOADER = "the published loader"
LONG = 4_000  # epochs of Neyshabur's networks
_LONG = f"{LONG:,} epochs with augmentation"
PUBLISHED = (
    Published("VanillaCNN, best", 73.3, _LOADER, "cifar10", SANFORD, "vanilla", "cnn"),
    *(
        Published(
            f"its eLCN from tw = {tw}",
            value,
            _LOADER,
            "cifar10",
            SANFORD,
            "vanilla",
            "elcn",
            tw,
        )
        for tw, value in ((1, 67.7), (9, 72.7), (28, 75.4), (85, 73.7))
    ),
    Published("AlexNet", 40.0, "about; how it was trained is not known", "cifar100", REVIEWER, "alexnet", "cnn"),
    *(
        Published(what, value, _LONG, data, NEYSHABUR)
        for what, *values in (
            ("S-CONV, a convolutional network", 87.05, 62.51),
            ("S-LOCAL, locally connected", 85.86, 62.03),
            ("S-FC, fully connected", 78.63, 51.43),
            ("S-FC with β-LASSO", 85.19, 59.56),
        )
        for data, value in zip(("cifar10", "cifar100"), values, strict=True)
    ),
)
CODE, DERIVED = "the published code's {}", "{}, derived from the supplement's captions"


@dataclass(frozen=True)
class Setting:
    """What is known of the paper's setting for an architecture, and from where."""

    data: str
    optimisers: tuple[str, ...]
    epochs: int  # of the CNN
    epochs_from: str
    relax_epochs: int  # of the eFCN
    relax_epochs_from: str
    train_images: int = 50_000


SETTINGS = {
    "vanilla": Setting("cifar10", ("sgd", "adam"), 100, CODE, 100, "the supplement's {}"),
    "alexnet": Setting("cifar100", ("sgd",), 150, DERIVED, 100, DERIVED),
}


def rows(evidence: list[Evidence]) -> list[list[str]]:
    """A row for each published number: what, where, how, theirs, and ours where a study is comparable."""
    return [
        [one.what, one.data, one.setting, one.source, f"{one.accuracy:g}", "; ".join(ours(one, evidence)) or "–"]
        for one in PUBLISHED
    ]


def ours(published: Published, evidence: list[Evidence]) -> list[str]:
    """What comparable studies have: of an eLCN at the nearest relax time, its best, as theirs are."""
    found = []
    for one in evidence:
        same = (one.study.network.architecture, one.study.data.name) == (published.architecture, published.data)
        if not same or not one.has(published.kind):
            continue
        values, where = best(one.runs, published.kind), ""
        if published.kind == "elcn":
            tw = min(values.index.unique("tw"), key=lambda tw: abs(tw - published.tw))
            values, where = values[tw], f" from tw = {tw}"
        found.append(f"{_text(values)}{where} ({one.study.name})")
    return found


def numbers(one: Evidence) -> dict[int, str]:
    """What Figures 2 to 6 show in a study, in numbers; means over its seeds. No Figure 6 without linear paths."""
    fcn = final(one.stable().runs, "fcn", "delta").tolist()
    delta = interval(fcn).clipped(0, 1).text(100, 1, "%").replace("+", "") if fcn else "no number"
    lost = f", without {in_words(one.diverged_fcn)}, where it diverged" if one.diverged_fcn else ""
    beside = f", the standard FCN's {_text(best(one.runs, 'fcn'))}" if one.has("fcn") else ""
    numbers = {
        2: _first_layer(one),
        3: f"the CNN's best is {_text(best(one.runs, 'cnn'))}{beside}; eFCNs end with"
        f" {_by_time(one, 'test_accuracy')}{_diverged(one)}",
        4: f"δ ends at {_by_time(one, 'delta')}"
        f"{f'; that of the standard FCN at {delta}{lost}' if one.has('fcn') else ''}",
        5: f"local weights alone end with {_by_time(one, 'accuracy_local')}, off-local ones alone with"
        f" {_by_time(one, 'accuracy_off_local')}",
    }
    return numbers | {6: _barriers(one)} if "linear" in set(one.paths["method"]) else numbers


def differences(study: Study) -> list[str]:
    """In what a study differs from the setting that is published for its architecture, images and optimiser.

    Each difference says where the other's is from: the supplement, its captions, or the published code, whose defaults
    need not be the paper's. What is not known, as Adam's learning rate, is left out.
    """
    paper, ours = SETTINGS.get(study.network.architecture), study.optimiser
    if paper is None or paper.data != study.data.name or ours.name not in paper.optimisers:
        return ["none of the paper's settings is like it"]
    pairs = [
        ("{} channels", study.network.channels, 64, CODE),
        ("{} training images", study.data.train_images, paper.train_images, "the data set's {}"),
        ("{} epochs of the CNN", study.epochs, paper.epochs, paper.epochs_from),
        ("{} epochs of the eFCN", study.relax_epochs, paper.relax_epochs, paper.relax_epochs_from),
        ("{} images in a batch", study.batch, 250, CODE),
        ("products in {}", study.precision, "float32", "PyTorch's default, {}"),
    ]
    if ours.name == "sgd":
        pairs.append(("learning rate {}", ours.lr, 0.1, CODE))
    listed = [
        f"{what.format(_number(mine))} for {whose.format(_number(theirs))}"
        for what, mine, theirs, whose in pairs
        if mine != theirs
    ]
    if study.relax_optimiser and study.relax_optimiser.lr != ours.lr:
        rate = decimal(study.relax_optimiser.lr)
        listed.append(f"learning rate {rate} after the embedding, where it is not known whether the paper's changed")
    return listed + _switched(study) or ["nothing that is known"]


def _switched(study: Study) -> list[str]:
    """What a study does that the published code does not."""
    ours, none = study.optimiser, "where the published code has none"
    settings = [
        (study.augment, f"random crops and flips, {none}"),
        (study.shuffle, "images shuffled anew each epoch, where the published loader keeps their order"),
        (study.carry, "the optimiser's moments carried over the embedding, where the published code starts it anew"),
        (ours.momentum, f"momentum {ours.momentum:g}, {none}"),
        (ours.name == "sgd" and ours.weight_decay, f"weight decay {ours.weight_decay:g}, {none}"),
    ]
    return [words for differs, words in settings if differs]


def lengths(studies: Sequence[Study]) -> str:
    """How many times longer than the studies' CNNs the networks were trained that took the longest."""
    named: dict[int, list[str]] = {}
    for study in studies:
        named.setdefault(study.epochs, []).append(study.name)
    times = [
        f"{LONG / epochs:.0f} times the {epochs} of the CNN{'s' if len(names) > 1 else ''} of {enumerated(names)}"
        for epochs, names in named.items()
    ]
    return f"{LONG:,} epochs are {'; '.join(times)}"


def rates(study: Study) -> str:
    """The learning rate before and after the embedding, and that of the control "lowered" if there is one."""
    before, after = study.optimiser.lr, (study.relax_optimiser or study.optimiser).lr
    becomes = f"becomes {decimal(after)} at the embedding" if before != after else "after the embedding too"
    text = f"the CNN's rate, {decimal(before)}, {becomes}"
    if "tuned" in study.controls:
        text += f"; {decimal(study.tuned_rate)} in the control resumed at its own rate"
    if "lowered" in study.controls:
        lowered = study.relaxed("lowered", study.times("lowered")[0], study.seeds[0]).optimiser.lr
        text += f"; {decimal(lowered)} in the control with the lowered rate"
    return text


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _first_layer(one: Evidence) -> str:
    """As in Figure 2, which shows the first layer of the eFCN that left last."""
    stable = one.stable()
    if not stable.times:
        return "no number, as all of them diverged"
    last = stable.times[-1]
    delta = final(stable.runs, "efcn", "delta_layer_1")[last].mean()
    return (
        f"after {one.study.relax_epochs} epochs, δ of the first layer alone is {100 * delta:.1f} % in the eFCN that"
        f" left last ($t_w$ = {last})"
    )


def _barriers(one: Evidence) -> str:
    paths = one.stable().paths
    linear = paths[paths["method"] == "linear"]
    heights = mean(profiles(linear)["barrier"]) if len(linear) else pd.Series()
    means = {tw: signed(height, 2) for tw, height in heights.items()}
    if not means:
        return "no number, as all of them diverged"
    (first, value), *others = means.items()
    listed = ", ".join([f"{value} nats ($t_w$ = {first})", *(f"{v} ({tw})" for tw, v in others)])
    return (
        f"on the linear path the train loss rises above that of the higher end by {listed}; where it is below, there is"
        " no barrier"
    )


def _by_time(one: Evidence, name: str) -> str:
    """As in "61.2 % (tw = 0), 62.0 % (5)": the last value of a quantity at each relax time."""
    means = mean(final(one.stable().runs, "efcn", name))
    if means.empty:
        return "no number"
    (first, value), *others = means.items()
    return ", ".join([f"{100 * value:.1f} % ($t_w$ = {first})", *(f"{100 * v:.1f} % ({tw})" for tw, v in others)])


def _diverged(one: Evidence) -> str:
    return f"; they diverged at {at(one.diverged)}" if one.diverged else ""


def _text(values: pd.Series) -> str:
    """The mean over the seeds, with the interval where there are several."""
    return interval(values.tolist()).text(100, 1, "%").replace("+", "")

"""Numbers that others published on the same or a similar question, and ours beside them, for the page of comparisons.

Test accuracies, in per cent. What is ours is computed from records; a number of theirs comes with its source and its
setting, and is only compared with a study of the same architecture and data set.
"""

from dataclasses import dataclass

from efcnlib.evidence import Evidence, Seeds
from efcnlib.intervals import interval
from efcnlib.seeds import best, in_words
from efcnlib.studies import PRESETS, Study
from efcnlib.verdicts import at

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
_LONG = "4,000 epochs with augmentation"
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
        if not same or (published.kind == "elcn" and "elcn" not in one.controls):
            continue
        where = ""
        of: Seeds = one.cnn
        if published.kind == "elcn":
            tw = min(one.study.relax_times, key=lambda tw: abs(tw - published.tw))
            of, where = one.controls["elcn"][tw], f" from tw = {tw}"
        found.append(f"{_best(of)}{where} ({one.study.name})")
    return found


def numbers(one: Evidence) -> dict[int, str]:
    """What Figures 3 to 5 show in a study, in numbers; means over its seeds."""
    fcn = [history["delta"][-1] for history in one.stable().fcn.values()]
    delta = interval(fcn).text(100, 1, "%").replace("+", "") if fcn else "no number"
    lost = f", without {in_words(one.diverged_fcn)}, where it diverged" if one.diverged_fcn else ""
    return {
        3: f"the CNN's best is {_best(one.cnn)}, the standard FCN's {_best(one.fcn)}; eFCNs end with"
        f" {_by_time(one, 'test_accuracy')}{_diverged(one)}",
        4: f"δ ends at {_by_time(one, 'delta')}; that of the standard FCN at {delta}{lost}",
        5: f"local weights alone end with {_by_time(one, 'accuracy_local')}, off-local ones alone with"
        f" {_by_time(one, 'accuracy_off_local')}",
    }


def differences(study: Study) -> list[str]:
    """In what a study differs from the paper's setting, as far as that is known: the preset of the paper's size."""
    full = [
        preset
        for preset in PRESETS.values()
        if preset.needs_gpu
        and (preset.network.architecture, preset.data.name) == (study.network.architecture, study.data.name)
        and preset.optimiser.name == study.optimiser.name
    ]
    if not full:
        return ["none of the paper's settings is like it"]
    paper = full[0]
    pairs = {
        "channels": (study.network.channels, paper.network.channels),
        "training images": (study.data.train_images, paper.data.train_images),
        "epochs of the CNN": (study.epochs, paper.epochs),
        "epochs of the eFCN": (study.relax_epochs, paper.relax_epochs),
        "learning rate": (study.optimiser.lr, paper.optimiser.lr),
        "images in a batch": (study.batch, paper.batch),
    }
    listed = [f"{ours:,} {name} for the paper's {theirs:,}" for name, (ours, theirs) in pairs.items() if ours != theirs]
    if study.relax_optimiser and study.relax_optimiser.lr != study.optimiser.lr:
        rate = f"{study.relax_optimiser.lr:g}"
        listed.append(f"learning rate {rate} after the embedding, where it is not known whether the paper's changed")
    if study.shuffle != paper.shuffle:
        listed.append("images shuffled anew each epoch, where the published loader keeps their order")
    return listed or ["nothing that is known"]


def _by_time(one: Evidence, name: str) -> str:
    """As in "61.2 % (tw = 0), 62.0 % (5)": the last value of a quantity at each relax time."""
    efcn = one.stable().efcn
    means = {tw: interval([history[name][-1] for history in of.values()]).mean for tw, of in efcn.items()}
    if not means:
        return "no number"
    (first, value), *others = means.items()
    return ", ".join([f"{100 * value:.1f} % ($t_w$ = {first})", *(f"{100 * v:.1f} % ({tw})" for tw, v in others)])


def _diverged(one: Evidence) -> str:
    return f"; they diverged at {at(one.diverged)}" if one.diverged else ""


def _best(of: Seeds) -> str:
    """Mean over the seeds of each one's best, with the interval where there are several."""
    return interval([best(history) for history in of.values()]).text(100, 1, "%").replace("+", "")

"""Whether the paths that are relaxed did relax, and by which steps: in sentences, as `path_findings`.

``relaxed`` holds the histories of path runs by relax time and method, of one seed or of several: a relaxation's own
measurements, at each of its steps, stand in no table.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from efcnbook.figures.path_plots import STYLES
from efcnbook.findings.accuracy_findings import at
from efcnbook.statistics.path_profiles import profiles
from efcnbook.statistics.tables import mean
from efcnlab.config.path_methods import BandSettings, StringSettings, TrainedCurveSettings
from efcnlab.config.studies import Study
from efcnlab.run.study_results import History
from efcnlib.training.optimisers import Optimiser

Relaxed = Mapping[int, Mapping[str, Sequence[History]]]


def risen(profiles: pd.DataFrame) -> dict[int, tuple[float, float]]:
    """The tw whose strings lie above the straight line they started from: mean train loss inside of string and line.

    Such a string did not relax: its steps were too long for where it lay, and its barrier is of its own making. Means
    are over the seeds that have both; ``profiles`` are those of `path_profiles`.
    """
    if not {"linear", "string"} <= set(profiles.index.unique("method")):
        return {}
    both = pd.DataFrame({method: profiles.loc[method, "level"] for method in ("string", "linear")}).dropna()
    levels = mean(both)
    return {
        tw: (float(of["string"]), float(of["linear"])) for tw, of in levels.iterrows() if of["string"] > of["linear"]
    }


def relaxation(relaxed: Relaxed, paths: pd.DataFrame) -> list[str]:
    """How far strings and bands fell: means over the first and last tenth of their steps, of the first seed.

    Where they were relaxed until they rest, also whether they did, and what is left of their energy; ``paths`` is the
    table of the same paths.
    """
    sentences = []
    for tw, of in relaxed.items():
        if "string" in of:
            history = of["string"][0]
            stretch = history["string_elastic"]
            sentences.append(
                f"String at $t_w$ = {tw}, {len(stretch)} steps: loss summed over the inner points,"
                f" {_tenths(history['string_loss'])}; elastic energy {stretch[0]:.3g} and {stretch[-1]:.3g}."
                f"{_rest(history, 'string')}"
            )
        if "band" in of:
            history = of["band"][0]
            pivots = history["band_pivots"]
            sentences.append(
                f"Nudged elastic band at $t_w$ = {tw}, {len(pivots)} steps: highest batch loss of an inner pivot,"
                f" {_tenths(history['band_peak'])}; {pivots[0]:.0f} pivots and {pivots[-1]:.0f}."
                f"{_rest(history, 'band')}"
            )
    if moving := unfinished(relaxed):
        sentences.append(f"**Still moving** when its steps were used up is the string of some seed at {at(moving)}.")
    if above := risen(profiles(paths)):
        listed = ", ".join(f"{string:.3f} against {line:.3f} ($t_w$ = {tw})" for tw, (string, line) in above.items())
        sentences.append(
            "**Strings that did not relax**: the train loss inside lies above that of the straight line, in nats, means"
            f" over the points: {listed}. Their steps were too long; what they show is no property of the landscape."
        )
    return sentences


def unfinished(relaxed: Relaxed, method: str = "string") -> list[int]:
    """The tw at which not all paths of a method stopped moving, of those that were to be relaxed until they do."""
    return [tw for tw, of in relaxed.items() if not all(h.get(f"{method}_stopped", True) for h in of.get(method, ()))]


def ending(relaxed: Relaxed, method: str = "string") -> str:
    """How a caption ends on paths of a method that were relaxed until they rest; nothing on others."""
    taken = {tw: of[method][0] for tw, of in relaxed.items() if method in of and f"{method}_stopped" in of[method][0]}
    steps = {stopped: [] for stopped in (True, False)}
    for tw, history in taken.items():
        steps[history[f"{method}_stopped"]].append(f"{_steps(history[f'{method}_loss'])} ($t_w$ = {tw})")
    parts = [f"until it stopped moving, after {', '.join(steps[True])}"] if steps[True] else []
    parts += [f"it did not stop within {', '.join(steps[False])}"] if steps[False] else []
    text = "; ".join(parts)
    return f" {text[0].upper()}{text[1:]}." if text else ""


def gentler(study: Study, methods: Sequence[str]) -> list[str]:
    """That points of a path may gain from gentler or other steps than its ends had; nothing if they had the same."""
    training = study.relax_optimiser or study.optimiser
    how = {"string": study.string, "band": study.band, "bezier": study.chain, "polygon": study.chain}
    relaxed = [method for method in methods if method in how]
    if training.name == "sgd":
        relaxed = [method for method in relaxed if _pace(how[method]) < _pace(training, study.batch)]
    if not relaxed:
        return []
    steps = ", ".join(f"{STYLES[method][2]} by {_size(how[method])}" for method in relaxed)
    ends = f"The ends were trained by {training.name} with learning rate {_size(training, study.batch)}"
    if training.name == "sgd":
        ends += ", and got no such gentler end of their training"
    return [
        f"Steps of SGD on the way, by so much on so many images: {steps}. {ends}. Part of what points of these paths"
        " gain over the ends, or lose, may come from that, and not from where they lie."
    ]


def _pace(how: StringSettings | BandSettings | TrainedCurveSettings | Optimiser, batch: int | None = None) -> float:
    """How far SGD goes for each image it sees, where its gradients agree: momentum sums 1 / (1 - momentum) of them."""
    return how.lr / (1 - getattr(how, "momentum", 0)) / (batch or how.batch)


def _size(how: StringSettings | BandSettings | TrainedCurveSettings | Optimiser, batch: int | None = None) -> str:
    momentum = getattr(how, "momentum", 0)
    return f"{how.lr:g}{f' with momentum {momentum:g}' if momentum else ''} on {batch or how.batch}"


def _rest(history: Mapping, method: str) -> str:
    """Whether one path stopped moving, after how many steps, and what its energy was at first and is now."""
    if f"{method}_stopped" not in history:
        return ""
    steps = _steps(history[f"{method}_loss"])
    outcome = f"It stopped moving after {steps}" if history[f"{method}_stopped"] else f"It did not stop within {steps}"
    names = {"loss": "loss", "elastic": "elastic energy", "peak": "highest loss"}
    ends = {
        word: history[f"{method}_{name}_ends"] for name, word in names.items() if f"{method}_{name}_ends" in history
    }
    left = ", ".join(f"{word} {last:.4g} of {first:.4g}" for word, (first, last) in ends.items())
    moved, away = history[f"{method}_moved"], history[f"{method}_away"]
    last = (
        f"; in the last window it moved by {moved[-1]:.3g}, and lies {away[-1]:.3g} from where it began"
        if moved
        else ""
    )
    return f" **{outcome}**; left is: {left}{last}."


def _steps(values: Sequence[float]) -> str:
    return f"{len(values)} step{'s' if len(values) > 1 else ''}"


def _tenths(values: Sequence[float]) -> str:
    tenth = max(1, len(values) // 10)
    first, last = fmean(values[:tenth]), fmean(values[-tenth:])
    return f"mean of a tenth of the steps, {first:.2f} at first and {last:.2f} at last"

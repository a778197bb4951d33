"""Whether the paths that are relaxed did relax, and by which steps: in sentences, as `path_verdicts`."""

from collections.abc import Sequence

from efcnlib.methods import Band, Chain, String
from efcnlib.path_figures import STYLES, Paths
from efcnlib.profiles import level, mean
from efcnlib.studies import Study
from efcnlib.updates import Optimiser


def risen(paths: Paths) -> dict[int, tuple[float, float]]:
    """The tw whose strings lie above the straight line they started from: mean train loss inside of string and line.

    Such a string did not relax: its steps were too long for where it lay, and its barrier is of its own making.

    >>> from efcnlib.path_relaxation import risen
    >>> low, high = [{"train_loss": [1.0, 1.0, 1.0]}], [{"train_loss": [1.0, 2.0, 1.0]}]
    >>> risen({0: {"linear": high, "string": low}, 5: {"linear": low, "string": high}})
    {5: (2.0, 1.0)}
    """
    both = {tw: of for tw, of in paths.items() if {"linear", "string"} <= {*of}}
    levels = {tw: tuple(mean([level(h) for h in of[m]]) for m in ("string", "linear")) for tw, of in both.items()}
    return {tw: (string, line) for tw, (string, line) in levels.items() if string > line}


def relaxation(paths: Paths) -> list[str]:
    """How far strings and bands fell: means over the first and last tenth of their steps, of the first seed.

    >>> from efcnlib.path_relaxation import relaxation
    >>> relaxation({5: {"string": [{"string_loss": [9.0, 5.0, 4.0], "string_elastic": [1.0, 1.1, 1.2]}]}})[0][:50]
    'String at $t_w$ = 5, 3 steps: loss summed over the'
    """
    sentences = []
    for tw, of in paths.items():
        if "string" in of:
            history = of["string"][0]
            stretch = history["string_elastic"]
            sentences.append(
                f"String at $t_w$ = {tw}, {len(stretch)} steps: loss summed over the inner points,"
                f" {_tenths(history['string_loss'])}; elastic energy {stretch[0]:.3g} and {stretch[-1]:.3g}."
            )
        if "band" in of:
            history = of["band"][0]
            pivots = history["band_pivots"]
            sentences.append(
                f"Nudged elastic band at $t_w$ = {tw}, {len(pivots)} steps: highest batch loss of an inner pivot,"
                f" {_tenths(history['band_peak'])}; {pivots[0]:.0f} pivots and {pivots[-1]:.0f}."
            )
    if above := risen(paths):
        listed = ", ".join(f"{string:.3f} against {line:.3f} ($t_w$ = {tw})" for tw, (string, line) in above.items())
        sentences.append(
            "**Strings that did not relax**: the train loss inside lies above that of the straight line, in nats, means"
            f" over the points: {listed}. Their steps were too long; what they show is no property of the landscape."
        )
    return sentences


def gentler(study: Study, methods: Sequence[str]) -> list[str]:
    """That points of a path may gain from gentler or other steps than its ends had; nothing if they had the same.

    >>> from efcnlib.path_relaxation import gentler
    >>> from efcnlib.studies import load
    >>> gentler(load("digits"), ["string"])[0].split(". The ends")[0]
    'Steps of SGD on the way, by so much on so many images: string by 0.02 on 100'
    """
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


def _pace(how: String | Band | Chain | Optimiser, batch: int | None = None) -> float:
    """How far SGD goes for each image it sees, where its gradients agree: momentum sums 1 / (1 - momentum) of them."""
    return how.lr / (1 - getattr(how, "momentum", 0)) / (batch or how.batch)


def _size(how: String | Band | Chain | Optimiser, batch: int | None = None) -> str:
    momentum = getattr(how, "momentum", 0)
    return f"{how.lr:g}{f' with momentum {momentum:g}' if momentum else ''} on {batch or how.batch}"


def _tenths(values: Sequence[float]) -> str:
    tenth = max(1, len(values) // 10)
    first, last = mean(values[:tenth]), mean(values[-tenth:])
    return f"mean of a tenth of the steps, {first:.2f} at first and {last:.2f} at last"

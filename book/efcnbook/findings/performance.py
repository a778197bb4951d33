"""Recorded timings: read from results/performance, and said in words computed from the numbers."""

import json
from collections.abc import Mapping
from pathlib import Path

from efcnbook.notebook import Source
from efcnbook.statistics.wording import escaped
from efcnlab.environment import REPOSITORY, expanded
from efcnlib.errors import UserError

FOLDER = REPOSITORY / "results" / "performance"


def recorded(folder: str | Path | None = None) -> dict[str, dict]:
    """The contents of every JSON file in ``folder`` (None: results/performance of the clone), by name, in order.

    UserError for a folder without any, and for a file that is not one of ours.
    """
    folder = expanded(folder or FOLDER)
    results = {}
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text("utf-8"))
            if result["schema"] != 1:
                raise ValueError(f"its schema is {result['schema']}, not 1")
            results[path.stem] = {key: result[key] for key in ("subject", "settings", "device", "command")} | result
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no record of a benchmark ({error!r}): make it anew with efcn bench") from error
    if not results:
        raise UserError(f"no timings in {folder}: make some with efcn bench")
    return results


def of(results: Mapping[str, dict], subject: str) -> dict[str, dict]:
    """Those of ``results`` that are about ``subject``; the paper's main optimiser, SGD, first."""
    chosen = [(name, result) for name, result in results.items() if result["subject"] == subject]
    return dict(sorted(chosen, key=lambda item: item[1]["settings"]["optimiser"] != "sgd"))


def source(result: Mapping) -> Source:
    """What was run, on what, when, how."""
    settings, machine = result["settings"], result["environment"]
    network = f"{settings['architecture']}, {settings['channels']} channels, batch {settings['batch']}"
    network += f", {settings['optimiser']}"
    where = f"{result['device']}, {result['threads']} threads, PyTorch {machine['torch']}"
    words = (
        f"<br><small>{escaped(network)}; on {escaped(where)}; {escaped(result['date'][:10])};"
        f" <code>{escaped(result['command'])}</code>.</small>"
    )
    facts = {"timed by": result["command"], "commit": machine.get("commit")}
    return Source(words, facts | {key: result[key] for key in ("subject", "settings", "device", "threads", "date")})


def spread(value: Mapping) -> str:
    """A median with its range over the blocks, as in "3.2 (3.0 to 3.3)"."""
    return f"{value['median']:.2g} ({value['min']:.2g} to {value['max']:.2g})"


def ways_of_training(result: Mapping) -> list[str]:
    """What the timings of the ways of training show: ratios within blocks, medians and ranges over the blocks."""
    ratios, variants = result["ratios"], result["variants"]
    sentences = []
    for name, text in (
        ("B/G step", "A step of the engine (G) is {} times faster than one of the plain loop (B)."),
        ("A/G epoch", "An epoch of the engine is {} times faster than one of the published loop re-created (A)."),
        ("C/D step", "Compiling it (C to D) is worth a factor of {}."),
        ("D/E step", "Leaving out the dead weights alone (D to E) is worth a factor of {}."),
        ("E/F step", "The update as a product, in the same precision (E to F), is worth a factor of {}."),
        ("F/G step", "The rest of the engine, on a CPU bf16 products alone (F to G), is worth a factor of {}."),
    ):
        if name in ratios:
            sentences.append(text.format(f"**{spread(ratios[name])}**"))
    if "G" in variants:
        engine = variants["G"]
        sentences.append(
            f"The engine reaches {100 * engine['share_of_floor']:.0f} % of the floor of its own bytes and operations."
            f" Tried on noise, its change of the weights in {engine['precision']} is {engine['gate_error']:.2g} away"
            f" from float64's, relatively; {engine['tolerance']:.2g} are allowed."
        )
    for name, reason in result["left_out"].items():
        sentences.append(f"Variant {name} was left out: {reason}.")
    return sentences


def string_timings(result: Mapping) -> list[str]:
    """What the timings of the string show; a whole string is that of `quick`, summed from its parts."""
    ratios, size = result["ratios"], result["string"]
    whole = (
        f"a whole string of `quick` ({size['points']} points, {size['steps']} steps, then {size['images']:,} images at"
        f" {size['alphas']} alphas)"
    )
    sentences = []
    for name, text in (
        ("A/C string", f"In float32 {whole} is {{}} times faster than the straightforward loop's."),
        ("A/D string", "With bf16 products in the steps it is {} times faster."),
        ("A/C step", "Of that, a step of all points in float32: {} times."),
        ("A/D step", "A step with bf16 products: {} times."),
        ("A/C evaluation", "The evaluation along the string: {} times."),
        ("A/C linear", "The evaluation along the linear path, where two products serve every alpha: {} times."),
        ("A/B string", "The live weights alone are worth a factor of {}."),
    ):
        if name in ratios:
            sentences.append(text.format(f"**{spread(ratios[name])}**"))
    return sentences


def growth(result: Mapping) -> list[str]:
    """How straight the lines of cost against size are."""
    names = {"weights": "A step's time against the live weights", "images": "An epoch's time against the images"}
    return [
        f"{names[what]}, variant {name}: it grows with the power {fit['exponent']:.2f}; the medians lie within"
        f" {100 * fit['largest_deviation']:.0f} % of the line."
        for what, fits in result["fits"].items()
        for name, fit in fits.items()
    ]


def agreement(rows: list[Mapping]) -> list[str]:
    """Whether precisions agree with float32, counted over relax times and quantities."""
    sentences = []
    for precision in dict.fromkeys(row["precision"] for row in rows):
        for quantity in ("test_accuracy", "delta"):
            chosen = [row for row in rows if row["precision"] == precision and row["quantity"] == quantity]
            inside = sum(row["agrees"] for row in chosen)
            largest = max(chosen, key=lambda row: abs(row["difference"]))
            name = {"test_accuracy": "final test accuracy", "delta": "$\\delta$"}[quantity]
            sentences.append(
                f"{precision} and float32 agree in {name} within the spread over seeds at {inside} of {len(chosen)}"
                f" relax times; the largest difference is {100 * largest['difference']:+.2f} ±"
                f" {100 * largest['error']:.2f} percentage points, at $t_w$ = {largest['tw']}, where the spread is"
                f" {100 * largest['spread']:.2f}."
            )
    return sentences

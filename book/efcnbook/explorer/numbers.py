"""A study's records as one small piece of plain JSON, the pack: all that the explorer's page needs.

A pack holds "study" (what was done), "pictures" (how to read them) and "seeds": for each the histories of its CNN
("cnn"), standard FCN ("fcn") and of "runs", by kind and relax time, rounded to what a page can show, and "pictures".
Histories are lists over measured epochs; accuracies and distances are fractions, losses nats, NaN and infinities null.
"""

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from efcnbook import notebook
from efcnbook.explorer.pictures import FIRST, LEVELS, Dead, Scale, coded, deflated, scale_of, thinned
from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.config.studies import Study
from efcnlab.config.study_subsets import TRAININGS
from efcnlab.run import study_runner
from efcnlab.run.coverage import seed_coverage
from efcnlab.run.study_results import History
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.recorded_study import readable_studies
from efcnlab.store.run_store import Store, default_root
from efcnlib.errors import UserError
from efcnlib.geometry import ConvGeometry

BUDGET = 340_000  # bytes of a pack; with its static figure, a study takes less than 400 kB of a page
FEW = 4  # picture times for each run, below which all but the first seed go without pictures
DECIMALS = 4
SHOWN = ("epoch", "test_accuracy", "train_loss", "delta", "sharing", "delta_by_layer", "sharing_by_layer")
SHOWN += ("accuracy_local", "accuracy_off_local")
PICTURES = ("filters", "heat")


@dataclass(frozen=True)
class Seed:
    """The runs of one seed, as far as they are there.

    ``relaxed`` holds histories by kind, "efcn" and the study's controls, then by relax time; ``arrays`` the "filters"
    [times, 2, h_padded, w_padded] and "heat" [times, outputs, inputs] of `weight_pictures` of the eFCNs that have
    them, one for each measured epoch.
    """

    cnn: History
    fcn: History | None = None
    relaxed: Mapping[str, Mapping[int, History]] = field(default_factory=dict)
    arrays: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    device: str = "cpu"


def load(name: str, root: str | None = None, /, **changes: object) -> dict:
    """The pack of a preset study, or of one in a file: its first seed, computed if it is missing, and all recorded.

    Of a long study nothing is computed.
    """
    whole = studies.load(name, **changes)
    store = Store(root or default_root(), readable_studies())
    if not whole.long:
        study_runner.load_results(name, whole.seeds[0], str(store.root), kinds=TRAININGS, **changes)
    found = recorded(study_runner.StudyResults(found_study(name, store, **changes), store))
    times = sorted({tw for one in found.values() for tw in one.study.relax_times})
    shown = next(iter(found.values())).full_study.model_copy(update={"relax_times": tuple(times)})
    return pack(shown, {seed: gather(one, seed) for seed, one in found.items()})


def recorded(results: study_runner.StudyResults) -> dict[int, study_runner.StudyResults]:
    """By seed the trainings of a study, as far as they are there; UserError if nothing of any seed can be shown."""
    nothing_else = {"path_times": (), "path_relaxed_times": None, "curvature": None, "curvature_times": None}
    nothing_else |= {"sweep_time": None, "sweep_channels": (), "sweep_train": ()}
    trainings = results.study.model_copy(update=nothing_else)
    there = evidence.present(trainings, results.store)
    each = (seed_coverage(trainings, seed, there) for seed in trainings.seeds)
    found = {one.seed: study_runner.StudyResults(one.study, results.store, one) for one in each if one.study}
    if not found:
        name = results.study.name
        raise UserError(f"no seed of study {name} has an eFCN with its control: compute one with efcn run {name}")
    return found


def gather(results: study_runner.StudyResults, seed: int) -> Seed:
    """All trainings of a seed that ``results`` speak of; UserError for one that is not there."""
    study = results.study
    efcns = {tw: results.efcn(tw, seed) for tw in study.relax_times}
    relaxed = {"efcn": {tw: record.history for tw, record in efcns.items()}}
    for kind in study.controls:
        relaxed[kind] = {tw: results.relaxed(kind, tw, seed).history for tw in results.times(kind)}
    cnn, fcn = results.cnn(seed), results.fcn(seed).history if study.standard_fcn else None
    arrays = {tw: record.arrays for tw, record in efcns.items() if record.arrays.keys() >= set(PICTURES)}
    return Seed(cnn.history, fcn, relaxed, arrays, str(cnn.info["device"]))


def pack(study: Study, seeds: Mapping[int, Seed], budget: int = BUDGET) -> dict:
    """The pack of ``seeds``, of at most ``budget`` bytes as `text` writes it.

    What does not fit is thinned: picture times first, evenly, then all pictures but those of the first seed, whose
    times are thinned in turn. UserError if even the histories are too many.
    """
    geometry = next(step.geometry for step in notebook.layers(study) if step.geometry)
    scale = scale_of(run[name] for seed in seeds.values() for run in seed.arrays.values() for name in PICTURES)
    dead = Dead.of(geometry)
    coded_runs = {
        seed: {tw: coded(run, scale, dead) for tw, run in content.arrays.items()} for seed, content in seeds.items()
    }
    result = {"study": _about(study), "pictures": _layout(scale, dead, geometry)}
    result["seeds"] = [{"seed": seed, "pictures": None} | _histories(content) for seed, content in seeds.items()]
    spare = budget - len(text(result))

    def pictures(choice: tuple[list[int], int]) -> dict[int, dict]:
        some, most = choice
        return {seed: _pictures(seeds[seed], coded_runs[seed], most) for seed in some}

    def fits(choice: tuple[list[int], int]) -> bool:
        return sum(len(text(part)) - len("null") for part in pictures(choice).values()) <= spare

    choices = _choices(seeds)
    first = bisect.bisect_left(choices, True, key=fits)  # they take less and less
    if first == len(choices):
        raise UserError(f"the numbers of study {study.name} take more than {budget:,} bytes: show fewer of its seeds")
    parts = pictures(choices[first])
    for entry in result["seeds"]:
        entry["pictures"] = parts.get(entry["seed"])
    return result


def text(value: object) -> str:
    """As JSON, without spaces; `<` is written so that it ends no script of a page."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _choices(seeds: Mapping[int, Seed]) -> list[tuple[list[int], int]]:
    """Which seeds get pictures, and at how many times of each run: the first that fits is taken."""
    longest = max((len(run["heat"]) for seed in seeds.values() for run in seed.arrays.values()), default=0)
    every, first = list(seeds), list(seeds)[:1]
    several = [(every, most) for most in range(longest, min(FEW, longest) - 1, -1)]
    return [*several, *((first, most) for most in range(longest, 0, -1)), ([], 0)]


def _pictures(seed: Seed, coded_runs: Mapping[int, np.ndarray], most: int) -> dict:
    """A seed's pictures, and the epochs they belong to, by relax time."""
    kept = {tw: thinned(len(run), most) for tw, run in coded_runs.items()}
    times = {str(tw): [seed.relaxed["efcn"][tw]["epoch"][i] for i in places] for tw, places in kept.items()}
    return {"times": times, "data": deflated(coded_runs[tw][places] for tw, places in kept.items())}


def _about(study: Study) -> dict:
    network = {"channels": study.network.channels, "classes": study.data.classes}
    images = {"train_images": study.data.train_images, "test_images": study.data.test_images}
    fields = ("name", "title", "epochs", "fcn_epochs", "relax_epochs", "relax_times", "precision", "lowered")
    fields += ("tuned_rate",)
    return json.loads(study.model_dump_json(include=set(fields))) | network | images


def _layout(scale: Scale, dead: Dead, geometry: ConvGeometry) -> dict:
    """How pictures are to be read: scale and sizes, and the rows of the block's output map and padded image."""
    sizes = {"filter": list(dead.filters.shape[1:]), "heat": list(dead.heat.shape)}
    rows = [geometry.rows.out, geometry.rows.padded]
    return {"low": scale.low, "high": scale.high, "levels": LEVELS, "first": FIRST, "rows": rows} | sizes


def _histories(seed: Seed) -> dict:
    runs = {kind: {str(tw): rounded(run) for tw, run in times.items()} for kind, times in seed.relaxed.items()}
    fcn = None if seed.fcn is None else rounded(seed.fcn)
    return {"device": seed.device, "cnn": rounded(seed.cnn), "fcn": fcn, "runs": runs}


def rounded(history: History) -> dict[str, list]:
    """A history as a pack holds it."""
    return {name: _plain(history[name]) for name in SHOWN if name in history}


def _plain(value: object) -> object:
    """Rounded; what is not finite becomes None, since JSON has no word for it."""
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if isinstance(value, int):
        return value
    return round(value, DECIMALS) if value is not None and math.isfinite(value) else None

"""Whether a precision changes what is found: the same eFCNs over several seeds, trained in each, and compared."""

from collections.abc import Sequence
from statistics import mean, stdev

from efcnbench import timing
from efcnlab.config.studies import Run, Study
from efcnlab.run import study_images
from efcnlab.run.execute import compute_run
from efcnlab.run.run_context import RunContext
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError, at_least
from efcnlib.kernels import precision as precisions
from efcnlib.training.engine import Engine

QUANTITIES = ("test_accuracy", "train_loss", "delta")  # of an eFCN after its last epoch
REFERENCE = "float32"
SeedValues = dict[str, dict[str, dict[str, list[float]]]]  # by precision, tw and quantity: one for each seed


def compared_runs(study: Study) -> list[Run]:
    """The CNN of every seed and its eFCN of every relax time, parents first."""
    return [
        run
        for seed in study.seeds
        for run in (study.cnn(seed), *(study.relaxed("efcn", tw, seed) for tw in study.relax_times))
    ]


def train_and_compare(
    study: Study,
    names: Sequence[str],
    store: Store,
    *,
    device: str = "cpu",
    data_root: str | None = None,
    report: timing.Report = lambda line: None,
) -> timing.Measured:
    """Train ``study``'s eFCNs in the precisions ``names`` and compare each with float32.

    Runs are kept in ``store``, so that what was interrupted goes on. Returns ``values``[precision][tw][quantity], a
    list over the seeds, and ``comparison``, see `compare_precisions`. UserError below three seeds, or without float32.
    """
    at_least(3, **{"number of seeds": len(study.seeds)})
    if REFERENCE not in names:
        raise UserError(f"precisions {', '.join(names)} lack {REFERENCE}, which the others are compared with")
    for name in names:
        precisions.check_precision(name, device)
    context = RunContext(store, device, study_images.image_location(study.data, data_root), Engine())
    values: SeedValues = {}
    for name in names:
        variant = study.model_copy(update={"precision": name})
        for run in compared_runs(variant):
            record = store.ensure(run, lambda attempt, run=run: compute_run(run, context, attempt))
            report(f"{name}: {run.label}, {record.info['seconds']} s")
        values[name] = {str(tw): _final(variant, tw, store) for tw in study.relax_times}
    return {"values": values, "comparison": compare_precisions(values)}


def _final(study: Study, tw: int, store: Store) -> dict[str, list[float]]:
    records = [store.get(key_of(study.relaxed("efcn", tw, seed))) for seed in study.seeds]
    return {quantity: [record.history[quantity][-1] for record in records] for quantity in QUANTITIES}


def compare_precisions(values: SeedValues) -> list[timing.Measured]:
    """Each precision against float32, for each relax time and quantity.

    ``difference`` is the mean over the seeds, ``error`` its standard error: the seeds are paired, both precisions start
    from the same random numbers. ``spread`` is the standard deviation over the seeds in float32. ``agrees`` says
    whether the difference is below the spread.
    """
    rows = []
    for name in values:
        for tw in values[name] if name != REFERENCE else ():
            for quantity in QUANTITIES:
                ours, theirs = values[name][tw][quantity], values[REFERENCE][tw][quantity]
                differences = [a - b for a, b in zip(ours, theirs, strict=True)]
                difference, spread = mean(differences), stdev(theirs)
                row = {"precision": name, "tw": int(tw), "quantity": quantity, "difference": difference}
                row |= {"error": stdev(differences) / len(differences) ** 0.5, "spread": spread}
                rows.append(row | {"agrees": abs(difference) < spread})
    return rows

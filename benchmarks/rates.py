"""At which learning rates an eFCN's training begins well: the train loss before and after its first steps, at each.

    python benchmarks/rates.py STUDY [--rates 0.1 0.05 0.03 0.01] [--steps 80] [--tw TW] [--seed 0] [--threads N]

The loss is over the images of those steps; products are in float32. Only train losses are looked at: a rate chosen by
them was not chosen by a test accuracy. The study's CNN must have been computed, with its weights.
"""

import argparse
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from efcnlib import measures, runs, studies, sweep  # noqa: E402
from efcnlib.environment import default_root, recorded  # noqa: E402
from efcnlib.errors import UserError, at_least, plain_warnings  # noqa: E402
from efcnlib.images import Split  # noqa: E402
from efcnlib.records import Store  # noqa: E402
from efcnlib.training import train  # noqa: E402


def main() -> int:
    """Print a line for each rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="a study's name, or a study file")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.05, 0.03, 0.01])
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--tw", type=int, help="a relax time; else the last")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="processor cores")
    options = parser.parse_args()
    try:
        with plain_warnings(), sweep.using(options.threads):
            rates(options)
    except UserError as mistake:
        print(f"rates: {mistake}", file=sys.stderr)
        return 2
    return 0


def rates(options: argparse.Namespace) -> None:
    """Train from the same embedding at each rate, on the CPU."""
    at_least(1, steps=options.steps)
    for rate in options.rates:
        if not 0 < rate <= 100:
            raise UserError(f"rate {rate:g} is not allowed: give numbers above 0 and up to 100")
    study = studies.load(options.study)
    tw = study.relax_times[-1] if options.tw is None else options.tw
    run = study.relaxed("efcn", tw, options.seed)
    place = runs.Workplace(Store(default_root(), recorded()), "cpu")
    whole, _ = place.splits(run.data)
    first = Split(whole.x[: options.steps * run.batch], whole.y[: options.steps * run.batch])
    print(f"{run.label}: train loss over the first {len(first):,} images, before and after {options.steps} steps")
    for rate in options.rates:
        network = runs.build(run, place.store)
        before, _ = measures.evaluate(network, first).tolist()
        optimiser = run.optimiser.model_copy(update={"lr": rate})
        for _ in train(network, first, optimiser, epochs=1, batch=run.batch, shuffle=run.shuffle, seed=options.seed):
            pass
        after, _ = measures.evaluate(network, first).tolist()
        print(f"  rate {rate:<6g} {before:.4f} -> {after:.4f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

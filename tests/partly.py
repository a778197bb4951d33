"""A tiny long study of which a part is recorded, and its pages, run in this process."""

from pathlib import Path
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure

from claimed import INFO
from efcnbook import notebook
from efcnlab.config.studies import Study
from efcnlab.config.study_rates import rate_searches
from efcnlab.environment import REPOSITORY
from efcnlab.run import study_runner
from efcnlab.store.chosen_rates import with_chosen_rates
from efcnlab.store.run_store import Result, Store
from small_studies import tiny

# All that the studies of the paper's width have: rates that are chosen, controls and relaxed paths at some times, ...
STUDY = tiny(
    long=True,
    rates={"rates": (0.2, 0.05), "steps": 4},
    controls=("control", "tuned", "lowered", "elcn"),
    control_times={"elcn": (2,)},
    epochs=7,
    fcn_epochs=6,
    first=(2,),
    path_times=(0, 2),
    path_relaxed_times=(2,),
    path_methods=("linear", "string", "band", "output"),
    band={"points": 3, "steps": 2, "most": 3},
    plane=None,
    curvature=None,
    cnn_measurements="all",
    evaluation={"own_precision": True, "stride": 5},
    seeds=(0, 1),
)
SEARCHED = {"efcn": 0.05, "control": 0.2}  # what the searches, which are made up, choose
FIRST = {"cnn seed=0", *(f"learning rate of {of} seed=0" for of in SEARCHED)}
FIRST |= {f"{kind} tw={tw} seed=0" for kind in ("efcn", "control", "lowered") for tw in (0, 2)}
FIRST |= {"control tw=2 seed=0 lr=0.2", "elcn tw=2 seed=0", "efcn tw=4 seed=0"}  # the latter without its control
FIRST |= {f"{method} path tw=2 seed=0" for method in STUDY.path_methods} | {"linear path tw=0 seed=0"}
FEW = {"cnn seed=0", "efcn tw=2 seed=0", "control tw=2 seed=0"}
SECOND = {"cnn seed=1", "fcn seed=1", "efcn tw=2 seed=1", "control tw=2 seed=1"}


def searched(of: str) -> Result:
    """A search that chooses the rate of `SEARCHED`; at the other one some train loss rises."""
    rows = [(rate, tw, 2.0, 1.0 if rate == SEARCHED[of] else 3.0) for tw in STUDY.relax_times for rate in (0.2, 0.05)]
    names = ("rate", "tw", "before", "after")
    return Result(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), info=INFO)


def recorded(folder: Path, labels: set[str]) -> tuple[Study, Store]:
    """The study with its rates chosen, and a store with those of its runs that are called ``labels``."""
    store = Store(folder)
    for search in rate_searches(STUDY):
        store.ensure(search, lambda attempt, of=search.of: searched(of))
    study, place = with_chosen_rates(STUDY, store), study_runner.RunContext(store)
    runs = {run.label: run for run in study_runner.studies.runs(study)}
    assert labels <= runs.keys()
    for run in (run for label, run in runs.items() if label in labels):
        store.ensure(run, lambda attempt, run=run: study_runner.compute_run(run, place, attempt))
    return study, store


def page(name: str, monkeypatch: pytest.MonkeyPatch, **parameters: object) -> SimpleNamespace:
    """What the notebook NAME shows with ``parameters``: figures with their tables and captions by number, and words.

    Nothing is computed.
    """
    figures, tables, captions, words, html = {}, {}, {}, [], []

    def show(
        page: notebook.Page, number: str, figure: Figure, table: pd.DataFrame, caption: str, *_: object, **__: object
    ) -> None:
        figures[number], tables[number], captions[number] = figure, table, caption

    def display(what: object, raw: bool = False) -> None:
        words.append(what["text/plain"] if raw else what.data)
        html.extend([what["text/html"]] if raw else [])

    with monkeypatch.context() as patch:
        patch.setattr(notebook, "display", display)
        patch.setattr(notebook.Page, "show", show)
        patch.setattr(study_runner, "compute_run", lambda *_: pytest.fail("something is computed"))
        patch.setattr(study_runner, "run_study", lambda *_, **__: pytest.fail("something is to be computed"))
        space: dict[str, object] = {}
        for cell in nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", 4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, name, "exec"), space)
                if "parameters" in cell.metadata.get("tags", ()):
                    assert parameters.keys() <= space.keys()
                    space |= parameters
    return SimpleNamespace(
        figures=figures, tables=tables, captions=captions, words="\n".join(words), html="".join(html)
    )

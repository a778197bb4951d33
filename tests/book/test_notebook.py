"""What the notebooks share: figures that are saved, sentences, tables, text parameters, commands."""

import base64
import io
import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from PIL import Image

from efcnbook import notebook, notebook_parameters
from efcnbook.statistics import provenance
from efcnlab.config import studies
from efcnlab.run.study_runner import StudyResults
from efcnlab.store.run_store import Result, Store
from efcnlib.errors import UserError
from pictured import columns, content, saved
from written_notebooks import shell, shown  # noqa: F401

PAGE = notebook.Page("delta", ".venv/bin/papermill --log-output notebooks/delta.ipynb out.ipynb")
TABLE = pd.DataFrame({"x": [0, 1], "y": [1, 0]})


def line():
    figure, ax = plt.subplots(figsize=(5, 3))
    ax.plot([0, 1], [1, 0])
    return figure


def test_a_figure_is_shown_whole_and_described():
    source = notebook.Source("<br>Made so.", {"study": {"name": "digits"}, "device": "cpu"})
    data = shown(PAGE.show, "9, left", line(), TABLE, "A line", 'it "falls" < 1', source)
    assert data["text/plain"] == 'it "falls" < 1'
    html = data["text/html"]
    assert 'alt="it &#34;falls&#34; &#60; 1"' in html
    assert '<figure id="figure-9-left"' in html
    assert '<figcaption style="text-align: left"><b>Figure 9, left.</b> A line<div class="figure-files">Save: ' in html
    assert 'width="500" style="max-width: 100%' in html
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])))
    assert picture.size == (1000, 600)
    assert not re.search(r"(src|href)=\"(?!data:)", html)


def test_a_figure_is_saved_in_four_formats_with_what_was_run():
    source = notebook.Source("", {"study": {"name": "digits"}, "device": "cpu"})
    files = saved(shown(PAGE.show, "9", line(), TABLE, "A line", "it falls", source)["text/html"])
    assert [(name, of[0], of[1]) for name, of in files.items()] == [
        (name, f"digits-figure-9.{name.lower()}", f"Figure 9 as {name}") for name in ("SVG", "PDF", "CSV", "JSON")
    ]
    assert columns(files["CSV"]) == [["x", "y"], ["0", "1"], ["1", "0"]]
    assert content(files["JSON"]) == {
        "figure": "9",
        "page": "delta",
        "command": PAGE.command,
        "study": {"name": "digits"},
        "device": "cpu",
        "columns": {"x": [0, 1], "y": [1, 0]},
    }


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, " -p study quick -p seed 0"),
        ({"seed": 3, "study": "my study.json"}, " -p study 'my study.json' -p seed 3"),
        ({"methods": "linear, string"}, " -p study quick -p seed 0 -p methods 'linear, string'"),
    ],
)
def test_the_command_names_study_seed_and_what_is_no_default(given, options):
    defaults = {"study": "quick", "seed": 0, "root": "", "methods": ""}
    expected = f".venv/bin/papermill --log-output notebooks/delta.ipynb out.ipynb{options}"
    assert notebook_parameters.command("delta", defaults | given, defaults) == expected
    assert notebook_parameters.command("survival", {"folder": ""}, {"folder": ""}).endswith("survival.ipynb out.ipynb")


def test_sentences_and_tables_are_markdown():
    assert shown(notebook.say, "one", "two")["text/markdown"] == "- one\n- two"
    table = shown(notebook.table, ["a", "b"], [[1, "x"], [2, "y"]])["text/markdown"]
    assert table == "| a | b |\n| :-- | --: |\n| 1 | x |\n| 2 | y |"


@pytest.mark.parametrize(
    ("text", "expected"), [("", ()), ("5", (5,)), (5, (5,)), ("5, 0", (5, 0)), ("[0; 5 5]", (0, 5)), ([0, 5], (0, 5))]
)
def test_selection_reads_lists_of_numbers(text, expected):
    assert notebook_parameters.selection("relax time", text, (0, 5, 20)) == expected


@pytest.mark.parametrize("text", ["7", "0, 7", "zero", "-1", 5.5])
def test_selection_names_what_is_allowed(text):
    with pytest.raises(UserError, match=r"unknown relax time .*: choose one of 0, 5, 20"):
        notebook_parameters.selection("relax time", text, (0, 5, 20))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("cnn", "efcn", ("CNN", "eFCN")),
        ("efcn 2", "fcn", ("eFCN(2)", "FCN")),
        ("efcn seed 1", "efcn 5 seed 2", ("eFCN, seed 1", "eFCN(5), seed 2")),
        ("control 2", "elcn seed 1", ("control(2)", "eLCN, seed 1")),
        ("lowered 5", "tuned", ("control at a lowered rate(5)", "tuned control")),
    ],
)
def test_ends_of_paths_are_named(start, end, said):
    assert notebook.ends(studies.load("digits", path_start=start, path_end=end)) == said


@pytest.mark.parametrize(("name", "percent"), [("vanilla-cifar10-sgd", "97.5 %"), ("alexnet-cifar100-sgd", "93.0 %")])
def test_delta_of_a_random_start_is_that_of_the_studys_size(name, percent):
    assert notebook.random_start(studies.load(name)) == percent


@pytest.mark.parametrize("name", studies.PRESETS)
def test_layers_of_every_study_end_in_its_classes(name):
    study = studies.load(name)
    steps = notebook.layers(study)
    assert steps[-1].shape == (study.data.classes,)
    assert sum(step.geometry is not None for step in steps) >= 2


FEW = studies.load("digits", relax_times=(0,), path_times=(), curvature=None, seeds=(0, 1))  # four runs a seed
CLEAN, DIRTY = "3d8d493a8c5c008ce3fb75d940b791b78746950f", "aacbed2f2179a7b4e8ac5ebb46b3a9ef4a7a8d40-dirty"


def computed_on(store, seed, device="cpu", commit=CLEAN, date="2026-11-24", cpu="AMD EPYC", cuda=()):
    """Runs of a seed, recorded as if they were computed there and then: the standard FCN an hour before the others."""
    environment = {"cpu": cpu, "cuda": list(cuda), "commit": commit, "torch": "2.15"}
    for run in studies.runs(FEW.model_copy(update={"seeds": (seed,)})):
        time = f"{date}T{11 if run.kind == 'fcn' else 12}:00:00+00:00"
        info = {"device": device, "environment": environment, "date": time, "seconds": 2.0}
        store.ensure(run, lambda _, info=info: Result({"epoch": [0]}, info=info))


def test_a_figure_says_on_what_when_and_by_which_commit_it_was_computed(tmp_path):
    store = Store(tmp_path)
    computed_on(store, 0)
    source = notebook.source(StudyResults(FEW, store), 0)
    assert "; seed 0; CNN" in source.words
    assert source.words.endswith(
        "all runs of this seed computed on cpu (AMD EPYC), 2026-11-24, commit <code>3d8d493</code>."
    )
    (one,) = source.facts["computed"]
    assert one["environment"]["commit"] == CLEAN
    assert one["runs"] == {0: 4}
    assert (one["first"], one["last"]) == ("2026-11-24T11:00:00+00:00", "2026-11-24T12:00:00+00:00")
    assert (source.facts["seeds"], source.facts["study"]["seeds"]) == ([0], [0])


def test_of_several_seeds_every_machine_and_commit_is_named(tmp_path):
    store = Store(tmp_path)
    computed_on(store, 1, commit=DIRTY, date="2026-11-26", device="cuda:1", cuda=("NVIDIA A", "NVIDIA <H100>"))
    computed_on(store, 0)
    source = notebook.source(StudyResults(FEW, store), 0, 1)
    assert "; seeds 0, 1; CNN" in source.words
    assert source.words.endswith(
        "all runs of these seeds computed on cpu (AMD EPYC) for seed 0 and cuda:1 (NVIDIA &#60;H100&#62;) for seed 1,"
        " 2026-11-24 to 2026-11-26, commits <code>3d8d493</code> and <code>aacbed2-dirty</code>."
    )
    assert [one.runs for one in provenance.of(FEW, (0, 1), store.get)] == [{0: 4}, {1: 4}]
    assert source.facts["study"]["seeds"] == [0, 1]


def test_seeds_of_one_machine_share_an_origin_and_what_is_unknown_is_said(tmp_path):
    store = Store(tmp_path)
    for seed in (0, 1):
        computed_on(store, seed, commit=None, cuda=("NVIDIA A",), device="cuda")
    (one,) = provenance.of(FEW, (0, 1), store.get)
    assert (one.runs, one.seconds) == ({0: 4, 1: 4}, 16.0)
    assert provenance.line([one]) == "computed on cuda (NVIDIA A), 2026-11-24, commit <code>unknown</code>"


@pytest.mark.parametrize(
    ("known", "named"), [({}, "cpu (AMD EPYC)"), ({"instructions": "AVX2"}, "cpu (AMD EPYC, AVX2)")]
)
def test_a_processor_is_named_with_its_instructions_where_they_are_known(known, named):
    where = {"cpu": "AMD EPYC", "cuda": ["NVIDIA A"]} | known
    assert provenance.Origin("cpu", where, {0: 1}, "2026-11-24", "2026-11-24", 1.0).machine == named
    assert provenance.Origin("cuda", where, {0: 1}, "2026-11-24", "2026-11-24", 1.0).machine == "cuda (NVIDIA A)"

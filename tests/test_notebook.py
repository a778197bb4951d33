"""What the notebooks share: figures that are saved, sentences, tables, text parameters, commands."""

import base64
import io
import re

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from pictured import columns, content, saved
from PIL import Image

from efcnlib import figures, notebook, studies
from efcnlib.errors import UserError


@pytest.fixture(scope="module", autouse=True)
def shell():
    """IPython's, without which `display` only prints."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def shown(function, *arguments):
    """The one output that a call displays, by its type."""
    with capture_output() as captured:
        function(*arguments)
    (output,) = captured.outputs
    return output.data


PAGE = notebook.Page("delta", ".venv/bin/papermill notebooks/delta.ipynb out.ipynb")


def line():
    figure, ax = figures.axes(size=(5, 3))
    ax.plot([0, 1], [1, 0])
    return figure.tell(("x", "y"), [(0, 1), (1, 0)])


def test_a_figure_is_shown_whole_and_described():
    made = notebook.Made("<br>Made so.", {"study": {"name": "digits"}, "device": "cpu"})
    data = shown(PAGE.show, "9, left", line(), "A line", 'it "falls" < 1', made)
    assert data["text/plain"] == 'it "falls" < 1'
    html = data["text/html"]
    assert 'alt="it &quot;falls&quot; &lt; 1"' in html
    assert '<figure id="figure-9-left"' in html
    assert '<figcaption style="text-align: left"><b>Figure 9, left.</b> A line<br>Made so.' in html
    assert 'width="500" style="max-width: 100%' in html
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])))
    assert picture.size == (1000, 600)
    assert not re.search(r"(src|href)=\"(?!data:)", html)


def test_a_figure_is_saved_in_four_formats_with_what_was_run():
    made = notebook.Made("", {"study": {"name": "digits"}, "device": "cpu"})
    files = saved(shown(PAGE.show, "9", line(), "A line", "it falls", made)["text/html"])
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
    expected = f".venv/bin/papermill notebooks/delta.ipynb out.ipynb{options}"
    assert notebook.command("delta", defaults | given, defaults) == expected
    assert notebook.command("survival", {"folder": ""}, {"folder": ""}).endswith("survival.ipynb out.ipynb")


def test_sentences_and_tables_are_markdown():
    assert shown(notebook.say, "one", "two")["text/markdown"] == "- one\n- two"
    table = shown(notebook.table, ["a", "b"], [[1, "x"], [2, "y"]])["text/markdown"]
    assert table == "| a | b |\n| :-- | --: |\n| 1 | x |\n| 2 | y |"


@pytest.mark.parametrize(
    ("text", "expected"), [("", ()), ("5", (5,)), (5, (5,)), ("5, 0", (5, 0)), ("[0; 5 5]", (0, 5)), ([0, 5], (0, 5))]
)
def test_selection_reads_lists_of_numbers(text, expected):
    assert notebook.selection("relax time", text, (0, 5, 20)) == expected


@pytest.mark.parametrize("text", ["7", "0, 7", "zero", "-1", 5.5])
def test_selection_names_what_is_allowed(text):
    with pytest.raises(UserError, match=r"unknown relax time .*: choose one of 0, 5, 20"):
        notebook.selection("relax time", text, (0, 5, 20))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("cnn", "efcn", ("CNN", "eFCN")),
        ("efcn 2", "fcn", ("eFCN(2)", "FCN")),
        ("efcn seed 1", "efcn 5 seed 2", ("eFCN, seed 1", "eFCN(5), seed 2")),
    ],
)
def test_ends_of_paths_are_named(start, end, said):
    assert notebook.ends(studies.load("digits", path_start=start, path_end=end)) == said


@pytest.mark.parametrize(("text", "numbers"), [("", ()), ("1, 2", (1, 2)), (3, (3,)), ("[4; 5]", (4, 5))])
def test_whole_numbers_are_read_from_text(text, numbers):
    assert notebook.whole_numbers("more_seeds", text) == numbers


@pytest.mark.parametrize("name", studies.PRESETS)
def test_layers_of_every_study_end_in_its_classes(name):
    study = studies.load(name)
    steps = notebook.layers(study)
    assert steps[-1].shape == (study.data.classes,)
    assert sum(step.geometry is not None for step in steps) >= 2

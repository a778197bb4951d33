"""What the notebooks share, and the notebooks themselves with parameters of their own, good and bad."""

import ast
import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image
from test_records import mounted
from toy_runs import names

from efcnlib import figures, notebook, records, studies, sweep
from efcnlib.environment import REPOSITORY
from efcnlib.errors import UserError
from efcnlib.execution import run_notebook
from efcnlib.export import export


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


def test_a_figure_is_shown_whole_and_described():
    figure, ax = figures.axes(size=(5, 3))
    ax.plot([0, 1], [1, 0])
    data = shown(notebook.show, figure, "<b>Figure 9.</b> A line", 'it "falls" < 1')
    assert data["text/plain"] == 'it "falls" < 1'
    html = data["text/html"]
    assert 'alt="it &quot;falls&quot; &lt; 1"' in html
    assert '<figcaption style="text-align: left"><b>Figure 9.</b> A line</figcaption>' in html
    assert 'width="500" style="max-width: 100%' in html
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])))
    assert picture.size == (1000, 600)
    assert not re.search(r"(src|href)=\"(?!data:)", html)


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


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run store with nothing in it: what the notebooks below show is recorded, in a folder that cannot be written."""
    folder = tmp_path_factory.mktemp("recorded")
    study, store = studies.load("digits"), records.Store(folder / "runs")
    sweep.ensure(study, store, progress=False)
    export(study, store, folder / "results", "efcn run digits")
    shutil.rmtree(store.root)
    results = mounted(folder / "mount", "--bind", "-o", "ro", folder / "results")
    with results as mount, pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFCN_RESULTS", str(mount))
        yield str(folder / "mine")


@pytest.mark.parametrize(
    ("name", "parameters", "figure_count"),
    [
        ("embedding", {"input_size": 5, "kernel": 2, "stride": 2, "padding": 1, "relax_time": 2}, 2),
        ("findings", {}, 1),
        ("dynamics", {}, 2),
        ("delta", {}, 3),
        ("off_local", {"relax_times": "5", "output": "centre"}, 2),
        ("interpolation", {"relax_times": 2, "methods": "string", "others": "none"}, 4),
        ("curvature", {}, 3),
    ],
)
def test_notebooks_run_with_their_parameters(name, parameters, figure_count, root, tmp_path):
    out, before = tmp_path / "out.ipynb", names(Path(root))
    run_notebook(REPOSITORY / "notebooks" / f"{name}.ipynb", out, {"study": "digits", "root": root} | parameters)
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) == figure_count
    assert all(re.search(r'<img alt="[^"]{20,}"', page) for page in pages)
    assert "seed 0" in pages[-1]
    assert studies.load("digits").title in pages[-1].replace("&#x27;", "'")
    said = [output.text for output in outputs if output.output_type == "stream"]
    assert not [text for text in said if "runs to compute" not in text]  # no warnings
    assert said or names(Path(root)) == before  # what is recorded is not computed


def test_the_explorer_runs_unattended_and_trains_nothing(root, tmp_path):
    out, before = tmp_path / "out.ipynb", names(Path(root))
    run_notebook(REPOSITORY / "notebooks" / "explorer.ipynb", out, {"studies": "digits", "root": root})
    (output,) = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]  # no live panel
    assert '<div class="efcn-explorer">' in output.data["text/html"]
    assert not re.search(r"(src|href)=\"(?!data:)", output.data["text/html"])
    assert "widget-view" not in out.read_text("utf-8")
    assert names(Path(root)) == before


def test_paths_between_other_ends_and_over_seeds_are_computed(root, tmp_path):
    out, here = tmp_path / "out.ipynb", str(tmp_path / "runs")
    ends = {"start": "efcn 0", "more_seeds": 1, "methods": "linear", "others": "none"}
    run_notebook(REPOSITORY / "notebooks" / "interpolation.ipynb", out, {"study": "digits", "root": here} | ends)
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) == 3  # Figure 6, distances, planes
    assert "For each of 3 relax times" in pages[0]  # not from the eFCN of 0 to itself
    assert "From eFCN(0) (α = 0) to eFCN (α = 1)" in pages[0]
    assert all("seeds 0, 1" in page for page in pages)
    words = "".join(output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    assert "All are means over 2 seeds" in words


def test_a_study_without_curvature_says_so(root, tmp_path):
    (tmp_path / "plain.json").write_text('{"like": "digits", "curvature": null}', "utf-8")
    out = tmp_path / "out.ipynb"
    parameters = {"study": str(tmp_path / "plain.json"), "root": root}
    run_notebook(REPOSITORY / "notebooks" / "curvature.ipynb", out, parameters)
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    (said,) = [output.data["text/markdown"] for output in outputs if output.output_type == "display_data"]
    assert said == "- Study plain measures no curvature: give it one with its field `curvature`."


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("dynamics", {"study": "digit"}, "unknown study 'digit': choose one of quick, digits"),
        ("delta", {"seed": -1}, "seeds"),
        ("embedding", {"kernel": 7}, "kernel 7"),
        ("embedding", {"relax_time": 3}, "unknown relax time of study digits 3: choose one of 0, 2, 5, 20"),
        ("off_local", {"output": "edge"}, "unknown output 'edge': choose one of corner, centre"),
        (
            "interpolation",
            {"methods": "linear, spline"},
            "unknown method 'spline': choose one of linear, curvilinear, string, band, bezier, polygon, output",
        ),
        ("interpolation", {"end": "elcn"}, "a path's end 'elcn' is not known: give cnn, fcn, efcn"),
        ("interpolation", {"more_seeds": "one"}, "more_seeds 'one' is not allowed: give whole numbers"),
        ("interpolation", {"relax_times": 3}, "unknown relax time '3': choose one of 0, 2, 5, 20"),
        ("explorer", {"studies": "digits, digit"}, "unknown study 'digit': choose one of quick, digits"),
        ("explorer", {"studies": ""}, "no study to explore: name one at least, as in quick, digits"),
        ("explorer", {"live_study": "quick"}, "live study quick is not among those shown: choose one of digits"),
        ("explorer", {"live_seed": 7}, "unknown seed of study digits 7: choose one of 0"),
        ("explorer", {"device": "tpu"}, "device 'tpu' is not here: choose one of cpu"),
    ],
)
def test_notebooks_answer_bad_parameters_in_a_line(name, parameters, message, root, tmp_path):
    path = REPOSITORY / "notebooks" / f"{name}.ipynb"
    usual = {"studies" if name == "explorer" else "study": "digits", "root": root}
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        run_notebook(path, tmp_path / "out.ipynb", usual | parameters)
    assert len(str(caught.value).splitlines()) == 1
    assert "Error" not in str(caught.value)
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_begin_with_a_title_and_commented_parameters(path):
    cells = nbformat.read(path, 4).cells
    assert cells[0].source.startswith("# ")
    assert "\n\n" in cells[0].source
    parameters = next(cell for cell in cells if "parameters" in cell.metadata.get("tags", []))
    for line in parameters.source.splitlines():
        name, value = re.fullmatch(r"(\w+) = ([^#]+?)  # .+", line).groups()
        assert isinstance(ast.literal_eval(value), str | int), name


def papermill(out, *parameters):
    """The command line that every page shows."""
    path = REPOSITORY / "notebooks" / "dynamics.ipynb"
    command = [sys.executable, "-m", "papermill", str(path), str(out), "-p", "study", "digits", *parameters]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_papermill_command_of_the_pages_is_strict(root, tmp_path):
    done = papermill(tmp_path / "out.ipynb", "-p", "root", root, "-p", "sede", "1")
    assert done.returncode != 0
    assert "unknown parameter of this notebook 'sede': choose one of study, seed, root" in done.stderr
    done = papermill(tmp_path / "out.ipynb", "-p", "root", root, "-p", "seed", "1")
    assert done.returncode == 0, done.stderr
    assert "seed 1;" in (tmp_path / "out.ipynb").read_text("utf-8")


def test_the_speed_page_shows_what_is_recorded(tmp_path):
    out = tmp_path / "out.ipynb"
    run_notebook(REPOSITORY / "notebooks" / "performance.ipynb", out, {})
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) >= 3
    assert all(re.search(r'<img alt="[^"]{20,}"', page) and "efcn bench" in page for page in pages)
    assert not [output for output in outputs if output.output_type == "stream"]
    with pytest.raises(UserError, match="no timings in"):
        run_notebook(REPOSITORY / "notebooks" / "performance.ipynb", out, {"folder": str(tmp_path)})

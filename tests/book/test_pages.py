"""The notebooks themselves, run with parameters of their own, good and bad."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from efcnbook.pages.execution import run_notebook
from efcnbook.statistics import wording
from efcnlab import environment
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlab.run import study_runner
from efcnlib.errors import UserError
from pictured import columns, content, saved
from run_here import run_here
from toy_runs import names


def figures(outputs):
    """The figures among what a notebook displays."""
    return [o.data["text/html"] for o in outputs if "<img" in o.get("data", {}).get("text/html", "")]


def words(outputs):
    """The sentences and tables among what a notebook displays."""
    return [o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]


def details(outputs):
    """What the details at the end of a page say of its runs, and the command that they give."""
    text = outputs[-1].data["text/markdown"]
    command = re.search(r"```bash\n(.*)\n```", text, re.DOTALL)[1]
    return text.replace("&#x27;", "'"), shlex.split(command)


def assert_saved(pages, name):
    """Every figure has a number and an anchor of its own, and saves four files that can be read."""
    anchors = [re.search(r'<figure id="(figure-[\w-]+)"', page)[1] for page in pages]
    assert len(set(anchors)) == len(pages)
    for page, anchor in zip(pages, anchors, strict=True):
        number = re.search(r"<b>Figure ([^<]+)\.</b>", page)[1]
        assert anchor == f"figure-{number.replace(', ', '-')}"
        files = saved(page)
        assert [label for _, label, *_ in files.values()] == [
            f"Figure {number} as {name}" for name in ("SVG", "PDF", "CSV", "JSON")
        ]
        assert ElementTree.fromstring(files["SVG"][3]).tag.endswith("svg")
        assert files["PDF"][3].startswith(b"%PDF-")
        header, *rows = columns(files["CSV"])
        said = content(files["JSON"])
        assert rows
        assert header == list(said["columns"])
        assert (said["figure"], said["page"]) == (number, name)
        assert len(page) < 2_000_000


def two_seeds(folder: Path) -> str:
    """A file of the study digits with a second seed."""
    file = folder / "digits.json"
    file.write_text('{"like": "digits", "seeds": [0, 1]}', "utf-8")
    return str(file)


def test_a_study_without_paths_says_so(root, tmp_path):
    pathless, out = tmp_path / "pathless.json", tmp_path / "out.ipynb"
    pathless.write_text(studies.load("digits", path_times=()).model_copy(update={"name": "pathless"}).model_dump_json())
    run_here("interpolation", out, {"study": str(pathless), "root": root})
    assert "has no paths" in out.read_text("utf-8")


@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_another_rate_after_the_embedding_is_said(rate, root, tmp_path):
    slower, out = tmp_path / "slower.json", tmp_path / "out.ipynb"
    slower.write_text(f'{{"like": "digits", "relax_optimiser": {{"name": "sgd", "lr": {rate}}}, "path_times": []}}')
    changes = studies.load(str(slower))
    assert (changes.relax_optimiser == changes.optimiser) == (rate == 0.1)
    run_here("dynamics", out, {"study": str(slower), "root": root})
    said = "The learning rate is 0.01 after the embedding, for eFCN and control alike, and was 0.1"
    assert (said in out.read_text("utf-8")) == (rate == 0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "figure_count"),
    [
        ("embedding", {"input_size": 5, "kernel": 2, "stride": 2, "padding": 1, "relax_time": 2}, 3),
        ("findings", {}, 1),
        ("dynamics", {}, 2),
        ("delta", {}, 3),
        ("off_local", {"relax_times": "5", "output": "centre"}, 2),
        ("interpolation", {"relax_times": 2, "methods": "string", "further": "none"}, 4),
        ("curvature", {}, 3),
    ],
)
def test_notebooks_run_with_their_parameters(name, parameters, figure_count, root, tmp_path):
    out, before = tmp_path / "out.ipynb", names(Path(root))
    study = {"study": "digits", "root": root}
    outputs = run_here(name, out, study | parameters)
    pages = figures(outputs)
    assert len(pages) == figure_count
    assert_saved(pages, name)
    made, command = details(outputs)
    assert command[:4] == [".venv/bin/papermill", "--log-output", f"notebooks/{name}.ipynb", "out.ipynb"]
    expected = {"seed": 0} | study | parameters
    assert dict(zip(command[5::3], command[6::3], strict=True)) == {k: str(v) for k, v in expected.items()}
    assert all(re.search(r'<img alt="[^"]{20,}"', page) for page in pages)
    assert "seed 0" in made
    assert studies.load("digits").title in made
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in said if "runs to compute" not in text]  # no warnings
    assert said or names(Path(root)) == before  # what is recorded is not computed


def test_the_numbers_saved_are_those_of_the_records(root, tmp_path):
    page = figures(run_here("dynamics", tmp_path / "out.ipynb", {"study": "digits", "root": root}))[0]
    files, results = saved(page), study_runner.load_results("digits", 0, root)
    rows = [(*row[:2], row[3], float(row[4])) for row in columns(files["CSV"])[1:]]
    expected = []
    for name, of in (("efcn", results.efcn), ("control", results.control)):
        for tw in results.study.relax_times:
            history = of(tw, 0).history
            expected += [
                (name, str(tw), str(epoch), accuracy)
                for epoch, accuracy in zip(history["epoch"], history["test_accuracy"], strict=True)
            ]
    assert [row for row in rows if row[0] in ("efcn", "control")] == expected
    said, info = content(files["JSON"]), results.cnn(0).info
    assert said["study"] == results.study.model_dump(mode="json")
    assert said["seeds"] == [0]
    assert info["environment"] in [origin["environment"] for origin in said["computed"]]
    assert {origin["device"] for origin in said["computed"]} == {info["device"]}
    assert sum(origin["runs"]["0"] for origin in said["computed"]) == len(studies.runs(results.study))


def test_the_explorer_runs_unattended_and_trains_nothing(root, tmp_path):
    out, before = tmp_path / "out.ipynb", names(Path(root))
    run_notebook(REPOSITORY / "notebooks" / "explorer.ipynb", out, {"studies": "digits", "root": root})
    output, command = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    assert "explorer.ipynb out.ipynb -p studies digits" in command.data["text/markdown"]  # and no live panel
    assert '<div class="efcn-explorer">' in output.data["text/html"]
    assert not re.search(r"(src|href)=\"(?!data:)", output.data["text/html"])
    assert "widget-view" not in out.read_text("utf-8")
    assert names(Path(root)) == before


def test_means_over_seeds_are_drawn_and_said(root, tmp_path):
    for name in ("dynamics", "delta", "off_local", "findings"):
        out = tmp_path / f"{name}.ipynb"
        outputs = run_here(name, out, {"study": two_seeds(tmp_path), "root": root, "more_seeds": "1"})
        pages, said = figures(outputs), "".join(words(outputs))
        assert "seeds 0, 1;" in details(outputs)[0]
        assert any("mean of 2 seeds; " in page for page in pages)
        assert wording.ONE_SEED not in said
        assert "-p seed 0 -p more_seeds 1" in said


def test_the_environment_of_every_seed_is_listed(root, tmp_path):
    out = tmp_path / "out.ipynb"
    given = {"study": two_seeds(tmp_path), "root": root, "more_seeds": "1"}
    study, listed, machines, *_ = words(run_here("environment", out, given))
    assert "| `seeds` | <code>(0, 1)</code> |" in study
    runs = len(studies.runs(studies.load("digits", seeds=(0,))))
    for seed in (0, 1):
        assert sum(map(int, re.findall(rf"(\d+) of seed {seed}", listed))) == runs
    here = environment.describe_environment()
    assert f"| 1 | cpu ({here['cpu']}, {here['instructions']}): " in machines
    digits, *dirty = environment.describe_environment()["commit"].split("-")
    assert f"| <code>{'-'.join([digits[:7], *dirty])}</code> |" in listed


@pytest.mark.parametrize("name", ["claims", "comparison"])
def test_pages_of_all_studies_compute_nothing(name, root, tmp_path):
    out, before = tmp_path / "out.ipynb", names(Path(root))
    outputs = run_here(name, out, {"studies": "digits", "root": root})
    assert names(Path(root)) == before
    if name == "claims":
        (grid,) = [o.data["text/html"] for o in outputs if "<table" in o.get("data", {}).get("text/html", "")]
        assert '<td class="holds"><button type="button" popovertarget="cell-1-0"><b>holds</b>' in grid
        assert 'href="digits/dynamics.html#figure-3"' in grid
    said = "".join(words(outputs))
    if name == "comparison":
        assert "VanillaCNN, best" in said
        assert "digits/dynamics.ipynb#figure-3" in said
        assert "digits, [left](digits/off_local.ipynb#figure-5-left) and [right](" in said
        assert "200 times the 20 of the CNN of digits" in said
        assert "digits](digits/interpolation.ipynb#figure-6): on the linear path" in said
    with pytest.raises(UserError, match=r"study quick has no seed with anything to show, .* efcn run quick"):
        run_here(name, out, {"studies": "quick", "root": root})


@pytest.mark.parametrize(
    ("given", "times", "epochs", "words"),
    [
        ({}, [0, 5, 20], [0, 3, 10], ["just after embedding", "after 3 epochs", "after 10 epochs"]),
        ({"moments": "1"}, [0, 5, 20], [1], ["after 1 epoch"]),
        ({"relax_times": "2, 0", "moments": "10, 0"}, [2, 0], [10, 0], ["after 10 epochs", "just after embedding"]),
    ],
)
def test_filters_are_those_of_chosen_moments(given, times, epochs, words, root, tmp_path):
    out = tmp_path / "out.ipynb"
    outputs = run_here("off_local", out, {"study": "digits", "root": root} | given)
    page = figures(outputs)[1]
    assert f"= {', '.join(map(str, times))} (rows), {', '.join(words)} (columns)" in page
    rows = columns(saved(page)["CSV"])[1:]
    assert list(dict.fromkeys((row[0], row[1]) for row in rows)) == [
        (f"{tw}", f"{at}") for tw in times for at in epochs
    ]
    assert "none of them moved" not in page


def test_filters_are_the_supplements_where_these_are_recorded(root, tmp_path):
    study = studies.load("digits", epochs=115, relax_times=(0, 3, 13, 50, 115), path_times=(), data={"train": 50})
    study = study.model_copy(update={"name": "long", "curvature": None, "relax_epochs": 100, "measurements": 20})
    (tmp_path / "long.json").write_text(study.model_dump_json(), "utf-8")
    out, given = tmp_path / "out.ipynb", {"study": str(tmp_path / "long.json"), "root": str(tmp_path / "runs")}
    run_here("off_local", out, given)
    chosen = "= 0, 13, 115 (rows), just after embedding, after 11 epochs, after 78 epochs (columns)"
    assert chosen in out.read_text("utf-8")


def test_paths_between_other_ends_and_over_seeds_are_computed(root, tmp_path):
    out, here = tmp_path / "out.ipynb", str(tmp_path / "runs")
    ends = {"start": "efcn 0", "more_seeds": 1, "methods": "linear", "further": "none"}
    outputs = run_here("interpolation", out, {"study": two_seeds(tmp_path), "root": here} | ends)
    pages = figures(outputs)
    assert len(pages) == 3  # Figure 6, distances, planes
    assert "for 3 relax times" in pages[0]  # not from the eFCN of 0 to itself
    assert "From eFCN(0) (α = 0) to eFCN (α = 1)" in pages[0]
    assert "seeds 0, 1;" in details(outputs)[0]
    assert all("Lines: mean of 2 seeds; bands: minimum to maximum" in page for page in pages[:2])
    assert "Of the first seed." in pages[2]
    assert "with 95 % intervals over seeds" in "".join(words(outputs))
    assert "claim" not in "".join(words(outputs))


def test_a_study_without_curvature_says_so(root, tmp_path):
    (tmp_path / "plain.json").write_text('{"like": "digits", "curvature": null}', "utf-8")
    out = tmp_path / "out.ipynb"
    parameters = {"study": str(tmp_path / "plain.json"), "root": root}
    run_here("curvature", out, parameters)
    assert "<b>Figure 9.</b> This study measures no curvature: give it a curvature." in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("dynamics", {"study": "digit"}, "unknown study 'digit': choose one of quick, digits"),
        ("delta", {"seed": -1}, "unknown seed of study digits '-1': choose one of 0"),
        ("embedding", {"kernel": 7}, "kernel 7"),
        ("embedding", {"relax_time": 3}, "unknown relax time '3': choose one of 0, 2, 5, 20"),
        ("off_local", {"output": "edge"}, "unknown output 'edge': choose one of corner, centre"),
        ("off_local", {"moments": "0, 4"}, "unknown measured epoch after the embedding '4': choose one of 0, 1, 2, 3"),
        (
            "interpolation",
            {"methods": "linear, spline"},
            "unknown method of study digits 'spline': choose one of linear, curvilinear, string, band, bezier, polygon",
        ),
        ("interpolation", {"end": "mlp"}, "a path's end 'mlp' is not known: give cnn, fcn, efcn"),
        ("interpolation", {"more_seeds": "one"}, "unknown seed of study digits 'one': choose one of 0"),
        ("interpolation", {"relax_times": 3}, "unknown relax time '3': choose one of 0, 2, 5, 20"),
        ("explorer", {"studies": "digits, digit"}, "unknown study 'digit': choose one of quick, digits"),
        ("explorer", {"studies": ""}, "no study to explore: name one at least, as in quick, digits"),
        ("explorer", {"live_study": "quick"}, "unknown live study 'quick': choose one of digits"),
        ("explorer", {"live_seed": 7}, "unknown seed of study digits 7: choose one of 0"),
        ("explorer", {"device": "tpu"}, "device 'tpu' is not here: choose one of cpu"),
    ],
)
def test_notebooks_answer_bad_parameters_in_a_line(name, parameters, message, root, tmp_path):
    usual = {"studies" if name == "explorer" else "study": "digits", "root": root}
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        run_here(name, tmp_path / "out.ipynb", usual | parameters)
    assert len(str(caught.value).splitlines()) == 1


def test_a_kernel_answers_bad_parameters_in_a_line_too(root, tmp_path):
    path, given = REPOSITORY / "notebooks" / "delta.ipynb", {"study": "digits", "root": root, "seed": -1}
    with pytest.raises(UserError, match="unknown seed of study digits '-1'") as caught:
        run_notebook(path, tmp_path / "out.ipynb", given)
    assert len(str(caught.value).splitlines()) == 1
    assert "Error" not in str(caught.value)
    assert not (tmp_path / "out.ipynb").exists()


def test_the_speed_page_shows_what_is_recorded(tmp_path):
    out = tmp_path / "out.ipynb"
    outputs = run_here("performance", out, {})
    pages = figures(outputs)
    assert len(pages) >= 3
    assert_saved(pages, "performance")
    assert all(re.search(r'<img alt="[^"]{20,}"', page) and "efcn bench" in page for page in pages)
    assert not [output for output in outputs if output.output_type == "stream"]
    with pytest.raises(UserError, match="no timings in"):
        run_here("performance", out, {"folder": str(tmp_path)})

"""The book's contents, which studies it shows, what is done again and what not, and what a mistake leaves as it was."""

import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

from efcnbook.pages import build_book, page_parameters, shown_studies
from efcnbook.pages.build_book import build, complete, configuration, execute, mathjax
from efcnbook.pages.contents import contents, plain
from efcnbook.statistics import evidence
from efcnlab.config import studies
from efcnlab.environment import REPOSITORY
from efcnlab.run import coverage, study_runner
from efcnlab.store import export, recorded_study, run_store
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlib.errors import UserError
from written_notebooks import printed, write_notebook

SHOWN = "vanilla-cifar10-narrow"
UNREACHABLE = "http://127.0.0.1:9"  # the discard port: connections are refused


def template() -> dict:
    """The committed table of contents."""
    return yaml.safe_load((REPOSITORY / "book" / "_toc.yml").read_text("utf-8"))


def files(toc: dict) -> list[str]:
    """All pages after the first, in order."""
    return [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def test_contents_repeat_the_study_part_and_single_chapters(tmp_path):
    one = contents(template(), {"digits": "digits"})
    two = contents(template(), {"digits": "digits", "quick": "quick"})
    names = ("findings", "embedding", "dynamics", "delta", "off_local", "interpolation", "curvature")
    study = [f"executed/digits/{name}" for name in (*names, "environment")]
    themes = ("images", "geometry", "networks", "measures", "training", "paths", "studies", "results")
    reference = ["api", *(f"api/{name}" for name in (*themes, "commands")), "references"]
    results = ["summary", "claims", *(f"figure_{number}" for number in (3, 4, 5, 6)), "comparison"]
    ideas = ("embedding", "playground", "train_here", "residual")
    before = [*(f"executed/{name}" for name in (*results, *ideas)), "measures", "notation"]
    questions = ("dynamics", "delta", "off_local", "interpolation", "curvature")
    before += [*(f"executed/{name}" for name in questions), "executed/explorer", "executed/tutorial", "own", "clusters"]
    assert files(one) == [*before, *study, "executed/performance", "executed/survival", *reference, "executed/review"]
    assert [part["caption"] for part in two["parts"]][5:7] == [
        "Appendix: digits (smoke test)",
        "Appendix: VanillaCNN 8, SGD at 0.05 (smoke test)",
    ]
    assert "executed/quick/interpolation" in files(two)
    assert "executed/quick/curvature" not in files(two)  # the study measures none
    assert "needs" not in yaml.safe_dump(plain(two))
    path = tmp_path / "swept.json"
    path.write_text('{"like": "digits", "path_times": [], "sweep_time": 0, "sweep_channels": [3]}', "utf-8")
    swept = files(contents(template(), {"swept": str(path)}))
    assert {"executed/sizes", "executed/swept/sizes"} <= {*swept}  # a relax time of 0 is one
    assert "executed/swept/curvature" not in swept  # which is measured at no relax time
    assert "{study}" not in yaml.safe_dump(two)


def test_every_page_of_the_contents_has_its_source():
    for page in ["intro", *files(template())]:
        folder, _, name = page.replace("{study}/", "").partition("executed/")
        source = f"notebooks/{name}.ipynb" if name else f"book/{folder}.md"
        assert (REPOSITORY / source).exists(), source


def test_a_page_of_all_studies_is_given_them_and_follows_their_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("EFCN_ROOT", str(tmp_path / "runs"))
    (tmp_path / "notebooks").mkdir()
    path, small = write_notebook(tmp_path / "notebooks" / "all.ipynb", "print(studies)"), tmp_path / "small.json"
    path.write_text(path.read_text("utf-8").replace('study = \\"digits\\"', 'studies = \\"quick\\"'), "utf-8")
    write_notebook(tmp_path / "notebooks" / "one.ipynb")
    small.write_text('{"like": "digits"}')
    pages = ["executed/digits/one", "executed/small/one", "executed/all"]
    toc = {"parts": [{"caption": "", "chapters": [{"file": page} for page in pages]}]}
    out = tmp_path / "book" / "executed" / "all.ipynb"
    execute(tmp_path, toc, {"small": str(small)})
    assert printed(out) == f"digits, {small}\n"  # of one rank
    first = out.stat().st_mtime_ns
    execute(tmp_path, toc, {"small": str(small)})
    assert out.stat().st_mtime_ns == first
    run_store.Store().ensure(studies.load(str(small)).cnn(0), lambda attempt: run_store.Result({"epoch": [0]}))
    execute(tmp_path, toc, {"small": str(small)})
    assert out.stat().st_mtime_ns > first


def test_a_question_is_answered_by_the_study_with_the_best_evidence():
    store = run_store.Store(None, [REPOSITORY / "results" / name for name in (SHOWN, "vanilla-cifar10-sgd")])
    names = ("digits", "quick", "vanilla-cifar10-sgd", SHOWN)
    there = {name: evidence.present(found_study(name, store), store) for name in names}
    order, known = page_parameters.ranked(there), ("study", "seed", "more_seeds", "others")
    assert list(order) == [SHOWN, "vanilla-cifar10-sgd", "quick", "digits"]  # three seeds, then one
    swept = page_parameters.of_question(order, there, "sweep_time", known)
    assert (swept["study"], swept["others"]) == (SHOWN, "")
    asked = page_parameters.of_question(order, there, None, known)
    assert asked == {"study": SHOWN, "seed": 0, "more_seeds": "1, 2", "others": "vanilla-cifar10-sgd"}
    small = {"digits": {}, "quick": {}}
    order = page_parameters.ranked(small)
    assert page_parameters.of_question(order, small, None, ("study",)) == {
        "study": "quick",
        "others": "",
    }


def test_pages_of_a_question_alone_have_lessons(tmp_path, monkeypatch):
    monkeypatch.setenv("EFCN_ROOT", str(tmp_path / "runs"))
    (tmp_path / "notebooks").mkdir()
    path = write_notebook(tmp_path / "notebooks" / "one.ipynb", "print(study, others)", "print('a lesson')")
    made = nbformat.read(path, 4)
    made.cells[-1].metadata["tags"] = ["lesson"]
    parameters = next(cell for cell in made.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source += '\nothers = ""  # further studies'
    nbformat.write(made, path)
    toc = {"parts": [{"caption": "", "chapters": [{"file": "executed/one"}, {"file": "executed/digits/one"}]}]}
    execute(tmp_path, toc)
    executed = tmp_path / "book" / "executed"
    assert printed(executed / "one.ipynb") == "digits \na lesson\n"
    assert printed(executed / "digits" / "one.ipynb") == "digits \n"


def test_without_npm_formulas_need_a_network_and_the_reader_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("npm_config_registry", UNREACHABLE)
    assert mathjax(tmp_path) is None
    assert "WARNING: formulas in this book will need a network" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert "mathjax_path" not in configuration(REPOSITORY, None)["sphinx"]["config"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """The recorded studies `digits`, `growing`, and those that no book shows unasked: changed, partial, damaged."""
    folder = tmp_path_factory.mktemp("recorded")
    store, digits = run_store.Store(folder / "runs"), studies.load("digits", path_times=(), relax_times=(0,), epochs=1)
    study_runner.run_study(digits, store, progress=False)
    for name in ("digits", "changed", "damaged"):
        export.export_study(digits.model_copy(update={"name": name}), store, folder / "results", f"efcn run {name}")
    partial = digits.model_copy(update={"name": "partial", "relax_times": (0, 1)})
    growing = digits.model_copy(update={"name": "growing", "seeds": (0, 1)})
    for study in (partial, growing):
        export.export_study(study, store, folder / "results", f"efcn run {study.name}", partial=True)
    next((folder / "results" / "damaged").glob("*/record.json")).write_text("{}")
    return folder / "results"


def test_recorded_studies_are_shown_only_if_nothing_need_be_trained(recorded, monkeypatch, capsys):
    for name in ("digits", "growing", "partial"):
        study = studies.Study.model_validate(recorded_study.read_index(recorded / name).study)
        monkeypatch.setitem(studies.PRESETS, name, study)
    assert complete(sorted(recorded.iterdir())) == ["digits", "growing"]
    changed, damaged, growing, partial = capsys.readouterr().err.splitlines()
    assert "changed is left out of the book: changed is no study of this version" in changed
    assert "damaged is left out of the book: " in damaged
    assert growing.endswith("growing is still being recorded: the book shows of its seeds 0")
    assert partial.endswith("is left out of the book: runs of seed 0 are missing, efcn tw=1 seed=0 among them")


def test_pages_show_the_first_seed_of_a_study_and_only_named_studies_are_computed(tmp_path, monkeypatch):
    path, asked, ran = tmp_path / "mine.json", [], []
    path.write_text('{"like": "digits", "seeds": [3, 4]}')
    monkeypatch.setattr(study_runner, "run_study", lambda study, *_, **__: asked.append(study.name))
    monkeypatch.setattr(build_book, "run_notebooks", ran.extend)
    assert build_book._compute([str(path)], "cpu", None)[0] == [str(path)]
    toc = {"parts": [{"caption": "", "chapters": [{"file": "executed/mine/delta"}]}]}
    shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")
    execute(tmp_path, toc, {"mine": str(path)})
    assert (asked, [job.parameters for job in ran]) == (["mine"], [{"study": str(path), "seed": 3}])


def test_every_recorded_study_is_one_that_the_book_shows_as_soon_as_it_has_a_seed():
    folders = [path.parent for path in sorted((REPOSITORY / "results").glob("*/study.json"))]
    indices = {folder.name: recorded_study.read_index(folder) for folder in folders}
    for name, index in indices.items():
        assert shown_studies.is_preset(studies.Study.model_validate(index.study)), name
    assert complete(folders) == [
        name for name, index in indices.items() if coverage.shown_seeds(recorded_study.indexed_study(index), index.runs)
    ]
    assert SHOWN in indices


def test_page_without_notebook_names_those_there_are(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name in ("delta", "figure"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb")
    toc = {"parts": [{"caption": "", "chapters": [{"file": "executed/digits/figures"}]}]}
    with pytest.raises(UserError, match=r"no notebook .*figures\.ipynb; in that folder: delta\.ipynb, figure\.ipynb"):
        execute(tmp_path, toc)


def test_outside_a_clone(tmp_path):
    with pytest.raises(UserError, match="from a clone"):
        build(["digits"], source=tmp_path)

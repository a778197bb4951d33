"""Long studies of which a part is recorded: what is shown of them, and that nothing is trained for it."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import partly
from efcnbook.claims import claim_list
from efcnbook.explorer import numbers
from efcnbook.pages import build_book
from efcnbook.pages.contents import contents
from efcnbook.statistics import evidence, tables
from efcnlab.config import studies, study_rates
from efcnlab.environment import REPOSITORY
from efcnlab.run import coverage, study_runner
from efcnlab.store import export
from efcnlab.store.chosen_rates import load_with_chosen_rates as found_study
from efcnlab.store.run_store import Store, key_of
from efcnlib.errors import UserError

PAGES = ("findings", "embedding", "dynamics", "delta", "off_local", "interpolation", "curvature", "sizes")
INCOMPLETE = (
    "Seed 0 is incomplete: 17 of 23 runs are recorded; shown are the relax times 0 and 2.",
    "Seed 1 is incomplete: 4 of 21 runs are recorded; shown is the relax time 2.",
)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """The study, the file it is in, and a store with a part of both seeds."""
    folder = tmp_path_factory.mktemp("partly")
    study, store = partly.recorded(folder / "runs", partly.FIRST | partly.SECOND)
    (folder / "partly.json").write_text(partly.STUDY.model_copy(update={"name": "partly"}).model_dump_json(), "utf-8")
    return SimpleNamespace(study=study, store=store, file=str(folder / "partly.json"))


@pytest.fixture(scope="module")
def few(part, tmp_path_factory):
    """The same with a single relax time of the first seed: no standard FCN, no paths, one control."""
    folder = tmp_path_factory.mktemp("few")
    runs = {run for run in studies.runs(part.study) if run.label in partly.FEW} | {
        *study_rates.rate_searches(part.study)
    }
    for key in map(key_of, runs):
        shutil.copytree(part.store.root / key, folder / key)
    return SimpleNamespace(study=part.study, store=Store(folder), file=part.file)


def seeds_by_time(runs, kind):
    """The seeds that have a kind of network, by relax time."""
    return {tw: sorted(set(seeds)) for tw, seeds in tables.of_kind(runs, kind).groupby("tw")["seed"]}


def shown(of, name, monkeypatch, **parameters):
    return partly.page(name, monkeypatch, study=of.file, root=str(of.store.root), **parameters)


def test_a_seed_is_cut_down_to_what_is_there(part):
    first = study_runner.load_results(part.file, 0, str(part.store.root))
    assert first.study.relax_times == (0, 2)  # of 4 the eFCN is there, its control is not
    assert {kind: first.times(kind) for kind in ("efcn", *first.full_study.controls)} == {
        "efcn": (0, 2),
        "control": (0, 2),
        "tuned": (2,),
        "lowered": (0, 2),
        "elcn": (2,),
    }
    assert (first.study.standard_fcn, first.study.path_times, first.study.path_relaxed_times) == (False, (2,), (2,))
    assert first.full_study.seeds == (0, 1)
    assert {"fcn seed=0", "control tw=4 seed=0", "output path tw=0 seed=0"} <= {*first.missing}
    assert first.coverage.summary == INCOMPLETE[0]
    assert first.relaxed("tuned", 2, 0).config["optimiser"]["lr"] == 0.2
    with pytest.raises(UserError, match="unknown relax time of study partly 4: choose one of 0, 2"):
        first.efcn(4, 0)


def test_of_nothing_a_line_says_what_to_do(part, tmp_path):
    with pytest.raises(UserError, match=r"^seed 0 of study partly has nothing to show yet.*efcn run partly$"):
        study_runner.load_results(part.file, 0, str(tmp_path))
    with pytest.raises(UserError, match="unknown seed of study partly 7: choose one of 0, 1"):
        study_runner.load_results(part.file, 7, str(part.store.root))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_what_there_is_and_trains_nothing(name, part, monkeypatch):
    more = {} if name == "embedding" else {"more_seeds": "1"}
    page = shown(part, name, monkeypatch, **more)
    assert [page.words.count(words) for words in INCOMPLETE] == [1, len(more)]
    assert "CNN trained for 7 epochs, eFCN" in page.words or name == "environment"  # the first seed has no FCN
    expected = {
        "findings": {"0"},
        "embedding": {"1", "1b", "2"},
        "dynamics": {"3", "3b"},
        "delta": {"4", "4b", "4c"},
        "off_local": {"5, left", "5, right"},
        "interpolation": {"6", "6b", "6c", "6d"},
    }
    assert set(page.figures) == expected.get(name, set())


@pytest.mark.parametrize("name", PAGES)
def test_without_standard_fcn_and_paths_nothing_is_said_of_them(name, few, monkeypatch):
    page = shown(few, name, monkeypatch)
    said = page.words + "".join(page.captions.values())
    assert "standard FCN" not in said
    assert "barrier" not in said
    if name == "interpolation":
        assert "Study partly has no paths yet: none is recorded." in page.words
    if name == "dynamics":
        assert set(page.tables["3b"]["control"]) == {"control", "went_on"}


def test_a_seed_counts_where_it_is_there(part, monkeypatch):
    every = [study_runner.load_results(part.file, seed, str(part.store.root)) for seed in (0, 1)]
    runs = tables.trainings(every)
    assert seeds_by_time(runs, "efcn") == {0: [0], 2: [0, 1]}
    assert tables.seeds_of(runs) == [1, 2]
    both = [one.efcn(2, one.seed).history["test_accuracy"][-1] for one in every]
    assert tables.at_end(runs, "efcn")["mean"][2] == pytest.approx(sum(both) / 2)
    page = shown(part, "dynamics", monkeypatch, more_seeds="1")
    counts = page.tables["3b"].groupby(["control", "tw"]).size()
    assert counts["control", 2] == 2
    assert counts["elcn", 2] == counts["tuned", 2] == counts["control", 0] == 1
    assert ("elcn", 0) not in counts.index
    assert "CNN resumed at its own rate: the same at 0.2, which" in page.captions["3b"]
    assert (
        "Compared with at some $t_w$ only: CNN resumed at its own rate at $t_w$ = 2; eLCN at $t_w$ = 2." in page.words
    )
    assert "mean of 1 to 2 seeds; " in page.captions["3"]
    assert "measured after <i>t</i><sub>w</sub> + 2 epochs, as many as CNN and eFCN together" in page.captions["3b"]


def test_the_rates_and_their_rule_stand_on_the_page_of_the_environment(part, monkeypatch):
    page = shown(part, "environment", monkeypatch, more_seeds="1")
    assert page.words.count("## The learning rate after the embedding") == 1
    assert "| 0.2 | 3 (rises) | 3 (rises) | 3 (rises) |  | left out |" in page.words
    assert page.words.count("**chosen**") == 2
    assert "is trained for 4 steps at each rate" in page.words


def learnt(found):
    """The evidence as if every network had learnt something."""
    return evidence.replace(found, runs=found.runs.assign(train_loss=0.5 * found.runs["train_loss"]))


def test_the_claims_take_every_seed_as_far_as_it_goes(part, few, monkeypatch):
    found = evidence.gather(found_study(part.file, part.store), part.store)
    assert (found.seeds, found.study.relax_times, found.study.path_times) == ((0, 1), (0, 2), (2,))
    assert seeds_by_time(found.runs, "control") == {0: [0], 2: [0, 1]}
    assert seeds_by_time(found.runs, "tuned") == seeds_by_time(found.runs, "elcn") == {2: [0]}
    assert set(tables.of_kind(found.runs, "fcn")["seed"]) == {1}
    assert {*found.paths["method"]} == {*part.study.path_methods}
    assert {*found.paths["tw"]} == {2}
    assert tuple(one.summary for one in found.incomplete) == INCOMPLETE
    parts = claim_list.findings(learnt(found))
    assert {one.claim for one in parts if isinstance(one.claim, int)} == set(range(1, 12))
    (five,) = claim_list.of_claim(parts, 5)
    assert [*five.effects.intervals] == [2]
    assert not any("diverged" in one.left_out for one in parts)
    page = partly.page("claims", monkeypatch, studies=part.file, root=str(part.store.root))
    assert all(f"**partly**: {words}" in page.words for words in INCOMPLETE)
    assert "partly/interpolation.html" in page.html
    lacking = evidence.gather(found_study(few.file, few.store), few.store)
    parts = claim_list.findings(learnt(lacking))
    untested = {one.claim for one in parts if one.kind == "efcn" and one.verdict == "not tested"}
    assert untested == {2, 5, 7, 9, 10, 11}
    page = partly.page("claims", monkeypatch, studies=few.file, root=str(few.store.root))
    assert "partly/interpolation.html" not in page.html  # such a page is not in the book
    assert "Seed 1 is not shown: 0 of 21 runs are recorded." in page.words
    assert (
        "interpolation" not in partly.page("comparison", monkeypatch, studies=few.file, root=str(few.store.root)).words
    )


def test_the_explorer_shows_what_there_is(part, few, monkeypatch):
    monkeypatch.setattr(study_runner, "run_study", lambda *_, **__: pytest.fail("something is to be computed"))
    pack = json.loads(numbers.text(numbers.load(part.file, str(part.store.root))))
    first, second = pack["seeds"]
    assert pack["study"]["relax_times"] == [0, 2]
    assert {kind: [*runs] for kind, runs in first["runs"].items()} == {
        "efcn": ["0", "2"],
        "control": ["0", "2"],
        "tuned": ["2"],
        "lowered": ["0", "2"],
        "elcn": ["2"],
    }
    assert (first["fcn"], [*second["runs"]]) == (None, ["efcn", "control"])
    assert second["fcn"]
    assert numbers.load(few.file, str(few.store.root))["study"]["relax_times"] == [2]


@pytest.fixture
def results(part, few, tmp_path, monkeypatch):
    """The folder of a recorded part, which the book shows; the study is a preset there."""
    study = part.study.model_copy(update={"name": "partly"})
    folder = export.export_study(study, few.store, tmp_path / "results", "efcn run partly", partial=True)
    preset = partly.STUDY.model_copy(update={"name": "partly"})
    monkeypatch.setitem(studies.PRESETS, "partly", preset)
    monkeypatch.setenv("EFCN_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("EFCN_ROOT", str(tmp_path / "runs"))
    monkeypatch.setattr(study_runner, "run_study", lambda *_, **__: pytest.fail("something is to be computed"))
    return folder


def test_the_book_shows_a_long_study_as_far_as_it_is_recorded(results, tmp_path, monkeypatch, capsys):
    assert build_book.complete([results]) == ["partly"]
    assert capsys.readouterr().err.endswith("partly is still being recorded: the book shows of its seeds 0\n")
    assert build_book._compute(["partly"], "cpu", None) == (["partly"], "")
    toc = contents(yaml.safe_load((REPOSITORY / "book" / "_toc.yml").read_text("utf-8")), {"partly": "partly"})
    pages = [Path(chapter["file"]).name for part in toc["parts"] for chapter in part["chapters"]]
    assert {"findings", "dynamics", "delta", "off_local"} <= {*pages}
    assert not {"interpolation", "curvature", "sizes"} & {*pages}
    ran = []
    monkeypatch.setattr(build_book, "run_notebooks", ran.extend)
    shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")
    build_book.execute(tmp_path, {"parts": [{"caption": "", "chapters": [{"file": "executed/partly/delta"}]}]})
    assert [job.parameters for job in ran] == [{"study": "partly", "seed": 0}]
    shutil.rmtree(results)
    with pytest.raises(UserError, match=r"study partly is long, and nothing of it is recorded .*: efcn run partly"):
        build_book._compute(["partly"], "cpu", None)


def test_seeds_of_a_long_study_are_shown_in_part_and_those_of_others_as_a_whole(part):
    there = {key_of(run) for run in studies.runs(part.study) if part.store.get(key_of(run))}
    assert coverage.shown_seeds(part.study, there) == (0, 1)
    assert coverage.complete_seeds(part.study, there) == ()
    assert coverage.shown_seeds(part.study.model_copy(update={"long": False}), there) == ()

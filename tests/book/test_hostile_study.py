"""A stranger's recorded study whose texts are all markup: its pages show them, run nothing, and keep their tables."""

import json
import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

import small_book
from browser import opened
from efcnbook.claims import claim_list, claim_pages
from efcnbook.explorer import numbers, page
from efcnbook.pages import build_book
from efcnbook.statistics import evidence
from efcnlab.run.study_results import StudyResults
from efcnlab.store import recorded_study
from efcnlab.store.export import export_study
from efcnlab.store.run_store import Store
from run_here import run_here
from shared_runs import copied
from small_studies import tiny
from toy_runs import forge, sha
from written_notebooks import KERNEL

EVIL = '<script>window.flag = 1</script><img src=x onerror="window.flag = 1"> | `a` $b$ **c** [d](e) {f}`g` \\ ~~h~~'
FACTS = ("cpu", "instructions", "platform", "commit", "torch", "numpy", "python", "efcnlib")


def study():
    return tiny(title=EVIL, path_times=(), curvature=None).model_copy(update={"name": "hostile"})


@pytest.fixture(scope="module")
def recorded(shared, tmp_path_factory):
    """The study, all of whose digests and seals are right."""
    folder = tmp_path_factory.mktemp("hostile")
    store = copied(study(), shared, folder / "runs")
    out = export_study(study(), store, folder / "results", EVIL)
    index = json.loads((out / "study.json").read_text("utf-8"))
    for key, run in index["runs"].items():
        manifest = out / key / "manifest.json"
        info = json.loads(manifest.read_text("utf-8"))["info"]
        info["environment"] |= dict.fromkeys(FACTS, EVIL) | {"cuda": [EVIL], EVIL: EVIL}
        forge(manifest, info=info, label=EVIL)
        data = manifest.read_bytes()
        run["files"]["manifest.json"] = {"bytes": len(data), "sha256": sha(data)}
    forge(out / "study.json", runs=index["runs"], environment=dict.fromkeys(FACTS, EVIL), devices=[EVIL])
    return out


@pytest.fixture(scope="module")
def site(recorded, tmp_path_factory):
    """The pages on which texts of a study stand: its environment, its findings, the table of studies, the explorer."""
    assert recorded_study.verify_study(recorded) == []
    folder = tmp_path_factory.mktemp("site")
    toc = small_book.write(folder, ["other"], prose="# Home")
    executed = folder / "book" / "executed"
    (folder / "hostile.json").write_text(study().model_dump_json(), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFCN_RESULTS", str(recorded.parent))
        given = {"study": str(folder / "hostile.json"), "root": str(folder / "mine")}
        for name in ("environment", "findings"):
            run_here(name, executed / f"{name}.ipynb", given)
    store = Store(folder / "mine", [recorded])
    found = evidence.gather(study(), store)
    header, words = ["study", "what", "seeds", "epochs", "of the eFCN", "where"], claim_pages.setting(found)
    rows = "\n".join("| " + " | ".join(row) + " |" for row in (header, ["--"] * 6, words))
    claim = claim_pages.page(2, {study(): claim_list.from_records(found)}).replace("claims.ipynb", "others.ipynb")
    (executed / "claim-2.md").write_text(re.sub(r"\]\(hostile/[^)]*\)", "](others.ipynb)", claim), "utf-8")
    pack = numbers.pack(study(), {0: numbers.gather(StudyResults(study(), store), 0)})
    shown = [small_book.displayed(rows, "text/markdown"), small_book.displayed(page.html([pack]))]
    cells = [new_markdown_cell("# Others"), *(new_code_cell("1", outputs=[one]) for one in shown)]
    others = writes(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}))
    (executed / "others.ipynb").write_text(others, "utf-8")
    chapters = [{"file": f"executed/{name}"} for name in ("environment", "findings", "others")]
    chapters[-1]["sections"] = [{"file": "executed/claim-2"}]
    toc["parts"].append({"caption": "Hostile", "chapters": chapters})
    return build_book.render(folder, folder / "build", toc).parent / "executed"


@pytest.mark.parametrize("name", ["environment", "findings", "others", "claim-2"])
def test_no_script_runs_and_no_table_loses_a_column(name, browser, site):
    with opened(browser) as (tab, _):
        tab.goto((site / f"{name}.html").as_uri(), wait_until="networkidle")
        tab.evaluate("for (const folded of document.querySelectorAll('details')) folded.open = true")
        tab.wait_for_timeout(200)
        assert tab.evaluate("window.flag") is None
        assert tab.locator("img[src=x]").count() == 0
        assert tab.evaluate("document.body.innerText").count("<script>window.flag = 1</script>") > 0
        counted = "(table) => [...table.rows].map((row) => row.cells.length)"
        tables = tab.evaluate(f"[...document.querySelectorAll('article table')].map({counted})")
        assert all(len(set(rows)) == 1 for rows in tables), tables
        assert not tables or name in ("environment", "others", "claim-2")


def test_the_flag_would_be_seen(browser, site, tmp_path):
    naked = tmp_path / "naked.html"
    naked.write_text(f"<!doctype html><title>t</title>{EVIL}", "utf-8")
    with opened(browser) as (tab, _):
        tab.goto(naked.as_uri(), wait_until="networkidle")
        assert tab.evaluate("window.flag") == 1

"""A page for each claim, and which records are older than the rules."""

import re
import subprocess
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

import claimed
import small_book
from browser import PHONE, SCROLL_WIDTH, WIDE, barriers, opened
from efcnbook.claims import claim_list, claim_pages, grid, rules
from efcnbook.claims.claim_list import CLAIMS, FIGURES, UNKNOWN
from efcnbook.claims.claim_pages import page
from efcnbook.claims.finding import Finding
from efcnbook.claims.verdicts import NOT_TESTED
from efcnbook.pages import build_book
from efcnbook.statistics import evidence
from efcnbook.statistics.provenance import Origin
from efcnlab.environment import REPOSITORY
from judged import BETTER, PARTLY, finding, soup, study
from written_notebooks import KERNEL


def blocks(text):
    """The HTML that stands in the page."""
    return "".join(re.findall(r"^```\{raw\} html\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL))


def test_every_claim_has_a_page_with_a_title_of_its_own(found, tmp_path):
    written = claim_pages.write({claimed.STUDY: found}, tmp_path / "executed")
    assert [path.name for path in written] == [f"claim-{number}.md" for number in range(1, 13)]
    titles = [path.read_text("utf-8").splitlines()[0] for path in written]
    assert titles == [f"# Claim {number}: {words}" for number, words in CLAIMS.items()]
    toc = yaml.safe_load((REPOSITORY / "book" / "_toc.yml").read_text("utf-8"))
    listed = [of["file"] for part in toc["parts"] for one in part["chapters"] for of in one.get("sections", ())]
    assert listed == [f"executed/{path.stem}" for path in written]


def test_a_page_has_the_verdict_the_plots_the_figure_and_the_rules(found):
    missing = [number for number in CLAIMS if not claim_list.of_claim(found, number)]
    assert missing == [12]
    for number in CLAIMS:
        text = page(number, {claimed.STUDY: found})
        own = claim_list.of_claim(found, number)
        verdict = claim_list.verdict(found, number)
        if not own:
            assert "No study in this book tests it." in text
            continue
        assert f"**{verdict}** · {claimed.STUDY.title}" in text
        assert f"]({claimed.STUDY.name}/{FIGURES[number]})" in text
        assert rules.RULES in text
        assert (f"*What is not known:* {UNKNOWN[number]}" in text) if number in UNKNOWN else "not known" not in text
        shown = soup(blocks(text))
        assert len(shown.select("svg.forest")) == sum(one.effects is not None for one in own)
        placebos = [
            one for kind in claim_list.placebos(found, number) for one in claim_list.of_claim(found, number, kind)
        ]
        assert len(shown.select(".placebo tr")) == len(placebos)


def test_a_page_shows_every_study_that_has_the_claim_and_no_other():
    one, two, three = (study(name) for name in ("one", "two", "three"))
    none = Finding(4, "what is compared", NOT_TESTED, reason="no path is recorded yet")
    text = page(4, {one: [finding(4, BETTER), finding(4, PARTLY, "control")], two: [none], three: []})
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["one", "two"]
    assert "**holds** · title of one" in text
    assert "**not tested** · title of two" in text
    assert "<b>not tested</b> (no path is recorded yet)" in text
    assert "<td>control</td><td><b>mixed</b></td>" in text


def test_a_title_cannot_break_the_page():
    own = study().model_copy(update={"title": "<script>alert(1)</script> & more"})
    text = page(4, {own: [finding(4, BETTER)]})
    assert "<script" not in text
    assert "&#60;script&#62;alert(1)&#60;/script&#62; &#38; more" in text
    assert "<script" not in str(claim_pages.setting(replace(dated("one", "2026-11-01", "2026-11-02"), study=own)))


def dated(name, first, last):
    """The evidence of a study whose runs were made between these days."""
    origin = Origin("cpu", claimed.INFO["environment"], {0: 2}, f"{first}T12:00:00+00:00", f"{last}T12:00:00+00:00", 1)
    return evidence.Evidence(study(name), (0,), pd.DataFrame(), pd.DataFrame(), (origin,))


@pytest.fixture
def changed(tmp_path, monkeypatch):
    """A clone in which the rules were last changed on 20 November at 11:30 UTC; the digits of that commit."""
    path = tmp_path / "rules.py"
    path.write_text("RULES = ''")
    when = "2026-11-20T13:30:00+02:00"
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for name, value in {**who, "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}.items():
        monkeypatch.setenv(name, value)
    for command in (["init", "-q"], ["add", "rules.py"], ["commit", "-qm", "Change the rules"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    (tmp_path / "other.py").touch()
    subprocess.run(["git", "-C", tmp_path, "add", "other.py"], check=True)
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-25T12:00:00+00:00")
    subprocess.run(["git", "-C", tmp_path, "commit", "-qm", "Change something else"], check=True)
    log = subprocess.run(["git", "-C", tmp_path, "log", "--format=%h"], check=True, capture_output=True, text=True)
    monkeypatch.setattr(rules, "REPOSITORY", tmp_path)
    monkeypatch.setattr(rules, "__file__", str(path))
    return log.stdout.split()[1]


def test_records_older_than_the_rules_are_named(changed):
    old, mixed, new = (
        dated("old", "2026-11-01", "2026-11-19"),
        dated("half", "2026-11-19", "2026-11-20"),
        dated("new", "2026-11-20", "2026-11-21"),
    )
    head = f"These rules were last changed on 2026-11-20, in commit `{changed}`. "
    assert claim_pages.precedence([new]) == head + "No record is older."
    assert claim_pages.precedence([old, new]) == head + "Older are all records of old."
    assert claim_pages.precedence([mixed, new]) == head + "Older are some records of half."
    assert claim_pages.precedence([old, mixed]) == head + "Older are all records of old and some records of half."


def test_outside_of_a_clone_nothing_is_said_of_commits(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(rules, "REPOSITORY", tmp_path)
    assert rules.last_change() == ("", "")
    assert "not known" in claim_pages.precedence([dated("old", "2026-11-01", "2026-11-02")])


def test_the_rules_of_this_clone_have_a_commit():
    digits, date = rules.last_change()
    if not (REPOSITORY / ".git").exists():
        assert (digits, date) == ("", "")
    else:
        assert re.fullmatch("[0-9a-f]{7,}", digits)
        assert date > "2026"


@pytest.fixture(scope="module")
def site(tmp_path_factory, found):
    """The claims' pages and the figures they lead to, as the book has them; a link that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    toc = small_book.write(folder, [claimed.STUDY.name], prose="# Home")
    executed = folder / "book" / "executed"
    claim_pages.write({claimed.STUDY: found}, executed)
    table = small_book.displayed(grid.grid({claimed.STUDY: found}))
    pages = {"claims": [table]}
    for target in FIGURES.values():
        name, _, anchor = target.partition(".ipynb#")
        figure = small_book.displayed(
            f'<figure id="{anchor}"><figcaption><b>Figure {anchor}.</b></figcaption></figure>'
        )
        pages.setdefault(f"{claimed.STUDY.name}/{name}", []).append(figure)
    for name, outputs in pages.items():
        cells = [new_markdown_cell(f"# {name}"), *(new_code_cell("1", outputs=[one]) for one in outputs)]
        path = executed / f"{name}.ipynb"
        path.write_text(writes(new_notebook(cells=cells, metadata={"kernelspec": KERNEL})), "utf-8")
    sections = [{"file": f"executed/claim-{number}"} for number in CLAIMS]
    chapters = [{"file": f"executed/{name}"} for name in pages if name != "claims"]
    chapters.append({"file": "executed/claims", "sections": sections})
    toc["parts"].append({"caption": "The verdict", "chapters": chapters})
    return build_book.render(folder, folder / "build", toc).parent / "executed"


def test_every_link_of_the_grid_and_of_the_pages_leads_somewhere(site):
    checked = 0
    for path in [site / "claims.html", *(site / f"claim-{number}.html" for number in CLAIMS)]:
        content = BeautifulSoup(path.read_text("utf-8"), "html.parser").find("article")
        for link in content.find_all("a", href=re.compile(r"^(?!https?:)")):
            name, _, anchor = link["href"].partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), link["href"]
            assert not anchor or f'id="{anchor}"' in target.read_text("utf-8"), link["href"]
            checked += 1
    assert checked > 40


def test_in_the_book_the_rules_are_folded_away_on_a_claims_page(site):
    content = BeautifulSoup((site / "claim-4.html").read_text("utf-8"), "html.parser")
    folded = content.select_one("details.sd-dropdown")
    assert "How it is judged" in folded.summary.get_text()
    assert "Bonferroni" in folded.get_text()
    assert content.select_one("svg.forest") is not None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_keeps_anyone_from_reading_them(browser, axe, site, theme):
    with opened(browser, reduced_motion="reduce", color_scheme=theme) as (tab, _):
        for name in ("claims", "claim-4", "claim-10"):
            tab.goto((site / f"{name}.html").as_uri())
            assert barriers(tab, axe) == []
        tab.goto((site / "claims.html").as_uri())
        tab.locator("td.mixed button").first.click()
        assert barriers(tab, axe) == []


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_pages_do_not_scroll_sideways(browser, site, width):
    with opened(browser, width) as (tab, troubles):
        for name in ("claims", "claim-4", "claim-10"):
            tab.goto((site / f"{name}.html").as_uri())
            assert tab.evaluate(SCROLL_WIDTH) <= width, name
            for plot in tab.locator("svg.forest:visible").all():
                box = plot.bounding_box()
                assert 200 < box["width"] <= width - box["x"]
        assert [trouble for trouble in troubles if "mathjax" not in trouble.lower()] == []

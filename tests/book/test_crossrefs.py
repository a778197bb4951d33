"""Links between the pages of a small book: they lead to figures, and mistakes are named."""

import re

import pytest

from efcnbook.pages import build_book
from efcnlib.errors import UserError
from small_book import PROSE, write


def page(folder, name):
    """What a built page holds between its header and its footer."""
    html = (folder / "build" / "html" / f"{name}.html").read_text("utf-8")
    return html[html.index("<article") : html.index("</article>")]


@pytest.fixture(scope="module", autouse=True)
def no_formulas():
    """Pages without formulas need no MathJax."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_book, "mathjax", lambda out: None)
        yield


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of a built book of the study a, and its table of contents; pages of b are there, but not in it."""
    folder = tmp_path_factory.mktemp("one")
    toc = write(folder, ["a", "b"], prose=PROSE + "\nMore.\n\n| c |\n| - |\n| 3 |\n")
    toc["parts"][0]["chapters"].pop()
    build_book.render(folder, folder / "build", toc)
    return folder, toc


def links(html):
    """The text of each link by where it leads."""
    found = re.findall(r'<a class="reference internal" href="([^"]+)"[^>]*>(.*?)</a>', html, re.DOTALL)
    return [(href, re.sub("<[^>]+>", "", text)) for href, text in found]


def test_links_on_a_page_lead_to_its_figure(one):
    home, curves = page(one[0], "home"), page(one[0], "executed/a/curves")
    assert links(curves) == [("#figure-9", "Figure 9"), ("#figure-9", "again")]
    assert curves.count('id="figure-9"') == 1
    assert "This page for" not in curves
    assert "Of all." in home
    assert "It is <strong>so</strong>." in home
    assert "Not this." not in home


def test_tables_can_be_reached_and_scrolled_by_keyboard(one):
    boxes = re.findall(r'<div class="pst-scrollable-table-container"([^>]*)>', page(one[0], "home"))
    assert boxes == [f' tabindex="0" role="region" aria-label="Table {number}"' for number in (1, 2)]


def test_the_same_page_of_several_studies_leads_to_the_others(tmp_path):
    build_book.render(tmp_path, tmp_path / "build", write(tmp_path, ["b", "a", "c"]))
    curves = page(tmp_path, "executed/a/curves")
    assert links(curves)[:2] == [(f"../{name}/curves.html", name) for name in "bc"]
    assert "This page for: " in curves
    assert "<strong>a</strong>" in curves


def test_every_link_to_what_is_not_there_is_a_mistake_and_the_last_good_book_stays(one, capfd):
    folder, toc = one
    wrong = ["[](nowhere.md)", "```{shown} whole#figure-84\n```", "```{said} nothing\n```"]
    (folder / "book" / "home.md").write_text("\n\n".join([PROSE, *wrong]), "utf-8")
    curves = folder / "book" / "executed" / "a" / "curves.ipynb"
    in_curves = "[x](#figure-81) [x](curves.ipynb#figure-82)"
    curves.write_text(curves.read_text("utf-8").replace("# Curves", f"# Curves\\n\\n{in_curves}"), "utf-8")
    site = folder / "build" / "html"
    good = {path: path.read_bytes() for path in site.rglob("*.html")}
    with pytest.raises(UserError, match=r"mistakes, listed above.*jupyter-book\.log"):
        build_book.render(folder, folder / "build", toc)
    said = capfd.readouterr().err
    for named in ("nowhere.md", "figure-81", "figure-82"):
        assert named in said
    assert "no figure-84 on page whole" in said
    assert "there is no page nothing" in said
    assert {path: path.read_bytes() for path in site.rglob("*.html")} == good
    assert not list((folder / "build").glob(".building-*"))

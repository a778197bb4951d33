"""Links between the pages of a small book: they lead to figures in any number of studies, and mistakes are named."""

import re
import shutil

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, output_from_msg, writes

from efcnbook.pages import build_book
from efcnlab.environment import REPOSITORY
from efcnlib.errors import UserError
from test_execution import KERNEL

PROSE = """# Home

See {each}`Figure 9 <curves#figure-9>`, and {each}`its page <curves>`.

:::{shown} whole#figure-7
:::

:::{said} whole
:::

| a | b |
| - | - |
| 1 | 2 |
"""
TEXT = "# Curves\n\nSee [Figure 9](#figure-9) here, [again](curves.ipynb#figure-9)."


def displayed(content, kind="text/html"):
    """The output of a cell that displays ``content``."""
    content = {"data": {kind: content, "text/plain": "a figure"}, "metadata": {}}
    return output_from_msg({"header": {"msg_type": "display_data"}, "content": content})


def write(folder, studies, prose=PROSE, text=TEXT):
    """A book of one prose page, and of one page with a figure for each study; returns its table of contents."""
    (folder / "book").mkdir()
    (folder / "notebooks").mkdir()
    shutil.copytree(REPOSITORY / "book" / "style", folder / "book" / "style")
    shutil.copy(REPOSITORY / "_config.yml", folder)
    (folder / "book" / "references.bib").touch()
    (folder / "book" / "home.md").write_text(prose, "utf-8")
    for study in studies:
        figure = f'<figure id="figure-9"><figcaption><b>Figure 9.</b> Of {study}.</figcaption></figure>'
        cells = [new_markdown_cell(text), new_code_cell("1", outputs=[displayed(figure)])]
        path = folder / "book" / "executed" / study / "curves.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(writes(new_notebook(cells=cells, metadata={"kernelspec": KERNEL})), "utf-8")
    whole = '<figure id="figure-7"><figcaption><b>Figure 7.</b> Of all.</figcaption></figure>'
    found = new_code_cell("2", outputs=[displayed("- It is **so**.", "text/markdown")], metadata={"tags": ["findings"]})
    other = new_code_cell("3", outputs=[displayed("Not this.", "text/markdown")])
    cells = [new_markdown_cell("# Whole"), new_code_cell("1", outputs=[displayed(whole)]), found, other]
    path = folder / "book" / "executed" / "whole.ipynb"
    path.write_text(writes(new_notebook(cells=cells, metadata={"kernelspec": KERNEL})), "utf-8")
    chapters = [{"file": "executed/whole"}, *({"file": f"executed/{study}/curves"} for study in studies)]
    return {"format": "jb-book", "root": "home", "parts": [{"caption": "Studies", "chapters": chapters}]}


def page(folder, name):
    """What a built page holds between its header and its footer."""
    html = (folder / "build" / "html" / f"{name}.html").read_text("utf-8")
    return html[html.index("<article") : html.index("</article>")]


@pytest.fixture(autouse=True)
def no_formulas(monkeypatch):
    """Pages without formulas need no MathJax."""
    monkeypatch.setattr(build_book, "mathjax", lambda out: None)


def links(html):
    """The text of each link by where it leads."""
    found = re.findall(r'<a class="reference internal" href="([^"]+)"[^>]*>(.*?)</a>', html, re.DOTALL)
    return [(href, re.sub("<[^>]+>", "", text)) for href, text in found]


def test_of_one_study_the_words_are_the_links(tmp_path):
    toc = write(tmp_path, ["a"])
    build_book.render(tmp_path, tmp_path / "build", toc)
    home, curves = page(tmp_path, "home"), page(tmp_path, "executed/a/curves")
    assert links(home) == [
        ("executed/a/curves.html#figure-9", "Figure 9"),
        ("executed/a/curves.html", "its page"),
    ]
    assert links(curves) == [("#figure-9", "Figure 9"), ("#figure-9", "again")]
    assert curves.count('id="figure-9"') == 1
    assert "This page for" not in curves
    assert "Of all." in home
    assert "It is <strong>so</strong>." in home
    assert "Not this." not in home


def test_of_several_studies_their_names_are_and_pages_lead_to_each_other(tmp_path):
    toc = write(tmp_path, ["b", "a", "c"])
    build_book.render(tmp_path, tmp_path / "build", toc)
    home, curves = page(tmp_path, "home"), page(tmp_path, "executed/a/curves")
    assert links(home)[:3] == [(f"executed/{name}/curves.html#figure-9", name) for name in "bac"]
    assert "Figure 9 (" in home
    assert links(curves)[:2] == [(f"../{name}/curves.html", name) for name in "bc"]
    assert "This page for: " in curves
    assert "<strong>a</strong>" in curves


def test_a_page_that_only_some_studies_have_is_linked_in_those(tmp_path):
    toc = write(tmp_path, ["a", "b"], PROSE + "\nSee {each}`one <extra#figure-9>`, not {each}`two <spare#figure-7>`.\n")
    (tmp_path / "notebooks" / "spare.ipynb").touch()  # no study's page, but it could be one's
    pages = tmp_path / "book" / "executed" / "b"
    shutil.copy(pages / "curves.ipynb", pages / "extra.ipynb")
    toc["parts"][0]["chapters"].append({"file": "executed/b/extra"})
    build_book.render(tmp_path, tmp_path / "build", toc)
    home = page(tmp_path, "home")
    assert [link for link in links(home) if "extra" in link[0]] == [("executed/b/extra.html#figure-9", "b")]
    assert "not two." in home


def test_tables_can_be_reached_and_scrolled_by_keyboard(tmp_path):
    toc = write(tmp_path, ["a"], prose=PROSE + "\nMore.\n\n| c |\n| - |\n| 3 |\n")
    build_book.render(tmp_path, tmp_path / "build", toc)
    boxes = re.findall(r'<div class="pst-scrollable-table-container"([^>]*)>', page(tmp_path, "home"))
    assert boxes == [f' tabindex="0" role="region" aria-label="Table {number}"' for number in (1, 2)]


@pytest.mark.parametrize(
    ("part", "wrong", "named"),
    [
        ("text", "[x](#figure-8)", "figure-8"),
        ("text", "[x](curves.ipynb#figure-8)", "figure-8"),
        ("prose", "{each}`x <curves#figure-8>`", "figure-8"),
        ("prose", "{each}`x <curve>`", "executed/a/curve"),
        ("prose", "{each}`x`", "not of the form"),
        ("prose", "```{shown} whole#figure-8\n```", "no figure-8 on page whole"),
        ("prose", "```{said} nothing\n```", "there is no page nothing"),
    ],
)
def test_a_link_to_what_is_not_there_is_a_mistake(part, wrong, named, tmp_path, capfd):
    parts = {"prose": PROSE, "text": TEXT}
    toc = write(tmp_path, ["a"], **parts | {part: f"{parts[part]}\n\n{wrong}\n"})
    with pytest.raises(UserError, match="mistakes, listed above"):
        build_book.render(tmp_path, tmp_path / "build", toc)
    assert named in capfd.readouterr().err


def test_the_table_of_contents_decides_which_studies_there_are(tmp_path):
    toc = write(tmp_path, ["a", "b"])
    toc["parts"][0]["chapters"].pop()
    build_book.render(tmp_path, tmp_path / "build", yaml.safe_load(yaml.safe_dump(toc)))
    assert links(page(tmp_path, "home"))[0] == ("executed/a/curves.html#figure-9", "Figure 9")

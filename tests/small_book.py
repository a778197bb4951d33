"""A book of a few pages whose notebooks have outputs already, for the tests of how pages are put together."""

import shutil

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, output_from_msg, writes

from efcnlab.environment import REPOSITORY
from written_notebooks import KERNEL

PROSE = """# Home

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

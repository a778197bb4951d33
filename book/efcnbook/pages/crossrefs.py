"""A Sphinx extension for the book: links to figures, from page to page and study to study, that are checked.

- `[Figure 3](#figure-3)` and `[Figure 3](delta.ipynb#figure-3)` in Markdown reach the figures that notebooks show.
- ``{shown} figure_3#figure-3`` shows a figure of a page that belongs to no study, ``{said} figure_3`` the sentences of
  its cells with the tag "findings".
- A study's page leads to the same page of the others. Tables scroll within a box of their own, by keyboard too.

A link to a figure or a page that is not there is a warning, and so a mistake of the book.
"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

FIGURE = re.compile(r'<figure id="(figure-[\w-]+)".*?<b>(Figure [^<]+)\.</b>', re.DOTALL)
TABLE = '<div class="pst-scrollable-table-container">'


def studies(env: BuildEnvironment) -> dict[str, list[str]]:
    """The studies of the book, in its order, each with the names of its pages."""
    found: dict[str, list[str]] = {}
    for page in env.external_site_map:
        folder, *rest = page.split("/")
        if folder == "executed" and len(rest) == 2:
            found.setdefault(rest[0], []).append(rest[1])
    return found


class Figures(SphinxTransform):
    """Tells MyST which figures a page shows, as it knows of headings, so that it links to them and misses none."""

    default_priority = 870  # MyST resolves links within a page at 879

    def apply(self, **_: object) -> None:
        """Add this page's."""
        shown = self.env.metadata[self.env.docname].setdefault("myst_slugs", {})
        for node in self.document.findall(nodes.raw):
            for anchor, title in FIGURE.findall(node.astext()):
                shown[anchor] = (node.line, anchor, title)
        self.document.myst_slugs = getattr(self.document, "myst_slugs", {}) | shown


class SamePage(SphinxTransform):
    """The study's name in the title of its page, and under it links to the same page of the other studies."""

    default_priority = 400

    def apply(self, **_: object) -> None:
        """Add the name, and the links if there are other studies."""
        folder, *rest = self.env.docname.split("/")
        others = [study for study, pages in studies(self.env).items() if rest[1:] and rest[1] in pages]
        names = self.env.config.study_names
        if folder != "executed" or len(rest) < 2:
            return
        next(self.document.findall(nodes.title)).append(nodes.Text(f" – {names.get(rest[0], rest[0])}"))
        if len(others) < 2:
            return
        line = nodes.paragraph("", "This page for: ", classes=["same-page"])
        for study in others:
            line += nodes.Text(", ") if len(line) > 1 else nodes.Text("")
            here = study == rest[0]
            name = names.get(study, study)
            line += nodes.strong(name, name) if here else _link(self.env, f"executed/{study}/{rest[1]}", "", name)
        title = next(self.document.findall(nodes.title))
        title.parent.insert(title.parent.index(title) + 1, line)


class FromPage(SphinxDirective):
    """Something that a notebook's page shows, one that belongs to no study, shown again elsewhere."""

    required_arguments = 1

    def outputs(self, page: str, kind: str) -> Iterator[tuple[list[str], str]]:
        """What the cells of the executed notebook displayed, each with its cell's tags."""
        path = Path(self.env.srcdir, "executed", f"{page}.ipynb")
        if not path.exists():
            raise self.error(f"{self.name}: there is no page {page}")
        self.env.note_dependency(str(path))
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            for output in cell.get("outputs", ()):
                if kind in output.get("data", {}):
                    yield cell["metadata"].get("tags", []), "".join(output["data"][kind])


class Shown(FromPage):
    """``{shown} page#figure``: a figure, or another output with that id."""

    def run(self) -> list[nodes.Node]:
        """Its HTML, whose links go on from here."""
        page, _, anchor = self.arguments[0].partition("#")
        for _, source in self.outputs(page, "text/html"):
            if f' id="{anchor}"' in source:
                up = "../" * self.env.docname.count("/")
                linked = re.sub(r'href="(?![a-z]+:|#)', f'href="{up}executed/', source)
                return [nodes.raw("", linked, format="html")]
        raise self.error(f"shown: no {anchor} on page {page}")


class Said(FromPage):
    """``{said} page``: the sentences that cells with the tag "findings" display."""

    def run(self) -> list[nodes.Node]:
        """The sentences, as Markdown."""
        found = [text for tags, text in self.outputs(self.arguments[0], "text/markdown") if "findings" in tags]
        return [node for text in found for node in self.parse_text_to_nodes(text)]


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_config_value("study_names", {}, "env")  # how readers know the studies, by name
    app.add_transform(Figures)
    app.add_transform(SamePage)
    app.add_directive("shown", Shown)
    app.add_directive("said", Said)
    app.connect("html-page-context", _reachable_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _reachable_tables(app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None) -> None:
    count = itertools.count(1)
    attributes = 'tabindex="0" role="region" aria-label="Table {}"'
    pieces = context.get("body", "").split(TABLE)
    opened = (f"{TABLE[:-1]} {attributes.format(next(count))}>{piece}" for piece in pieces[1:])
    context["body"] = "".join([pieces[0], *opened])


def _link(env: BuildEnvironment, page: str, anchor: str | None, text: str) -> addnodes.pending_xref:
    """A link as MyST makes them, which it resolves, or says that there is no such page or figure."""
    target = {"reftarget": page, "reftargetid": anchor or None, "refexplicit": True, "refdoc": env.docname}
    node = addnodes.pending_xref(refdomain="doc", reftype="myst", **target)
    return node.__iadd__(nodes.inline(text, text))

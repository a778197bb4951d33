"""What browsers, or those who cannot see a page, stumble over in the HTML that Sphinx writes, put right."""

import re
from pathlib import Path

MENDED = (  # in each page: a pattern, and what is to stand there
    (r'<link rel="preload" as="font"[^>]*>\n?', ""),  # browsers refuse it for pages opened as files, and say so
    (r'role="doc-biblioentry"', 'role="listitem"'),  # the only thing that a list may hold
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Pages below">'),  # an arrow, without a name
    (r"<dl>\s*((?:<dd>[^\n]*</dd>\s*)+)</dl>", lambda found: _lines(found[1])),  # parameters: no terms, no list of them
)


def mend(site: Path) -> None:
    """Replace in every page what browsers, or those who cannot see it, stumble over."""
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        for wrong, right in MENDED:
            text = re.sub(wrong, right, text)
        page.write_text(text, "utf-8")


def _lines(parameters: str) -> str:
    """A signature's parameters, each in a line of its own."""
    lines = parameters.replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'

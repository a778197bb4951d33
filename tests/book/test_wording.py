"""Phrases that pages share: relax times listed, what diverged."""

import re
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from efcnbook.statistics import wording
from efcnlab.config import studies
from efcnlib.errors import UserError
from measured import seeds


@pytest.mark.parametrize(
    ("times", "said"),
    [((), "no $t_w$"), ((3,), "$t_w$ = 3"), ((0, 3), "$t_w$ = 0 and 3"), ((0, 3, 9), "$t_w$ = 0, 3 and 9")],
)
def test_relax_times_are_listed(times, said):
    assert wording.at(times) == said


def test_what_diverged_is_named():
    good, lost = ({"train_loss": [2.3, loss]} for loss in (1.0, nan))
    whole = seeds(efcn={0: [good, good], 5: [good, good]}, fcn=[good, good])
    assert wording.diverged(whole) == []
    broken = seeds(efcn={0: [good, lost], 5: [good, good]}, fcn=[good, lost], control_fcn=[lost, lost])
    assert wording.diverged(broken) == [
        "**Diverged**, its training loss NaN: the eFCN at $t_w$ = 0, the standard FCN in seed 1 and the standard FCN at"
        " the eFCN's rate in seeds 0 and 1."
    ]


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1)


@given(PRINTABLE)
def test_a_strangers_text_is_text_in_markdown_and_in_tables(text):
    markdown = MarkdownIt("commonmark").enable("table")
    (block,) = [token for token in markdown.parse(f"Study: {wording.escaped(text)}.") if token.type == "inline"]
    assert {token.type for token in block.children} <= {"text", "text_special"}
    assert "".join(token.content for token in block.children) == f"Study: {text}."
    cells = markdown.render(f"| a | b |\n| - | - |\n| {wording.escaped(text)} | 1 |")
    assert len(re.findall("<td>", cells)) == 2
    assert "<" not in wording.escaped(text)


@pytest.mark.parametrize("title", ["a\nb", "a\x1b[31mb", "a\u2028b", "a\x00b", "a\x7fb"])
def test_control_characters_in_a_title_are_refused_in_a_line(title):
    with pytest.raises(UserError, match="title") as caught:
        studies.load("digits", title=title)
    assert len(str(caught.value).splitlines()) == 1

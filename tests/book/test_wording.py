"""Phrases that pages share: relax times listed, what diverged."""

import html
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.text())
def test_a_strangers_text_has_no_markup_and_reads_as_it_was(text):
    safe = wording.escaped(text)
    assert not set(safe) & set('<>|`*_[]{}$\\!"~^@=')
    assert "&" not in safe.replace("&#", "")
    assert html.unescape(safe) == "".join(html.unescape(f"&#{ord(sign)};") for sign in text)


@pytest.mark.parametrize("title", ["a\nb", "a\x1b[31mb", "a\u2028b", "a\x00b", "a\x7fb"])
def test_control_characters_in_a_title_are_refused_in_a_line(title):
    with pytest.raises(UserError, match="title") as caught:
        studies.load("digits", title=title)
    assert len(str(caught.value).splitlines()) == 1
